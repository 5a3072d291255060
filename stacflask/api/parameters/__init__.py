"""Query parameters and bodies of searches: parsed, checked, described in OpenAPI.

It imports ``http/``, CQL2 and the checks of STAC documents.
Start with ``search_parameters.py``.
"""
