"""Loading of plugins, and checks of every value that they return.

Imports the public plugin API; neither the catalogue nor HTTP.
Start with ``loading.py``.
"""
