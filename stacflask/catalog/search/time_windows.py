"""Windows of time in which a list that is newest first is searched, one after the other, until the page is full.

A search of an area begins with the newest weeks. Otherwise the database would read every item of the area before it
could return the newest ones.

A search of a few collections among many scans their items, newest first, as far back as the page probably needs. An
index on anything else would return mostly items of other collections. A search under a policy's condition on items
scans in the same way, because the condition must be tested for each item. For how far back a scan begins, see
``catalog/search/recency.py``.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from stacflask.catalog.cql2.values.sql import TIMESTAMP
from stacflask.catalog.database.tables import items
from stacflask.catalog.search.recency import BEGINNING_OF_TIME, CATALOG_DEPTH, TimelineCache
from stacflask.catalog.search.restrictions import MAX_INLINE_NAMES
from stacflask.catalog.search.selectivity import SelectivityEstimator, search_areas
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

FIRST_WINDOW, SECOND_WINDOW = timedelta(days=30), timedelta(days=365)
"""How far back the first and the second window of an area begin."""

SHORT_INTERVAL = 3 * FIRST_WINDOW
"""A shorter interval is searched in one window."""

WINDOWS_BEGIN = datetime(1000, 1, 1, tzinfo=UTC)
"""Before this, one window is enough. Much earlier times cannot be represented."""

RULE_FACTOR, FILTER_FACTOR = 2, 16
"""Items to scan for each row of the page: under a policy's condition, which most items usually fulfil, and with a
filter."""

MIN_AREA_SCAN_ITEMS, MAX_SCAN_ITEMS = 128, 4096
"""Fewest items to scan for an area, and most items to scan for anything."""

MIN_SHARE = 1e-6
"""Smallest share of all items that an area is assumed to contain."""

RARE_RATIO = 16
"""Collections are rare if the catalogue has at least this many items for each of theirs."""

TIME_RESOLUTION = timedelta(microseconds=1)
"""Smallest difference between two timestamps of PostgreSQL."""


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """Items with ``since <= datetime < until``. None means that the window is open at this end.

    If ``scanned``, every item of the window is read, and no other index is used.
    """

    since: datetime | None = None
    until: datetime | None = None
    scanned: bool = False

    def conditions(self) -> Iterator[sa.ColumnElement[bool]]:
        """Return the conditions that items of the window fulfil."""
        if self.since is not None:
            yield items.c.datetime >= self._bound("since", self.since)
        if self.until is not None:
            yield items.c.datetime < self._bound("until", self.until)

    def _bound(self, name: str, end: datetime) -> Any:
        bound = sa.bindparam(name, end, TIMESTAMP)
        # A subquery hides the value from the planner, so that one plan serves all scans.
        return sa.select(bound).scalar_subquery() if self.scanned else bound

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of those conditions by name."""
        ends = {"since": self.since, "until": self.until}
        return {name: end for name, end in ends.items() if end is not None}


ALL_TIME = TimeWindow()


# --- Properties of a query --------------------------------------------------------------------------------------------


def newest_first(query: ItemQuery, dated: bool | None) -> bool:
    """Return whether the list is sorted by descending time. ``dated`` is that of a ``ListPart``.

    Items without a datetime are sorted by the next sort key, or without one by the start of their range.
    """
    first, *others = query.sort or (None,)
    if first is None:
        return True
    return first.descending and dated is not None and (dated or not others)


def is_unfiltered(query: ItemQuery, restriction: Restriction) -> bool:
    """Return whether a query finds all items of its collections, or all of those in some time range."""
    conditions = (query.bbox, query.intersects, query.ids, query.text, query.filter)
    return all(part is None for part in conditions) and compares_only_datetime(restriction.items)


def compares_only_datetime(condition: Cql2 | None) -> bool:
    """Return whether a condition compares only the item's datetime, as that of an embargo does."""
    match condition:
        case None | {"op": "<" | "<=" | ">" | ">=", "args": [{"property": "datetime"}, {"timestamp": str()}]}:
            return True
    return False


def _upper_bound(condition: Cql2 | None) -> datetime | None:
    """Return the time after which a condition finds nothing, or None if that is not evident."""
    match condition:
        case {"op": "<" | "<=", "args": [{"property": "datetime"}, {"timestamp": str(moment)}]}:
            with suppress(ValueError):
                return parse_instant(moment)
        case {"op": "and", "args": [*parts]}:
            return min(filter(None, map(_upper_bound, parts)), default=None)
    return None


# --- Planning ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _TimeRange:
    """The time range of all items that this page and later pages can contain. ``end`` is None if it is open."""

    begin: datetime
    end: datetime | None

    @property
    def until(self) -> datetime | None:
        """The first time after the end."""
        with suppress(OverflowError):
            return None if self.end is None else self.end + TIME_RESOLUTION
        return None


def _time_range(
    query: ItemQuery, restriction: Restriction, duration_bound: DurationBound | None, here: datetime | None
) -> _TimeRange:
    bounds = {} if query.interval is None or duration_bound is None else duration_bound.datetime_range(query.interval)
    # Under an embargo the newest weeks contain nothing.
    ends = (bounds.get("before"), here, _upper_bound(restriction.items), _upper_bound(query.filter))
    return _TimeRange(bounds.get("after", BEGINNING_OF_TIME), min(filter(None, ends), default=None))


