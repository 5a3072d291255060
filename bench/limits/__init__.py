"""Limits of the server: stalled dependencies, slow clients, expensive requests, random searches.

Each module is a command.
Start with ``stalls.py``.
"""
