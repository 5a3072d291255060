"""Extents of collections: widened when items are written, recomputed from the items on request.

The first box and the first interval are the overall ones. The others belong to the author and do not change.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from stacflask.catalog.database.tables import collections, items
from stacflask.catalog.documents import documents
from stacflask.catalog.documents.codec import Codec
from stacflask.catalog.documents.collection_rows import searched
from stacflask.catalog.documents.rows import Span
from stacflask.errors import NotFound
from stacflask.model.json_types import Document
from stacflask.stac.bbox import MAX_LONGITUDE, around, covers
from stacflask.stac.bbox import widen as widened_box
from stacflask.stac.times import format_instant, parse_instant


@dataclass(frozen=True, slots=True)
class ItemExtent:
    """The extent of some items: ``boxes`` in degrees, each of 4 or 6 numbers, and the first and last moment.

    ``longest`` is the longest duration of an item, in seconds. ``dated`` is whether an item has a datetime.
    """

    boxes: Sequence[Sequence[float]]
    start: datetime
    end: datetime
    longest: float
    dated: bool = False


def item_extent(boxes: Sequence[Sequence[float]], spans: Sequence[Span]) -> ItemExtent:
    """Return the extent of items with these boxes and times."""
    return ItemExtent(
        boxes,
        min(span.first for span in spans),
        max(span.last for span in spans),
        max(span.seconds for span in spans),
        any(span.given[0] for span in spans),
    )


class ComputedExtent(NamedTuple):
    """An extent that was computed from items. ``box`` is None if no item has a geometry."""

    box: list[float] | None
    start: datetime
    end: datetime


def widen(connection: Connection, codec: Codec, collection: str, item_extent: ItemExtent) -> None:
    """Widen the extent of a collection to contain these items. If it contains them, nothing is locked or written.

    Call it last in a transaction, because it locks the row of the collection.
    """
    given, longest, dated = _extent(connection, collection)
    if item_extent.longest > longest or (item_extent.dated and not dated):
        _record_times(connection, collection, item_extent.longest, dated=item_extent.dated)
    if _widened(given, item_extent) is None:
        return
    frame, document = _locked(connection, collection)
    extent = _widened(document["extent"], item_extent)
    if extent is not None:
        _write(connection, codec, collection, frame, {**document, "extent": extent})


def recompute(connection: Connection, codec: Codec, collection: str) -> bool:
    """Recompute the extent of a collection from its items. Return whether it changed. Without items it stays.

    Raises:
        NotFound: There is no such collection.
    """
    frame, document = _locked(connection, collection)
    given = document["extent"]
    extent = _recomputed(given, compute_extents(connection, [items.c.collection == collection]).get(collection))
    if extent == given:
        return False
    _write(connection, codec, collection, frame, {**document, "extent": extent})
    return True


def _recomputed(given: Document, found: ComputedExtent | None) -> Document:
    if found is None:
        return given
    box = {} if found.box is None else _with_box(given, found.box)
    return {**given, **box, **_with_interval(given, [format_instant(found.start), format_instant(found.end)])}


def all_collections(connection: Connection) -> list[str]:
    """Return the ids of all collections, in order."""
    return list(connection.execute(sa.select(collections.c.id).order_by(collections.c.id)).scalars())


# --- Rows -------------------------------------------------------------------------------------------------------------


def _extent(connection: Connection, collection: str) -> tuple[Document, float, bool]:
    columns = (collections.c.document["extent"], collections.c.max_duration_seconds, collections.c.has_datetimes)
    statement = sa.select(*columns).where(collections.c.id == collection)
    extent, longest, dated = _found(connection.execute(statement).one_or_none(), collection)
    return extent, longest, dated


def _locked(connection: Connection, collection: str) -> tuple[bytes, Document]:
    statement = sa.select(collections.c.body, collections.c.document).where(collections.c.id == collection)
    # Transactions that write items share a key lock on the row. FOR UPDATE would conflict with it, this lock does not.
    row = connection.execute(statement.with_for_update(key_share=True)).one_or_none()
    frame, document = _found(row, collection)
    return frame, document


def _found(value: Any, collection: str) -> Any:
    if value is None:
        raise NotFound(f"There is no collection {collection!r}.")
    return value


def _record_times(connection: Connection, collection: str, seconds: float, *, dated: bool) -> None:
    """Record the duration of an item in seconds, and whether an item has a datetime.

    The duration is rounded up to a power of two, so that the row of a collection is seldom written.
    """
    bound = 2.0 ** max(0, (int(seconds) + 1).bit_length()) if seconds else 0.0
    former_seconds, former_flag = collections.c.max_duration_seconds, collections.c.has_datetimes
    longest, has_datetimes = sa.func.greatest(former_seconds, bound), sa.or_(former_flag, sa.literal(dated))
    change = sa.update(collections).where(collections.c.id == collection)
    change = change.where(sa.or_(former_seconds < longest, former_flag != has_datetimes))
    connection.execute(change.values(max_duration_seconds=longest, has_datetimes=has_datetimes))


def _write(connection: Connection, codec: Codec, collection: str, frame: bytes, document: Document) -> None:
    body = documents.with_members(codec.decompress(frame), {"extent": orjson.dumps(document["extent"])})
    change = sa.update(collections).where(collections.c.id == collection)
    connection.execute(change.values(body=codec.compress(body), **searched(document)))


# --- Widening ---------------------------------------------------------------------------------------------------------


def _widened(extent: Document, item_extent: ItemExtent) -> Document | None:
    """Return the extent that contains these items, too, or None if it does not change."""
    box, interval = _first_box(extent), _first_interval(extent)
    new_box = box if _simple_covers(box, item_extent.boxes) else reduce(widened_box, item_extent.boxes, box)
    new_interval = _widened_interval(interval, item_extent)
    if (new_box, new_interval) == (box, interval):
        return None
    return {**extent, **_with_box(extent, new_box), **_with_interval(extent, new_interval)}


def _simple_covers(outer: Sequence[float], boxes: Sequence[Sequence[float]]) -> bool:
    """Whether all of thousands of boxes lie within another, in a simple case; False means unknown."""
    if any(len(box) != 4 or not -MAX_LONGITUDE <= box[0] <= box[2] <= MAX_LONGITUDE for box in boxes):  # noqa: PLR2004
        return False
    if not boxes:
        return True
    west, south, east, north = zip(*boxes, strict=True)
    return covers(outer, (min(west), min(south), max(east), max(north)))


def _widened_interval(interval: list[str | None], item_extent: ItemExtent) -> list[str | None]:
    start, end = interval
    if start is not None and item_extent.start < parse_instant(start):
        start = format_instant(item_extent.start)
    if end is not None and item_extent.end > parse_instant(end):
        end = format_instant(item_extent.end)
    return [start, end]


# --- From the items ---------------------------------------------------------------------------------------------------

# Boxes that begin and end in the same degree of longitude are joined, so millions of items become thousands of rows.
# The box of an item that was cut at the antimeridian is computed from its parts.
_PLACED = sa.text(f"""
    ST_XMin(geometry) AS west, ST_XMax(geometry) AS east, coalesce(min_height, 0) AS low,
    coalesce(max_height, 0) AS high, min_height IS NOT NULL AS tall,
    CASE WHEN has_start_datetime AND has_end_datetime THEN start_datetime END AS start,
    CASE WHEN has_start_datetime AND has_end_datetime THEN end_datetime END AS "end",
    ST_XMin(geometry) = -{MAX_LONGITUDE} AND ST_XMax(geometry) = {MAX_LONGITUDE}
        AND ST_NumGeometries(geometry) > 1 AS cut
