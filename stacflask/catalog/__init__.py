"""Read and change the catalogue in PostGIS. Other packages use the classes ``Catalog`` and ``Writer``.

Imports ``stac``, ``model`` and the packages below it; neither HTTP nor plugins.
Start with ``reader.py``.
"""
