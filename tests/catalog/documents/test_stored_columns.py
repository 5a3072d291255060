"""Columns of items and collections that searches read: own times, heights, durations, extents."""

from typing import Any

import pytest
import sqlalchemy as sa

from stacflask.catalog.database.engine import Database
from stacflask.catalog.documents.documents import Managed
from stacflask.catalog.reader import Catalog
from stacflask.catalog.writer import Writer
from stacflask.testing import a_collection, an_item

DAY, NEXT_DAY, LATER = "2024-10-05T00:00:00Z", "2024-10-06T00:00:00Z", "2025-02-10T00:00:00Z"
RANGE = {"start_datetime": DAY, "end_datetime": NEXT_DAY}
HIGH = {"type": "LineString", "coordinates": [[11, 48, 100.5], [12, 48, -3]]}


@pytest.fixture
def writer(database: Database) -> Writer:
    return Writer(Catalog(database), Managed())


def stored(database: Database, sql: str) -> list[Any]:
    with database.write() as connection:
        return [tuple(row) for row in connection.execute(sa.text(sql))]


@pytest.mark.parametrize(
    ("properties", "times", "flags"),
    [
        ({"datetime": DAY}, [DAY, DAY, DAY], [True, False, False]),
        ({"datetime": None, **RANGE}, [DAY, DAY, NEXT_DAY], [False, True, True]),
        ({"datetime": LATER, **RANGE}, [LATER, DAY, NEXT_DAY], [True, True, True]),
        ({"datetime": LATER, "start_datetime": DAY}, [LATER, DAY, LATER], [True, True, False]),
    ],
    ids=["instant", "range", "both", "start alone"],
)
def test_times_that_an_item_lacks_are_filled_in_and_flagged(
    database: Database, writer: Writer, properties: dict[str, Any], times: list[str], flags: list[bool]
) -> None:
    """Columns of times are never null; has_... is false if the item itself has no such time."""
    writer.create_collection(a_collection("c"))
    writer.create_items("c", [an_item("a", "c", properties=properties)])
    names = ("datetime", "start_datetime", "end_datetime")
    columns = [f"to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')" for name in names]
    columns += [f"has_{name}" for name in names]
    assert stored(database, f"SELECT {', '.join(columns)} FROM items") == [(*times, *flags)]


@pytest.mark.parametrize(
    ("item", "heights"),
    [
        ({"geometry": HIGH, "bbox": [11, 48, 12, 48]}, (-3, 100.5)),
        ({"geometry": HIGH, "bbox": [11, 48, -9, 12, 48, 9]}, (-9, 100.5)),
        ({"geometry": {"type": "Point", "coordinates": [1, 1]}}, (None, None)),
        ({"geometry": None}, (None, None)),
    ],
    ids=["geometry", "geometry and bbox", "flat", "no geometry"],
)
def test_heights_are_those_of_geometry_and_bbox(
    database: Database, writer: Writer, item: dict[str, Any], heights: tuple[float | None, float | None]
) -> None:
    """Heights span the geometry's and the bbox's, and are null without any."""
    writer.create_collection(a_collection("c"))
    writer.create_items("c", [an_item("a", "c", **item)])
    assert stored(database, "SELECT min_height, max_height FROM items") == [heights]


def test_a_collection_records_durations_and_datetimes_of_its_items(database: Database, writer: Writer) -> None:
    """The longest duration is rounded up and never lowered; has_datetimes is true after the first datetime."""
    columns = "SELECT max_duration_seconds, has_datetimes FROM collections"
    writer.create_collection(a_collection("c"))
    assert stored(database, columns) == [(0, False)]
    writer.create_items("c", [an_item("range", "c", properties={"datetime": None, **RANGE})])
    assert stored(database, columns) == [(131072, False)]
    writer.create_items("c", [an_item("instant", "c", properties={"datetime": DAY})])
    assert stored(database, columns) == [(131072, True)]
    writer.delete_item("c", "range", None)
    writer.delete_item("c", "instant", None)
    assert stored(database, columns) == [(131072, True)]


def test_a_collection_has_columns_for_its_extent_and_texts(database: Database, writer: Writer) -> None:
    """Boxes are cut at the antimeridian and joined, intervals can be open, and texts are case-folded."""
    extent = {
        "spatial": {"bbox": [[177, -20, -178, -16], [20, 60, 5000, 21, 61, 9000]]},
        "temporal": {
            "interval": [["2024-01-01T00:00:00Z", None], ["2020-01-01T00:00:00+02:00", "2020-02-01T00:00:00Z"]]
        },
    }
    writer.create_collection(a_collection("c", title="Große  Ä", keywords=["A", "b c"], extent=extent))
    columns = "ST_AsText(ST_Normalize(footprint)), min_height, max_height, intervals::text, search_text"
    ((footprint, lowest, highest, intervals, text),) = stored(database, f"SELECT {columns} FROM collections")
    assert footprint == (
        "MULTIPOLYGON(((177 -20,177 -16,180 -16,180 -20,177 -20)),((20 60,20 61,21 61,21 60,20 60)),"
        "((-180 -20,-180 -16,-178 -16,-178 -20,-180 -20)))"
    )
    assert (lowest, highest) == (0, 9000)
    assert intervals == '{["2019-12-31 22:00:00+00","2020-02-01 00:00:00+00"],["2024-01-01 00:00:00+00",)}'
    assert {"grosse ä", "a", "b c"} <= set(text.split("\n"))
