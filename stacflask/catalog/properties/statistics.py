"""What the properties of each collection's items hold, kept so that nobody need look through a million items.

Widened with every item that is written, so it always covers what is there; it may say more than that after deletions,
until it is made anew from the items.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from stacflask.catalog.database.tables import collections, items, statistics
from stacflask.catalog.properties import observations
from stacflask.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy.engine import Connection

    from stacflask.catalog.database.engine import Database
    from stacflask.catalog.properties.observations import Observations
    from stacflask.model.json_types import Document

BATCH_ITEMS = 1000
"""Items looked at together."""

_ROW = sa.select(statistics.c.properties, statistics.c.anew)
_SELECT = _ROW.where(statistics.c.collection == sa.bindparam("collection"))
_SELECT_FOR_UPDATE = _SELECT.with_for_update()
_INSERT = insert(statistics).values(properties={}).on_conflict_do_nothing()


def widen(connection: Connection, collection: str, seen: Observations) -> None:
    """Have the statistics cover these observations, too. Nothing is locked or written where they do already.

    Call it last in a transaction, after the extent: the lock on the collection's row is then held for a moment only.
    """
    row = connection.execute(_SELECT, {"collection": collection}).one_or_none()
    if row is not None and not _changes(row.properties, row.anew, seen):
        return
    if row is None:
        connection.execute(_INSERT, {"collection": collection})
    locked = connection.execute(_SELECT_FOR_UPDATE, {"collection": collection}).one()
    values = _changes(locked.properties, locked.anew, seen)
    if values:
        connection.execute(sa.update(statistics).where(statistics.c.collection == collection).values(values))


def _changes(properties: Document, anew: Document | None, seen: Observations) -> dict[str, Document]:
    """Give the columns that these observations change."""
    kept = {"properties": properties, **({"anew": anew} if anew is not None else {})}
    wider = {name: _to_json(observations.merge([_from_json(given), seen])) for name, given in kept.items()}
    return {name: value for name, value in wider.items() if value != kept[name]}


def delete(connection: Connection, collection: str) -> None:
    """Remove a collection's statistics, with the collection."""
    connection.execute(sa.delete(statistics).where(statistics.c.collection == collection))


def stored(connection: Connection, names: sa.Select[tuple[str]]) -> dict[str, Observations]:
    """Give the statistics of these collections, by their ids."""
    statement = sa.select(statistics.c.collection, statistics.c.properties).where(statistics.c.collection.in_(names))
    return {name: _from_json(properties) for name, properties in connection.execute(statement)}


def _from_json(given: Document) -> Observations:
    return {name: observations.from_json(one) for name, one in given.items()}


def _to_json(seen: Observations) -> Document:
    return {name: one.to_json() for name, one in seen.items()}


# --- From the items ---------------------------------------------------------------------------------------------------


def refresh(database: Database, collection: str) -> int:
    """Make a collection's statistics anew from its items, while others go on writing; give their number.

    Raises NotFound.
    """
    with database.write() as connection:
        # The lock waits for whoever is writing: what they wrote is seen below. Those who come after find that a refresh
        # is under way, and leave what they bring for it.
        held = sa.select(collections.c.id).where(collections.c.id == collection).with_for_update()
        if connection.execute(held).one_or_none() is None:
            raise NotFound(f"There is no collection {collection!r}.")
        connection.execute(_INSERT, {"collection": collection})
        _set(connection, collection, anew={})
    with database.write() as connection:
        count, seen = _observe_items(connection, collection)
        row = connection.execute(_SELECT_FOR_UPDATE, {"collection": collection}).one_or_none()
        if row is not None:
            whole = observations.merge([seen, _from_json(row.anew or {})])
            _set(connection, collection, properties=_to_json(whole), anew=None)
    return count


def _set(connection: Connection, collection: str, **values: Document | None) -> None:
    columns = {name: sa.null() if value is None else value for name, value in values.items()}
    connection.execute(sa.update(statistics).where(statistics.c.collection == collection).values(columns))


def _observe_items(connection: Connection, collection: str) -> tuple[int, Observations]:
    statement = sa.select(sa.cast(items.c.properties, sa.Text)).where(items.c.collection == collection)
    streamed = {"stream_results": True, "max_row_buffer": BATCH_ITEMS}
    rows = connection.execute(statement, execution_options=streamed).scalars()
    count, seen = 0, observations.merge([])
    for batch in _batches(rows):
        count += len(batch)
        seen = observations.merge([seen, observe_properties(batch)])
    return count, seen


def _batches(rows: Iterable[str]) -> Iterator[list[str]]:
    rows = iter(rows)
    while batch := list(islice(rows, BATCH_ITEMS)):
        yield batch


def observe_properties(properties: Sequence[str | bytes]) -> Observations:
    """Look at the properties of items, each a JSON text."""
    return observations.observe([orjson.loads(text) for text in properties])
