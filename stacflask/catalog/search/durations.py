"""Upper bounds on the duration of items: they limit how far an item's datetime can be from an interval that it meets.

The bound of each collection is stored, and raised in the transaction that writes a longer item. A reader caches the
bounds that it has read. They may have been raised since, so every statement that relies on a bound tests it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from stacflask.catalog.cql2.values.sql import TIMESTAMP
from stacflask.catalog.database.tables import collections, items

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from stacflask.catalog.database.engine import Database
    from stacflask.model.query import Interval


@dataclass(frozen=True, slots=True)
class DurationBound:
    """The longest duration, in seconds, of items of some collections, or with None of all collections."""

    seconds: float
    collections: tuple[str, ...] | None = None

    @property
    def is_valid(self) -> sa.ColumnElement[bool]:
        """Condition that the stored bound is not larger. If it is, the statement returns no rows."""
        return self.stored.scalar_subquery() <= sa.bindparam("seconds", self.seconds, sa.Double())

    @property
    def stored(self) -> sa.Select[Any]:
        """Statement that selects the stored bound."""
        found = sa.select(sa.func.coalesce(sa.func.max(collections.c.max_duration_seconds), 0.0))
        if self.collections is None:
            return found
        return found.where(
            collections.c.id == sa.any_(sa.bindparam("bounded_collections", self._names, ARRAY(sa.Text())))
        )

    @property
    def _names(self) -> list[str]:
        return list(self.collections or ())

    def datetime_conditions(self, interval: Interval) -> Iterator[sa.ColumnElement[bool]]:
        """Yield conditions on ``datetime`` that all items which meet the interval fulfil."""
        bounds = self.datetime_range(interval)
        if "after" in bounds:
            yield items.c.datetime >= sa.bindparam("after", bounds["after"], TIMESTAMP)
        if "before" in bounds:
            yield items.c.datetime <= sa.bindparam("before", bounds["before"], TIMESTAMP)

    def parameters(self, interval: Interval) -> dict[str, Any]:
        """Return the parameters of those conditions by name."""
        named = {} if self.collections is None else {"bounded_collections": self._names}
        return {"seconds": self.seconds, **named, **self.datetime_range(interval)}

    def datetime_range(self, interval: Interval) -> dict[str, datetime]:
        """Return the limits of ``datetime`` for items that meet the interval: ``after``, ``before``, or one of them."""
        reach = timedelta(seconds=self.seconds)
        bounds = {}
        with suppress(OverflowError):
            if interval.start is not None:
                bounds["after"] = interval.start - reach
            if interval.end is not None:
                bounds["before"] = interval.end + reach
        return bounds


@dataclass
class DurationBounds:
    """Bounds of all collections, cached by one reader."""

    database: Database
    _durations: dict[str, float] = field(default_factory=dict)

    def get(self, names: tuple[str, ...] | None) -> DurationBound:
        """Return the bound of these collections, or with None of all, as it was when last read."""
        if not self._durations:
            self._read()
        durations = self._durations
        chosen = durations.values() if names is None else (durations.get(name, 0.0) for name in names)
        return DurationBound(max(chosen, default=0.0), names)

    def is_current(self, duration_bound: DurationBound) -> bool:
        """Return whether a bound is still valid. If not, read all bounds again."""
        stored: float = self.database.read(lambda connection: connection.execute(duration_bound.stored).scalar_one())
        if stored > duration_bound.seconds:
            self._read()
        return stored <= duration_bound.seconds

    def _read(self) -> None:
        statement = sa.select(collections.c.id, collections.c.max_duration_seconds)
        rows = self.database.read(lambda connection: connection.execute(statement).all())
        self._durations = {row.id: row.max_duration_seconds for row in rows}
