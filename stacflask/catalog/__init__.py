"""Reading and changing the catalogue in PostGIS: two classes, which hide all SQL.

Imports ``stac``, ``model`` and the packages below it; neither HTTP nor plugins.
Start with ``reader.py``.
"""
