"""CQL2 from JSON to SQL: one walk over the expression, one table of operators.

Imports ``values/``.
Start with ``compile.py``.
"""
