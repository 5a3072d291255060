"""GeoJSON geometries and their search geometries."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from stacflask.errors import BadDocument
from stacflask.stac.geometry import bbox_of, bounds_many, check_geometry, to_wkb, to_wkb_many


def box(west: float, south: float, east: float, north: float) -> list[Any]:
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def polygon(*rings: list[Any]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


def line(*positions: Any) -> dict[str, Any]:
    return {"type": "LineString", "coordinates": list(positions)}


def point(*numbers: float) -> dict[str, Any]:
    return {"type": "Point", "coordinates": list(numbers)}


def collection(*geometries: Any) -> dict[str, Any]:
    return {"type": "GeometryCollection", "geometries": list(geometries)}


def nested(depth: int) -> dict[str, Any]:
    return point(1, 2) if depth == 0 else collection(nested(depth - 1))


SQUARE = box(0, 0, 2, 2)
BOW_TIE: list[Any] = [[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]

GOOD = [
    point(1, 2),
    point(1.5, -2.5, 8848),
    point(190, 5),
    line([0, 0], [1, 1]),
    line([0, 0, 1], [1, 1]),
    polygon(SQUARE),
    polygon(box(-1, -1, 9, 9), SQUARE),
    polygon(BOW_TIE),
    polygon([[0, 0, 1], [1, 0, 2], [1, 1, 3], [0, 0, 4]]),
    {"type": "MultiPoint", "coordinates": [[1, 2], [3, 4]]},
    {"type": "MultiLineString", "coordinates": [[[0, 0], [1, 1]], [[2, 2], [3, 3]]]},
    {"type": "MultiPolygon", "coordinates": [[SQUARE], [box(5, 5, 6, 6)]]},
    collection(point(1, 2), polygon(SQUARE), collection(line([0, 0], [1, 1]))),
    {"type": "Point", "coordinates": [1, 2], "crs": {"type": "name"}, "bbox": "whatever"},
    nested(5),
]

BAD: list[tuple[Any, str]] = [
    (None, ""),
    ([], ""),
    ("POINT (1 2)", ""),
    ({}, "/type"),
    ({"coordinates": [1, 2]}, "/type"),
    ({"type": "point", "coordinates": [1, 2]}, "/type"),
    ({"type": ["Point"], "coordinates": [1, 2]}, "/type"),
    ({"type": "Feature", "geometry": point(1, 2)}, "/type"),
    ({"type": "Point"}, "/coordinates"),
    ({"type": "GeometryCollection", "coordinates": []}, "/geometries"),
    (point(), "/coordinates"),
    (point(1), "/coordinates"),
    (point(1, 2, 3, 4), "/coordinates"),
    ({"type": "Point", "coordinates": {"0": 1, "1": 2}}, "/coordinates"),
    ({"type": "Point", "coordinates": "12"}, "/coordinates"),
    ({"type": "Point", "coordinates": ["1", 2]}, "/coordinates/0"),
    ({"type": "Point", "coordinates": [1, None]}, "/coordinates/1"),
    ({"type": "Point", "coordinates": [True, 2]}, "/coordinates/0"),
    (point(361, 2), "/coordinates/0"),
    (point(1, 90.1), "/coordinates/1"),
    (point(1, float("nan")), "/coordinates/1"),
    (point(float("inf"), 1), "/coordinates/0"),
    (point(1, 2, float("inf")), "/coordinates/2"),
    (point(1, 2, 2**70), "/coordinates/2"),
    (line([0, 0]), "/coordinates"),
    (line(), "/coordinates"),
    (line([0, 0], [1]), "/coordinates/1"),
    (polygon(), "/coordinates"),
    (polygon([]), "/coordinates/0"),
    (polygon([[0, 0], [1, 1], [0, 0]]), "/coordinates/0"),
    (polygon([[0, 0], [1, 0], [1, 1], [0, 1]]), "/coordinates/0"),
    (polygon(SQUARE, []), "/coordinates/1"),
    (polygon(SQUARE, [[0, 0], [1, 0], [1, 99], [0, 0]]), "/coordinates/1/2/1"),
    ({"type": "MultiPoint", "coordinates": []}, "/coordinates"),
    ({"type": "MultiPoint", "coordinates": [[]]}, "/coordinates/0"),
    ({"type": "MultiPolygon", "coordinates": [SQUARE]}, "/coordinates/0/0"),
    (collection(), "/geometries"),
    (collection(point(1, 2), point(1)), "/geometries/1/coordinates"),
    (collection(polygon(SQUARE), None), "/geometries/1"),
    (nested(6), "/geometries/0" * 5),
]


@pytest.mark.parametrize("geometry", GOOD)
def test_all_geometry_types_have_a_search_geometry(geometry: Any) -> None:
    """Each becomes a valid two-dimensional geometry in WGS 84."""
    check_geometry(geometry)
    shape = shapely.from_wkb(to_wkb(geometry))
    assert shape.is_valid
    assert not shape.has_z
    assert shapely.get_srid(shape) == 4326


@pytest.mark.parametrize(("geometry", "pointer"), BAD)
def test_an_invalid_geometry_is_refused_with_a_pointer(geometry: Any, pointer: Any) -> None:
    """The pointer leads to the smallest invalid part."""
    with pytest.raises(BadDocument) as caught:
        check_geometry(geometry, "/geometry")
    assert caught.value.pointer == "/geometry" + pointer


def test_too_many_positions_are_refused() -> None:
    """The limit applies to the sum over all parts."""
    both = collection(polygon(SQUARE), polygon(SQUARE))
    check_geometry(both, maximum_positions=10)
    with pytest.raises(BadDocument, match="at most 9 positions, got 10"):
        check_geometry(both, maximum_positions=9)


def test_deeply_nested_coordinates_are_refused_without_recursion() -> None:
    """Arrays nested 1000 levels deep are read only to the depth of the geometry type."""
    deep: Any = 1.0
    for _ in range(1000):
        deep = [deep]
    with pytest.raises(BadDocument):
        check_geometry({"type": "MultiPolygon", "coordinates": deep})


@pytest.mark.parametrize(
    ("geometry", "kind", "area"),
    [
        (polygon(BOW_TIE), "MultiPolygon", 2),
        (polygon([[0, 0], [2, 2], [1, 1], [0, 0]]), "LineString", 0),
        (polygon([[1, 1]] * 4), "Point", 0),
        (line([1, 1], [1, 1]), "Point", 0),
        ({"type": "MultiPolygon", "coordinates": [[SQUARE], [box(1, 1, 3, 3)]]}, "Polygon", 7),
        (collection(polygon(SQUARE), polygon(box(1, 1, 3, 3))), "Polygon", 7),
        (collection(polygon(SQUARE), collection(polygon(box(5, 5, 6, 6)))), "MultiPolygon", 5),
        (collection(point(1, 1), collection(polygon(BOW_TIE))), "GeometryCollection", 2),
    ],
)
def test_a_search_geometry_is_valid_and_not_nested(geometry: Any, kind: Any, area: Any) -> None:
    """Rings that cross themselves keep their area. Only parts of several types stay a collection, without nesting."""
    shape = shapely.from_wkb(to_wkb(geometry))
    assert (shape.geom_type, shape.area) == (kind, area)
    assert shape.is_valid
    assert not any(part.geom_type == "GeometryCollection" for part in getattr(shape, "geoms", ()))


def test_a_search_geometry_does_not_change_the_document() -> None:
    """``to_wkb`` leaves its argument unchanged."""
    geometry = polygon(box(170, 0, 190, 10))
    before = json.dumps(geometry)
    to_wkb(geometry, [170, 0, -170, 10])
    assert json.dumps(geometry) == before


ACROSS = polygon(box(170, 0, -170, 10))
POLAR = [[10, 80], [100, 82], [170, 81], [-100, 80], [10, 80]]
SOUTH = [[x, -y] for x, y in POLAR]


@pytest.mark.parametrize(
    ("geometry", "bbox", "area", "expected"),
    [
        (polygon(box(170, 0, 190, 10)), None, 200, [170, 0, -170, 10]),
        (polygon(box(-190, 0, -170, 10)), None, 200, [170, 0, -170, 10]),
        (polygon(box(185, 0, 190, 10)), None, 50, [-175, 0, -170, 10]),
        (polygon(box(170, 0, 190, 10), box(178, 2, 182, 4)), None, 192, [170, 0, -170, 10]),
        (polygon([[170, 0], [190, 20], [190, 0], [170, 20], [170, 0]]), None, 200, [170, 0, -170, 20]),
        (polygon(box(0, -90, 360, 90)), None, 64800, [-180, -90, 180, 90]),
        (polygon(box(-360, -90, 360, 90)), None, 64800, [-180, -90, 180, 90]),
        (ACROSS, [170, 0, -170, 10], 200, [170, 0, -170, 10]),
        (ACROSS, [170, 0, 190, 10], 200, [170, 0, -170, 10]),
        (ACROSS, [170, 0, 5, -170, 10, 6], 200, [170, 0, -170, 10]),
        (polygon(box(170, 0, -170, 10)[::-1]), [170, 0, -170, 10], 200, [170, 0, -170, 10]),
        (polygon(box(170, 0, -170, 10), box(178, 2, -178, 4)), [170, 0, -170, 10], 192, [170, 0, -170, 10]),
        (polygon([[170, 0], [-180, 5], [170, 10], [170, 0]]), [170, 0, -180, 10], 50, [170, 0, 180, 10]),
        (ACROSS, None, 3400, [-170, 0, 170, 10]),
        (ACROSS, [-170, 0, 170, 10], 3400, [-170, 0, 170, 10]),
        (polygon(box(-180, -90, 180, 90)), [-180, -90, 180, 90], 64800, [-180, -90, 180, 90]),
        (polygon(box(-180, -90, 180, 90)), [180, -90, -180, 90], 64800, [-180, -90, 180, 90]),
        (polygon(box(10, 0, 20, 10)), [10, 0, 20, 10], 100, [10, 0, 20, 10]),
        (polygon(POLAR), [-180, 80, 180, 90], 3360, [-180, 80, 180, 90]),
        (polygon(POLAR[::-1]), [-180, 80, 180, 90], 3360, [-180, 80, 180, 90]),
        (polygon(POLAR[::-1]), [-180, 80, 0, 180, 90, 9], 3360, [-180, 80, 180, 90]),
        (polygon(SOUTH), [-180, -90, 180, -80], 3360, [-180, -90, 180, -80]),
        (polygon(SOUTH[::-1]), [-180, -90, 180, -80], 3360, [-180, -90, 180, -80]),
        (line([170, 0], [190, 10]), None, 0, [170, 0, -170, 10]),
        (line([170, 0], [-170, 10]), [170, 0, -170, 10], 0, [170, 0, -170, 10]),
        (point(190, 5), None, 0, [-170, 5, -170, 5]),
        ({"type": "MultiPoint", "coordinates": [[179, 1], [-179, 2]]}, [179, 1, -179, 2], 0, [-179, 1, 179, 2]),
        (
            {"type": "MultiPolygon", "coordinates": [[box(170, 0, 180, 10)], [box(-180, 0, -170, 10)]]},
            [170, 0, -170, 10],
            200,
            [170, 0, -170, 10],
        ),
    ],
)
def test_footprints_across_the_antimeridian_are_cut(geometry: Any, bbox: Any, area: Any, expected: Any) -> None:
    """Parts beyond 180 degrees are moved. A geometry that jumps is cut only if its bbox crosses the antimeridian."""
    check_geometry(geometry)
    wkb = to_wkb(geometry, bbox)
    shape = shapely.from_wkb(wkb)
    assert shape.is_valid
    assert shape.area == pytest.approx(area)
    assert shape.bounds[0] >= -180
    assert shape.bounds[2] <= 180
    assert bbox_of(wkb) == expected


def test_foreign_members_do_not_change_a_search_geometry() -> None:
    """This includes values that cannot be written as JSON."""
    strange = {**point(1, 2), "mine": 10**40}
    assert to_wkb(strange) == to_wkb(point(1, 2))
    assert to_wkb(collection(strange)) == to_wkb(collection(point(1, 2)))


def test_a_geometry_that_was_not_checked_is_refused() -> None:
    """A caller that did not call ``check_geometry`` gets the same error."""
    with pytest.raises(BadDocument):
        to_wkb({"type": "Polygon", "coordinates": []})


# --- Many geometries --------------------------------------------------------------------------------------------------


def test_to_wkb_many_returns_the_bytes_of_to_wkb() -> None:
    """The result is the same, or None for geometries that only ``to_wkb`` can convert."""
    results = to_wkb_many([orjson.dumps(geometry) for geometry in GOOD])
    for geometry, wkb in zip(GOOD, results, strict=True):
        assert wkb in (None, to_wkb(geometry))
    assert [geometry["type"] for geometry, wkb in zip(GOOD, results, strict=True) if wkb] == [
        "Point",
        "LineString",
        "Polygon",
        "Polygon",
        "MultiPoint",
        "MultiLineString",
        "MultiPolygon",
    ]


@pytest.mark.parametrize(("geometry", "pointer"), BAD)
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_to_wkb_many_returns_none_for_an_invalid_geometry(geometry: Any, pointer: Any) -> None:
    """Every geometry that ``check_geometry`` refuses becomes None. The other geometries are not affected."""
    text = json.dumps(geometry).replace("Infinity", "1e999").encode()
    before, bad, after = to_wkb_many([b'{"type":"Point","coordinates":[1,2]}', text, orjson.dumps(polygon(SQUARE))])
    assert bad is None
    assert before
    assert after


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"not json",
        b'{"type":"Point","coordinates":[1,2]',
        b'{"type":"Point","coordinates":[5,5],"coordinates":[1,2]}',
        b'{"type":"Feature","geometry":{"type":"Point","coordinates":[1,2]}}',
        b'{"type":"FeatureCollection","features":[{"type":"Feature","geometry":{"type":"Point","coordinates":[1,2]}}]}',
    ],
)
def test_to_wkb_many_returns_none_for_unusual_texts(text: Any) -> None:
    """Texts that Shapely accepts although they are not plain geometries become None."""
    assert to_wkb_many([text]) == [None]


def test_to_wkb_many_returns_none_for_too_many_positions() -> None:
    """``check_geometry`` then refuses the geometry."""
    texts = [orjson.dumps(polygon(SQUARE))]
    assert to_wkb_many(texts, maximum_positions=4) == [None]
    assert to_wkb_many(texts, maximum_positions=5) != [None]


@pytest.mark.parametrize(
    "ring",
    [
        [[0, 0], [2, 0], [2, 2], [0, 2]],
        [[0, 2], [2, 2], [2.5, 0], [0.25, -1e-3]],
        [[0, 0], [2, 0], [0.5, 0.5], [0, 2]],
        [[0, 0], [2, 2], [2, 0], [0, 2]],
        [[0, 0], [1, 0], [2, 0], [0, 2]],
        [[0, 0], [2, 0], [2, 0], [0, 2]],
        [[0, 0], [2, 0], [2, 1e-12], [0, 1e-12]],
        [[-180, 0], [180, 0], [180, 2], [-180, 2]],
        [[178, 0], [182, 0], [182, 2], [178, 2]],
    ],
)
def test_to_wkb_many_returns_the_bytes_of_to_wkb_for_quadrangles(ring: list[list[float]]) -> None:
    """Quadrangles have their own code: convex or not, with crossing sides, without area, or outside the globe."""
    geometry = polygon([*ring, ring[0]])
    results = to_wkb_many([orjson.dumps(geometry), orjson.dumps(polygon(SQUARE))])
    assert results[0] in (None, to_wkb(geometry))
    assert results[1] == to_wkb(polygon(SQUARE))


def test_bounds_many_returns_the_box_of_each_geometry() -> None:
    """The boxes have the order of the geometries; west > east if a geometry crosses the antimeridian."""
    wkbs = [to_wkb(polygon(SQUARE)), to_wkb(polygon(box(175, 0, 185, 1))), to_wkb(point(3, 4))]
    assert bounds_many(wkbs) == [[0, 0, 2, 2], [175, 0, -175, 1], [3, 4, 3, 4]]


def test_an_empty_list_has_an_empty_result() -> None:
    """An empty list of geometries is not an error."""
    assert to_wkb_many([]) == []
    assert bounds_many([]) == []


# --- Random geometries ------------------------------------------------------------------------------------------------

numbers = st.one_of(
    st.integers(-400, 400),
    st.floats(-200, 200),
    st.sampled_from([0, 180, -180, 90, -90, True, None, "1", 1e30]),
)
positions = st.lists(numbers, min_size=1, max_size=4) | st.tuples(st.integers(-181, 181), st.integers(-90, 90)).map(
    list
)
lines = st.lists(positions, max_size=6)
rings = lines.map(lambda ring: [*ring, ring[0]] if ring else ring)
polygons = st.lists(rings, max_size=3)
simple = st.one_of(
    st.builds(lambda c: {"type": "Point", "coordinates": c}, positions),
    st.builds(lambda t, c: {"type": t, "coordinates": c}, st.sampled_from(["LineString", "MultiPoint"]), lines),
    st.builds(lambda t, c: {"type": t, "coordinates": c}, st.sampled_from(["Polygon", "MultiLineString"]), polygons),
    st.builds(lambda c: {"type": "MultiPolygon", "coordinates": c}, st.lists(polygons, max_size=2)),
)
geometries = st.one_of(simple, st.builds(lambda g: {"type": "GeometryCollection", "geometries": g}, st.lists(simple)))
sane = st.lists(st.tuples(st.integers(-360, 360), st.integers(-90, 90)).map(list), min_size=3, max_size=9).map(
    lambda ring: polygon([*ring, ring[0]])
)


def accepted(geometry: Any) -> bool:
    try:
        check_geometry(geometry)
    except BadDocument:
        return False
    return True


@settings(max_examples=150, deadline=None)
@given(geometries)
def test_every_accepted_geometry_has_a_valid_search_geometry(geometry: Any) -> None:
    """``to_wkb_many`` returns the same bytes as ``to_wkb``, or None, and None for every refused geometry."""
    [result] = to_wkb_many([orjson.dumps(geometry)])
    if not accepted(geometry):
        assert result is None
        return
    wkb = to_wkb(geometry)
    assert result in (None, wkb)
    assert_searchable(wkb)


@settings(max_examples=150, deadline=None)
@given(sane, st.tuples(st.integers(-180, 180), st.integers(-180, 180)))
def test_any_ring_and_bbox_is_cut_or_refused(geometry: Any, ends: Any) -> None:
    """Random rings and boxes have a valid search geometry or raise BadDocument."""
    try:
        wkb = to_wkb(geometry, [ends[0], -90, ends[1], 90])
    except BadDocument:
        return
    assert_searchable(wkb)


def assert_searchable(wkb: bytes) -> None:
    shape = shapely.from_wkb(wkb)
    assert shape.is_valid
    assert not shape.is_empty
    assert shape.bounds[0] >= -180
    assert shape.bounds[2] <= 180
    assert len(bbox_of(wkb)) == 4
