"""Check GeoJSON geometries (RFC 7946) and make search geometries of them.

The search geometry is two-dimensional, valid and within -180 to 180 degrees, as PostGIS needs it for all its functions.
The stored document keeps the original geometry.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import orjson
import shapely

from stacflask.errors import BadDocument
from stacflask.model.json_types import Document
from stacflask.stac.antimeridian_cut import cut_at_antimeridian
from stacflask.stac.bbox import MAX_LATITUDE, MAX_LONGITUDE, around, latitude, longitude, longitude_ranges
from stacflask.stac.geometry_cost import FEW_POSITIONS, check_cost, check_crossings, timed
from stacflask.stac.geometry_parts import flattened, from_parts, parts
from stacflask.stac.geometry_repair import repair_geometry
from stacflask.stac.json_checks import Check, array_of, check_at, check_each, describe, members, number, unexpected

MAXIMUM_POSITIONS = 100_000
MAXIMUM_DEPTH = 5
"""Levels of nested geometry collections."""
MAXIMUM_BOXES = 1_000
SRID = 4326

# --- Checks -----------------------------------------------------------------------------------------------------------

_ORDINATES = (longitude, latitude, number)


def _position(value: Any) -> None:
    if not isinstance(value, list) or len(value) not in (2, 3):
        raise unexpected("a position of 2 or 3 numbers", value)
    check_each(zip(range(len(value)), _ORDINATES, value, strict=False))


def _ring(value: Any) -> None:
    _ring_positions(value)
    if value[0][:2] != value[-1][:2]:
        raise BadDocument("", "expected a closed ring: its last position must equal its first")


_ring_positions = array_of(_position, minimum=4)
_line = array_of(_position, minimum=2)
_polygon = array_of(_ring, minimum=1)

_COORDINATES: dict[str, Check] = {
    "Point": _position,
    "LineString": _line,
    "Polygon": _polygon,
    "MultiPoint": array_of(_position, minimum=1),
    "MultiLineString": array_of(_line, minimum=1),
    "MultiPolygon": array_of(_polygon, minimum=1),
}
_BY_TYPE = {name: members({"coordinates": check}, {}) for name, check in _COORDINATES.items()}


def _geometry_check(depth: int) -> Check:
    """Return the check for a geometry in ``depth`` collections."""

    def geometry(value: Any) -> None:
        name = value.get("type") if isinstance(value, dict) else None
        if name == "GeometryCollection" and depth < MAXIMUM_DEPTH:
            members({"geometries": array_of(_geometry_check(depth + 1), minimum=1)}, {})(value)
        elif isinstance(name, str) and name in _BY_TYPE:
            _BY_TYPE[name](value)
        else:
            raise _geometry_error(value)

    return geometry


def _geometry_error(value: Any) -> BadDocument:
    if not isinstance(value, dict):
        return unexpected("a GeoJSON geometry", value)
    if value.get("type") == "GeometryCollection":
        return BadDocument("", f"expected collections nested no deeper than {MAXIMUM_DEPTH}")
    return BadDocument("/type", f"expected one of GeoJSON's seven geometry types, got {describe(value.get('type'))}")


_geometry = _geometry_check(0)


def check_geometry(value: Any, pointer: str = "", *, maximum_positions: int = MAXIMUM_POSITIONS) -> None:
    """Check a GeoJSON geometry: its structure, degrees in range, rings closed. It may cross itself.

    Raises:
        BadDocument: The value is not a geometry, or has more than ``maximum_positions``.
    """
    check_at(pointer, _geometry, value)
    count = _positions(value)
    if count > maximum_positions:
        raise BadDocument(pointer, f"expected at most {maximum_positions} positions, got {count}")


def _positions(value: Document) -> int:
    if value["type"] == "GeometryCollection":
        return sum(_positions(geometry) for geometry in value["geometries"])
    return _count_positions(value["coordinates"])


def _count_positions(coordinates: list[Any]) -> int:
    return sum(map(_count_positions, coordinates)) if isinstance(coordinates[0], list) else 1


# --- The search geometry ----------------------------------------------------------------------------------------------


def to_wkb(value: Document, bbox: Sequence[float] | None = None, *, repair: bool = True) -> bytes:
    """Return the search geometry of a checked GeoJSON geometry as EWKB, 2D, in WGS 84.

    Args:
        value: The geometry.
        bbox: The bounding box of the item, in degrees. If it crosses the antimeridian and the geometry does not, the
            geometry runs the wrong way round the Earth and is cut.
        repair: Whether a geometry that crosses itself is repaired; otherwise it is refused.

    Raises:
        BadDocument: The geometry cannot be cut, is not valid, or would take too long.
    """
    with timed():
        shape = shape_of(value)
        if shape is None or shape.is_empty:
            raise BadDocument("", "expected a GeoJSON geometry")
        check_cost(shape)
        if not repair and not shapely.is_valid(shape):
            raise BadDocument("", f"the geometry is not valid: {shapely.is_valid_reason(shape)}")
        flat = shapely.force_2d(shape)
        cut = cut_at_antimeridian(flat, bbox)
        if repair or cut is not flat:
            cut = repair_geometry(flattened(cut))
        wkb: bytes = _ewkb(flattened(cut))
    return wkb


class SearchGeometry(dict[str, Any]):
    """A checked GeoJSON geometry of a query. Its search geometry is computed once."""

    @cached_property
    def wkb(self) -> bytes:
        """The search geometry. Raises BadDocument, as ``to_wkb`` does."""
        return to_wkb(self)


def shape_of(value: Document) -> Any:
    """Return the shape of a checked GeoJSON geometry, or None if it cannot be read."""
    return shapely.from_geojson(orjson.dumps(_standard_members(value)), on_invalid="ignore")


def _standard_members(value: Document) -> Document:
    """Leave out foreign members, because their values may not be writable as JSON."""
    if value["type"] == "GeometryCollection":
        return {"type": value["type"], "geometries": [_standard_members(geometry) for geometry in value["geometries"]]}
    return {"type": value["type"], "coordinates": value["coordinates"]}


def to_wkb_many(values: Sequence[bytes], *, maximum_positions: int = MAXIMUM_POSITIONS) -> list[bytes | None]:
    """Return the search geometries of many GeoJSON texts at once; None means that ``to_wkb`` must be called.

    The result is None for a geometry that ``check_geometry`` refuses, or that is invalid, spans more than half the
    Earth, extends beyond 180 degrees, has heights, is a collection, or has foreign members. All others equal the result
    of ``to_wkb``.
    """
    shapes = shapely.from_geojson(values, on_invalid="ignore")
    shapes[~_plain(shapes, values, maximum_positions)] = None
    wkbs: list[bytes | None] = list(_ewkb(shapes))
    return wkbs


def _is_narrow(west: Any, south: Any, east: Any, north: Any) -> Any:
    """Return a mask of the boxes that are on the globe and at most half of it wide."""
    longitudes = (west >= -MAX_LONGITUDE) & (east <= MAX_LONGITUDE) & (east - west <= MAX_LONGITUDE)
    return longitudes & (south >= -MAX_LATITUDE) & (north <= MAX_LATITUDE)


def _plain(shapes: Any, values: Sequence[bytes], maximum_positions: int) -> Any:
    """Return a mask of the shapes that equal their text and need no repair.

    A text with only a type and 2D coordinates has as many commas as numbers. The comparison finds mixed dimensions,
    empty parts, duplicate members and foreign members, which Shapely ignores.
    """
    counts = shapely.get_num_coordinates(shapes)
    commas = [value.count(b",") for value in values]
    bounds = shapely.bounds(shapes)
    west, south, east, north = bounds[:, 0], bounds[:, 1], bounds[:, 2], bounds[:, 3]
    within = _is_narrow(west, south, east, north)
    flat = ~shapely.has_z(shapes) & (2 * counts == commas) & (counts <= maximum_positions)
    plain = within & flat & _cheap(shapes, counts)
    plain[plain] = shapely.is_valid(shapes[plain])
    return plain


def _cheap(shapes: Any, counts: Any) -> Any:
    """Return a mask of the shapes that are cheap enough to validate."""
    cheap = np.ones(len(shapes), dtype=bool)
    for index in np.flatnonzero(counts > FEW_POSITIONS):
        try:
            check_cost(shapes[index])
        except BadDocument:
            cheap[index] = False
    return cheap


def boxes_to_wkb(boxes: Sequence[Sequence[float]]) -> bytes:
    """Return the search geometry of the union of these checked bounding boxes. Heights are ignored.

    Raises:
        BadDocument: There are too many boxes, or they cross each other in too many places.
    """
    if len(boxes) > MAXIMUM_BOXES:
        raise BadDocument("", f"expected at most {MAXIMUM_BOXES} boxes, got {len(boxes)}")
    pieces = [_box(west, box[1], east, box[len(box) // 2 + 1]) for box in boxes for west, east in longitude_ranges(box)]
    if len(boxes) == 1:
        wkb: bytes = _ewkb(from_parts(pieces))
        return wkb
    check_crossings(shapely.geometrycollections(pieces), "the boxes cross each other in too many places")
    joined: bytes = _ewkb(shapely.union_all(pieces))
    return joined


def _box(west: float, south: float, east: float, north: float) -> Any:
    """Return a rectangle, or a line or point if it has no width or height."""
    if west < east and south < north:
        return shapely.box(west, south, east, north)
    if west == east and south == north:
        return shapely.Point(west, south)
    return shapely.LineString([(west, south), (east, north)])


def _ewkb(shapes: Any) -> Any:
    return shapely.to_wkb(shapely.set_srid(shapes, SRID), output_dimension=2, byte_order=1, include_srid=True)


# --- Heights ----------------------------------------------------------------------------------------------------------


def heights_of(value: Document) -> tuple[float, float] | None:
    """Return the least and the greatest height of a checked geometry, or None if no position has a height.

    If only some positions have a height, the others are at 0.
    """
    found = set(_heights(value))
    if found <= {None}:
        return None
    heights = [height or 0 for height in found]
    return min(heights), max(heights)


def _heights(value: Document) -> Iterator[float | None]:
    if value["type"] == "GeometryCollection":
        for geometry in value["geometries"]:
            yield from _heights(geometry)
    else:
        yield from _position_heights(value["coordinates"])


def _position_heights(coordinates: list[Any]) -> Iterator[float | None]:
    if isinstance(coordinates[0], list):
        for part in coordinates:
            yield from _position_heights(part)
    else:
        yield coordinates[2] if len(coordinates) > 2 else None  # noqa: PLR2004


# --- Bounding boxes ---------------------------------------------------------------------------------------------------


def bbox_of(wkb: bytes) -> list[float]:
    """Return the bounding box of a search geometry; west > east if it was cut at the antimeridian."""
    return bounds_many([wkb])[0]


def bbox_for(value: Document, former: Sequence[float] | None = None) -> list[float]:
    """Return the bounding box of a checked GeoJSON geometry, with heights if it has any (RFC 7946, section 5).

    ``former`` is the box of the previous geometry of the item. If it crosses the antimeridian, the new box can, too.
    """
    crossing = former if former is not None and len(longitude_ranges(former)) > 1 else None
    box = bbox_of(to_wkb(value, crossing))
    heights = [position[2] for position in _each_position(value) if len(position) > 2]  # noqa: PLR2004
    return [*box[:2], min(heights), *box[2:], max(heights)] if heights else box


def _each_position(value: Document) -> Iterator[list[float]]:
    if value["type"] == "GeometryCollection":
        for geometry in value["geometries"]:
            yield from _each_position(geometry)
        return
    waiting = [value["coordinates"]]
    while waiting:
        part = waiting.pop()
        if isinstance(part[0], list):
            waiting += part
        else:
            yield part


def bounds_many(wkbs: Sequence[bytes]) -> list[list[float]]:
    """Return the bounding boxes of many search geometries at once."""
    shapes = shapely.from_wkb(list(wkbs))
    boxes: list[list[float]] = shapely.bounds(shapes).tolist()
    for index, (west, _, east, _) in enumerate(boxes):
        if west == -MAX_LONGITUDE and east == MAX_LONGITUDE:
            boxes[index] = around(part.bounds for part in parts(shapes[index]))
    return boxes
