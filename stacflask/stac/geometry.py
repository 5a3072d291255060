"""GeoJSON geometries (RFC 7946): checked as they came, and as the search geometry that is made of them.

The search geometry is two-dimensional, valid and within 180 degrees, so that PostGIS can answer any question about it.
The document keeps the geometry as it was given.
"""

from __future__ import annotations

import struct
from functools import cached_property
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import shapely

from stacflask.errors import BadDocument
from stacflask.stac.bbox import HALF, POLE, around, latitude, longitude, spans
from stacflask.stac.cost import FEW_POSITIONS, check_cost, check_crossings, measured
from stacflask.stac.grammar import Check, array_of, check_at, check_each, kind, members, number, unlike
from stacflask.stac.repair import mended
from stacflask.stac.shapes import assembled, parts, simplified
from stacflask.stac.wrapping import cut_at_antimeridian

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stacflask.model.json_types import Document

MAXIMUM_POSITIONS = 100_000
MAXIMUM_DEPTH = 5
"""How deep collections may be nested in each other."""
MAXIMUM_BOXES = 1_000
SRID = 4326

# --- Checking ---------------------------------------------------------------------------------------------------------

_ORDINATES = (longitude, latitude, number)


def _position(value: Any) -> None:
    if not isinstance(value, list) or len(value) not in (2, 3):
        raise unlike("a position of 2 or 3 numbers", value)
    check_each(zip(range(len(value)), _ORDINATES, value, strict=False))


def _ring(value: Any) -> None:
    _ring_positions(value)
    if value[0][:2] != value[-1][:2]:
        raise BadDocument("", "expected a closed ring: its last position must be its first")


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


def _within(depth: int) -> Check:
    """Give the check for a geometry in ``depth`` collections."""

    def geometry(value: Any) -> None:
        name = value.get("type") if isinstance(value, dict) else None
        if name == "GeometryCollection" and depth < MAXIMUM_DEPTH:
            members({"geometries": array_of(_within(depth + 1), minimum=1)}, {})(value)
        elif isinstance(name, str) and name in _BY_TYPE:
            _BY_TYPE[name](value)
        else:
            raise _no_geometry(value)

    return geometry


def _no_geometry(value: Any) -> BadDocument:
    if not isinstance(value, dict):
        return unlike("a GeoJSON geometry", value)
    if value.get("type") == "GeometryCollection":
        return BadDocument("", f"expected collections nested no deeper than {MAXIMUM_DEPTH}")
    return BadDocument("/type", f"expected one of GeoJSON's seven geometry types, got {kind(value.get('type'))}")


_geometry = _within(0)


def check_geometry(value: Any, pointer: str = "", *, maximum_positions: int = MAXIMUM_POSITIONS) -> None:
    """Check a GeoJSON geometry: its structure, degrees in range, rings closed. It may cross itself.

    Raises BadDocument: it is none, or has more than ``maximum_positions``.
    """
    check_at(pointer, _geometry, value)
    count = _positions(value)
    if count > maximum_positions:
        raise BadDocument(pointer, f"expected at most {maximum_positions} positions, got {count}")


def _positions(value: Document) -> int:
    if value["type"] == "GeometryCollection":
        return sum(_positions(geometry) for geometry in value["geometries"])
    return _leaves(value["coordinates"])


def _leaves(coordinates: list[Any]) -> int:
    return sum(map(_leaves, coordinates)) if isinstance(coordinates[0], list) else 1


# --- The search geometry ----------------------------------------------------------------------------------------------


def to_wkb(value: Document, bbox: Sequence[float] | None = None, *, repair: bool = True) -> bytes:
    """Give the search geometry of a checked GeoJSON geometry as EWKB, 2D, in WGS 84.

    ``bbox`` says how an item's footprint is meant: where it crosses the antimeridian and the geometry does not, the
    geometry wraps the wrong way round the Earth and is cut.

    ``repair``: whether what crosses itself is repaired, else it is refused.

    Raises BadDocument: it cannot be cut, is not valid, or would cost too much.
    """
    with measured():
        shape = shape_of(value)
        if shape is None or shape.is_empty:
            raise BadDocument("", "expected a GeoJSON geometry")
        check_cost(shape)
        if not repair and not shapely.is_valid(shape):
            raise BadDocument("", f"the geometry is not valid: {shapely.is_valid_reason(shape)}")
        flat = shapely.force_2d(shape)
        cut = cut_at_antimeridian(flat, bbox)
        if repair or cut is not flat:
            cut = mended(simplified(cut))
        wkb: bytes = _ewkb(simplified(cut))
    return wkb


