"""Conditions on five scenes in PostGIS, for each conformance class of CQL2 1.0."""

from collections.abc import Callable
from typing import Any

import pytest

from stacflask.catalog.cql2 import parse
from tests.catalog.cql2.conftest import Item, TruthsOf


def square(west: float, south: float, size: float = 1) -> list[list[list[float]]]:
    east, north = west + size, south + size
    return [[[west, south], [east, south], [east, north], [west, north], [west, south]]]


def scene(name: str, geometry: tuple[str, Any] | None, collection: str = "scenes", **properties: Any) -> Item:
    shape = geometry and {"type": geometry[0], "coordinates": geometry[1]}
    named = {key.replace("__", ":"): value for key, value in properties.items()}
    return {"id": name, "collection": collection, "geometry": shape, "properties": named}


SCENES = [
    scene(
        "munich",
        ("Polygon", square(11, 48)),
        datetime="2024-06-01T10:00:00Z",
        created="2024-06-01T12:00:00Z",
        title="München",
        eo__cloud_cover=5,
        gsd=10,
        bands=["B02", "B03", "B04"],
        night=False,
        view={"azimuth": 120.5, "off_nadir": 0},
        count=7,
    ),
    scene(
        "next",
        ("Polygon", square(12, 48)),
        datetime="2024-06-02T10:00:00.25Z",
        created="2024-06-01T14:00:00+02:00",
        title="MU\u0308NCHEN",
        eo__cloud_cover=60.5,
        gsd=20,
        bands=["B04", "B08", "B08"],
        night=True,
        view={"azimuth": 240, "off_nadir": 12},
        count=-7,
    ),
    scene(
        "fiji",
        ("MultiPolygon", [square(179, -18), square(-180, -18)]),
        "ranges",
        datetime=None,
        start_datetime="2024-05-31T00:00:00Z",
        end_datetime="2024-06-30T23:59:59Z",
        created="2024-06-01",
        title="Straße 50%",
        eo__cloud_cover=None,
        gsd=30,
        bands=[],
        count=0,
    ),
    scene(
        "odd",
        ("LineString", [[10, 48.5], [14, 48.5]]),
        datetime="2023-12-31T23:59:59.999999Z",
        created="last Tuesday",
        title=5,
        eo__cloud_cover="5",
        bands="B02",
        night="true",
        view=3,
    ),
    scene("bare", None, datetime="2024-06-15T00:00:00Z"),
]
ALL = {"munich", "next", "fiji", "odd", "bare"}


@pytest.fixture(scope="module")
def truths_of(store_items: Callable[[list[Item]], TruthsOf]) -> TruthsOf:
    return store_items(SCENES)


