"""Storage for plugins: SQL with named parameters on their own tables."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from stacflask.bulkhead import Bulkhead, current
from stacflask.catalog.database.engine import Database, Lookup, lookup


class _Statements:
    def __init__(self, connection: Connection) -> None:
        self._driver = connection.connection.driver_connection

    def rows(self, sql: str, /, **values: Any) -> list[Mapping[str, Any]]:
        """Run one SQL statement with ``:name`` parameters and return its rows, if any."""
        return _lookup(sql).rows(self._driver, values)


@lru_cache(maxsize=512)
def _lookup(sql: str) -> Lookup:
    return lookup(sa.text(sql))


class PluginStorage:
    """Implements ``stacflask.Storage`` with the database of the catalogue.

    Each plugin can use half of the connections. Statements that wait for a lock on the tables of one plugin must not
    occupy the connections that the catalogue and other plugins need.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._shares: dict[str, Bulkhead] = {}

    @property
    def _share(self) -> Bulkhead:
        """The share of the plugin whose hook runs in this thread. Background threads of all plugins have one share."""
        name = current()
        share = self._shares.get(name)
        if share is None:
            share = self._shares.setdefault(name, self._database.share(f"tables of {name or 'plugins'}"))
        return share

    def rows(self, sql: str, /, **values: Any) -> list[Mapping[str, Any]]:
        """Read with one statement, without a transaction."""
        with self._share:
            return self._database.rows(_lookup(sql), values)

    def write(self, sql: str, /, **values: Any) -> list[Mapping[str, Any]]:
        """Write with one statement, in its own transaction."""
        with self._share:
            return self._database.rows(_lookup(sql), values, again=False)

    @contextmanager
    def transaction(self) -> Iterator[_Statements]:
        """Open a transaction. It is committed at the end of the block, and rolled back if the block raises."""
        with self._share, self._database.write() as connection:
            yield _Statements(connection)
