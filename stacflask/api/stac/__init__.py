"""The resources of the STAC API: landing page, collections, items, search, aggregation, transactions.

It imports ``documents/``, ``parameters/`` and ``http/``, and the catalog through ``current``.
Start with ``search.py``.
"""
