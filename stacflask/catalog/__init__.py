"""Read and change the catalogue in PostGIS with two classes, ``Catalog`` and ``Writer``, without SQL.

Imports ``stac``, ``model`` and the packages below it; neither HTTP nor plugins.
Start with ``reader.py``.
"""
