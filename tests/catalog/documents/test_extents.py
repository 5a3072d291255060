"""Extents of collections: widening and recomputing."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
import shapely
import sqlalchemy as sa
from geoalchemy2 import WKBElement

from stacflask.catalog.database.engine import Database
from stacflask.catalog.database.tables import collections, items
from stacflask.catalog.documents import documents, extents
from stacflask.catalog.documents.codec import Codec
from stacflask.errors import NotFound
from stacflask.model.json_types import Document
from stacflask.stac.geometry import to_wkb

COLLECTION = {
    "type": "Collection",
    "stac_version": "1.1.0",
    "id": "c",
    "description": "ü",
    "license": "other",
    "extent": {
        "spatial": {"bbox": [[0, 0, 10, 10], [1, 1, 2, 2]]},
        "temporal": {"interval": [["2020-01-01T00:00:00Z", None], ["2020-02-01T00:00:00Z", None]]},
        "custom": 1,
    },
    "assets": {"a b": {"href": "s3://bucket/key"}},
    "links": [{"rel": "license", "href": "https://example.org/licence"}],
}
IN_2021 = datetime(2021, 1, 1, tzinfo=UTC)


NO_DICTIONARIES: dict[int, bytes] = {}
CODEC = Codec(NO_DICTIONARIES.__getitem__)  # collections are stored without a dictionary


@pytest.fixture
def given(database: Database) -> Database:
    """A database with one collection that has a small extent."""
    body = documents.body_of(COLLECTION, documents.Managed())
    row = {"id": "c", "body": CODEC.compress(body), "document": documents.searchable(COLLECTION)}
    with database.write() as connection:
        connection.execute(sa.insert(collections), row)
    return database


def put_item(
    database: Database,
    identifier: str,
    geometry: Any,
    *,
    start: datetime = IN_2021,
    end: datetime = IN_2021,
    heights: tuple[float | None, float | None] = (None, None),
) -> None:
    wkb = None if geometry is None else WKBElement(to_wkb(shapely.geometry.mapping(geometry)), srid=4326, extended=True)
    row = {"collection": "c", "id": identifier, "datetime": start, "start_datetime": start, "end_datetime": end}
    row |= dict.fromkeys(("has_start_datetime", "has_end_datetime"), True)
    row |= {"geometry": wkb, "min_height": heights[0], "max_height": heights[1], "properties": {}, "body": b""}
    with database.write() as connection:
        connection.execute(sa.insert(items), row)


def put_cut_item(database: Database, identifier: str, west: float, east: float) -> None:
    """Store an item whose search geometry was cut at the antimeridian."""
    put_item(database, identifier, shapely.MultiPolygon([shapely.box(west, 0, 180, 1), shapely.box(-180, 0, east, 1)]))


def widen(database: Database, *boxes: Sequence[float], start: datetime = IN_2021, end: datetime = IN_2021) -> None:
    with database.write() as connection:
        extents.widen(connection, CODEC, "c", extents.ItemExtent(boxes, start, end, 0))


def recompute(database: Database) -> bool:
    with database.write() as connection:
        return extents.recompute(connection, CODEC, "c")


def kept(database: Database) -> tuple[Document, Document]:
    """Return the searchable and the original document of the collection's row."""
    with database.write() as connection:
        row = connection.execute(sa.select(collections.c.document, collections.c.body)).one()
    return row.document, documents.original(CODEC.decompress(row.body))


def version(database: Database) -> tuple[str, ...]:
    """Return PostgreSQL's version of the row, which every write changes."""
    with database.write() as connection:
        return tuple(connection.execute(sa.text("SELECT ctid::text, xmin::text FROM collections")).one())


def extent(database: Database) -> Any:
    """Return the extent. Check that it is the same in both documents."""
    searched, shown = kept(database)
    assert searched["extent"] == shown["extent"]
    return shown["extent"]


def bbox(database: Database) -> Any:
    return extent(database)["spatial"]["bbox"][0]


def interval(database: Database) -> Any:
    return extent(database)["temporal"]["interval"][0]


def test_items_within_the_extent_write_nothing(given: Database) -> None:
    """Items within the extent do not change the row of the collection."""
    before = version(given)
    widen(given, [1, 1, 2, 2], [0, 0, 10, 10])
    assert version(given) == before


