"""Lists of all items or collections, by who may see some collections: what a statement says of their names.

Thousands of names would take the database longer to read than the search takes. So of a long list a statement says as
little as will do: the names of the collections that the list hides, if those there are are few, or else numbers: the
hashes of its names, in order and packed by itself, in which the database looks by halves.

Neither is certain. A collection may have come since this process knew all of them, and names that may not be seen could
have the hash of one that may. So whoever reads looks at the names of what was found: where all of it may be seen it is
what the whole list would have found. If not, it is read again, and in the end with all of the names.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by
from sqlalchemy.types import UserDefinedType

from stacflask.catalog.database.engine import Numbers, texts
from stacflask.catalog.database.tables import collections
from stacflask.catalog.search.restrictions import ALL, FEW, IdSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from stacflask.catalog.database.engine import Database

T = TypeVar("T")

FEWER = 20
"""Hidden collections whose names stand in a statement. With more of them planning takes longer than numbers do."""

REMEMBERED = 128
"""Sets of names whose hashes are kept."""

SEED = secrets.randbits(62)
"""Each process hashes in its own way: nobody can choose a name by its hash."""


class _Numbers(UserDefinedType[Any]):
    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Say what the database calls it."""
        return "bigint[]"


@dataclass(frozen=True, slots=True)
class VisibilityFilter:
    """What a statement says of names: these, or ``numbers``, their hashes. What it finds is right if of ``rest``."""

    ids: IdSet = ALL
    numbers: Numbers | None = None
    rest: IdSet = ALL

    def conditions(self, name: sa.Column[str]) -> Iterator[sa.ColumnElement[bool]]:
        """Give the conditions on the column of the name."""
        if self.ids is ALL:
            return
        if self.numbers is None:
            named = sa.bindparam(self._name, sorted(self.ids.names), ARRAY(sa.Text()))
            yield name != sa.all_(named) if self.ids.but else name == sa.any_(named)
            return
        numbers, number = sa.bindparam(self._name, self.numbers, _Numbers()), _hash(name)
        held = sa.func.width_bucket(number, numbers) > sa.func.width_bucket(number - 1, numbers)
        yield sa.not_(held) if self.ids.but else held

    def parameters(self) -> dict[str, Any]:
        """Give what those conditions compare with, by name."""
        if self.ids is ALL:
            return {}
        return {self._name: texts(tuple(sorted(self.ids.names))) if self.numbers is None else self.numbers}

    def holds(self, names: Iterable[str]) -> bool:
        """Whether all that was found may be seen."""
        return self.rest is ALL or all(name in self.rest for name in names)

    @property
    def _name(self) -> str:
        few = self.numbers is None
        return ("unseen" if few else "unseen_numbers") if self.ids.but else ("seen" if few else "seen_numbers")


def _hash(name: Any) -> sa.ColumnElement[int]:
    # One bit less than there is, so that there is a number below each.
    return sa.func.hashtextextended(name, sa.literal_column(str(SEED)), type_=sa.BigInteger()).op(">>")(
        sa.literal_column("1")
    )


class VisibilityReader:
    """Knows how to say it, for each set of names."""

    REST = 60.0
    """Seconds after which it looks anew which collections there are."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._numbers = lru_cache(REMEMBERED)(self._hashed)
        self._briefly = lru_cache(REMEMBERED)(self._brief)
        self._there: frozenset[str] = frozenset()
        self._until = 0.0

    def read_visible(
        self, ids: IdSet, read: Callable[[VisibilityFilter], Sequence[T]], name: Callable[[T], str]
    ) -> Sequence[T]:
        """Read rows of what may be seen. ``name`` tells the collection of a row."""
        rows: Sequence[T] = ()
        for visibility in self._ways(ids):
            rows = read(visibility)
            if visibility.holds(map(name, rows)):
                break
        return rows

    def _ways(self, ids: IdSet) -> Iterator[VisibilityFilter]:
        """Give what statements say, the shortest first. The last is right in any case."""
        if len(ids.names) > FEW:
            self._look()
            brief = self._briefly(ids)
            if brief is not None:
                yield brief
                self._until = 0.0
            yield VisibilityFilter(ids, self._numbers(ids), rest=ids)
        yield VisibilityFilter(ids)

    def _look(self) -> None:
        if time.monotonic() >= self._until:
            there = sa.select(collections.c.id)
            self._there = frozenset(self._database.read(lambda connection: connection.execute(there).scalars().all()))
            self._briefly.cache_clear()
            self._until = time.monotonic() + self.REST

    def _brief(self, ids: IdSet) -> VisibilityFilter | None:
        hidden = self._there & ids.names if ids.but else self._there - ids.names
        if len(hidden) > FEWER:
            return None
        return VisibilityFilter(IdSet(hidden, but=True) if hidden else ALL, rest=ids)

    def _hashed(self, ids: IdSet) -> Numbers:
        name = sa.func.unnest(sa.bindparam("names", list(ids.names), ARRAY(sa.Text()))).column_valued("name")
        number = sa.select(_hash(sa.collate(name, "C")).label("number")).subquery().c.number
        # In the form in which it takes them back.
        packed = sa.select(sa.func.array_send(sa.func.array_agg(aggregate_order_by(number, number))))
        found: bytes = self._database.read(lambda connection: connection.execute(packed).scalar_one())
        return Numbers(found)


EVERYTHING_VISIBLE = VisibilityFilter()
