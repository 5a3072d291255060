"""Storage for plugins: their own tables, reached by plain SQL with named parameters."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy.engine import Connection

    from stacflask.catalog.database import Database


class _Statements:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, /, **values: Any) -> list[Mapping[str, Any]]:
        """Run one SQL statement with ``:name`` parameters; give its rows, if it has any."""
        result = self._connection.execute(sa.text(sql), values)
        return [dict(row) for row in result.mappings()] if result.returns_rows else []


class PluginStorage:
    """Implements the face's ``Storage`` over the catalogue's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def rows(self, sql: str, /, **values: Any) -> list[Mapping[str, Any]]:
        """Read with one statement of its own: no transaction is opened for it."""
        return self._database.read(lambda connection: _Statements(connection).rows(sql, **values))

    @contextmanager
    def transaction(self) -> Iterator[_Statements]:
        """Open a transaction: committed when the block ends, undone when it raises."""
        with self._database.write() as connection:
            yield _Statements(connection)
