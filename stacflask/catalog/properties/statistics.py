"""Stored observations of the properties of each collection's items, so that no request reads a million items.

Every write of items widens them, so they always cover the stored items. After deletions they can cover more, until they
are recomputed from the items.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from stacflask.catalog.database.engine import Database
from stacflask.catalog.database.tables import collections, items, statistics
from stacflask.catalog.properties import observations
from stacflask.catalog.properties.observations import Observations
from stacflask.errors import NotFound
from stacflask.model.json_types import Document

BATCH_ITEMS = 1000
"""Items that are observed together."""

_ROW = sa.select(statistics.c.properties, statistics.c.refreshing)
_SELECT = _ROW.where(statistics.c.collection == sa.bindparam("collection"))
_SELECT_FOR_UPDATE = _SELECT.with_for_update()
_INSERT = insert(statistics).values(properties={}).on_conflict_do_nothing()


def widen(connection: Connection, collection: str, observed: Observations) -> None:
    """Widen the statistics to cover these observations. Locks and writes nothing if they already do.

    Call this last in a transaction, after the extent, so that the lock on the collection's row is held only briefly.
    """
    row = connection.execute(_SELECT, {"collection": collection}).one_or_none()
    if row is not None and not _changes(row.properties, row.refreshing, observed):
        return
    if row is None:
        connection.execute(_INSERT, {"collection": collection})
    locked = connection.execute(_SELECT_FOR_UPDATE, {"collection": collection}).one()
    values = _changes(locked.properties, locked.refreshing, observed)
    if values:
        connection.execute(sa.update(statistics).where(statistics.c.collection == collection).values(values))


def _changes(properties: Document, refreshing: Document | None, observed: Observations) -> dict[str, Document]:
    """Return the columns that these observations change."""
    columns = {"properties": properties, **({"refreshing": refreshing} if refreshing is not None else {})}
    wider = {name: _to_json(observations.merge([_from_json(document), observed])) for name, document in columns.items()}
    return {name: value for name, value in wider.items() if value != columns[name]}


def delete(connection: Connection, collection: str) -> None:
    """Remove a collection's statistics, with the collection."""
    connection.execute(sa.delete(statistics).where(statistics.c.collection == collection))


def stored(connection: Connection, names: sa.Select[tuple[str]]) -> dict[str, Observations]:
    """Return the statistics of these collections by their ids."""
    statement = sa.select(statistics.c.collection, statistics.c.properties).where(statistics.c.collection.in_(names))
    return {name: _from_json(properties) for name, properties in connection.execute(statement)}


def _from_json(document: Document) -> Observations:
    return {name: observations.from_json(one) for name, one in document.items()}


def _to_json(observed: Observations) -> Document:
    return {name: one.to_json() for name, one in observed.items()}


# --- From the items ---------------------------------------------------------------------------------------------------


def refresh(database: Database, collection: str) -> int:
    """Recompute a collection's statistics from its items, and return the number of items. Writes can continue.

    Raises NotFound.
    """
    with database.write() as connection:
        # The lock waits for current writers, and their items are read below. Later writers detect this refresh by the
        # column ``refreshing``, and add their observations to it.
        held = sa.select(collections.c.id).where(collections.c.id == collection).with_for_update()
        if connection.execute(held).one_or_none() is None:
            raise NotFound(f"There is no collection {collection!r}.")
        connection.execute(_INSERT, {"collection": collection})
        _set(connection, collection, refreshing={})
    with database.write() as connection:
        count, observed = _observe_items(connection, collection)
        row = connection.execute(_SELECT_FOR_UPDATE, {"collection": collection}).one_or_none()
        if row is not None:
            whole = observations.merge([observed, _from_json(row.refreshing or {})])
            _set(connection, collection, properties=_to_json(whole), refreshing=None)
    return count


def _set(connection: Connection, collection: str, **values: Document | None) -> None:
    columns = {name: sa.null() if value is None else value for name, value in values.items()}
    connection.execute(sa.update(statistics).where(statistics.c.collection == collection).values(columns))


def _observe_items(connection: Connection, collection: str) -> tuple[int, Observations]:
    statement = sa.select(sa.cast(items.c.properties, sa.Text)).where(items.c.collection == collection)
    streamed = {"stream_results": True, "max_row_buffer": BATCH_ITEMS}
    rows = connection.execute(statement, execution_options=streamed).scalars()
    count, observed = 0, observations.merge([])
    for batch in _batches(rows):
        count += len(batch)
        observed = observations.merge([observed, observe_properties(batch)])
    return count, observed


def _batches(rows: Iterable[str]) -> Iterator[list[str]]:
    rows = iter(rows)
    while batch := list(islice(rows, BATCH_ITEMS)):
        yield batch


def observe_properties(properties: Sequence[str | bytes]) -> Observations:
    """Observe the properties of items, each a JSON text."""
    return observations.observe([orjson.loads(text) for text in properties])
