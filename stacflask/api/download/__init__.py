"""The Download extension, and other endpoints that return assets: archives, manifests and orders.

Imports ``documents/``, ``parameters/`` and ``http/``; uses the catalog and the plugins through ``current``.
Start with ``asset.py``.
"""
