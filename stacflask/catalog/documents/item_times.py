"""How long the items of a collection last at most, kept with the collection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from stacflask.catalog.database.tables import collections

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


def note_times(connection: Connection, collection: str, seconds: float, *, dated: bool) -> None:
    """Record that an item lasts so long, and whether one has a datetime.

    Rounded up to a power of two: a collection's row is then seldom written.
    """
    bound = 2.0 ** max(0, (int(seconds) + 1).bit_length()) if seconds else 0.0
    longest, known = sa.func.greatest(collections.c.longest, bound), sa.or_(collections.c.dated, sa.literal(dated))
    change = sa.update(collections).where(collections.c.id == collection)
    change = change.where(sa.or_(collections.c.longest < longest, collections.c.dated != known))
    connection.execute(change.values(longest=longest, dated=known))
