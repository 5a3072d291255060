"""The stretches of time in which a list is looked at that is newest first: one after the other, until there is enough.

An area is looked at in the newest weeks first. Otherwise all that lies in it would be read before the newest are known.

Through the items of a few collections among many a search walks, newest first, as far back as it takes for about as
many as are needed: what an index on anything else would give are mostly items of other collections. So it does where a
rule for each item has to be asked of each. For how far back that is, see ``catalog/search/recency.py``.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from stacflask.catalog.cql2.values.sql import TIMESTAMP
from stacflask.catalog.database.tables import items
from stacflask.catalog.search.recency import BEGINNING, DEEPER, TimelineCache
from stacflask.catalog.search.restrictions import FEW
from stacflask.catalog.search.selectivity import SelectivityEstimator, areas
from stacflask.model.decision import UNRESTRICTED
from stacflask.stac.times import parse_instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stacflask.catalog.database.engine import Database
    from stacflask.catalog.search.durations import DurationBound
    from stacflask.catalog.search.item_search import ListPart
    from stacflask.catalog.search.recency import Timeline
    from stacflask.model.decision import Restriction
    from stacflask.model.json_types import Cql2
    from stacflask.model.query import ItemQuery

NEAR, FAR = timedelta(days=30), timedelta(days=365)
"""How far the first look into an area goes back, and the second."""

SHORT = 3 * NEAR
"""What lies in an interval shorter than this is found in one look."""

EARLIEST = datetime(1000, 1, 1, tzinfo=UTC)
"""Before this, one look is enough; and further back than the first, no time could be written."""

RULED, FILTERED = 2, 16
"""Items to walk through for each that is wanted: where there are but rules for them, which let most pass as a rule, and
where a filter chooses."""

LEAST, FURTHEST = 128, 4096
"""Items to walk through where they have to lie in an area, and at most."""

EMPTY = 1e-6
"""The smallest part of all items that an area is taken to hold."""

RARE = 16
"""A few collections are rare if there are so many items of all for each of theirs."""

INSTANT = timedelta(microseconds=1)
"""Between one time and the next that the database can tell from it."""


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """Items of this time and later, and earlier than that; None: without an end.

    ``walked``: all of them are looked at, whatever else they could be found by.
    """

    since: datetime | None = None
    until: datetime | None = None
    scanned: bool = False

    def conditions(self) -> Iterator[sa.ColumnElement[bool]]:
        """Give the conditions that its items fulfil."""
        if self.since is not None:
            yield items.c.datetime >= self._bound("since", self.since)
        if self.until is not None:
            yield items.c.datetime < self._bound("until", self.until)

    def _bound(self, name: str, end: datetime) -> Any:
        bound = sa.bindparam(name, end, TIMESTAMP)
        # Hidden from the planner, so that it takes all walks for the same and plans them once.
        return sa.select(bound).scalar_subquery() if self.scanned else bound

    def parameters(self) -> dict[str, Any]:
        """Give what those conditions compare with, by name."""
        ends = {"since": self.since, "until": self.until}
        return {name: end for name, end in ends.items() if end is not None}


ALL_TIME = TimeWindow()


# --- What is asked for ------------------------------------------------------------------------------------------------


def newest_first(query: ItemQuery, dated: bool | None) -> bool:
    """Whether the list goes back in time; ``dated`` is as of a ``Part``.

    Among items without a datetime the list goes on by the next sort key; without one, by the start of their range.
    """
    first, *others = query.sort or (None,)
    if first is None:
        return True
    return first.descending and dated is not None and (dated or not others)


def is_unfiltered(query: ItemQuery, restriction: Restriction) -> bool:
    """Whether a query finds all items of its collections, or of those all of some time."""
    conditions = (query.bbox, query.intersects, query.ids, query.text, query.filter)
    return all(part is None for part in conditions) and compares_only_datetime(restriction.items)


def compares_only_datetime(condition: Cql2 | None) -> bool:
    """Whether a condition looks at nothing but the time by which items are in order, as that of an embargo does."""
    match condition:
        case None | {"op": "<" | "<=" | ">" | ">=", "args": [{"property": "datetime"}, {"timestamp": str()}]}:
            return True
    return False


def _latest(condition: Cql2 | None) -> datetime | None:
    """Give the time after which a condition finds nothing, where it says so plainly."""
    match condition:
        case {"op": "<" | "<=", "args": [{"property": "datetime"}, {"timestamp": str(moment)}]}:
            with suppress(ValueError):
                return parse_instant(moment)
        case {"op": "and", "args": [*parts]}:
            return min(filter(None, map(_latest, parts)), default=None)
    return None


# --- The stretches ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Span:
    """The time in which all lies that a query can find on this page and later ones. ``end`` None: up to now."""

    begin: datetime
    end: datetime | None

    @property
    def until(self) -> datetime | None:
        """The time after its end."""
        with suppress(OverflowError):
            return None if self.end is None else self.end + INSTANT
        return None


def _span(
    query: ItemQuery, restriction: Restriction, duration_bound: DurationBound | None, here: datetime | None
) -> _Span:
    bounds = {} if query.interval is None or duration_bound is None else duration_bound.bounds(query.interval)
    # Under an embargo there is nothing in the newest weeks.
    ends = (bounds.get("before"), here, _latest(restriction.items), _latest(query.filter))
    return _Span(bounds.get("after", BEGINNING), min(filter(None, ends), default=None))


@dataclass(frozen=True, slots=True)
class _Walk:
    """A number of items to walk through, along the timeline of their collections."""

    line: Timeline
    number: int


class TimeWindows:
    """Knows when items were, roughly: what is newer still is found in the first stretch as well."""

    def __init__(self, database: Database) -> None:
        self._timelines, self._crowds = TimelineCache(database), SelectivityEstimator(database)

    def of(
        self,
        query: ItemQuery,
        restriction: Restriction,
        duration_bound: DurationBound | None,
        part: ListPart,
        rows: Sequence[Any],
    ) -> Iterator[TimeWindow]:
        """Give the stretches to look at, one after the other; ``rows`` are those of the part so far."""
        position = part.position
        if not newest_first(query, part.dated) or query.ids is not None or (position is not None and position.backward):
            yield ALL_TIME
            return
        span, walk = _span(query, restriction, duration_bound, part.time(query)), self._to_walk(query, restriction)
        # Of the items between the two marks where it begins, some come before.
        more = 0 if span.end is None else 2 * (query.limit + 1)
        since = None if walk is None else walk.line.back(walk.number + more, span.end)
        if walk is not None and since is not None:
            yield from _walked(walk, since, span, query.limit + 1, rows)
        elif query.bbox is None and query.intersects is None:
            yield ALL_TIME
        else:
            yield from self._looks(span, rows)

    def _to_walk(self, query: ItemQuery, restriction: Restriction) -> _Walk | None:
        """Say what to walk through at first; None: there is a better way to find what is asked for."""
        names, wanted = query.collections, query.limit + 1
        few = names is not None and len(names) <= FEW
        # By what it takes to look through a hidden collection, nobody may tell it from one that is not there.
        if restriction.collections is not None or not (few or names is None):
            return None
        if not is_unfiltered(query, UNRESTRICTED):
            return self._among_others(query, wanted) if few else None
        if not is_unfiltered(query, restriction):
            return _Walk(self._timelines.of(names), RULED * wanted)
        return _Walk(self._timelines.of(names), wanted) if names is not None and len(names) > 1 else None

    def _among_others(self, query: ItemQuery, wanted: int) -> _Walk | None:
        """Walk through rare collections, for those of their items that are chosen by a filter, or lie in an area."""
        number = min(FILTERED * wanted, FURTHEST)
        if query.bbox is not None or query.intersects is not None:
            number = max(LEAST, int(5 * wanted / (4 * max(self._crowds.share(areas(query)), EMPTY))))
        elif query.collections is not None and len(query.collections) == 1:
            return None
        if number > FURTHEST:  # told from memory, before anything is read
            return None
        line, of_all = self._timelines.of(query.collections), self._timelines.of(None).back(DEEPER)
        mark = line.back(DEEPER // RARE)
        rare = mark is not None and of_all is not None and mark < of_all
        return _Walk(line, max(wanted, number)) if rare else None

    def _looks(self, span: _Span, rows: Sequence[Any]) -> Iterator[TimeWindow]:
        """Look into an area."""
        newest = self._timelines.of(None).back(1)
        start = min(filter(None, (newest, span.end)))
        if start < EARLIEST or (span.end is not None and span.end - max(span.begin, EARLIEST) < SHORT):
            yield ALL_TIME
            return
        yield TimeWindow(since=start - NEAR)
        if not rows:
            # Rather than by and by, the rest at once: there is little of it, or nothing.
            yield TimeWindow(until=start - NEAR)
            return
        yield TimeWindow(since=start - FAR, until=start - NEAR)
        yield TimeWindow(until=start - FAR)


def _walked(walk: _Walk, since: datetime, span: _Span, wanted: int, rows: Sequence[Any]) -> Iterator[TimeWindow]:
    """Walk back, and as much further as it seems to take by what was found so far.

    Where nothing was found, or it would take too many items, all the rest is looked at at once.
    """
    yield TimeWindow(max(since, span.begin), span.until, scanned=True)
    number = walk.number
    while rows and span.begin < since:
        more = number * (wanted - len(rows)) * 5 // (4 * len(rows)) + 1
        number += more
        further = walk.line.back(more, since - INSTANT) if number <= FURTHEST else None
        if further is None or further >= since:
            break
        yield TimeWindow(max(further, span.begin), since, scanned=True)
        since = further
    if span.begin < since:
        yield TimeWindow(until=since)
