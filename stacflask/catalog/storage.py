"""Storage for plugins: their own tables, reached by plain SQL with named parameters."""

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from stacflask.catalog.database import lookup

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy.engine import Connection

    from stacflask.catalog.database import Database, Lookup


class _Statements:
    def __init__(self, connection: Connection) -> None:
        self._driver = connection.connection.driver_connection

    def rows(self, sql: str, /, **values: Any) -> list[Mapping[str, Any]]:
        """Run one SQL statement with ``:name`` parameters; give its rows, if it has any."""
        return _lookup(sql).rows(self._driver, values)


@lru_cache(maxsize=512)
def _lookup(sql: str) -> Lookup:
    return lookup(sa.text(sql))


class PluginStorage:
    """Implements the face's ``Storage`` over the catalogue's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def rows(self, sql: str, /, **values: Any) -> list[Mapping[str, Any]]:
        """Read with one statement of its own: no transaction is opened for it."""
        return self._database.rows(_lookup(sql), values)

    def write(self, sql: str, /, **values: Any) -> list[Mapping[str, Any]]:
        """Write with one statement, which is its own transaction."""
        return self._database.rows(_lookup(sql), values, again=False)

    @contextmanager
    def transaction(self) -> Iterator[_Statements]:
        """Open a transaction: committed when the block ends, undone when it raises."""
        with self._database.write() as connection:
            yield _Statements(connection)
