"""Connections, tables, migrations, the replica, and the storage of plugins.

Imports ``errors`` and ``bulkhead``.
Start with ``engine.py``.
"""
