"""A collection's items by time, for clients that follow links: years, months, days, and parts of full days.

Periods are found by steps through the index, from the end of one to the first item after it. The number of items in a
period does not matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import INTERVAL
from sqlalchemy.engine import Connection

from stacflask.catalog.database.tables import items
from stacflask.catalog.search.restrictions import visible
from stacflask.errors import BadQuery
from stacflask.model.decision import Restriction
from stacflask.model.page import Contents

MAX_LISTED_ITEMS = 1000
"""Most items of one list. A period with more items lists its parts, if it can be divided."""

MAX_LISTED_YEARS = 100
"""Most years of one page. All other periods have fewer parts."""

YEAR, MONTH, DAY, HOUR, MINUTE, SECOND = range(6)
_NAME_LENGTHS = (4, 7, 10, 13, 16, 19)
"""Length of the name of each kind of period, as a prefix of an ISO 8601 time."""
_UNITS = ("year", "month", "day", "hour", "minute", "second")
_FIRST = "0001-01-01T00:00:00"
_NAME = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d(:\d\d(:\d\d)?)?)?)?)?", re.ASCII).fullmatch
_LENGTHS = {
    DAY: timedelta(days=1),
    HOUR: timedelta(hours=1),
    MINUTE: timedelta(minutes=1),
    SECOND: timedelta(seconds=1),
}


@dataclass(frozen=True, slots=True)
class Period:
    """A year, or a part of one. ``name`` is a prefix of an ISO 8601 time: ``2024``, ``2024-06-15T12``."""

    name: str

    @property
    def level(self) -> int:
        """The kind of period, from ``YEAR`` to ``SECOND``."""
        return _NAME_LENGTHS.index(len(self.name))

    @property
    def start(self) -> datetime:
        """The first instant of the period. Raises ValueError if the name is invalid."""
        return datetime.fromisoformat(self.name + _FIRST[len(self.name) :]).replace(tzinfo=UTC)

    @property
    def end(self) -> datetime | None:
        """The first instant after the period, or None after the year 9999."""
        try:
            if self.level == YEAR:
                return self.start.replace(year=self.start.year + 1)
            if self.level == MONTH:
                return (self.start + timedelta(days=32)).replace(day=1)
            return self.start + _LENGTHS[self.level]
        except (OverflowError, ValueError):
            return None

    @property
    def parent(self) -> Period | None:
        """The longer period that contains it, or None for a year."""
        return None if self.level == YEAR else Period(self.name[: _NAME_LENGTHS[self.level - 1]])


def parse_period(name: str) -> Period | None:
    """Parse the name of a period. Returns None if it is invalid."""
    found = Period(name) if _NAME(name) else None
    try:
        return found if found is not None and found.start else None
    except ValueError:
        return None


def contents(
    connection: Connection, collection: str, within: Period | None, after: str | None, restriction: Restriction
) -> Contents:
    """Return the parts or the visible items of a period, or the years if ``within`` is None.

    A second cannot be divided. If it has too many items, the list is one page of items after the item ``after``. A list
    of years is also one page, of years after the year ``after``. Raises BadQuery if ``after`` is not a year.
    """
    visible_conditions = [items.c.collection == collection, *visible(restriction)]
    if within is None:
        years = _nonempty_periods(connection, visible_conditions, YEAR, _after_year(after))
        return Contents(
            periods=years[:MAX_LISTED_YEARS],
            more=years[MAX_LISTED_YEARS - 1] if len(years) > MAX_LISTED_YEARS else None,
        )
    if within.level < DAY:
        return Contents(
            periods=_nonempty_periods(connection, visible_conditions, within.level + 1, list(_within(within)))
        )
    ids = sa.select(items.c.id).where(*visible_conditions, *_within(within), *_after_item(visible_conditions, after))
    found = tuple(connection.execute(ids.order_by(items.c.datetime, items.c.id).limit(MAX_LISTED_ITEMS + 1)).scalars())
    if len(found) <= MAX_LISTED_ITEMS:
        return Contents(items=found)
    if within.level == SECOND:
        return Contents(items=found[:MAX_LISTED_ITEMS], more=found[MAX_LISTED_ITEMS - 1])
    return Contents(periods=_nonempty_periods(connection, visible_conditions, within.level + 1, list(_within(within))))


def _after_year(year: str | None) -> list[sa.ColumnElement[bool]]:
    """Return the condition that an item is later than a year. Raises BadQuery."""
    if year is None:
        return []
    found = parse_period(year)
    if found is None or found.level != YEAR:
        raise BadQuery("after", f"expected a year of four digits, got {year!r}")
    return [sa.false() if found.end is None else items.c.datetime >= found.end]


def _after_item(
    visible_conditions: list[sa.ColumnElement[bool]], after: str | None
) -> Iterator[sa.ColumnElement[bool]]:
    # A hidden item is ignored here, because the items after it would reveal its time.
    if after is not None:
        there = sa.select(items.c.datetime, items.c.id).where(*visible_conditions, items.c.id == after).subquery()
        yield sa.tuple_(items.c.datetime, items.c.id) > sa.select(there).scalar_subquery()


def _within(period: Period) -> Iterator[sa.ColumnElement[bool]]:
    yield items.c.datetime >= period.start
    if period.end is not None:
        yield items.c.datetime < period.end


def _nonempty_periods(
    connection: Connection,
    visible_conditions: list[sa.ColumnElement[bool]],
    level: int,
    bounds: list[sa.ColumnElement[bool]],
) -> tuple[str, ...]:
    """Return the names of the periods of a kind that contain items, in order, at most ``MAX_LISTED_YEARS + 1``.

    One statement takes all steps through the index, so that one timeout applies to them.
    """
    first = sa.select(items.c.datetime).where(*visible_conditions, *bounds).order_by(items.c.datetime).limit(1)
    steps = sa.select(first.scalar_subquery().label("moment")).cte("steps", recursive=True)
    end = sa.func.date_trunc(_UNITS[level], steps.c.moment, "UTC") + sa.cast(f"1 {_UNITS[level]}", INTERVAL)
    following = first.where(items.c.datetime >= end).correlate(steps).scalar_subquery()
    steps = steps.union_all(sa.select(following).where(steps.c.moment.is_not(None)))
    found = sa.select(steps.c.moment).where(steps.c.moment.is_not(None)).limit(MAX_LISTED_YEARS + 1)
    moments = connection.execute(found).scalars()
    return tuple(moment.astimezone(UTC).isoformat()[: _NAME_LENGTHS[level]] for moment in moments)
