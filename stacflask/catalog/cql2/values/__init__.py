"""What CQL2 operators work on: typed SQL, literals, names of fields, limits, problems.

Imports the tables and the checks of STAC documents.
Start with ``types.py``.
"""