@dataclass(frozen=True, slots=True)
class _Scan:
    """A plan to scan ``number`` items along the timeline of their collections."""

    timeline: Timeline
    number: int


class TimeWindows:
    """Plans the windows of a search by when items are, roughly. The first window includes newer items, too."""

    def __init__(self, database: Database) -> None:
        self._timelines, self._selectivity = TimelineCache(database), SelectivityEstimator(database)

    def plan(
        self,
        query: ItemQuery,
        restriction: Restriction,
        duration_bound: DurationBound | None,
        part: ListPart,
        rows: Sequence[Any],
    ) -> Iterator[TimeWindow]:
        """Yield the windows to search, in order. ``rows`` holds the rows of the part that were read so far."""
        position = part.position
        if not newest_first(query, part.dated) or query.ids is not None or (position is not None and position.backward):
            yield ALL_TIME
            return
        time_range = _time_range(query, restriction, duration_bound, part.datetime_at_position(query))
        scan = self._plan_scan(query, restriction)
        # The timeline is coarse: some of the items after the mark before the end of the range are later than the end.
        more = 0 if time_range.end is None else 2 * (query.limit + 1)
        since = None if scan is None else scan.timeline.since(scan.number + more, time_range.end)
        if scan is not None and since is not None:
            yield from _scan_windows(scan, since, time_range, query.limit + 1, rows)
        elif query.bbox is None and query.intersects is None:
            yield ALL_TIME
        else:
            yield from self._area_windows(time_range, rows)

    def _plan_scan(self, query: ItemQuery, restriction: Restriction) -> _Scan | None:
        """Return the scan to begin with, or None if another index serves the query better."""
        names, rows_wanted = query.collections, query.limit + 1
        few = names is not None and len(names) <= MAX_INLINE_NAMES
        # The time of a scan must not reveal whether a hidden collection exists.
        if restriction.collections is not None or not (few or names is None):
            return None
        if not is_unfiltered(query, UNRESTRICTED):
            return self._plan_scan_of_rare(query, rows_wanted) if few else None
        if not is_unfiltered(query, restriction):
            return _Scan(self._timelines.get(names), RULE_FACTOR * rows_wanted)
        return _Scan(self._timelines.get(names), rows_wanted) if names is not None and len(names) > 1 else None

    def _plan_scan_of_rare(self, query: ItemQuery, rows_wanted: int) -> _Scan | None:
        """Return a scan of rare collections for items that a filter or an area selects, or None."""
        number = min(FILTER_FACTOR * rows_wanted, MAX_SCAN_ITEMS)
        if query.bbox is not None or query.intersects is not None:
            number = max(
                MIN_AREA_SCAN_ITEMS,
                int(5 * rows_wanted / (4 * max(self._selectivity.share(search_areas(query)), MIN_SHARE))),
            )
        elif query.collections is not None and len(query.collections) == 1:
            return None
        if number > MAX_SCAN_ITEMS:  # decided from memory, before the database is read
            return None
        timeline, of_all = self._timelines.get(query.collections), self._timelines.get(None).since(CATALOG_DEPTH)
        since_rare = timeline.since(CATALOG_DEPTH // RARE_RATIO)
        rare = since_rare is not None and of_all is not None and since_rare < of_all
        return _Scan(timeline, max(rows_wanted, number)) if rare else None

    def _area_windows(self, time_range: _TimeRange, rows: Sequence[Any]) -> Iterator[TimeWindow]:
        """Yield the windows of a search of an area."""
        newest = self._timelines.get(None).since(1)
        start = min(filter(None, (newest, time_range.end)))
        if start < WINDOWS_BEGIN or (
            time_range.end is not None and time_range.end - max(time_range.begin, WINDOWS_BEGIN) < SHORT_INTERVAL
        ):
            yield ALL_TIME
            return
        yield TimeWindow(since=start - FIRST_WINDOW)
        if not rows:
            # The area contains few items or none, so one window for all the rest is cheapest.
            yield TimeWindow(until=start - FIRST_WINDOW)
            return
        yield TimeWindow(since=start - SECOND_WINDOW, until=start - FIRST_WINDOW)
        yield TimeWindow(until=start - SECOND_WINDOW)


def _scan_windows(
    scan: _Scan, since: datetime, time_range: _TimeRange, rows_wanted: int, rows: Sequence[Any]
) -> Iterator[TimeWindow]:
    """Yield windows of a scan, each as long as the rows found so far suggest.

    If no row was found, or the scan would read too many items, the last window is all the rest, and is not scanned.
    """
    yield TimeWindow(max(since, time_range.begin), time_range.until, scanned=True)
    number = scan.number
    while rows and time_range.begin < since:
        more = number * (rows_wanted - len(rows)) * 5 // (4 * len(rows)) + 1
        number += more
        earlier = scan.timeline.since(more, since - TIME_RESOLUTION) if number <= MAX_SCAN_ITEMS else None
        if earlier is None or earlier >= since:
            break
        yield TimeWindow(max(earlier, time_range.begin), since, scanned=True)
        since = earlier
    if time_range.begin < since:
        yield TimeWindow(until=since)
