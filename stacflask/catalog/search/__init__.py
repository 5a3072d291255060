"""From a query to SQL: conditions, order, pages, restrictions, and which index is used how.

Imports ``cql2/``, ``documents/`` and ``database/``.
Start with ``item_search.py``.
"""