class SearchGeometry(dict[str, Any]):
    """A checked GeoJSON geometry to search with, whose search geometry is made once."""

    @cached_property
    def wkb(self) -> bytes:
        """The search geometry. Raises BadDocument, as ``to_wkb`` does."""
        return to_wkb(self)


def shape_of(value: Document) -> Any:
    """Give the shape of a checked GeoJSON geometry, or None where it cannot be read."""
    return shapely.from_geojson(orjson.dumps(_bare(value)), on_invalid="ignore")


def _bare(value: Document) -> Document:
    """Leave members of others away: they may hold what cannot be written as JSON again."""
    if value["type"] == "GeometryCollection":
        return {"type": value["type"], "geometries": [_bare(geometry) for geometry in value["geometries"]]}
    return {"type": value["type"], "coordinates": value["coordinates"]}


def to_wkb_many(values: Sequence[bytes], *, maximum_positions: int = MAXIMUM_POSITIONS) -> list[bytes | None]:
    """Give the search geometries of many GeoJSON texts at once, with None for each that needs a closer look.

    That is: what ``check_geometry`` refuses, whatever is invalid, spans more than half the Earth or runs past 180
    degrees, has heights, is a collection, or has members of its own. All others are as ``to_wkb`` makes them.
    """
    wkbs = _quadrangles(values if maximum_positions >= _POSITIONS else [b""] * len(values))
    others = [index for index, wkb in enumerate(wkbs) if wkb is None]
    shapes = shapely.from_geojson([values[index] for index in others], on_invalid="ignore")
    shapes[~_plain(shapes, [values[index] for index in others], maximum_positions)] = None
    for index, wkb in zip(others, _ewkb(shapes), strict=True):
        wkbs[index] = wkb
    return wkbs


def _quadrangles(values: Sequence[bytes]) -> list[bytes | None]:
    """Give the search geometries of convex quadrangles, as most footprints are, with None for all else.

    No shapes are made of them: what is convex needs no proof that it is valid.
    """
    wkbs: list[bytes | None] = [None] * len(values)
    found = [index for index, value in enumerate(values) if _is_quadrangle(value)]
    inner = b",".join([values[index][len(_BEFORE) : -len(_BEHIND)] for index in found])
    try:
        numbers = orjson.loads(b"[%b]" % inner.translate(None, b"[]"))
    except orjson.JSONDecodeError:  # one of them is no number, or too large for one
        return wkbs
    corners = np.array(numbers, "<f8").reshape(-1, _POSITIONS, 2)
    sound = _convex(corners)
    for index, ring in zip(compress(found, sound), corners[sound], strict=True):
        wkbs[index] = _QUADRANGLE + ring.tobytes()
    return wkbs


def _is_quadrangle(value: bytes) -> bool:
    """Whether a GeoJSON text is a polygon with one ring of five flat positions, from how it looks without digits."""
    if not value.startswith(_BEFORE) or not value.endswith(_BEHIND):
        return False
    return value[len(_BEFORE) : -len(_BEHIND)].translate(None, b"0123456789.+-eE") == b",],[,],[,],[,],[,"


def _convex(corners: Any) -> Any:
    """Tell which rings are closed, within 180 degrees, and turn the same way at each of their four corners."""
    sides = np.diff(corners, axis=1)
    others = np.roll(sides, -1, axis=1)
    turns = sides[..., 0] * others[..., 1] - sides[..., 1] * others[..., 0]
    # What turns by less than the error of this reckoning is left to a closer look.
    one_way = (turns > _STRAIGHT).all(1) | (turns < -_STRAIGHT).all(1)
    (west, south), (east, north) = corners.min(1).T, corners.max(1).T
    within = (west >= -HALF) & (east <= HALF) & (east - west <= HALF) & (south >= -POLE) & (north <= POLE)
    return one_way & within & (corners[:, 0] == corners[:, -1]).all(1)


_BEFORE, _BEHIND = b'{"type":"Polygon","coordinates":[[[', b"]]]}"
_POSITIONS = 5
_STRAIGHT = 1e-9
# As EWKB begins: byte order, type with SRID, SRID, number of rings, number of positions.
_QUADRANGLE = struct.pack("<BIIII", 1, 0x20000003, SRID, 1, _POSITIONS)


