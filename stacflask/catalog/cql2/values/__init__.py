"""Operands of CQL2: typed SQL, literals, names of fields; limits and problems.

Imports the tables and the checks of STAC documents.
Start with ``types.py``.
"""
