"""The catalogue as newline-delimited JSON: what was loaded comes out, in a form that can be loaded again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from stacflask.catalog.documents import original_text
from stacflask.catalog.reading import Catalog
from stacflask.catalog.tables import collections, items
from stacflask.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from sqlalchemy.engine import Connection
    from sqlalchemy.sql import Select

    from stacflask.catalog.database import Database

ROWS = 500
"""Rows fetched at a time: memory stays flat however many there are."""


def export(database: Database, names: Collection[str] = (), *, items_too: bool = True) -> Iterator[bytes]:
    """Give the documents of these collections, or of all, as JSON texts: collections first, then items as time goes.

    All are of one moment, however long it takes. Raises NotFound: there is no collection of that name.
    """
    codec = Catalog(database).codec
    with database.write() as connection:
        connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        for statement in _statements(connection, names, items_too=items_too):
            rows = connection.execution_options(yield_per=ROWS).execute(statement)
            yield from (original_text(codec.decompress(frame)) for frame in rows.scalars())


def _statements(connection: Connection, names: Collection[str], *, items_too: bool) -> Iterator[Select[Any]]:
    existing = connection.execute(sa.select(collections.c.id).order_by(collections.c.id)).scalars().all()
    for name in names:
        if name not in existing:
            raise NotFound(f"There is no collection {name!r}.")
    chosen = [name for name in existing if not names or name in names]
    yield sa.select(collections.c.body).where(collections.c.id.in_(chosen)).order_by(collections.c.id)
    if items_too:
        for name in chosen:
            of_collection = sa.select(items.c.body).where(items.c.collection == name)
            yield of_collection.order_by(items.c.datetime, items.c.id)
