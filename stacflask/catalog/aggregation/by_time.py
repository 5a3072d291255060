"""A collection's items by time, for those who follow links: years, months, days, and finer where a day is full.

Periods are found by steps through the index, from the end of one to the first item after it, however many lie within.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import INTERVAL

from stacflask.catalog.database.tables import items
from stacflask.catalog.search.item_search import visible
from stacflask.errors import BadQuery
from stacflask.model.page import Contents

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection

    from stacflask.model.decision import Restriction

MAX_LISTED_ITEMS = 1000
"""Items that one period lists; if it holds more, and can be divided, it lists its parts."""

MAX_LISTED_YEARS = 100
"""Years that one page lists. Of all other periods there are fewer in the one above."""

YEAR, MONTH, DAY, HOUR, MINUTE, SECOND = range(6)
_NAME_LENGTHS = (4, 7, 10, 13, 16, 19)
"""How much of a moment names the period of each length that it is in."""
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
    """A year, or a part of one. ``name`` is as much of ISO 8601 as says it: ``2024``, ``2024-06-15T12``."""

    name: str

    @property
    def level(self) -> int:
        """How fine it is."""
        return _NAME_LENGTHS.index(len(self.name))

    @property
    def start(self) -> datetime:
        """Give its first moment. Raises ValueError: it is no period."""
        return datetime.fromisoformat(self.name + _FIRST[len(self.name) :]).replace(tzinfo=UTC)

    @property
    def end(self) -> datetime | None:
        """Give the moment after it; None: after the last year there is."""
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
        """Give the longer one that it is a part of; None: there is none longer than a year."""
        return None if self.level == YEAR else Period(self.name[: _NAME_LENGTHS[self.level - 1]])


def parse_period(name: str) -> Period | None:
    """Read the name of a period; None: it is none."""
    found = Period(name) if _NAME(name) else None
    try:
        return found if found is not None and found.start else None
    except ValueError:
        return None


def contents(
    connection: Connection, collection: str, within: Period | None, after: str | None, restriction: Restriction
) -> Contents:
    """Give what a period holds of a collection's items that may be seen: its parts, or items; None: of all time.

    A second is not divided: where it holds too many items, it lists some, ``after`` one of them. Of years, too, some
    are listed, ``after`` one of them. Raises BadQuery: that is no year.
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
    """Return the condition on what comes after a year. Raises BadQuery."""
    if year is None:
        return []
    found = parse_period(year)
    if found is None or found.level != YEAR:
        raise BadQuery("after", f"expected a year of four digits, got {year!r}")
    return [sa.false() if found.end is None else items.c.datetime >= found.end]


def _after_item(
    visible_conditions: list[sa.ColumnElement[bool]], after: str | None
) -> Iterator[sa.ColumnElement[bool]]:
    # An item that may not be seen marks no place: its time would be told by what comes after it.
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
    """Name the periods of a length that hold anything, in order, and no more than one above ``PARTS``.

    One statement steps through the index, so that its timeout is one for all steps.
    """
    first = sa.select(items.c.datetime).where(*visible_conditions, *bounds).order_by(items.c.datetime).limit(1)
    steps = sa.select(first.scalar_subquery().label("moment")).cte("steps", recursive=True)
    end = sa.func.date_trunc(_UNITS[level], steps.c.moment, "UTC") + sa.cast(f"1 {_UNITS[level]}", INTERVAL)
    following = first.where(items.c.datetime >= end).correlate(steps).scalar_subquery()
    steps = steps.union_all(sa.select(following).where(steps.c.moment.is_not(None)))
    found = sa.select(steps.c.moment).where(steps.c.moment.is_not(None)).limit(MAX_LISTED_YEARS + 1)
    moments = connection.execute(found).scalars()
    return tuple(moment.astimezone(UTC).isoformat()[: _NAME_LENGTHS[level]] for moment in moments)
