"""How far back in time so many items of some collections lie, roughly: so far a search that walks through them looks.

Roughly, since items come and go after it was read, and of each collection it was read at a few places alone (1st, 2nd,
3rd, 4th, 6th, 8th, 12th and so on). What a search finds does not depend on it, only how soon.
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

DEPTH, DEEPER = 512, 4096
"""Items of one collection that are looked at, the newest, and of all together."""

MOST = 128
"""Sets of collections whose timelines are kept."""

BEGINNING = datetime.min.replace(tzinfo=UTC)
"""When all items are later."""

Marks: TypeAlias = "Sequence[tuple[datetime, int]]"
"""Times of some items, newest first, each with its place among those of its collection; the last too."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Times, newest first, and how many items lie since each. ``whole``: none lie before the last of them."""

    times: tuple[datetime, ...]
    counts: tuple[int, ...]
    whole: bool

    def back(self, number: int, end: datetime | None = None) -> datetime | None:
        """Give a time since which there are about so many items up to ``end``, or as many as is known of.

        None: of what was so long ago nothing is known.
        """
        first = 0 if end is None else bisect_left(self.times, -end.timestamp(), key=_age)
        before = self.counts[first - 1] if first else 0
        at = bisect_left(self.counts, before + number, lo=first)
        if at < len(self.times):
            return self.times[at]
        if self.whole:
            return BEGINNING
        return self.times[-1] if first < len(self.times) else None


def _age(moment: datetime) -> float:
    return -moment.timestamp()


def merged(lines: Iterable[Marks], depth: int) -> Timeline:
    """Make one timeline of those of several collections, as far back as is known of each."""
    known = list(lines)
    ends = [marks[-1][0] for marks in known if marks[-1][1] >= depth]
    since = max(ends, default=BEGINNING)
    steps = sorted((step for marks in known for step in _steps(marks) if step[0] >= since), reverse=True)
    counts = accumulate(number for _, number in steps)
    return Timeline(tuple(moment for moment, _ in steps), tuple(counts), whole=not ends)


def _steps(marks: Marks) -> Iterator[tuple[datetime, int]]:
    """Give each time with the number of items between it and the one before."""
    for (_, before), (moment, place) in pairwise([(BEGINNING, 0), *marks]):
        yield moment, place - before


_NEWEST = "SELECT datetime FROM items {} ORDER BY datetime DESC LIMIT :depth"
_MARKS = """
    SELECT datetime, place FROM (
        SELECT datetime, row_number() OVER (ORDER BY datetime DESC) AS place, count(*) OVER () AS last
        FROM ({}) AS newest
    ) AS numbered
    WHERE place & (place - 1) = 0 OR (place % 3 = 0 AND place / 3 & (place / 3 - 1) = 0) OR place = last
"""
_OF_ALL = sa.text(_MARKS.format(_NEWEST.format("")) + "ORDER BY place").bindparams(depth=DEEPER)
_OF_EACH = sa.text(f"""
    SELECT name, datetime, place FROM unnest(:names) AS name,
    LATERAL ({_MARKS.format(_NEWEST.format("WHERE collection = name"))}) AS marks ORDER BY name, place
""").bindparams(sa.bindparam("names", type_=ARRAY(sa.Text())), depth=DEPTH)


class TimelineCache:
    """Knows those of all collections that are asked for."""

    REST = 60.0
    """Seconds after which they are read anew."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._marks: dict[str, Marks] = {}
        self._lines: dict[tuple[str, ...] | None, Timeline] = {}
        self._until = 0.0

    def of(self, names: tuple[str, ...] | None) -> Timeline:
        """Give the timeline of some collections together; None: of all."""
        if time.monotonic() >= self._until:
            self._marks, self._lines, self._until = {}, {}, time.monotonic() + self.REST
        line = self._lines.get(names)
        return self._read(names) if line is None else line

    def _read(self, names: tuple[str, ...] | None) -> Timeline:
        lines, marks = self._lines, self._marks
        if names is None:
            line = merged(filter(None, [self._marks_of_all()]), DEEPER)
        else:
            marks |= self._marks_of({name for name in names if name not in marks})
            line = merged((marks[name] for name in set(names) if name in marks), DEPTH)
            # A collection without items is asked for each time: one that is hidden goes by a name that none has, and
            # how long it takes must not tell it from one that does not exist.
            if not all(name in marks for name in names):
                return line
        lines[names] = line
        if len(lines) > MOST:
            lines.pop(next(iter(list(lines))), None)
        return line

    def _marks_of_all(self) -> Marks:
        return self._database.read(lambda connection: [(at, n) for at, n in connection.execute(_OF_ALL)])

    def _marks_of(self, names: set[str]) -> dict[str, Marks]:
        found: dict[str, list[tuple[datetime, int]]] = {}
        if names:
            asked = {"names": sorted(names)}
            for name, moment, place in self._database.read(
                lambda connection: connection.execute(_OF_EACH, asked).all()
            ):
                found.setdefault(name, []).append((moment, place))
        return dict(found)
