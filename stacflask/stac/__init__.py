"""STAC documents: validation, geometry, time. No HTTP and no tables.

Imports ``errors`` and ``model``.
Start with ``checks.py``.
"""
