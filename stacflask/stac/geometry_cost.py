"""Limits on the CPU time of a geometry. GEOS cannot be interrupted, so expensive geometries are refused beforehand.

The times beside the limits were measured with GEOS 3.11 on worst cases: stars, zigzags, random lines.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import shapely

from stacflask.errors import BadDocument
from stacflask.stac.geometry_parts import parts

FEW_POSITIONS = 2_000
"""A shape with at most this many positions is within ``MAXIMUM_PAIRS``."""
MAXIMUM_PAIRS = 4_000_000
"""Pairs of segments whose boxes intersect. Counting them takes up to 0.4 CPU seconds, validating the shape 0.1."""
MAXIMUM_CROSSINGS = 2_000
"""Places in which segments cross or touch. Repairing this many takes up to 0.1 CPU seconds, 250,000 take 9."""
MAXIMUM_SECONDS = 2.0
"""CPU seconds for all geometries of one request with several items."""
_QUERY_SEGMENTS = 64
"""Segments in one query of the tree."""

_spent: ContextVar[list[float] | None] = ContextVar("spent", default=None)


@contextmanager
def shared_time_limit() -> Iterator[None]:
    """Limit the total CPU time of all ``timed`` blocks within this block."""
    token = _spent.set([0.0])
    try:
        yield
    finally:
        _spent.reset(token)


@contextmanager
def timed() -> Iterator[None]:
    """Add the CPU time of the block to the time of the request.

    Raises:
        BadDocument: The geometries of the request take longer than ``MAXIMUM_SECONDS``.
    """
    spent = _spent.get()
    began = time.thread_time()
    yield
    if spent is not None:
        spent[0] += time.thread_time() - began
        if spent[0] > MAXIMUM_SECONDS:
            raise BadDocument("", "the geometries of this request take too long; send fewer items in one request")


def check_cost(shape: Any) -> None:
    """Refuse a shape that takes too long to validate. Raises BadDocument."""
    if (
        shapely.get_num_coordinates(shape) > FEW_POSITIONS
        and _intersections(shape, None, MAXIMUM_PAIRS) > MAXIMUM_PAIRS
    ):
        raise BadDocument("", "too many of its lines run beside or across each other; simplify the geometry")


def check_crossings(shape: Any, problem: str) -> None:
    """Refuse a shape whose lines cross in too many places to be repaired, cut or joined. Raises BadDocument."""
    # Each line intersects itself and both its neighbours, and each crossing is found from both sides.
    limit = 3 * int(shapely.get_num_coordinates(shape)) + 2 * MAXIMUM_CROSSINGS
    if _intersections(shape, "intersects", limit) > limit:
        raise BadDocument("", problem)


def _intersections(shape: Any, predicate: str | None, limit: int) -> int:
    """Count intersections between the lines of a shape, or between their boxes. Stop above ``limit``."""
    lines = shapely.linestrings(_segments(shape))
    tree = shapely.STRtree(lines)
    count = 0
    for first in range(0, len(lines), _QUERY_SEGMENTS):
        count += tree.query(lines[first : first + _QUERY_SEGMENTS], predicate=predicate).shape[1]
        if count > limit:
            break
    return count


def _segments(shape: Any) -> Any:
    """Return the segments of all lines and rings."""
    pieces = parts(shape)
    rings = shapely.get_rings([piece for piece in pieces if piece.geom_type == "Polygon"])
    lines = [*rings, *(piece for piece in pieces if piece.geom_type == "LineString")]
    paths = map(shapely.get_coordinates, lines)
    segments = [np.stack([path[:-1], path[1:]], axis=1) for path in paths]
    return np.concatenate(segments) if segments else np.empty((0, 2, 2))
