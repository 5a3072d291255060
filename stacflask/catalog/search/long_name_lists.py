"""Filters of lists of items or collections by long lists of visible collections.

To read thousands of names takes the database longer than the search. A statement therefore contains a short form of a
long list. If few of the existing collections are hidden, it contains their names. Otherwise it contains the sorted
hashes of the names of the list, packed by the database, and the database finds a hash by bisection.

Both forms can be wrong: a collection can be newer than this process's list of all collections, and a hidden name can
have the hash of a visible one. ``VisibilityReader`` therefore checks the collections of the rows that it read. If all
are visible, the rows are those of the complete list. If not, it reads again with the next form. The last form is the
complete list.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any, TypeVar

import sqlalchemy as sa
from cachetools import TTLCache, cached
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by
from sqlalchemy.types import UserDefinedType

from stacflask.catalog.database.engine import Database, Numbers, texts
from stacflask.catalog.database.tables import collections
from stacflask.model.decision import Only

T = TypeVar("T")

MAX_INLINE_NAMES = 100
"""Names that a statement contains as they are."""

ALL_COLLECTIONS = ~Only(frozenset())

MAX_HIDDEN_NAMES = 20
"""Hidden collections whose names a statement contains. With more names, planning takes longer than hashes do."""

CACHED_SETS = 128
"""Sets of names whose hashes are cached."""

HASH_SEED = secrets.randbits(62)
"""Random for each process, so that no user can choose a name by its hash."""


class _BigintArray(UserDefinedType[Any]):
    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Return the SQL name of the type."""
        return "bigint[]"


@dataclass(frozen=True, slots=True)
class VisibilityFilter:
    """Restricts a statement to ``ids``, or to their ``hashes``. Rows are correct if their names are in ``exact``."""

    ids: Only = ALL_COLLECTIONS
    hashes: Numbers | None = None
    exact: Only = ALL_COLLECTIONS

    def conditions(self, name: sa.Column[str]) -> Iterator[sa.ColumnElement[bool]]:
        """Return the conditions on the column that holds the collection's id."""
        if self.ids is ALL_COLLECTIONS:
            return
        if self.hashes is None:
            names = sa.bindparam(self._name, sorted(self.ids.names), ARRAY(sa.Text()))
            yield name != sa.all_(names) if self.ids.excluded else name == sa.any_(names)
            return
        hashes, hashed = sa.bindparam(self._name, self.hashes, _BigintArray()), _hash(name)
        included = sa.func.width_bucket(hashed, hashes) > sa.func.width_bucket(hashed - 1, hashes)
        yield sa.not_(included) if self.ids.excluded else included

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of those conditions by name."""
        if self.ids is ALL_COLLECTIONS:
            return {}
        return {self._name: texts(tuple(sorted(self.ids.names))) if self.hashes is None else self.hashes}

    def covers(self, names: Iterable[str]) -> bool:
        """Return whether all these collections are visible."""
        return self.exact is ALL_COLLECTIONS or all(name in self.exact for name in names)

    @property
    def _name(self) -> str:
        return f"{'hidden' if self.ids.excluded else 'visible'}_{'ids' if self.hashes is None else 'hashes'}"


def _hash(name: Any) -> sa.ColumnElement[int]:
    # One bit is dropped, so that ``hash - 1`` never overflows.
    return sa.func.hashtextextended(name, sa.literal_column(str(HASH_SEED)), type_=sa.BigInteger()).op(">>")(
        sa.literal_column("1")
    )


class VisibilityReader:
    """Reads rows of visible collections with the shortest filter that is correct."""

    LIFETIME_SECONDS = 60.0
    """Seconds until the list of all collections is read again."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._hashes = lru_cache(CACHED_SETS)(self._read_hashes)
        self._short_filters = cached(TTLCache(CACHED_SETS, self.LIFETIME_SECONDS), lock=Lock())(self._short_filter)
        self._collection_ids = cached(TTLCache(1, self.LIFETIME_SECONDS), lock=Lock())(self._read_collections)

    def read_visible(
        self, ids: Only, read: Callable[[VisibilityFilter], Sequence[T]], name: Callable[[T], str]
    ) -> Sequence[T]:
        """Return the visible rows. ``read`` reads rows with a filter, ``name`` returns the collection of a row."""
        rows: Sequence[T] = ()
        for visibility in self._filters(ids):
            rows = read(visibility)
            if visibility.covers(map(name, rows)):
                break
        return rows

    def _filters(self, ids: Only) -> Iterator[VisibilityFilter]:
        """Yield the filters to try, the shortest first. The last one is always correct."""
        if len(ids.names) > MAX_INLINE_NAMES:
            short = self._short_filters(ids)
            if short is not None:
                yield short
                # The list of all collections is out of date.
                self._collection_ids.cache_clear()
                self._short_filters.cache_clear()
            yield VisibilityFilter(ids, self._hashes(ids), exact=ids)
        yield VisibilityFilter(ids)

    def _read_collections(self) -> frozenset[str]:
        statement = sa.select(collections.c.id)
        return frozenset(self._database.read(lambda connection: connection.execute(statement).scalars().all()))

    def _short_filter(self, ids: Only) -> VisibilityFilter | None:
        existing = self._collection_ids()
        hidden = existing & ids.names if ids.excluded else existing - ids.names
        if len(hidden) > MAX_HIDDEN_NAMES:
            return None
        return VisibilityFilter(Only(hidden, excluded=True) if hidden else ALL_COLLECTIONS, exact=ids)

    def _read_hashes(self, ids: Only) -> Numbers:
        name = sa.func.unnest(sa.bindparam("names", list(ids.names), ARRAY(sa.Text()))).column_valued("name")
        hashed = sa.select(_hash(sa.collate(name, "C")).label("number")).subquery().c.number
        # The database returns the array in the binary form that it accepts as a parameter.
        packed = sa.select(sa.func.array_send(sa.func.array_agg(aggregate_order_by(hashed, hashed))))
        found: bytes = self._database.read(lambda connection: connection.execute(packed).scalar_one())
        return Numbers(found)


EVERYTHING_VISIBLE = VisibilityFilter()
