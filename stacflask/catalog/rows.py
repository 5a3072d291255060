"""From an item's parts to the values of its row, the body still uncompressed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stacflask.stac.times import parse_instant

if TYPE_CHECKING:
    from datetime import datetime

LONG_BBOX = 6


@dataclass(frozen=True, slots=True)
class Span:
    """When an item is: ``order`` is its place in time, ``start`` and ``end`` are what an interval is compared with."""

    order: datetime
    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return (self.end - self.start).total_seconds()


def span_of(moment: str | None, start: str | None, end: str | None) -> Span:
    """Read an item's times: its ``datetime``, and its range, which covers the instant too where both are given.

    Raises ValueError for a wrong time, or if neither an instant nor a whole range is given.
    """
    instant = parse_instant(moment) if moment is not None else None
    if start is None or end is None:
        if instant is None:
            raise ValueError("datetime may be null only beside start_datetime and end_datetime")
        return Span(instant, instant, instant)
    first, last = parse_instant(start), parse_instant(end)
    if last < first:
        raise ValueError("end_datetime lies before start_datetime")
    if instant is None:
        return Span(first, first, last)
    return Span(instant, min(first, instant), max(last, instant))


def heights(bbox: list[float] | None) -> tuple[float | None, float | None]:
    """Give lowest and highest of a 6-number bbox, else nothing."""
    return (bbox[2], bbox[5]) if bbox is not None and len(bbox) == LONG_BBOX else (None, None)
