"""The Download extension, and all else that hands out assets: archives, manifests, orders.

Imports ``documents/``, ``parameters/`` and ``http/``; the catalogue and plugins through ``current``.
Start with ``asset.py``.
"""
