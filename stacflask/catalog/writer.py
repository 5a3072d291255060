"""Change the catalogue. Each request is one transaction, so a refused request changes nothing.

Transactions that write items share a lock on the collection that excludes its deletion: no item loses its collection.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from geoalchemy2 import WKBElement
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from stacflask.catalog import deletion
from stacflask.catalog.database.tables import collections, dictionaries, items
from stacflask.catalog.documents import documents, extents
from stacflask.catalog.documents.collection_rows import searched
from stacflask.catalog.documents.rows import Span, heights, span_of
from stacflask.catalog.properties import observations, statistics
from stacflask.catalog.reader import Catalog, etag_of
from stacflask.catalog.search.restrictions import visible, visible_collections
from stacflask.catalog.search.visible_extents import VisibleExtents
from stacflask.errors import BadDocument, Conflict, NotFound, PreconditionFailed, Unavailable
from stacflask.model.decision import UNRESTRICTED, Restriction
from stacflask.model.json_types import Document
from stacflask.model.page import Record
from stacflask.stac.geometry import bbox_of, to_wkb
from stacflask.stac.geometry_cost import shared_time_limit

Change = Callable[[Record], Document]


_NOT_FREE = "An id in this document cannot be used. Choose another."
"""The message for ids of hidden records. It does not contain the ids, and not that the records exist."""


@dataclass(frozen=True, slots=True)
class Row:
    """The row of an item, and its box for the extent of the collection: its bbox, or the box of its geometry."""

    values: dict[str, Any]
    box: list[float] | None
    span: Span


class Writer:
    """Writes checked documents. ``managed`` decides which hrefs are storage addresses."""

    def __init__(self, catalog: Catalog, managed: documents.Managed) -> None:
        self._catalog = catalog
        self._database = catalog.database
        self._codec = catalog.codec
        self._managed = managed

    # --- Items

    def create_items(
        self, collection: str, given: Sequence[Document], restriction: Restriction = UNRESTRICTED
    ) -> list[Record]:
        """Create all items or none.

        Raises:
            NotFound: There is no such collection.
            Conflict: An item exists, or an id occurs twice. The error contains only ids that ``restriction`` allows.
        """
        with self._database.write() as connection:
            self._share(connection, collection)
            dictionary = self._dictionary(connection, collection)
            with shared_time_limit():
                rows = [self._row(document, collection, dictionary) for document in given]
            self._insert(connection, [row.values for row in rows], restriction)
            self._widen(connection, collection, rows)
        return [self._record(row.values) for row in rows]

    def _insert(self, connection: Connection, rows: Sequence[dict[str, Any]], restriction: Restriction) -> None:
        names = {row["id"] for row in rows}
        if len(names) < len(rows):
            raise Conflict("The request has two items with the same id.")
        if not rows:
            return
        statement = insert(items).on_conflict_do_nothing().returning(items.c.id)
        # In the order of their keys, so two batches with the same ids cannot deadlock.
        done = connection.execute(statement, sorted(rows, key=lambda row: row["id"])).scalars().all()
        if len(done) < len(rows):
            taken = names.difference(done)
            there = sa.select(items.c.id).where(items.c.collection == rows[0]["collection"], items.c.id.in_(taken))
            seen = connection.execute(there.where(*visible(restriction))).scalars().all()
            raise Conflict(f"These items exist already: {_some(set(seen))}." if seen else _NOT_FREE)

    def change_item(self, collection: str, item: str, change: Change, if_match: Sequence[str] | None) -> Record:
        """Replace an item by the result of ``change``, under a lock. Raises NotFound, PreconditionFailed."""
        with self._database.write() as connection:
            self._share(connection, collection)
            document = change(self._locked_item(connection, collection, item, if_match))
            row = self._row(document, collection, self._dictionary(connection, collection))
            connection.execute(sa.update(items).where(_key(collection, item)).values(row.values))
            self._widen(connection, collection, [row])
        return self._record(row.values)

    def delete_item(self, collection: str, item: str, if_match: Sequence[str] | None) -> None:
        """Delete an item. Raises NotFound, PreconditionFailed."""
        with self._database.write() as connection:
            self._locked_item(connection, collection, item, if_match)
            connection.execute(sa.delete(items).where(_key(collection, item)))

    # --- Collections

    def create_collection(self, document: Document, restriction: Restriction = UNRESTRICTED) -> Record:
        """Create a collection. Raises Conflict if it exists; the error says so only if ``restriction`` allows it."""
        row = self._collection_row(document)
        statement = insert(collections).values(row).on_conflict_do_nothing().returning(collections.c.id)
        with self._database.write() as connection:
            if connection.execute(statement).scalar_one_or_none() is None:
                there = sa.select(collections.c.id).where(collections.c.id == document["id"])
                seen = connection.execute(there.where(*visible_collections(restriction))).scalar()
                raise Conflict(_NOT_FREE if seen is None else f"Collection {seen!r} exists already.")
        return self._collection_record(row)

    def change_collection(
        self,
        collection: str,
        change: Change,
        if_match: Sequence[str] | None,
        visible_extents: VisibleExtents | None = None,
    ) -> Record:
        """Replace the document of a collection. ``if_match`` are entity tags of the form with ``visible_extents``.

        Raises NotFound, PreconditionFailed.
        """
        with self._database.write() as connection:
            row = self._collection_row(
                change(self._locked_collection(connection, collection, if_match, visible_extents))
            )
            connection.execute(sa.update(collections).where(collections.c.id == collection).values(row))
        return self._collection_record(row)

    def delete_collection(
        self,
        collection: str,
        if_match: Sequence[str] | None,
        visible_extents: VisibleExtents | None = None,
        *,
        force: bool,
        seconds: float = 20.0,
    ) -> None:
        """Delete a collection. With ``force``, delete its items, too, as many as possible within ``seconds``.

        Raises NotFound, PreconditionFailed, Conflict; Unavailable if items are left.
        """

        def check(connection: Connection) -> None:
            self._locked_collection(connection, collection, if_match, visible_extents)
            if (
                not force
                and connection.execute(sa.select(sa.exists().where(items.c.collection == collection))).scalar()
            ):
                # The message does not contain their number, because some of them can be hidden.
                raise Conflict(
                    f"Collection {collection!r} is not empty. Delete its items first, or send force=true to delete "
                    "them too.",
                    code="CollectionNotEmpty",
                )

        until = time.monotonic() + seconds
        for count in deletion.delete(self._database, collection, check):
            if count == deletion.BATCH and time.monotonic() > until:
                raise Unavailable(
                    "Some items were deleted, and some are left. Send the request again to continue; "
                    "`stacflask delete` deletes any number of items.",
                    code="DeletionUnfinished",
                    retry_after=1,
                )

    # --- Rows

    def _locked_item(
        self, connection: Connection, collection: str, item: str, if_match: Sequence[str] | None
    ) -> Record:
        frame = self._locked(connection, sa.select(items.c.body).where(_key(collection, item)))
        if frame is None:
            raise NotFound(f"There is no item {item!r} in collection {collection!r}.")
        record = Record(collection, item, self._codec.decompress(frame), etag_of(frame))
        _check_state(record, if_match)
        return record

    def _locked_collection(
        self,
        connection: Connection,
        collection: str,
        if_match: Sequence[str] | None,
        visible_extents: VisibleExtents | None,
    ) -> Record:
        frame = self._locked(connection, sa.select(collections.c.body).where(collections.c.id == collection))
        if frame is None:
            raise NotFound(f"There is no collection {collection!r}.")
        record = Record(collection, collection, self._codec.decompress(frame), etag_of(frame))
        _check_state(self._catalog.with_visible_extents(record, visible_extents), if_match)
        return record

    def _locked(self, connection: Connection, statement: sa.Select[bytes]) -> bytes | None:
        frame: bytes | None = connection.execute(statement.with_for_update()).scalar()
        return frame

    def _share(self, connection: Connection, collection: str) -> None:
        statement = sa.select(collections.c.id).where(collections.c.id == collection)
        if connection.execute(statement.with_for_update(read=True, key_share=True)).scalar() is None:
            raise NotFound(f"There is no collection {collection!r}.")

    def _dictionary(self, connection: Connection, collection: str) -> int:
        newest = sa.select(dictionaries.c.id).where(dictionaries.c.collection == collection)
        found = connection.execute(newest.order_by(dictionaries.c.created.desc()).limit(1)).scalar()
        return found or 0

    def _row(self, document: Document, collection: str, dictionary: int) -> Row:
        parts = documents.split_item({**document, "collection": collection}, self._managed)
        span = _checked_span(parts)
        lowest, highest = heights(parts.bbox, document["geometry"])
        shape = _shape(document["geometry"], parts.bbox)
        values = {
            "collection": collection,
            "id": parts.id,
            **span.values,
            "geometry": WKBElement(shape, srid=4326, extended=True) if shape else None,
            "min_height": lowest,
            "max_height": highest,
            "properties": document["properties"],
            "body": self._codec.compress(parts.body, dictionary),
        }
        return Row(values, parts.bbox or (bbox_of(shape) if shape else None), span)

    def _collection_row(self, document: Document) -> dict[str, Any]:
        return {
            "id": document["id"],
            "body": self._codec.compress(documents.body_of(document, self._managed)),
            **searched(document),
        }

    def _record(self, row: dict[str, Any]) -> Record:
        return Record(row["collection"], row["id"], self._codec.decompress(row["body"]), etag_of(row["body"]))

    def _collection_record(self, row: dict[str, Any]) -> Record:
        return Record(row["id"], row["id"], self._codec.decompress(row["body"]), etag_of(row["body"]))

    def _widen(self, connection: Connection, collection: str, rows: Sequence[Row]) -> None:
        if rows:
            boxes = [row.box for row in rows if row.box is not None]
            extents.widen(connection, self._codec, collection, extents.item_extent(boxes, [row.span for row in rows]))
            statistics.widen(connection, collection, observations.observe([row.values["properties"] for row in rows]))


def _shape(geometry: Document | None, bbox: Sequence[float] | None) -> bytes | None:
    try:
        return to_wkb(geometry, bbox) if geometry else None
    except BadDocument as error:
        raise error.below("/geometry") from None


def _checked_span(parts: documents.Parts) -> Span:
    try:
        return span_of(*parts.times)
    except ValueError as error:
        raise BadDocument("/properties/datetime", str(error)) from error


def _check_state(record: Record, if_match: Sequence[str] | None) -> None:
    if if_match is not None and "*" not in if_match and record.etag not in if_match:
        raise PreconditionFailed("It has changed since it was read.")


def _key(collection: str, item: str) -> sa.ColumnElement[bool]:
    return sa.and_(items.c.collection == collection, items.c.id == item)


def _some(names: set[str], limit: int = 10) -> str:
    listed = ", ".join(sorted(names)[:limit])
    return listed if len(names) <= limit else f"{listed} and {len(names) - limit} more"
