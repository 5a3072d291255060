"""The stored form of STAC documents: compression, rows, assets, extents.

Imports ``database/`` and ``stac``.
Start with ``documents.py``.
"""
