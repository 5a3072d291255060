"""Translates a query to SQL: conditions, sort order, pages, restrictions, use of indexes.

Imports ``cql2/``, ``documents/`` and ``database/``.
Start with ``item_search.py``.
"""
