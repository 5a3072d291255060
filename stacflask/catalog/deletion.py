"""Deletion of a collection with its items, in batches: each is a transaction of its own, and short."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from stacflask.catalog.database.tables import collections, items
from stacflask.catalog.properties import statistics
from stacflask.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from stacflask.catalog.database.engine import Database

BATCH = 5_000
"""Items that are deleted in one transaction."""


def delete(
    database: Database, collection: str, check: Callable[[Connection], object], *, keep: bool = False
) -> Iterator[int]:
    """Delete the items of a collection, and at last the collection itself unless it is to ``keep``.

    Whoever stops between two batches leaves a collection with fewer items, and can go on at any time.

    Args:
        database: Where they are.
        collection: The collection's id.
        check: Called at the beginning of each transaction; locks the collection, and raises if it must stay.
        keep: Whether the collection stays, without items.

    Yields:
        How many items each transaction has deleted. The last one has deleted the collection, too.
    """
    count = BATCH
    while count == BATCH:
        with database.write() as connection:
            check(connection)
            count = connection.execute(_SOME, {"of": collection, "most": BATCH}).rowcount
            if count < BATCH:
                statistics.delete(connection, collection)
                if not keep:
                    connection.execute(sa.delete(collections).where(collections.c.id == collection))
        yield count


def locked(collection: str) -> Callable[[Connection], None]:
    """Return a check for ``delete`` that locks the collection. It raises NotFound if there is none."""

    def check(connection: Connection) -> None:
        statement = sa.select(collections.c.id).where(collections.c.id == collection).with_for_update()
        if connection.execute(statement).scalar() is None:
            raise NotFound(f"There is no collection {collection!r}.")

    return check


_FIRST = sa.select(items.c.id).where(items.c.collection == sa.bindparam("of")).limit(sa.bindparam("most"))
_SOME = sa.delete(items).where(items.c.collection == sa.bindparam("of"), items.c.id.in_(_FIRST))
