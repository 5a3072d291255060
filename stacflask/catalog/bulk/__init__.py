"""Loading and exporting many documents, with several processes.

Imports the catalogue's two classes and what is below them.
Start with ``load.py``.
"""
