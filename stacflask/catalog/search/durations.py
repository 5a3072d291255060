"""How long items last at most: what tells a search for an interval how far from it an item's datetime can lie.

Kept for each collection and raised with the items that need it, in their transaction. A reader remembers what it has
read; since that may have been raised meanwhile, every statement that relies on it asks whether it still holds.
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
    """A bound in seconds on how long the items of some collections last; None: of all."""

    seconds: float
    collections: tuple[str, ...] | None = None

    @property
    def holds(self) -> sa.ColumnElement[bool]:
        """The bound holds for the rows that the statement at hand sees. If it does not, the statement has no rows."""
        return self.kept.scalar_subquery() <= sa.bindparam("seconds", self.seconds, sa.Double())

    @property
    def kept(self) -> sa.Select[Any]:
        """Select the bound that is kept."""
        found = sa.select(sa.func.coalesce(sa.func.max(collections.c.longest), 0.0))
        if self.collections is None:
            return found
        return found.where(collections.c.id == sa.any_(sa.bindparam("lasting", self._names, ARRAY(sa.Text()))))

    @property
    def _names(self) -> list[str]:
        return list(self.collections or ())

    def around(self, interval: Interval) -> Iterator[sa.ColumnElement[bool]]:
        """Give the conditions on ``datetime`` that items which meet the interval fulfil."""
        bounds = self.bounds(interval)
        if "after" in bounds:
            yield items.c.datetime >= sa.bindparam("after", bounds["after"], TIMESTAMP)
        if "before" in bounds:
            yield items.c.datetime <= sa.bindparam("before", bounds["before"], TIMESTAMP)

    def parameters(self, interval: Interval) -> dict[str, Any]:
        """Give what those conditions compare with, by name."""
        named = {} if self.collections is None else {"lasting": self._names}
        return {"seconds": self.seconds, **named, **self.bounds(interval)}

    def bounds(self, interval: Interval) -> dict[str, datetime]:
        """Give the times ``after`` and ``before`` which an item that meets the interval lies, where there are such."""
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
    """What one reader remembers of all collections."""

    database: Database
    _known: dict[str, float] = field(default_factory=dict)

    def of(self, names: tuple[str, ...] | None) -> DurationBound:
        """Give the bound for some collections, or for all, as it was when last read."""
        if not self._known:
            self._read()
        known = self._known
        chosen = known.values() if names is None else (known.get(name, 0.0) for name in names)
        return DurationBound(max(chosen, default=0.0), names)

    def is_current(self, duration_bound: DurationBound) -> bool:
        """Whether a bound holds still. If not, what is remembered is read anew."""
        kept: float = self.database.read(lambda connection: connection.execute(duration_bound.kept).scalar_one())
        if kept > duration_bound.seconds:
            self._read()
        return kept <= duration_bound.seconds

    def _read(self) -> None:
        statement = sa.select(collections.c.id, collections.c.longest)
        rows = self.database.read(lambda connection: connection.execute(statement).all())
        self._known = {row.id: row.longest for row in rows}
