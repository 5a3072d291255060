"""Searches of an area, newest first, look at the newest weeks first, and further back only where they hold too little.

Without that, all that lies in the area is read before the newest of it are known.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from stacflask.catalog.cql2.sql import TIMESTAMP
from stacflask.catalog.tables import items
from stacflask.stac.times import parse_instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stacflask.catalog.database import Database
    from stacflask.catalog.lasting import Longest
    from stacflask.catalog.paging import Position
    from stacflask.values import Cql2, ItemQuery, Restriction

NEAR, FAR = timedelta(days=30), timedelta(days=365)
"""How far the first look goes back, and the second."""

SHORT = 3 * NEAR
"""What lies in an interval shorter than this is found in one look."""

EARLIEST = datetime(1000, 1, 1, tzinfo=UTC)
"""Before this, one look is enough; and further back than the first, no time could be written."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Items of this time and later, and earlier than that; None: without an end."""

    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> Iterator[sa.ColumnElement[bool]]:
        """Give the conditions that its items fulfil."""
        if self.since is not None:
            yield items.c.datetime >= sa.bindparam("since", self.since, TIMESTAMP)
        if self.until is not None:
            yield items.c.datetime < sa.bindparam("until", self.until, TIMESTAMP)

    def given(self) -> dict[str, Any]:
        """Give what those conditions compare with, by name."""
        ends = {"since": self.since, "until": self.until}
        return {name: end for name, end in ends.items() if end is not None}


WHOLE = Stretch()


class Stretches:
    """Knows where the newest items are, roughly: what is newer still is found in the first look as well."""

    REST = 60.0

    def __init__(self, database: Database) -> None:
        self._database = database
        self._newest: datetime | None = None
        self._since = 0.0

    def of(
        self,
        query: ItemQuery,
        restriction: Restriction,
        longest: Longest | None,
        position: Position | None,
        rows: Sequence[Any],
    ) -> Iterator[Stretch]:
        """Give the stretches to look at, one after the other; ``rows`` are those found so far, in the order wanted."""
        start = self._start(query, longest, position)
        if start is not None:
            # Under an embargo there is nothing in the newest weeks.
            start = min([start, *filter(None, map(_latest, (restriction.items, query.filter)))])
        if start is None or start < EARLIEST:
            yield WHOLE
            return
        yield Stretch(since=start - NEAR)
        if not rows:
            # Rather than by and by, the rest at once: there is little of it, or nothing.
            yield Stretch(until=start - NEAR)
            return
        yield Stretch(since=start - FAR, until=start - NEAR)
        yield Stretch(until=start - FAR)

    def _start(self, query: ItemQuery, longest: Longest | None, position: Position | None) -> datetime | None:
        """Give the time from which to look back; None where one look is better."""
        if query.sort or query.ids is not None or (query.bbox is None and query.intersects is None):
            return None
        if position is not None and position.backward:
            return None
        end = None if query.interval is None or longest is None else longest.bounds(query.interval).get("before")
        if end is not None and query.interval is not None and end - (query.interval.start or EARLIEST) < SHORT:
            return None
        known = self._known() if position is None else position.values[0]
        return known if end is None or known is None else min(known, end)

    def _known(self) -> datetime | None:
        if time.monotonic() - self._since > self.REST or not self._since:
            newest = sa.select(sa.func.max(items.c.datetime))
            self._newest = self._database.read(lambda connection: connection.execute(newest).scalar_one())
            self._since = time.monotonic()
        return self._newest


def _latest(condition: Cql2 | None) -> datetime | None:
    """Give the time after which a condition finds nothing, where it says so plainly."""
    match condition:
        case {"op": "<" | "<=", "args": [{"property": "datetime"}, {"timestamp": str(moment)}]}:
            with suppress(ValueError):
                return parse_instant(moment)
        case {"op": "and", "args": [*parts]}:
            return min(filter(None, map(_latest, parts)), default=None)
    return None
