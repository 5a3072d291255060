"""The gunicorn worker: how requests are read from sockets and responses are written to them.

Imports nothing of stacflask, because gunicorn's first process loads it and must not hold application code.
Start with ``worker.py``.
"""