BASIC = [
    ("eo:cloud_cover < 10", "munich"),
    ("eo:cloud_cover >= 5 AND eo:cloud_cover <> 5", "next"),
    ("NOT eo:cloud_cover < 10", "next"),
    ("eo:cloud_cover = '5'", "odd"),
    ("eo:cloud_cover <> 5", "next"),
    ("eo:cloud_cover IS NULL", "fiji bare"),
    ("eo:cloud_cover IS NOT NULL", "munich next odd"),
    ("NOT (eo:cloud_cover < 10 OR gsd > 15)", ""),
    ("NOT (eo:cloud_cover > 10 AND gsd > 15)", "munich"),
    ("nothing = 1 OR gsd = 10", "munich"),
    ("nothing = 1 AND gsd = 10 OR TRUE", "munich next fiji odd bare"),
    ("(nothing = 1) IS NULL AND gsd = 10", "munich"),
    ("night = TRUE", "next"),
    ("night", "next"),
    ("NOT night", "munich"),
    ("title > 'M' AND title < 'N'", "munich next"),
    ("title = 'München'", "munich"),
    ("id = 'bare' OR collection = 'ranges'", "bare fiji"),
    ("collection > 'ranges'", "munich next odd bare"),
    ("properties.gsd = 20", "next"),
    ("view.azimuth > 200", "next"),
    ("view.azimuth.deeper = 1", ""),
    ("TRUE", "munich next fiji odd bare"),
    ("FALSE", ""),
]
TIMES = [
    ("datetime = TIMESTAMP('2024-06-01T10:00:00Z')", "munich"),
    ("datetime > TIMESTAMP('2024-06-02T10:00:00.249999Z')", "next bare"),
    ("datetime = DATE('2024-06-02')", "next"),
    ("datetime <> DATE('2024-06-02')", "munich odd bare"),
    ("datetime <= DATE('2024-06-01')", "munich odd"),
    ("datetime < DATE('2024-06-01')", "odd"),
    ("datetime > DATE('2023-12-31')", "munich next bare"),
    ("DATE('2023-12-31') >= datetime", "odd"),
    ("datetime > '2024-06-02T00:00:00Z'", "next bare"),
    ("datetime IS NULL", "fiji"),
    ("start_datetime IS NOT NULL", "fiji"),
    ("created = TIMESTAMP('2024-06-01T12:00:00Z')", "munich next"),
    ("created = DATE('2024-06-01')", "munich next fiji"),
    ("created < TIMESTAMP('2024-06-01T00:00:01Z')", "fiji"),
    ("created < datetime", "next"),
    ("created > 'last'", "odd"),
    ("created IN (TIMESTAMP('2024-06-01T12:00:00Z'), DATE('2020-01-01'))", "munich next"),
    ("T_AFTER(datetime, DATE('2024-06-02'))", "bare"),
    ("T_BEFORE(created, datetime)", "next"),
    ("T_INTERSECTS(datetime, INTERVAL('2024-06-01', '2024-06-02'))", "munich next"),
    ("T_INTERSECTS(INTERVAL('..', '2024-01-01'), datetime)", "odd"),
    ("T_DISJOINT(datetime, INTERVAL('2024-06-01', '..'))", "odd"),
    ("T_EQUALS(created, DATE('2024-06-01'))", "munich next fiji"),
    ("T_CONTAINS(INTERVAL(start_datetime, end_datetime), INTERVAL('2024-06-01', '2024-06-15'))", "fiji"),
    ("T_DURING(INTERVAL(start_datetime, end_datetime), INTERVAL('2024-05-30', '2024-07-01'))", "fiji"),
    ("T_FINISHES(INTERVAL(start_datetime, end_datetime), INTERVAL('..', '2024-06-30'))", "fiji"),
    ("T_STARTS(INTERVAL('2024-05-31', '2024-06-01'), INTERVAL(start_datetime, end_datetime))", "fiji"),
    ("T_MEETS(INTERVAL('2024-05-01', '2024-05-31'), INTERVAL(start_datetime, end_datetime))", "fiji"),
    ("T_OVERLAPS(INTERVAL('2024-05-01', '2024-06-01'), INTERVAL(start_datetime, end_datetime))", "fiji"),
]
STRINGS = [
    ("title LIKE 'M_nchen'", "munich"),
    ("title LIKE '%50\\%'", "fiji"),
    ("title NOT LIKE 'M%'", "fiji"),
    ("id LIKE '____'", "next fiji bare"),
    ("CASEI(title) = CASEI('münchen')", "munich"),
    ("CASEI(title) LIKE casei('STRASSE%')", "fiji"),
    ("ACCENTI(title) = 'Munchen'", "munich"),
    ("ACCENTI(CASEI(title)) = casei(accenti('münchen'))", "munich next"),
    ("CASEI(ACCENTI(title)) IN (casei('MUNCHEN'), casei(accenti('strásse 50%')))", "munich next fiji"),
    ("CASEI(id) = CASEI('FIJI')", "fiji"),
]
NUMBERS = [
    ("gsd BETWEEN 10 AND 20", "munich next"),
    ("gsd NOT BETWEEN 10 AND 20", "fiji"),
    ("gsd BETWEEN view.off_nadir AND view.azimuth", "munich next"),
    ("gsd IN (10, 30.0, 'x')", "munich fiji"),
    ("gsd NOT IN (10, 30)", "next"),
    ("title IN ('München', 5)", "munich odd"),
    ("night IN (TRUE)", "next"),
    ("gsd + eo:cloud_cover * 2 = 20", "munich"),
    ("gsd / eo:cloud_cover > 1", "munich"),
    ("1 / count > 0", "munich"),
    ("count % 4 = -3", "next"),
    ("count div 4 = -1", "next"),
    ("count ^ 2 = 49", "munich next"),
    ("count ^ -1 IS NULL", "fiji odd bare"),
    ("(count - 8) ^ 0.5 IS NULL AND count IS NOT NULL", "munich next fiji"),
    ("-count = 7", "next"),
    ("gsd * 1e90 * 1e90 * 1e90 > 0", "munich next fiji"),
    ("10 ^ (gsd * 10) IS NULL", "munich next fiji odd bare"),
]
GEOMETRIES = [
    ("S_INTERSECTS(geometry, POINT(11.5 48.5))", "munich odd"),
    ("S_INTERSECTS(BBOX(12, 48, 12, 49), geometry)", "munich next odd"),
    ("S_INTERSECTS(geometry, BBOX(179.5, -20, -179.5, -10))", "fiji"),
    ("S_INTERSECTS(geometry, BBOX(0, 40, -100, 20, 50, 100))", "munich next odd"),
    ("S_INTERSECTS(geometry, POLYGON((178 -20, 182 -20, 182 -10, 178 -10, 178 -20)))", "fiji"),
    ("S_INTERSECTS(geometry, GEOMETRYCOLLECTION(POINT Z(11.5 48.2 9), LINESTRING(179.5 -30, 179.5 0)))", "munich fiji"),
    ("S_DISJOINT(geometry, BBOX(0, 40, 20, 50))", "fiji"),
    ("NOT S_INTERSECTS(geometry, BBOX(0, 40, 20, 50))", "fiji"),
    ("S_TOUCHES(geometry, POLYGON((12 48, 13 48, 13 49, 12 49, 12 48)))", "munich"),
    ("S_EQUALS(geometry, POLYGON((12 49, 12 48, 13 48, 13 49, 12 49)))", "next"),
    ("S_WITHIN(geometry, BBOX(10.5, 47, 13, 50))", "munich next"),
    ("S_CONTAINS(BBOX(10.5, 47, 13, 50), geometry)", "munich next"),
    ("S_CONTAINS(geometry, MULTIPOINT(11.5 48.2, 11.6 48.3))", "munich"),
    ("S_OVERLAPS(geometry, BBOX(11.5, 47, 20, 50))", "munich"),
    ("S_CROSSES(geometry, BBOX(11, 47, 12, 50))", "odd"),
    ("geometry IS NULL", "bare"),
]
ARRAYS = [
    ("A_CONTAINS(bands, ('B04'))", "munich next"),
    ("A_CONTAINS(bands, ('B08', 'B04'))", "next"),
    ("A_EQUALS(bands, ('B08', 'B04', 'B04'))", "next"),
    ("A_CONTAINEDBY(bands, ('B02', 'B03', 'B04', 'B05'))", "munich fiji"),
    ("A_OVERLAPS(bands, ('B02', 'B08'))", "munich next"),
    ("A_OVERLAPS(('B02', 'B08'), bands)", "munich next"),
    ("A_EQUALS(bands, ())", "fiji"),
    ("NOT A_CONTAINS(bands, ('B04'))", "fiji"),
    ("A_CONTAINS(bands, bands)", "munich next fiji"),
    ("bands IS NULL", "bare"),
]
FUNCTIONS = [
    ("area(geometry) > 8e9 AND area(geometry) < 9e9", "munich next"),
    ("distance(geometry, POINT(11.5 50)) < 112000", "munich"),
    ("area(intersection(geometry, BBOX(11.5, 48, 13, 49))) / area(geometry) > 0.9", "next"),
    ("S_WITHIN(centroid(geometry), BBOX(11.4, 48, 11.6, 49))", "munich"),
    ("month(datetime) = 6 AND day(datetime) IN (1, 15)", "munich bare"),
    ("year(created) = 2024 AND hour(created) = 12", "munich next"),
    ("dayofyear(datetime) = 365", "odd"),
    ("datetime < now() AND datetime > ago(100000)", "munich next odd bare"),
    ("to_number(eo:cloud_cover) = 5", "munich odd"),
    ("to_string(title) = '5' OR to_string(gsd) = '30'", "odd fiji"),
    ("to_datetime(created) = DATE('2024-06-01')", "munich next fiji"),
    ("upper(title) LIKE 'STRASSE%' OR lower(title) = 'münchen'", "fiji munich"),
    ("length(title) = 8", "next"),
    ("size(bands) = 3", "munich next"),
    ("abs(count) = 7 AND floor(eo:cloud_cover) = 60", "next"),
    ("ceiling(eo:cloud_cover) = 61 AND round(eo:cloud_cover) = 61", "next"),
]


@pytest.mark.parametrize(
    ("text", "expected"),
    BASIC + TIMES + STRINGS + NUMBERS + GEOMETRIES + ARRAYS + FUNCTIONS,
    ids=lambda part: part[:60],
)
def test_a_condition_finds_the_scenes_for_which_it_is_true(truths_of: TruthsOf, text: str, expected: str) -> None:
    """Rows for which the condition is false or unknown are not found."""
    assert {name for name, holds in truths_of(parse(text)).items() if holds} == set(expected.split())


def test_both_forms_of_between_are_accepted(truths_of: TruthsOf) -> None:
    """Older clients send the two bounds of between as one array."""
    gsd = {"property": "gsd"}
    flat, nested = {"op": "between", "args": [gsd, 10, 20]}, {"op": "between", "args": [gsd, [10, 20]]}
    assert truths_of(flat) == truths_of(nested)
    assert any(truths_of(flat).values())
