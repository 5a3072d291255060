"""Bounds on what a geometry may cost: GEOS cannot be interrupted, so that what costs too much is refused beforehand.

The figures beside the bounds were measured with GEOS 3.11 on shapes made to cost most: stars, zigzags, random lines.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from stacflask.errors import BadDocument
from stacflask.stac.shapes import parts

if TYPE_CHECKING:
    from collections.abc import Iterator

FEW_POSITIONS = 2_000
"""So many positions are within ``MAXIMUM_PAIRS``, however they lie."""
MAXIMUM_PAIRS = 4_000_000
"""Pairs of segments whose boxes meet. To count them costs up to 0.4 CPU seconds, to see that a shape is valid 0.1."""
MAXIMUM_CROSSINGS = 2_000
"""Places in which segments cross or touch. To repair so many costs up to 0.1 CPU seconds; 250,000 cost 9."""
MAXIMUM_SECONDS = 2.0
"""CPU seconds for all geometries of one request that brings several."""
_AT_ONCE = 64
"""Segments that are looked up together."""

_spent: ContextVar[list[float] | None] = ContextVar("spent", default=None)


@contextmanager
def together() -> Iterator[None]:
    """Bound the time of all geometries that are measured within the block."""
    token = _spent.set([0.0])
    try:
        yield
    finally:
        _spent.reset(token)


@contextmanager
def measured() -> Iterator[None]:
    """Add the time of the block to that of the request. Raises BadDocument if it takes too much."""
    spent = _spent.get()
    began = time.thread_time()
    yield
    if spent is not None:
        spent[0] += time.thread_time() - began
        if spent[0] > MAXIMUM_SECONDS:
            raise BadDocument("", "the geometries of this request take too long: send fewer in one request")


def check_cost(shape: Any) -> None:
    """Refuse a shape that takes too long to be checked. Raises BadDocument."""
    if shapely.get_num_coordinates(shape) > FEW_POSITIONS and _meetings(shape, None, MAXIMUM_PAIRS) > MAXIMUM_PAIRS:
        raise BadDocument("", "too many of its lines run beside or across each other; simplify it")


def check_crossings(shape: Any, problem: str) -> None:
    """Refuse a shape whose lines cross in too many places to be repaired, cut or joined. Raises BadDocument."""
    # Each line meets itself and both its neighbours, and each crossing is found from both sides.
    most = 3 * int(shapely.get_num_coordinates(shape)) + 2 * MAXIMUM_CROSSINGS
    if _meetings(shape, "intersects", most) > most:
        raise BadDocument("", problem)


def _meetings(shape: Any, predicate: str | None, most: int) -> int:
    """Count how often lines of a shape meet each other, or their boxes do; no further than ``most``."""
    lines = shapely.linestrings(_segments(shape))
    tree = shapely.STRtree(lines)
    count = 0
    for first in range(0, len(lines), _AT_ONCE):
        count += tree.query(lines[first : first + _AT_ONCE], predicate=predicate).shape[1]
        if count > most:
            break
    return count


def _segments(shape: Any) -> Any:
    """Give the segments of all lines and rings."""
    pieces = parts(shape)
    rings = shapely.get_rings([piece for piece in pieces if piece.geom_type == "Polygon"])
    lines = [*rings, *(piece for piece in pieces if piece.geom_type == "LineString")]
    runs = map(shapely.get_coordinates, lines)
    segments = [np.stack([run[:-1], run[1:]], axis=1) for run in runs]
    return np.concatenate(segments) if segments else np.empty((0, 2, 2))
