"""Times and heights of an item, for the columns of its row."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from stacflask.model.json_types import Document
from stacflask.stac.geometry import heights_of
from stacflask.stac.times import parse_instant

LONG_BBOX = 6


@dataclass(frozen=True, slots=True)
class Span:
    """The times of an item. ``given`` is whether the item itself has each of them: datetime, start, end.

    ``order`` is ``datetime``, or ``start_datetime`` if that is null. ``start`` and ``end`` are ``order`` if the item
    does not have them.
    """

    order: datetime
    start: datetime
    end: datetime
    given: tuple[bool, bool, bool]

    @property
    def ranged(self) -> bool:
        """Whether the item has a start and an end."""
        return self.given[1] and self.given[2]

    @property
    def first(self) -> datetime:
        """The first moment of its instant and its range."""
        return min(self.order, self.start) if self.ranged else self.order

    @property
    def last(self) -> datetime:
        """The last moment of its instant and its range."""
        return max(self.order, self.end) if self.ranged else self.order

    @property
    def seconds(self) -> float:
        """The duration from the first to the last moment, in seconds."""
        return (self.last - self.first).total_seconds() if self.ranged else 0.0

    @property
    def values(self) -> dict[str, Any]:
        """The values of the columns."""
        times = dict(zip(TIMES, (self.order, self.start, self.end), strict=True))
        return times | {f"has_{name}": given for name, given in zip(TIMES, self.given, strict=True)}


TIMES = ("datetime", "start_datetime", "end_datetime")


def span_of(moment: str | None, start: str | None, end: str | None) -> Span:
    """Parse the times of an item. Raises ValueError if one is not valid, or there is no instant and no full range."""
    instant, first, last = (None if time is None else parse_instant(time) for time in (moment, start, end))
    if first is not None and last is not None and last < first:
        raise ValueError("end_datetime is before start_datetime")
    given = (instant is not None, first is not None, last is not None)
    order = instant or (first if last is not None else None)
    if order is None:
        raise ValueError("datetime can be null only with start_datetime and end_datetime")
    return Span(order, first or order, last or order, given)


def heights(bbox: Sequence[float] | None, geometry: Document | None = None) -> tuple[float | None, float | None]:
    """Return the least and the greatest height of a bbox and a geometry; None if they have no heights.

    A geometry at height 0 counts as one without heights.
    """
    found = [] if bbox is None or len(bbox) != LONG_BBOX else [bbox[2], bbox[5]]
    own = heights_of(geometry) if geometry is not None else None
    if own is not None and own != (0, 0):
        found += own
    return (min(found), max(found)) if found else (None, None)