def test_items_within_the_extent_need_no_lock(given: Database) -> None:
    """Items within the extent do not wait for a transaction that holds a lock on the row."""
    with given.write() as other:
        other.execute(sa.select(collections).with_for_update())
        widen(given, [1, 1, 2, 2])


def test_items_outside_widen_the_extent_in_space_and_time(given: Database) -> None:
    """Only the first box and the first interval of the document change."""
    widen(given, [-5, 1, 2, 2], [1, 1, 2, 20], start=datetime(2019, 5, 1, 12, tzinfo=UTC))
    expected = {
        "spatial": {"bbox": [[-5, 0, 10, 20], [1, 1, 2, 2]]},
        "temporal": {"interval": [["2019-05-01T12:00:00Z", None], ["2020-02-01T00:00:00Z", None]]},
        "custom": 1,
    }
    assert extent(given) == expected
    assert kept(given)[1] == {**COLLECTION, "extent": expected}


def test_a_closed_interval_is_widened_at_its_end(given: Database) -> None:
    """The end of the interval becomes the end of the last item."""
    put_item(given, "i", shapely.Point(1, 1), end=IN_2021)
    recompute(given)
    widen(given, [1, 1, 1, 1], end=datetime(2022, 3, 4, tzinfo=UTC))
    assert interval(given) == ["2021-01-01T00:00:00Z", "2022-03-04T00:00:00Z"]


def test_a_widened_extent_can_cross_the_antimeridian(given: Database) -> None:
    """A box that crosses the antimeridian does not make the extent span the whole Earth."""
    widen(given, [0, 0, 179, 1], [178, 0, -179, 1])
    assert bbox(given) == [0, 0, -179, 10]


def test_heights_do_not_change_a_flat_extent(given: Database) -> None:
    """Boxes of six numbers widen an extent of four numbers in the plane only."""
    widen(given, [0, 0, 100, 20, 5, 200])
    assert bbox(given) == [0, 0, 20, 10]


def test_items_without_a_box_widen_the_interval_only(given: Database) -> None:
    """Items without a geometry have times."""
    widen(given, start=datetime(2018, 1, 1, tzinfo=UTC))
    assert bbox(given) == [0, 0, 10, 10]
    assert interval(given) == ["2018-01-01T00:00:00Z", None]


def test_recompute_uses_the_items(given: Database) -> None:
    """The box and the interval are those of the items. The return value is whether they changed."""
    put_item(given, "a", shapely.box(3, 4, 5, 6), end=datetime(2021, 6, 1, tzinfo=UTC))
    put_item(given, "b", shapely.Point(-7, 8), start=datetime(2020, 6, 1, 0, 0, 0, 500000, tzinfo=UTC))
    put_item(given, "nowhere", None)
    assert recompute(given)
    assert bbox(given) == [-7, 4, 5, 8]
    assert interval(given) == ["2020-06-01T00:00:00.5Z", "2021-06-01T00:00:00Z"]
    assert not recompute(given)


def test_recompute_with_heights(given: Database) -> None:
    """If items have heights, the recomputed box has heights. Items without heights are at 0."""
    put_item(given, "a", shapely.Point(1, 1), heights=(10.0, 300.0))
    put_item(given, "b", shapely.Point(2, 2))
    recompute(given)
    assert bbox(given) == [1, 1, 0, 2, 2, 300]


def test_recompute_over_the_antimeridian(given: Database) -> None:
    """If items are on both sides of the antimeridian, cut or not, the box crosses it."""
    put_cut_item(given, "cut", 175, -178)
    put_item(given, "east", shapely.box(170, 0, 171, 1))
    put_item(given, "west", shapely.box(-176, 0, -175, 1))
    recompute(given)
    assert bbox(given) == [170, 0, -175, 1]


def test_recompute_of_the_whole_earth(given: Database) -> None:
    """If one item covers the Earth, the box does."""
    put_item(given, "all", shapely.box(-180, -90, 180, 90))
    recompute(given)
    assert bbox(given) == [-180, -90, 180, 90]


def test_recompute_without_items_changes_nothing(given: Database) -> None:
    """A collection without items keeps its extent."""
    assert not recompute(given)
    assert extent(given) == COLLECTION["extent"]


def test_unknown_collection(database: Database) -> None:
    """Both functions raise NotFound."""
    with pytest.raises(NotFound):
        widen(database, [0, 0, 1, 1])
    with pytest.raises(NotFound):
        recompute(database)
