"""Compile CQL2 JSON to SQL, with one table of operators.

Imports ``values/``.
Start with ``compile.py``.
"""
