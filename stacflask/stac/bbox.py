"""Bounding boxes of 4 or 6 numbers (RFC 7946, section 5). If west > east, the box crosses the antimeridian."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

from stacflask.errors import BadDocument
from stacflask.stac.json_checks import between, check_at, check_each, number, unexpected

Range: TypeAlias = tuple[float, float]
"""Low and high. A range of longitudes lies within -180 to 180 degrees and does not cross the antimeridian."""

MAX_LATITUDE, MAX_LONGITUDE, FULL_CIRCLE = 90, 180, 360
_SIZE_2D, _SIZE_3D = 4, 6

longitude = between(-FULL_CIRCLE, FULL_CIRCLE, "a longitude")
"""Longitudes beyond 180 degrees are accepted, because published footprints have them. Searches use -180 to 180."""
latitude = between(-MAX_LATITUDE, MAX_LATITUDE, "a latitude")
_CORNERS = {_SIZE_2D: (longitude, latitude) * 2, _SIZE_3D: (longitude, latitude, number) * 2}


def check_bbox(value: Any, pointer: str = "") -> None:
    """Check the bounding box of a document, in degrees. The third and the sixth of six numbers are heights.

    Raises:
        BadDocument: The value is not a bounding box.
    """
    check_at(pointer, _check, value)


def _check(value: Any) -> None:
    if not isinstance(value, list) or len(value) not in _CORNERS:
        raise unexpected("a bounding box of 4 or 6 numbers", value)
    check_each(zip(range(_SIZE_3D), _CORNERS[len(value)], value, strict=False))
    half = len(value) // 2
    for axis, rule in ((1, "south <= north"), (2, "lowest <= highest"))[: half - 1]:
        if value[axis] > value[half + axis]:
            raise BadDocument("", f"expected {rule}, got {value[axis]} and {value[half + axis]}")


def longitude_ranges(bbox: Sequence[float]) -> list[Range]:
    """Return the longitudes of a box: one range, or two if it crosses the antimeridian."""
    west, east = bbox[0], bbox[len(bbox) // 2]
    if east - west >= FULL_CIRCLE:
        return [(-MAX_LONGITUDE, MAX_LONGITUDE)]
    west, east = _normalized(west), _normalized(east)
    return [(west, east)] if west <= east else [(west, MAX_LONGITUDE), (-MAX_LONGITUDE, east)]


def _normalized(degrees: float) -> float:
    if -MAX_LONGITUDE <= degrees <= MAX_LONGITUDE:
        return degrees
    return degrees - FULL_CIRCLE if degrees > 0 else degrees + FULL_CIRCLE


def covers(outer: Sequence[float], inner: Sequence[float]) -> bool:
    """Whether ``inner`` lies within ``outer``.

    As ``outer``, a box without heights contains every height. As ``inner``, it lies at height 0.
    """
    return (
        all(any(_within(part, whole) for whole in longitude_ranges(outer)) for part in longitude_ranges(inner))
        and _within(_latitudes(inner), _latitudes(outer))
        and (len(outer) == _SIZE_2D or _within(_heights(inner), _heights(outer)))
    )


def _within(inner: Range, outer: Range) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def _latitudes(bbox: Sequence[float]) -> Range:
    return bbox[1], bbox[len(bbox) // 2 + 1]


def _heights(bbox: Sequence[float]) -> Range:
    return (bbox[2], bbox[5]) if len(bbox) == _SIZE_3D else (0, 0)


def widen(extent: Sequence[float], item: Sequence[float]) -> list[float]:
    """Return the smallest box around both, with as many numbers as ``extent``."""
    if covers(extent, item):
        return list(extent)
    box = around((extent, item))
    return box if len(extent) == _SIZE_3D or len(box) == _SIZE_2D else [*box[:2], *box[3:5]]


def around(boxes: Iterable[Sequence[float]]) -> list[float]:
    """Return the smallest box around one or more boxes.

    The result has heights if any of the boxes has; boxes without heights then lie at height 0. It crosses the
    antimeridian if one of the boxes does, or if it is then less than half the Earth wide.
    """
    boxes = list(boxes)
    ranges = [longitude_ranges(box) for box in boxes]
    west, east = _arc([one for parts in ranges for one in parts], cross=any(len(parts) > 1 for parts in ranges))
    south, north = _hull(_latitudes(box) for box in boxes)
    if all(len(box) == _SIZE_2D for box in boxes):
        return [west, south, east, north]
    low, high = _hull(_heights(box) for box in boxes)
    return [west, south, low, east, north, high]


def _hull(ranges: Iterable[Range]) -> Range:
    lows, highs = zip(*ranges, strict=True)
    return min(lows), max(highs)


def _arc(ranges: list[Range], *, cross: bool) -> Range:
    """Return the arc that contains all ranges and leaves out the widest gap between them."""
    merged = _merged(ranges)
    plain = merged[0][0], merged[-1][1]
    gap, west, east = max(((b[0] - a[1], b[0], a[1]) for a, b in pairwise(merged)), default=(0, *plain))
    if gap <= FULL_CIRCLE - (plain[1] - plain[0]):
        return plain
    return (west, east) if cross or FULL_CIRCLE - gap < MAX_LONGITUDE else plain


def _merged(ranges: list[Range]) -> list[Range]:
    merged: list[Range] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(high, merged[-1][1])
        else:
            merged.append((low, high))
    return merged
