"""Databases that tests make beside the first, and drop."""

import psycopg

END = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s AND usename = current_user"


def drop(url: str, name: str) -> None:
    """Drop a database, asked of another one at ``url``, whoever of ours is still connected to it.

    WITH (FORCE) would refuse where PostgreSQL's own vacuum is at work, which only a superuser may end; without, that
    steps back by itself.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(END, (name,))
        connection.execute(f'DROP DATABASE IF EXISTS "{name}"'.encode())
