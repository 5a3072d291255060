"""Properties of items: queryables, statistics, indexes.

Imports ``search/``, ``documents/`` and what is below them.
Start with ``queryables.py``.
"""
