"""The resources of the STAC API: landing page, collections, items, search, aggregation, transactions.

Imports ``documents/``, ``parameters/`` and ``http/``; the catalogue through ``current``.
Start with ``search.py``.
"""
