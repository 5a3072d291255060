"""The longest duration of the items of a collection, stored with the collection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from stacflask.catalog.database.tables import collections

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


def record_item_times(connection: Connection, collection: str, seconds: float, *, dated: bool) -> None:
    """Record the duration of an item in seconds, and whether an item has a datetime.

    The duration is rounded up to a power of two, so that the row of a collection is seldom written.
    """
    bound = 2.0 ** max(0, (int(seconds) + 1).bit_length()) if seconds else 0.0
    former_seconds, former_flag = collections.c.max_duration_seconds, collections.c.has_datetimes
    longest, has_datetimes = sa.func.greatest(former_seconds, bound), sa.or_(former_flag, sa.literal(dated))
    change = sa.update(collections).where(collections.c.id == collection)
    change = change.where(sa.or_(former_seconds < longest, former_flag != has_datetimes))
    connection.execute(change.values(max_duration_seconds=longest, has_datetimes=has_datetimes))
