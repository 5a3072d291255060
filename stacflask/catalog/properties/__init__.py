"""Which properties the items have: queryables, statistics, indexes.

Imports ``search/``, ``documents/`` and what is below them.
Start with ``queryables.py``.
"""
