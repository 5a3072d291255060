"""Searches of one shape differ only in what they compare with: their statements are built and compiled once.

The database still plans each of them for its own values: a plan made once for all boxes is good for none.
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

INDEXED = ("datetime", "properties.datetime", "id", "collection")
"""Names that items are sorted by without being looked at, one by one."""

MOST = 256
"""Shapes that one process remembers of each kind: those that came once, and those that came again."""

CacheKey = tuple[Any, ...]


LONGEST = 2_000
"""Characters of a filter that is remembered; what a filter compares with is part of its statement."""


def is_cacheable(query: ItemQuery) -> bool:
    """Whether what a query compares with has a name, or is short. Free text and long filters seldom come again."""
    return query.text is None and is_short(query.sort) and (query.filter is None or _is_short(query.filter))


def _is_short(expression: Cql2) -> bool:
    try:
        return len(orjson.dumps(expression)) <= LONGEST
    except TypeError:  # a number of more than 64 bits, or hundreds of levels: what that means, the compiler says
        return False


def statement_parameters(
    query: ItemQuery, duration_bound: DurationBound | None, window: TimeWindow, part: ListPart
) -> dict[str, Any]:
    """Give all that the statements of a query compare with, by name. Raises BadQuery."""
    order = item_order(query.sort)
    bounds = {} if duration_bound is None or query.interval is None else duration_bound.parameters(query.interval)
    place = {**order.parameters(part.position), **part.parameters(query)}
    values = {**parameters(query), **bounds, **window.parameters(), **place, "rows": query.limit + 1}
    return {name: texts(tuple(value)) if isinstance(value, list) else value for name, value in values.items()}


def has_generic_plan(query: ItemQuery, restriction: Restriction) -> bool:
    """Whether one plan is right for all that a query of this shape can compare with: an index read in its order."""
    plain = query.interval is None and is_unfiltered(query, restriction)
    return plain and not item_order(query.sort).keys[0].stored


def may_scan_many(query: ItemQuery, restriction: Restriction) -> bool:
    """Whether a search may have to look at many items for each that it finds: its conditions may have no index."""
    chosen = query.filter is not None or query.text is not None or query.intersects is not None
    return chosen or any(key.name not in INDEXED for key in query.sort) or not compares_only_datetime(restriction.items)


MOST_TEXTS = 50
"""Free texts beyond which a search is costly."""
MOST_POSITIONS = 5_000
"""Positions of ``intersects`` beyond which it is."""


def is_costly(query: ItemQuery, times: int = 1) -> bool:
    """Whether the conditions of a search take so long for each item that 100,000 items take seconds.

    ``times``: how often they are computed for an item.
    """
    cost = 0 if query.filter is None else cost_of(query.filter)
    positions = 0 if query.intersects is None else positions_in(query.intersects)
    texts_in = 0 if query.text is None else freetext.count(query.text)
    shares = (cost / COSTLY, positions / MOST_POSITIONS, texts_in / MOST_TEXTS)
    return sum(shares) * times > 1


def cache_key(query: ItemQuery, values: dict[str, Any], part: ListPart, policy: tuple[Any, ...]) -> CacheKey:
    """Say by what the statements of a plain query are known; ``policy`` is what else they depend on."""
    way = part.dated, part.position is not None and (part.position.backward, bool(part.position.values))
    return frozenset(values), query.sort, inlined_limit(query.limit), way, policy


class StatementCache:
    """The statements of the shapes that were asked for.

    Those that were asked for once and those that came again are kept apart, ``MOST`` of each: a client that asks for
    hundreds of odd shapes, each once, drops none of those that all others ask for.
    """

    def __init__(self) -> None:
        self._once: OrderedDict[CacheKey, tuple[Lookup, ...]] = OrderedDict()
        self._again: OrderedDict[CacheKey, tuple[Lookup, ...]] = OrderedDict()
        self._lock = Lock()

    def get_or_build(
        self, shape: CacheKey, build: Callable[[], Iterable[Select[Any]]], *, prepared: bool
    ) -> tuple[Lookup, ...]:
        """Give the statements of a shape. ``build`` makes new ones.

        ``prepared``: as of a ``Lookup``, for those that come again.
        """
        known = self._found(shape)
        if known is None:
            known = tuple(lookup(statement, prepared=False) for statement in build())
            self._keep(self._once, shape, known)
        elif prepared and not known[0].prepared:
            known = tuple(replace(one, prepared=True) for one in known)
            self._keep(self._again, shape, known)
        return known

    def __len__(self) -> int:
        return len(self._once) + len(self._again)

    def _found(self, shape: CacheKey) -> tuple[Lookup, ...] | None:
        with self._lock:
            known = self._again.get(shape)
            if known is not None:
                self._again.move_to_end(shape)
                return known
            known = self._once.pop(shape, None)
        if known is not None:
            self._keep(self._again, shape, known)
        return known

    def _keep(
        self, kept: OrderedDict[CacheKey, tuple[Lookup, ...]], shape: CacheKey, known: tuple[Lookup, ...]
    ) -> None:
        with self._lock:
            kept[shape] = known
            kept.move_to_end(shape)
            if len(kept) > MOST:
                kept.popitem(last=False)
