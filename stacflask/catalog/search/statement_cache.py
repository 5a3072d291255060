"""Cache of compiled statements. Searches of one shape differ only in their parameters and share statements.

The database still plans each execution for its own parameters, because one plan for all boxes is bad for each of them.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any

import orjson

from stacflask.catalog.cql2 import COSTLY, cost_of, positions_in
from stacflask.catalog.database.engine import lookup, texts
from stacflask.catalog.search import freetext
from stacflask.catalog.search.item_search import is_short, item_order, parameters
from stacflask.catalog.search.ordering import inlined_limit
from stacflask.catalog.search.time_windows import compares_only_datetime, is_unfiltered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy.sql import Select

    from stacflask.catalog.database.engine import Lookup
    from stacflask.catalog.search.durations import DurationBound
    from stacflask.catalog.search.item_search import ListPart
    from stacflask.catalog.search.time_windows import TimeWindow
    from stacflask.model.decision import Restriction
    from stacflask.model.json_types import Cql2
    from stacflask.model.query import ItemQuery

INDEXED_NAMES = ("datetime", "properties.datetime", "id", "collection")
"""Sort keys that an index serves, without reading every item."""

MAX_STATEMENTS = 256
"""Shapes that one process keeps in each half of the cache: those used once, and those used again."""

CacheKey = tuple[Any, ...]


MAX_FILTER_BYTES = 2_000
"""Largest JSON text of a filter whose statement is cached. A statement contains the literals of its filter."""


def is_cacheable(query: ItemQuery) -> bool:
    """Return whether the statements of a query are worth caching. Free text and long filters are rarely repeated."""
    return query.text is None and is_short(query.sort) and (query.filter is None or _is_short(query.filter))


def _is_short(expression: Cql2) -> bool:
    try:
        return len(orjson.dumps(expression)) <= MAX_FILTER_BYTES
    except TypeError:
        # A number of more than 64 bits, or hundreds of levels. The compiler reports an error if it is one.
        return False


def statement_parameters(
    query: ItemQuery, duration_bound: DurationBound | None, window: TimeWindow, part: ListPart
) -> dict[str, Any]:
    """Return the parameters of the statements of a query by name. Raises BadQuery."""
    order = item_order(query.sort)
    bounds = {} if duration_bound is None or query.interval is None else duration_bound.parameters(query.interval)
    position = {**order.parameters(part.position), **part.parameters(query)}
    values = {**parameters(query), **bounds, **window.parameters(), **position, "rows": query.limit + 1}
    return {name: texts(tuple(value)) if isinstance(value, list) else value for name, value in values.items()}


def has_generic_plan(query: ItemQuery, restriction: Restriction) -> bool:
    """Return whether one plan is right for all parameters of this shape: an index is read in its order."""
    plain = query.interval is None and is_unfiltered(query, restriction)
    return plain and not item_order(query.sort).keys[0].stored


def may_scan_many(query: ItemQuery, restriction: Restriction) -> bool:
    """Return whether a search may read many items for each item found, because no index serves its conditions."""
    filtered = query.filter is not None or query.text is not None or query.intersects is not None
    return (
        filtered
        or any(key.name not in INDEXED_NAMES for key in query.sort)
        or not compares_only_datetime(restriction.items)
    )


COSTLY_TEXTS = 50
"""Number of free texts above which a search is costly."""
COSTLY_POSITIONS = 5_000
"""Number of positions in ``intersects`` above which a search is costly."""


def is_costly(query: ItemQuery, times: int = 1) -> bool:
    """Return whether the conditions of a search are so slow that 100,000 items take seconds.

    ``times`` is how often the conditions are computed for an item.
    """
    cost = 0 if query.filter is None else cost_of(query.filter)
    positions = 0 if query.intersects is None else positions_in(query.intersects)
    terms = 0 if query.text is None else freetext.count(query.text)
    shares = (cost / COSTLY, positions / COSTLY_POSITIONS, terms / COSTLY_TEXTS)
    return sum(shares) * times > 1


def cache_key(query: ItemQuery, values: dict[str, Any], part: ListPart, policy: tuple[Any, ...]) -> CacheKey:
    """Return the cache key of the statements of a query. ``policy`` holds all else that they depend on."""
    direction = part.dated, part.position is not None and (part.position.backward, bool(part.position.values))
    return frozenset(values), query.sort, inlined_limit(query.limit), direction, policy


class StatementCache:
    """Statements by the shape of their search.

    The cache keeps ``MAX_STATEMENTS`` shapes that were used once, and as many that were used again. A client that sends
    hundreds of unusual shapes, each once, therefore evicts no shape that other clients use.
    """

    def __init__(self) -> None:
        self._used_once: OrderedDict[CacheKey, tuple[Lookup, ...]] = OrderedDict()
        self._used_again: OrderedDict[CacheKey, tuple[Lookup, ...]] = OrderedDict()
        self._lock = Lock()

    def get_or_build(
        self, shape: CacheKey, build: Callable[[], Iterable[Select[Any]]], *, prepared: bool
    ) -> tuple[Lookup, ...]:
        """Return the statements of a shape. ``build`` makes new ones.

        ``prepared`` is that of a ``Lookup``. It applies from the second use of a shape.
        """
        lookups = self._cached(shape)
        if lookups is None:
            lookups = tuple(lookup(statement, prepared=False) for statement in build())
            self._store(self._used_once, shape, lookups)
        elif prepared and not lookups[0].prepared:
            lookups = tuple(replace(one, prepared=True) for one in lookups)
            self._store(self._used_again, shape, lookups)
        return lookups

    def __len__(self) -> int:
        return len(self._used_once) + len(self._used_again)

    def _cached(self, shape: CacheKey) -> tuple[Lookup, ...] | None:
        with self._lock:
            lookups = self._used_again.get(shape)
            if lookups is not None:
                self._used_again.move_to_end(shape)
                return lookups
            lookups = self._used_once.pop(shape, None)
        if lookups is not None:
            self._store(self._used_again, shape, lookups)
        return lookups

    def _store(
        self, entries: OrderedDict[CacheKey, tuple[Lookup, ...]], shape: CacheKey, lookups: tuple[Lookup, ...]
    ) -> None:
        with self._lock:
            entries[shape] = lookups
            entries.move_to_end(shape)
            if len(entries) > MAX_STATEMENTS:
                entries.popitem(last=False)
