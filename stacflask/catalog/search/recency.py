"""Estimates how far back in time a number of items of some collections lies. Scans begin there.

It is an estimate, because items change after it was read, and because only a few times of each collection are read (of
its 1st, 2nd, 3rd, 4th, 6th, 8th, 12th newest item and so on). The result of a search does not depend on it, only its
speed.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from stacflask.catalog.database.engine import Database

COLLECTION_DEPTH, CATALOG_DEPTH = 512, 4096
"""Number of newest items that are read, of one collection and of the whole catalogue."""

MAX_TIMELINES = 128
"""Sets of collections whose timelines are cached."""

BEGINNING_OF_TIME = datetime.min.replace(tzinfo=UTC)
"""No item is earlier."""

Marks: TypeAlias = "Sequence[tuple[datetime, int]]"
"""Times of some items, newest first, each with its rank in its collection. The oldest item read is included."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Times, newest first, and how many items lie since each. If ``whole``, no item is earlier than the last time."""

    times: tuple[datetime, ...]
    counts: tuple[int, ...]
    whole: bool

    def since(self, number: int, end: datetime | None = None) -> datetime | None:
        """Return a time since which about ``number`` items lie up to ``end``, or fewer if fewer were read.

        Returns None if nothing was read of so long ago.
        """
        first = 0 if end is None else bisect_left(self.times, -end.timestamp(), key=_age)
        before = self.counts[first - 1] if first else 0
        at = bisect_left(self.counts, before + number, lo=first)
        if at < len(self.times):
            return self.times[at]
        if self.whole:
            return BEGINNING_OF_TIME
        return self.times[-1] if first < len(self.times) else None


def _age(moment: datetime) -> float:
    return -moment.timestamp()


def merge_timelines(timelines: Iterable[Marks], depth: int) -> Timeline:
    """Merge the marks of several collections, as far back as all of them were read."""
    all_marks = list(timelines)
    ends = [marks[-1][0] for marks in all_marks if marks[-1][1] >= depth]
    since = max(ends, default=BEGINNING_OF_TIME)
    steps = sorted((step for marks in all_marks for step in _steps(marks) if step[0] >= since), reverse=True)
    counts = accumulate(number for _, number in steps)
    return Timeline(tuple(moment for moment, _ in steps), tuple(counts), whole=not ends)


def _steps(marks: Marks) -> Iterator[tuple[datetime, int]]:
    """Yield each time with the number of items between it and the previous one."""
    for (_, before), (moment, rank) in pairwise([(BEGINNING_OF_TIME, 0), *marks]):
        yield moment, rank - before


_NEWEST = "SELECT datetime FROM items {} ORDER BY datetime DESC LIMIT :depth"
_MARKS = """
    SELECT datetime, rank FROM (
        SELECT datetime, row_number() OVER (ORDER BY datetime DESC) AS rank, count(*) OVER () AS last
        FROM ({}) AS newest
    ) AS numbered
    WHERE rank & (rank - 1) = 0 OR (rank % 3 = 0 AND rank / 3 & (rank / 3 - 1) = 0) OR rank = last
"""
_OF_ALL = sa.text(_MARKS.format(_NEWEST.format("")) + "ORDER BY rank").bindparams(depth=CATALOG_DEPTH)
_OF_EACH = sa.text(f"""
    SELECT name, datetime, rank FROM unnest(:names) AS name,
    LATERAL ({_MARKS.format(_NEWEST.format("WHERE collection = name"))}) AS marks ORDER BY name, rank
""").bindparams(sa.bindparam("names", type_=ARRAY(sa.Text())), depth=COLLECTION_DEPTH)


class TimelineCache:
    """Timelines by collections, read from the database and cached."""

    LIFETIME_SECONDS = 60.0
    """Seconds until timelines are read again."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._marks: dict[str, Marks] = {}
        self._timelines: dict[tuple[str, ...] | None, Timeline] = {}
        self._until = 0.0

    def get(self, names: tuple[str, ...] | None) -> Timeline:
        """Return the timeline of these collections together, or with None of all collections."""
        if time.monotonic() >= self._until:
            self._marks, self._timelines, self._until = {}, {}, time.monotonic() + self.LIFETIME_SECONDS
        timeline = self._timelines.get(names)
        return self._read(names) if timeline is None else timeline

    def _read(self, names: tuple[str, ...] | None) -> Timeline:
        timelines, marks = self._timelines, self._marks
        if names is None:
            timeline = merge_timelines(filter(None, [self._read_catalog_marks()]), CATALOG_DEPTH)
        else:
            marks |= self._read_collection_marks({name for name in names if name not in marks})
            timeline = merge_timelines((marks[name] for name in set(names) if name in marks), COLLECTION_DEPTH)
            # A collection without items is read each time. A hidden collection is replaced by a name that no collection
            # has, and its time must not differ from that of a missing one.
            if not all(name in marks for name in names):
                return timeline
        timelines[names] = timeline
        if len(timelines) > MAX_TIMELINES:
            timelines.pop(next(iter(list(timelines))), None)
        return timeline

    def _read_catalog_marks(self) -> Marks:
        return self._database.read(lambda connection: [(at, n) for at, n in connection.execute(_OF_ALL)])

    def _read_collection_marks(self, names: set[str]) -> dict[str, Marks]:
        found: dict[str, list[tuple[datetime, int]]] = {}
        if names:
            parameters = {"names": sorted(names)}
            for name, moment, rank in self._database.read(
                lambda connection: connection.execute(_OF_EACH, parameters).all()
            ):
                found.setdefault(name, []).append((moment, rank))
        return dict(found)
