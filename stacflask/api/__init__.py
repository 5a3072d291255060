"""The HTTP API: ``download/`` and ``stac/`` use ``documents/``, ``parameters/`` and ``http/``.

This package registers the endpoints of plugins. It imports ``current`` for the catalogue and the gate, and no database
library. Start with ``stac/search.py`` for a search, ``download/asset.py`` for a download.
"""
