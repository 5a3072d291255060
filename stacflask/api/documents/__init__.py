"""STAC documents as clients see them: links, hrefs, signed hrefs, authentication, pages.

Imports ``http/``, ``parameters/`` and the stored form of documents; neither ``stac/`` nor ``download/``.
Start with ``render.py``.
"""
