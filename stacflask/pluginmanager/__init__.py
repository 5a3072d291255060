"""Loading of plugins, and checks of every value that they return.

Imports the public plugin API, and neither the catalog nor HTTP.
Start with ``loading.py``.
"""
