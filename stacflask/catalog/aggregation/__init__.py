"""Counts, aggregations, grids, and the items of a period.

Imports ``search/``, ``properties/`` and what is below them.
Start with ``aggregate.py``.
"""