""")
_JOINED = sa.text(f"""
    SELECT collection, min(west), min(ST_YMin(geometry)), min(low), max(east), max(ST_YMax(geometry)), max(high),
           bool_or(tall) AS tall, min(least(datetime, start)) AS start, max(greatest(datetime, "end")) AS end
    FROM (
        SELECT collection, geometry, low, high, tall, datetime, start, "end",
               CASE WHEN cut THEN coalesce((SELECT min(ST_XMin(part.geom)) FILTER (WHERE ST_XMin(part.geom) >= 0)
                                            FROM ST_Dump(geometry) AS part), -{MAX_LONGITUDE}) ELSE west END AS west,
               CASE WHEN cut THEN coalesce((SELECT max(ST_XMax(part.geom)) FILTER (WHERE ST_XMax(part.geom) <= 0)
                                            FROM ST_Dump(geometry) AS part), {MAX_LONGITUDE}) ELSE east END AS east
        FROM placed
    ) AS parted GROUP BY collection, floor(west), floor(east)
""").columns()


def compute_extents(connection: Connection, conditions: Iterable[sa.ColumnElement[bool]]) -> dict[str, ComputedExtent]:
    """Return the extents of the items that match some conditions, by collection."""
    columns = (items.c.collection, items.c.geometry, items.c.datetime)
    placed = sa.select(*columns, _PLACED).where(*conditions).cte("placed")
    groups: dict[str, list[Any]] = {}
    for row in connection.execute(_JOINED.add_cte(placed)):
        groups.setdefault(row[0], []).append(row)
    return {collection: _computed_extent(rows) for collection, rows in groups.items()}


def _computed_extent(rows: Sequence[Any]) -> ComputedExtent:
    tall = any(row.tall for row in rows)
    boxes = [row[1:7] if tall else (*row[1:3], *row[4:6]) for row in rows if row[1] is not None]
    start, end = min(row.start for row in rows), max(row.end for row in rows)
    return ComputedExtent(around(boxes) if boxes else None, start, end)


# --- Members of an extent ---------------------------------------------------------------------------------------------


def _first_box(extent: Document) -> list[float]:
    box: list[float] = extent["spatial"]["bbox"][0]
    return box


def _first_interval(extent: Document) -> list[str | None]:
    interval: list[str | None] = extent["temporal"]["interval"][0]
    return interval


def _with_box(extent: Document, box: Sequence[float]) -> Document:
    spatial = extent["spatial"]
    return {"spatial": {**spatial, "bbox": [list(box), *spatial["bbox"][1:]]}}


def _with_interval(extent: Document, interval: list[str | None]) -> Document:
    temporal = extent["temporal"]
    return {"temporal": {**temporal, "interval": [interval, *temporal["interval"][1:]]}}
