"""The HTTP API: ``download/`` and ``stac/`` above ``documents/``, ``parameters/`` and ``http/``.

Here are the endpoints of plugins. Imports the catalogue and the gate through ``current``, and no database library.
Start with ``stac/search.py`` for a search, ``download/asset.py`` for a download.
"""
