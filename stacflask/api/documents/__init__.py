"""STAC documents as clients receive them: links, hrefs, signed hrefs, authentication, pages.

It imports ``http/``, ``parameters/`` and the stored form of documents; neither ``stac/`` nor ``download/``.
Start with ``render.py``.
"""
