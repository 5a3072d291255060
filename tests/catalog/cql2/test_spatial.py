"""All spatial relations for all geometry types and many rows, compared with Shapely."""

import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import shapely
import shapely.affinity

from tests.catalog.cql2.conftest import Item, TruthsOf

ROWS = 9
"""Rows of each type. PostGIS prepares a geometry that is the same in several rows."""
FAR = 20


def a_point(choose: Random) -> Any:
    return shapely.Point(choose.randrange(6), choose.randrange(6))


def a_line(choose: Random) -> Any:
    one, other = choose.sample([(x, y) for x in range(6) for y in range(6)], 2)
    return shapely.LineString([one, other])


def a_square(choose: Random) -> Any:
    x, y = choose.randrange(5), choose.randrange(5)
    return shapely.box(x, y, x + choose.choice((1, 2)), y + choose.choice((1, 2)))


def away(shape: Any) -> Any:
    return shapely.affinity.translate(shape, FAR)


TYPES: dict[str, Callable[[Random], Any]] = {
    "Point": a_point,
    "MultiPoint": lambda choose: shapely.MultiPoint([a_point(choose), away(a_point(choose))]),
    "LineString": a_line,
    "MultiLineString": lambda choose: shapely.MultiLineString([a_line(choose), away(a_line(choose))]),
    "Polygon": a_square,
    "MultiPolygon": lambda choose: shapely.MultiPolygon([a_square(choose), away(a_square(choose))]),
    "point and area": lambda choose: shapely.GeometryCollection([a_point(choose), away(a_square(choose))]),
    "point and line": lambda choose: shapely.GeometryCollection([a_point(choose), away(a_line(choose))]),
    "all three": lambda choose: shapely.GeometryCollection(
        [a_point(choose), away(a_line(choose)), shapely.affinity.translate(a_square(choose), 0, FAR)]
    ),
    "nested": lambda choose: shapely.GeometryCollection(
        [shapely.GeometryCollection([a_point(choose), away(a_line(choose))]), away(a_square(choose))]
    ),
}
SINGLE = [name for name in TYPES if name[0].isupper()]
CHOOSE = Random(13)
ROW_SHAPES = {f"{name} {n}": TYPES[name](CHOOSE) for name in TYPES for n in range(ROWS)}
QUERIES = {name: [TYPES[name](CHOOSE) for _ in range(3)] for name in TYPES}


@pytest.fixture(scope="module")
def truths_of(store_items: Callable[[list[Item]], TruthsOf]) -> TruthsOf:
    times = {"datetime": "2024-01-01T00:00:00Z"}
    shapes = {name: mapping(shape) for name, shape in ROW_SHAPES.items()}
    return store_items(
        [{"id": name, "collection": "c", "geometry": g, "properties": times} for name, g in shapes.items()]
    )


def mapping(shape: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(shapely.to_geojson(shape))
    return document


def expected(function: str, shape: Any, *, mirrored: bool, names: list[str]) -> set[str]:
    relation = getattr(shapely, function.removeprefix("s_"))
    pairs = {name: (shape, own) if mirrored else (own, shape) for name, own in ROW_SHAPES.items() if name in names}
    return {name for name, pair in pairs.items() if relation(*pair)}


@pytest.mark.parametrize("mirrored", [False, True], ids=["property first", "literal first"])
@pytest.mark.parametrize("query_type", TYPES)
@pytest.mark.parametrize("function", ["s_intersects", "s_disjoint"])
def test_intersects_and_disjoint(truths_of: TruthsOf, function: str, query_type: str, mirrored: bool) -> None:
    """The result is correct for all types, including collections and nested collections."""
    for shape in QUERIES[query_type]:
        args = [{"property": "geometry"}, mapping(shape)]
        found = truths_of({"op": function, "args": args[::-1] if mirrored else args})
        names = {name for name, holds in found.items() if holds}
        assert names == expected(function, shape, mirrored=mirrored, names=list(ROW_SHAPES)), shape


@pytest.mark.parametrize("mirrored", [False, True], ids=["property first", "literal first"])
@pytest.mark.parametrize("query_type", SINGLE)
@pytest.mark.parametrize("function", ["s_contains", "s_crosses", "s_equals", "s_overlaps", "s_touches", "s_within"])
def test_other_relations(truths_of: TruthsOf, function: str, query_type: str, mirrored: bool) -> None:
    """The result is correct for points, lines, polygons and their multi-types."""
    single = [name for name in ROW_SHAPES if name[0].isupper()]
    for shape in QUERIES[query_type]:
        args = [{"property": "geometry"}, mapping(shape)]
        found = truths_of({"op": function, "args": args[::-1] if mirrored else args})
        names = {name for name in single if found[name]}
        assert names == expected(function, shape, mirrored=mirrored, names=single), shape
