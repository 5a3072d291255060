"""Query parameters and bodies of searches: parsed, checked, described in OpenAPI.

Imports ``http/``, CQL2 and the checks of STAC documents.
Start with ``search_parameters.py``.
"""
