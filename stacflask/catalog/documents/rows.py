"""From an item's parts to the values of its row, the body still uncompressed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stacflask.stac.geometry import heights_of
from stacflask.stac.times import parse_instant

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from stacflask.model.json_types import Document

LONG_BBOX = 6


@dataclass(frozen=True, slots=True)
class Span:
    """The times of an item. Each of ``given`` says whether the item itself has it: datetime, start, end.

    ``order`` is its place in time: ``datetime``, or ``start_datetime`` where that is null. ``start`` and ``end`` are
    ``order`` where the item has none.
    """

    order: datetime
    start: datetime
    end: datetime
    given: tuple[bool, bool, bool]

    @property
    def ranged(self) -> bool:
        """Whether the item has a range. One end alone is none."""
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
        """How long it lasts, from its first to its last moment."""
        return (self.last - self.first).total_seconds() if self.ranged else 0.0

    @property
    def values(self) -> dict[str, Any]:
        """The columns of its row."""
        times = dict(zip(TIMES, (self.order, self.start, self.end), strict=True))
        return times | {f"has_{name}": given for name, given in zip(TIMES, self.given, strict=True)}


TIMES = ("datetime", "start_datetime", "end_datetime")


def span_of(moment: str | None, start: str | None, end: str | None) -> Span:
    """Read an item's times. Raises ValueError: one is wrong, or there is neither an instant nor a whole range."""
    instant, first, last = (None if time is None else parse_instant(time) for time in (moment, start, end))
    if first is not None and last is not None and last < first:
        raise ValueError("end_datetime lies before start_datetime")
    given = (instant is not None, first is not None, last is not None)
    order = instant or (first if last is not None else None)
    if order is None:
        raise ValueError("datetime may be null only beside start_datetime and end_datetime")
    return Span(order, first or order, last or order, given)


def heights(bbox: Sequence[float] | None, geometry: Document | None = None) -> tuple[float | None, float | None]:
    """Return the least and the greatest height of a bbox and a geometry; None without any.

    A geometry at height 0 has the heights of one that has none.
    """
    found = [] if bbox is None or len(bbox) != LONG_BBOX else [bbox[2], bbox[5]]
    own = heights_of(geometry) if geometry is not None else None
    if own is not None and own != (0, 0):
        found += own
    return (min(found), max(found)) if found else (None, None)
