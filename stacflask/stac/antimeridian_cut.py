"""Cut footprints that cross the antimeridian, so that all longitudes are within -180 to 180 degrees.

Published footprints have two forms. One continues beyond 180 (170 to 190), which is unambiguous. The other jumps from
179 to -179. Read as a line in the plane, it runs the long way round; only its bounding box shows that the short way is
meant.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import antimeridian
import shapely

from stacflask.errors import BadDocument
from stacflask.stac.bbox import FULL_CIRCLE, MAX_LATITUDE, MAX_LONGITUDE, longitude_ranges
from stacflask.stac.geometry_cost import check_crossings
from stacflask.stac.geometry_parts import from_parts, parts
from stacflask.stac.geometry_repair import repair_geometry

MAXIMUM_JUMPS = 100
"""Steps over the antimeridian. The time to cut a shape grows with their square."""


def cut_at_antimeridian(shape: Any, bbox: Sequence[float] | None) -> Any:
    """Return the same footprint within 180 degrees, cut at the antimeridian.

    Raises:
        BadDocument: The footprint cannot be cut.
    """
    west, _, east, _ = shape.bounds
    if west < -MAX_LONGITUDE or east > MAX_LONGITUDE:
        check_crossings(shape, "extends beyond 180 degrees and crosses itself in too many places to be cut there")
        valid_parts = [valid for part in parts(shape) for valid in parts(repair_geometry(part))]
        return from_parts([piece for part in valid_parts for piece in _folded(part)])
    if bbox is None or east - west <= MAX_LONGITUDE:
        return shape
    return from_parts([piece for part in parts(shape) for piece in parts(_unwrapped(part, bbox))])


# --- Beyond 180 degrees -----------------------------------------------------------------------------------------------


def _folded(part: Any) -> Iterator[Any]:
    """Cut a valid part along 180 degrees, and move the pieces to -180 to 180 degrees."""
    for turn in (-FULL_CIRCLE, 0, FULL_CIRCLE):
        strip = shapely.box(turn - MAX_LONGITUDE, -MAX_LATITUDE, turn + MAX_LONGITUDE, MAX_LATITUDE)
        for piece in parts(shapely.intersection(part, strip)):
            if not piece.is_empty and piece.geom_type == part.geom_type:
                yield shapely.transform(piece, lambda positions, turn=turn: positions - (turn, 0))


# --- Jumps from 180 to -180 degrees -----------------------------------------------------------------------------------


def _unwrapped(part: Any, bbox: Sequence[float]) -> Any:
    jumps = _jumps(part)
    if jumps > MAXIMUM_JUMPS:
        raise BadDocument("", f"expected at most {MAXIMUM_JUMPS} steps over the antimeridian, got {jumps}")
    pole = _pole(part, bbox) if jumps % 2 else {}
    if not jumps or not (pole or len(longitude_ranges(bbox)) > 1):
        return part
    try:
        if part.geom_type == "Polygon":
            return antimeridian.fix_polygon(part, fix_winding=True, great_circle=False, **pole)
        return antimeridian.fix_line_string(part, great_circle=False)
    except (ValueError, AssertionError, shapely.errors.ShapelyError):
        raise BadDocument(
            "", "cannot be cut at the antimeridian; send a geometry that is cut there (RFC 7946, section 3.1.9)"
        ) from None


def _jumps(part: Any) -> int:
    """Count the steps longer than half the Earth. Steps of 360 degrees (the edge of a map) are not jumps."""
    outline = part.exterior if part.geom_type == "Polygon" else part
    longitudes = shapely.get_coordinates(outline)[:, 0].tolist()
    return sum(MAX_LONGITUDE < abs(there - here) < FULL_CIRCLE for here, there in pairwise(longitudes))


def _pole(part: Any, bbox: Sequence[float]) -> dict[str, bool]:
    """Return which pole a ring around the Earth encloses: a pole in the box that no position reaches."""
    _, south, _, north = part.bounds
    half = len(bbox) // 2
    if bbox[half + 1] == MAX_LATITUDE != north:
        return {"force_north_pole": True}
    return {"force_south_pole": True} if bbox[1] == -MAX_LATITUDE != south else {}
