"""Pages of items, and the number of items that a search finds."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from operator import attrgetter
from threading import Lock
from typing import Any, TypeVar

import orjson
import sqlalchemy as sa
from cachetools import TTLCache, cached
from sqlalchemy.engine import Connection
from sqlalchemy.sql import Select

from stacflask.catalog.database.database_errors import TIMEOUT
from stacflask.catalog.database.engine import Database
from stacflask.catalog.database.tables import items
from stacflask.catalog.properties.indexes import IndexCache
from stacflask.catalog.search import counting, restrictions
from stacflask.catalog.search.long_name_lists import ALL_COLLECTIONS, VisibilityFilter, VisibilityReader
from stacflask.catalog.search.plan import Planner, Step
from stacflask.catalog.search.query_cost import is_costly, may_scan_many
from stacflask.catalog.search.restrictions import restriction_key
from stacflask.catalog.search.statement_cache import StatementCache, is_cacheable
from stacflask.errors import BadQuery, BadValue, Unavailable
from stacflask.model.decision import UNRESTRICTED, Restriction
from stacflask.model.page import Count
from stacflask.model.query import CollectionQuery, ItemQuery

T = TypeVar("T")

QUICK_COUNT = 10_000
"""Up to this number of items, counting takes as long as reading a page, unless the condition is costly."""
FACTS_SECONDS = 60
"""Time for which the newest datetime and the number of items in the catalogue are cached."""


class ItemPages:
    """Reads the rows of pages of items."""

    def __init__(
        self,
        database: Database,
        statements: StatementCache,
        visibility: VisibilityReader,
        aggregate_timeout: float,
        costly_timeout: float,
    ) -> None:
        self._database = database
        self._statements = statements
        self._visibility = visibility
        self._aggregate_timeout = aggregate_timeout
        self._costly_timeout = costly_timeout
        newest = cached(TTLCache(1, FACTS_SECONDS), lock=Lock())(self._read_newest)
        self._planner = Planner(IndexCache(database).indexed_types, newest)
        self.holds_at_most = cached(TTLCache(16, FACTS_SECONDS), lock=Lock())(self._holds_at_most)

    def rows(self, query: ItemQuery, restriction: Restriction, bound: int | None = None) -> Sequence[Any]:
        """Return the rows of one page and one more, with their number up to ``bound`` if counting is cheap."""
        if self._is_quick(query, bound):
            try:
                return self._read(query, restriction, bound)
            except BadValue:  # The count can fail on an item for which the page does not.
                pass
            except Unavailable as error:
                if error.code != TIMEOUT:
                    raise
        return self._read(query, restriction, None)

    def row(self, query: ItemQuery, restriction: Restriction, collection: str, item: str) -> Any:
        """Return the row of one item, or None if the query does not find it."""
        one = replace(query, limit=1, token=None, collections=(collection,), ids=(item,))
        return next(iter(self._read(one, restriction, None)), None)

    def _is_quick(self, query: ItemQuery, bound: int | None) -> bool:
        """Whether counting all items of a query takes about as long as reading its page."""
        if bound is None or bound > QUICK_COUNT or self._database.pooled or not is_cacheable(query) or is_costly(query):
            return False
        return self.holds_at_most(bound)

    def _read(self, query: ItemQuery, restriction: Restriction, bound: int | None) -> Sequence[Any]:
        """Return the rows of one page. A visibility filter by ids can be approximate; its rows are checked again."""
        narrowed, left, ids = restrictions.resolve_query(query, restriction)
        # An approximate filter is correct for rows, whose collections are checked, but not for their number.
        read = partial(self._read_steps, narrowed, left, bound if ids is ALL_COLLECTIONS else None)
        return self._visibility.read_visible(ids, read, attrgetter("collection"))

    def _read_steps(
        self, query: ItemQuery, restriction: Restriction, bound: int | None, visibility: VisibilityFilter
    ) -> Sequence[Any]:
        """Read the steps of a plan until the page is full."""
        rows: list[Any] = []
        run = self._runner(query, restriction)
        for step in self._planner.plan(query, restriction, visibility, rows, counted=bound is not None):
            # If a page needs further steps, a separate statement counts.
            counted = step if bound is None else counting.with_count(step, query, restriction, bound)
            bound = None
            for found in run(counted):
                # Between two statements, an item can change so that the second statement finds it again.
                rows.extend(_new_rows(found, rows) if rows else found)
                if len(rows) > query.limit:
                    return rows[: query.limit + 1]
        return rows

    def _runner(self, query: ItemQuery, restriction: Restriction) -> Callable[[Step], Iterator[Sequence[Any]]]:
        """Return a function that yields the rows of each statement of a step."""
        if is_costly(query):
            return partial(self._run_until, time.monotonic() + self._costly_timeout)
        long = may_scan_many(query, restriction)
        if not is_cacheable(query) or self._database.pooled:
            return lambda step: (read(self._database, statement, long=long) for statement in step.build())
        return partial(self._run_cached, (restriction_key(restriction), orjson.dumps(query.filter)), long)

    def _run_cached(self, conditions: tuple[bytes, bytes], long: bool, step: Step) -> Iterator[Sequence[Any]]:
        for found in self._statements.get_or_build((conditions, step.shape), step.build, prepared=step.generic):
            yield self._database.records(found, step.values, long=long)

    def _run_until(self, deadline: float, step: Step) -> Iterator[Sequence[Any]]:
        """Run statements that must all end before ``deadline`` on the monotonic clock."""
        for statement in step.build():
            seconds = deadline - time.monotonic()
            yield self._database.within(seconds, lambda connection: connection.execute(statement).all())  # noqa: B023

    # --- Numbers ------------------------------------------------------------------------------------------------------

    def count(self, query: ItemQuery, restriction: Restriction, bound: int) -> Count:
        """Return the number of items on all pages of a search: exact up to ``bound``, otherwise an estimate."""
        number = self._number(query, restriction, bound)
        if number <= bound:
            return Count(matched=number)
        if restriction != UNRESTRICTED:
            return Count()
        return Count(estimate=max(number, self.aggregate(query, partial(counting.estimate, query=query))))

    def _number(self, query: ItemQuery, restriction: Restriction, bound: int) -> int:
        """Return the number of items that a query finds, at most ``bound`` + 1."""
        narrowed, left, ids = restrictions.resolve_query(query, restriction)
        visibility, most = VisibilityFilter(ids), bound + 1
        build = partial(counting.count_statement, narrowed, left, visibility)
        if not is_cacheable(query) or self._database.pooled:
            statement = build().params(most=most)
            return self.aggregate(query, lambda connection: int(connection.execute(statement).scalar_one()))
        values = counting.parameters(narrowed, visibility, most)
        key = ("count", frozenset(values), restriction_key(left), orjson.dumps(query.filter))
        (counted,) = self._statements.get_or_build(key, lambda: [build()], prepared=False)
        run = (counted.sql, counted.arguments(values))
        return self.aggregate(query, lambda connection: int(connection.exec_driver_sql(*run).scalar_one()))

    def aggregate(self, query: ItemQuery, work: Callable[[Connection], T], times: int = 1) -> T:
        """Run work that scans all items of a query ``times`` times. If it is costly, it has one timeout."""
        together = is_costly(query, times)
        seconds = min(self._costly_timeout, self._aggregate_timeout) if together else self._aggregate_timeout
        with filter_errors(query):
            return self._database.within(seconds, work, together=together)

    def _holds_at_most(self, bound: int) -> bool:
        """Whether the catalogue has at most ``bound`` items, visible or hidden."""
        some = sa.select(sa.literal(1)).select_from(items).limit(bound + 1).subquery()
        return bool(read(self._database, sa.select(sa.func.count()).select_from(some))[0][0] <= bound)

    def _read_newest(self) -> datetime | None:
        newest: datetime | None = read(self._database, sa.select(sa.func.max(items.c.datetime)))[0][0]
        return newest


def read(database: Database, statement: Select[Any], *, long: bool = False) -> Sequence[Any]:
    """Return the rows of a statement."""
    return database.read(lambda connection: connection.execute(statement).all(), long=long)


@contextmanager
def filter_errors(query: ItemQuery | CollectionQuery) -> Iterator[None]:
    """Raise BadQuery for the filter if the database fails on a value."""
    try:
        yield
    except BadValue as error:
        if query.filter is None:
            raise
        raise BadQuery("filter", "the database cannot compute this condition for all records") from error


def _new_rows(rows: Sequence[Any], rows_so_far: Sequence[Any]) -> list[Any]:
    """Return the rows whose items are not in ``rows_so_far``."""
    keys = {(row.collection, row.id) for row in rows_so_far}
    return [row for row in rows if (row.collection, row.id) not in keys]
