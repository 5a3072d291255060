"""Load and export many documents with several processes.

Imports ``Catalog`` and ``Writer`` and the packages below them.
Start with ``load.py``.
"""