def _plain(shapes: Any, values: Sequence[bytes], maximum_positions: int) -> Any:
    """Tell which shapes are what their text says and need no repair.

    A text of nothing but a type and full coordinates has as many commas as numbers: so mixed dimensions, empty parts,
    members given twice and further members give themselves away, which the reader would pass over.
    """
    counts = shapely.get_num_coordinates(shapes)
    commas = [value.count(b",") for value in values]
    bounds = shapely.bounds(shapes)
    west, south, east, north = bounds[:, 0], bounds[:, 1], bounds[:, 2], bounds[:, 3]
    within = (west >= -HALF) & (east <= HALF) & (east - west <= HALF) & (south >= -POLE) & (north <= POLE)
    flat = ~shapely.has_z(shapes) & (2 * counts == commas) & (counts <= maximum_positions)
    plain = within & flat & _cheap(shapes, counts)
    plain[plain] = shapely.is_valid(shapes[plain])
    return plain


def _cheap(shapes: Any, counts: Any) -> Any:
    """Tell which shapes cost little enough to be checked."""
    cheap = np.ones(len(shapes), dtype=bool)
    for index in np.flatnonzero(counts > FEW_POSITIONS):
        try:
            check_cost(shapes[index])
        except BadDocument:
            cheap[index] = False
    return cheap


def boxes_to_wkb(boxes: Sequence[Sequence[float]]) -> bytes:
    """Give the search geometry of what lies in any of these checked bounding boxes. Heights do not count.

    Raises BadDocument: they are too many, or cross each other in too many places.
    """
    if len(boxes) > MAXIMUM_BOXES:
        raise BadDocument("", f"expected at most {MAXIMUM_BOXES} boxes, got {len(boxes)}")
    pieces = [_box(west, box[1], east, box[len(box) // 2 + 1]) for box in boxes for west, east in spans(box)]
    if len(boxes) == 1:
        wkb: bytes = _ewkb(assembled(pieces))
        return wkb
    check_crossings(shapely.geometrycollections(pieces), "the boxes cross each other in too many places")
    joined: bytes = _ewkb(shapely.union_all(pieces))
    return joined


def _box(west: float, south: float, east: float, north: float) -> Any:
    """Make a rectangle, or the line or point that it shrinks to."""
    if west < east and south < north:
        return shapely.box(west, south, east, north)
    if west == east and south == north:
        return shapely.Point(west, south)
    return shapely.LineString([(west, south), (east, north)])


def _ewkb(shapes: Any) -> Any:
    return shapely.to_wkb(shapely.set_srid(shapes, SRID), output_dimension=2, byte_order=1, include_srid=True)


# --- Its heights ------------------------------------------------------------------------------------------------------


def heights_of(value: Document) -> tuple[float, float] | None:
    """Return the least and the greatest height of a checked geometry, or None if no position has one.

    Where only some positions have a height, the others are at 0.
    """
    found = set(_heights(value))
    if found <= {None}:
        return None
    known = [height or 0 for height in found]
    return min(known), max(known)


def _heights(value: Document) -> Iterator[float | None]:
    if value["type"] == "GeometryCollection":
        for geometry in value["geometries"]:
            yield from _heights(geometry)
    else:
        yield from _third(value["coordinates"])


def _third(coordinates: list[Any]) -> Iterator[float | None]:
    if isinstance(coordinates[0], list):
        for part in coordinates:
            yield from _third(part)
    else:
        yield coordinates[2] if len(coordinates) > 2 else None  # noqa: PLR2004


# --- Its bounds -------------------------------------------------------------------------------------------------------


def bbox_of(wkb: bytes) -> list[float]:
    """Give the bounding box of a search geometry; west past east where it was cut at the antimeridian."""
    return bounds_many([wkb])[0]


def bbox_for(value: Document, former: Sequence[float] | None = None) -> list[float]:
    """Return the bounding box of a checked GeoJSON geometry, with heights if it has any (RFC 7946, section 5).

    ``former`` is the box of the item's former geometry: if it crosses the antimeridian, the new one can cross it too.
    """
    crossing = former if former is not None and len(spans(former)) > 1 else None
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
    """Give the bounding boxes of many search geometries at once."""
    shapes = shapely.from_wkb(list(wkbs))
    boxes: list[list[float]] = shapely.bounds(shapes).tolist()
    for index, (west, _, east, _) in enumerate(boxes):
        if west == -HALF and east == HALF:
            boxes[index] = around(part.bounds for part in parts(shapes[index]))
    return boxes
