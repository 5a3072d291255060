"""Bounding boxes of 4 or 6 numbers (RFC 7946, section 5). West past east: the box crosses the antimeridian."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

from stacflask.errors import BadDocument
from stacflask.stac.grammar import between, check_at, check_each, number, unlike

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Span: TypeAlias = tuple[float, float]
"""From low to high; of longitudes: within -180 to 180 degrees, and never across the antimeridian."""

POLE, HALF, TURN = 90, 180, 360
_FLAT, _TALL = 4, 6

longitude = between(-TURN, TURN, "a longitude")
"""Longitudes past 180 are taken, because footprints come that way; what searches see is brought back."""
latitude = between(-POLE, POLE, "a latitude")
_CORNERS = {_FLAT: (longitude, latitude) * 2, _TALL: (longitude, latitude, number) * 2}


def check_bbox(value: Any, pointer: str = "") -> None:
    """Check the bounding box of a document, in degrees; six numbers have heights in between.

    Raises BadDocument: it is none.
    """
    check_at(pointer, _check, value)


def _check(value: Any) -> None:
    if not isinstance(value, list) or len(value) not in _CORNERS:
        raise unlike("a bounding box of 4 or 6 numbers", value)
    check_each(zip(range(_TALL), _CORNERS[len(value)], value, strict=False))
    half = len(value) // 2
    for axis, rule in ((1, "south <= north"), (2, "lowest <= highest"))[: half - 1]:
        if value[axis] > value[half + axis]:
            raise BadDocument("", f"expected {rule}, got {value[axis]} and {value[half + axis]}")


def spans(bbox: Sequence[float]) -> list[Span]:
    """Give the longitudes of a box: one span, or two where it crosses the antimeridian."""
    west, east = bbox[0], bbox[len(bbox) // 2]
    if east - west >= TURN:
        return [(-HALF, HALF)]
    west, east = _brought_back(west), _brought_back(east)
    return [(west, east)] if west <= east else [(west, HALF), (-HALF, east)]


def _brought_back(degrees: float) -> float:
    if -HALF <= degrees <= HALF:
        return degrees
    return degrees - TURN if degrees > 0 else degrees + TURN


def covers(outer: Sequence[float], inner: Sequence[float]) -> bool:
    """Whether ``inner`` lies within ``outer``. A box without heights reaches every height, but lies itself at 0."""
    return (
        all(any(_within(span, room) for room in spans(outer)) for span in spans(inner))
        and _within(_latitudes(inner), _latitudes(outer))
        and (len(outer) == _FLAT or _within(_heights(inner), _heights(outer)))
    )


def _within(span: Span, room: Span) -> bool:
    return room[0] <= span[0] and span[1] <= room[1]


def _latitudes(bbox: Sequence[float]) -> Span:
    return bbox[1], bbox[len(bbox) // 2 + 1]


def _heights(bbox: Sequence[float]) -> Span:
    return (bbox[2], bbox[5]) if len(bbox) == _TALL else (0, 0)


def widen(extent: Sequence[float], item: Sequence[float]) -> list[float]:
    """Give the smallest box around both, with as many numbers as ``extent``; as it was, where it covers ``item``."""
    if covers(extent, item):
        return list(extent)
    box = around((extent, item))
    return box if len(extent) == _TALL or len(box) == _FLAT else [*box[:2], *box[3:5]]


def around(boxes: Iterable[Sequence[float]]) -> list[float]:
    """Give the smallest box around one or more; it has heights when any of them has, and those without lie at 0.

    It crosses the antimeridian when one of them does, or when that makes it less than half the Earth wide.
    """
    boxes = list(boxes)
    west, east = _arc([span for box in boxes for span in spans(box)], cross=any(len(spans(box)) > 1 for box in boxes))
    south, north = _hull(_latitudes(box) for box in boxes)
    if all(len(box) == _FLAT for box in boxes):
        return [west, south, east, north]
    low, high = _hull(_heights(box) for box in boxes)
    return [west, south, low, east, north, high]


def _hull(rooms: Iterable[Span]) -> Span:
    lows, highs = zip(*rooms, strict=True)
    return min(lows), max(highs)


def _arc(rooms: list[Span], *, cross: bool) -> Span:
    """Leave out the widest stretch of the circle that none of the spans touches."""
    held = _merged(rooms)
    plain = held[0][0], held[-1][1]
    gap, west, east = max(((b[0] - a[1], b[0], a[1]) for a, b in pairwise(held)), default=(0, *plain))
    if gap <= TURN - (plain[1] - plain[0]):
        return plain
    return (west, east) if cross or TURN - gap < HALF else plain


def _merged(rooms: list[Span]) -> list[Span]:
    held: list[Span] = []
    for low, high in sorted(rooms):
        if held and low <= held[-1][1]:
            held[-1] = held[-1][0], max(high, held[-1][1])
        else:
            held.append((low, high))
    return held
