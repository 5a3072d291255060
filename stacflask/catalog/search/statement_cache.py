"""Cache of compiled statements. Searches of one shape differ only in their parameters and share statements.

The database still plans each execution for its own parameters, because one plan for all boxes is bad for each of them.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from threading import Lock
from typing import Any

import orjson
from cachetools import LRUCache
from sqlalchemy.sql import Select

from stacflask.catalog.database.engine import Lookup, lookup
from stacflask.catalog.search.item_search import is_short
from stacflask.model.json_types import Cql2
from stacflask.model.query import ItemQuery

MAX_STATEMENTS = 256
"""Shapes that one process keeps in each half of the cache: those used once, and those used again."""
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


class StatementCache:
    """Statements by the shape of their search.

    The cache keeps ``MAX_STATEMENTS`` shapes that were used once, and as many that were used again. A client that sends
    hundreds of unusual shapes, each once, therefore evicts no shape that other clients use.
    """

    def __init__(self) -> None:
        self._used_once: LRUCache[Any, tuple[Lookup, ...]] = LRUCache(MAX_STATEMENTS)
        self._used_again: LRUCache[Any, tuple[Lookup, ...]] = LRUCache(MAX_STATEMENTS)
        self._lock = Lock()

    def get_or_build(
        self, shape: tuple[Any, ...], build: Callable[[], Iterable[Select[Any]]], *, prepared: bool
    ) -> tuple[Lookup, ...]:
        """Return the statements of a shape. ``build`` makes new ones.

        ``prepared`` is that of a ``Lookup``. It applies from the second use of a shape.
        """
        with self._lock:
            lookups = self._used_again.get(shape)
            if lookups is None and (lookups := self._used_once.pop(shape, None)) is not None:
                lookups = self._used_again[shape] = tuple(replace(one, prepared=prepared) for one in lookups)
        if lookups is None:
            lookups = tuple(lookup(statement, prepared=False) for statement in build())
            with self._lock:
                self._used_once[shape] = lookups
        return lookups

    def __len__(self) -> int:
        return len(self._used_once) + len(self._used_again)
