"""Footprints that leave the plane of GeoJSON: it ends at 180 degrees, and the Earth does not.

Two spellings are about. One runs on past 180 (170 to 190) and says exactly what it means. The other jumps from 179 to
-179 and, read as a line in the plane, goes the long way round; that it means the short way, only its bounding box says.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import antimeridian
import shapely

from stacflask.errors import BadDocument
from stacflask.stac.bbox import HALF, POLE, TURN, spans
from stacflask.stac.cost import check_crossings
from stacflask.stac.repair import mended
from stacflask.stac.shapes import assembled, parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


MAXIMUM_JUMPS = 100
"""Steps over the antimeridian: to cut there takes time with their square."""


def cut_at_antimeridian(shape: Any, bbox: Sequence[float] | None) -> Any:
    """Give the same footprint within 180 degrees, cut where it crosses.

    Raises BadDocument: its jumps over the antimeridian make no sense.
    """
    west, _, east, _ = shape.bounds
    if west < -HALF or east > HALF:
        check_crossings(shape, "runs past 180 degrees and crosses itself in too many places to be cut there")
        return assembled([piece for part in parts(shape) for sound in parts(mended(part)) for piece in _folded(sound)])
    if bbox is None or east - west <= HALF:
        return shape
    return assembled([piece for part in parts(shape) for piece in parts(_unwrapped(part, bbox))])


# --- Past 180 ---------------------------------------------------------------------------------------------------------


def _folded(part: Any) -> Iterator[Any]:
    """Cut a valid part along 180 degrees and bring back what lies beyond."""
    for turn in (-TURN, 0, TURN):
        strip = shapely.box(turn - HALF, -POLE, turn + HALF, POLE)
        for piece in parts(shapely.intersection(part, strip)):
            if not piece.is_empty and piece.geom_type == part.geom_type:
                yield shapely.transform(piece, lambda positions, turn=turn: positions - (turn, 0))


# --- The wrong way round ----------------------------------------------------------------------------------------------


def _unwrapped(part: Any, bbox: Sequence[float]) -> Any:
    jumps = _jumps(part)
    if jumps > MAXIMUM_JUMPS:
        raise BadDocument("", f"expected at most {MAXIMUM_JUMPS} steps over the antimeridian, got {jumps}")
    pole = _pole(part, bbox) if jumps % 2 else {}
    if not jumps or not (pole or len(spans(bbox)) > 1):
        return part
    try:
        if part.geom_type == "Polygon":
            return antimeridian.fix_polygon(part, fix_winding=True, great_circle=False, **pole)
        return antimeridian.fix_line_string(part, great_circle=False)
    except (ValueError, AssertionError, shapely.errors.ShapelyError):
        raise BadDocument("", "cannot be cut at the antimeridian; send it cut (RFC 7946, section 3.1.9)") from None


def _jumps(part: Any) -> int:
    """Count the steps longer than half the Earth; those all along it (a map's edge) are meant as they are."""
    outline = part.exterior if part.geom_type == "Polygon" else part
    longitudes = shapely.get_coordinates(outline)[:, 0].tolist()
    return sum(HALF < abs(there - here) < TURN for here, there in pairwise(longitudes))


def _pole(part: Any, bbox: Sequence[float]) -> dict[str, bool]:
    """Tell which pole a ring around the Earth encloses, where the box reaches one that no position does."""
    _, south, _, north = part.bounds
    half = len(bbox) // 2
    if bbox[half + 1] == POLE != north:
        return {"force_north_pole": True}
    return {"force_south_pole": True} if bbox[1] == -POLE != south else {}
