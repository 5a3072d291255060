"""What every endpoint needs of HTTP: public URL, errors, conditional requests, ranges, bodies, OpenAPI, request log.

Imports ``current`` and the base layer, and no other package of the API.
Start with ``request_log.py``, which surrounds each request.
"""
