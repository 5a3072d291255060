"""The gunicorn worker: how requests are read from sockets and responses are written to them.

Imports nothing of stacflask but ``logformat``: gunicorn's first process loads it, and must not hold the application.
Start with ``worker.py``.
"""
