"""Parse cql2-text to cql2-json.

Imports ``values/``, and the names of operators from ``compiler/``.
Start with ``parser.py``.
"""
