"""Delete a collection with its items, in batches. Each batch is a short transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import sqlalchemy as sa
from sqlalchemy import Connection

from stacflask.catalog.database.engine import Database
from stacflask.catalog.database.tables import collections, items
from stacflask.catalog.properties import statistics
from stacflask.errors import NotFound

BATCH = 5_000
"""Items that are deleted in one transaction."""


def delete(
    database: Database, collection: str, check: Callable[[Connection], object], *, keep: bool = False
) -> Iterator[int]:
    """Delete the items of a collection, and then the collection, unless ``keep`` is true.

    If the caller stops between two batches, the collection has fewer items, and another call continues.

    Args:
        database: The database of the collection.
        collection: The id of the collection.
        check: Called at the beginning of each transaction. It locks the collection, and raises if it must stay.
        keep: Whether the empty collection stays.

    Yields:
        The number of items that each transaction has deleted. The last transaction deletes the collection, too.
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
    """Return a check for ``delete`` that locks the collection, and raises NotFound if it does not exist."""

    def check(connection: Connection) -> None:
        statement = sa.select(collections.c.id).where(collections.c.id == collection).with_for_update()
        if connection.execute(statement).scalar() is None:
            raise NotFound(f"There is no collection {collection!r}.")

    return check


_FIRST = sa.select(items.c.id).where(items.c.collection == sa.bindparam("of")).limit(sa.bindparam("most"))
_SOME = sa.delete(items).where(items.c.collection == sa.bindparam("of"), items.c.id.in_(_FIRST))
