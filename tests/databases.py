"""Further databases of tests."""

import psycopg

END = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s AND usename = current_user"


def drop(url: str, name: str) -> None:
    """Drop a database through a connection to another one at ``url``, and end the current user's connections to it.

    WITH (FORCE) fails while PostgreSQL's own vacuum runs, which only a superuser can end. Without it, vacuum steps
    back.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(END, (name,))
        connection.execute(f'DROP DATABASE IF EXISTS "{name}"'.encode())
