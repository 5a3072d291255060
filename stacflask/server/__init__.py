"""The gunicorn worker: how requests are read from sockets and responses are written to them.

Imports only ``logformat`` from stacflask: gunicorn's first process loads it and must not load the application.
Start with ``worker.py``.
"""
