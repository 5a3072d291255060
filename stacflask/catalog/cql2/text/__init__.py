"""CQL2 from text to JSON.

Imports ``values/``, and the names of operators from ``compiler/``.
Start with ``parser.py``.
"""
