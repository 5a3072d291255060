"""Connections, tables, migrations, the replica, and what plugins get of the database.

Imports ``errors`` and ``bulkhead``.
Start with ``engine.py``.
"""
