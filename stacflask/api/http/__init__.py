"""HTTP for all endpoints: public URL, errors, conditional requests, ranges, bodies, OpenAPI parts, request log.

It imports ``current`` and the base layer, and no other package of the API.
Start with ``request_log.py``, which runs before and after each request.
"""
