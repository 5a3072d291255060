"""Plans of searches: the statements that read one page of items, in the order of the list.

``plan`` yields the statements one after the other. Reading stops when the page is full. PostgreSQL's planner chooses
the indexes of each statement, for the values of the request. docs/decisions/0005-search-plans.md has the figures for
these strategies:

- **One statement**: for a search that no other strategy serves.
- **Collection by collection**: a list of several collections takes the first keys of each from an index, merges them
  and reads the records. In an index on all collections, the items of a few small ones lie among thousands of others.
- **Time windows**: an area, newest first, is searched in the newest 30 days, then a year, then all the rest.
- **Type by type**: a list sorted by a property reads numbers, strings, booleans and then the rest, because an index
  serves the values of one type.
- **Dated and undated**: a list sorted by ``datetime`` reads the items that have one, and then the items without,
  because no index has the nulls last in both directions.

All of them read the bound on durations in the statement, see ``item_search.datetime_conditions``. How a statement
contains long lists of visible collections is described in ``long_name_lists.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql import Select

from stacflask.catalog.cql2.values.sql import SqlCondition
from stacflask.catalog.database.engine import texts
from stacflask.catalog.database.tables import collections, items
from stacflask.catalog.search.item_search import datetime_conditions, item_order, parameters, search_conditions
from stacflask.catalog.search.long_name_lists import VisibilityFilter
from stacflask.catalog.search.ordering import inlined_limit, row_limit
from stacflask.catalog.search.paging import Position
from stacflask.catalog.search.query_cost import compares_only_datetime, is_unfiltered
from stacflask.catalog.search.restrictions import visible
from stacflask.catalog.search.time_windows import ALL_TIME, TimeWindow, time_windows
from stacflask.model.decision import Restriction
from stacflask.model.json_types import Cql2
from stacflask.model.query import ItemQuery
from stacflask.stac.numbers import is_number

MAX_INDEX_READS = 20_000
"""Most index entries that a search may read to find the first items of each of its collections."""


@dataclass(frozen=True, slots=True)
class Step:
    """Statements that read a part of a page.

    Attributes:
        shape: Equal for steps whose statements differ only in the values of their parameters.
        values: The parameters of the statements by name.
        build: Makes the statements. Once there are enough rows, the remaining ones need not run.
        generic: Whether one plan is right for all values: an index is read in its order.
    """

    shape: tuple[Any, ...]
    values: dict[str, Any]
    build: Callable[[], Iterable[Select[Any]]]
    generic: bool


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans searches.

    Attributes:
        indexed_types: Returns the types of a property that an index sorts.
        newest: Returns the newest datetime in the catalogue, roughly.
    """

    indexed_types: Callable[[str], tuple[str, ...]]
    newest: Callable[[], datetime | None]

    def plan(
        self,
        query: ItemQuery,
        restriction: Restriction,
        visibility: VisibilityFilter,
        rows: Sequence[Any],
        *,
        counted: bool = False,
    ) -> Iterator[Step]:
        """Yield the steps that read one page, and one more row if there is one.

        The statements select only items that pass ``visibility``. ``rows`` holds the rows that were read so far. With
        ``counted``, no time windows are used, because the count scans all items of the query anyway.
        """
        types = self._ordered_types(query)
        values = {**parameters(query), **visibility.parameters(), "rows": query.limit + 1}
        for part in _list_parts(query):
            for window in (ALL_TIME,) if counted else self._windows(query, restriction, part, rows):
                yield _step(_Search(query, restriction, visibility, part, window, types), values)

    def _ordered_types(self, query: ItemQuery) -> tuple[str, ...]:
        """Return the types of the first sort key that an index sorts."""
        first = item_order(query.sort).keys[0]
        return self.indexed_types(first.name) if first.stored else ()

    def _windows(
        self, query: ItemQuery, restriction: Restriction, part: ListPart, rows: Sequence[Any]
    ) -> Iterable[TimeWindow]:
        area = query.bbox is not None or query.intersects is not None
        if area and query.ids is None and _newest_first(query, part.dated) and not part.backward:
            return time_windows(query, restriction, part.datetime_at_position(query), self.newest, rows)
        return (ALL_TIME,)


@dataclass(frozen=True, slots=True)
class _Search:
    """A part of a search, which determines the statements of one step."""

    query: ItemQuery
    restriction: Restriction
    visibility: VisibilityFilter
    part: ListPart
    window: TimeWindow
    types: tuple[str, ...]

    @property
    def by_collection(self) -> bool:
        """Whether to read the first items of each collection, and not of all of them together.

        This is faster if an index has the items of each collection in the order of the list, and nearly all match.
        """
        query, number = self.query, len(set(self.query.collections or ()))
        indexed = item_order(query.sort, self.part.dated).column in ("datetime", "id")
        few = 1 < number <= MAX_INDEX_READS / (query.limit + 1)
        return few and indexed and is_unfiltered(query) and compares_only_datetime(self.restriction.items)

    @property
    def has_generic_plan(self) -> bool:
        """Whether one plan is right for all values."""
        query = self.query
        plain = query.interval is None and is_unfiltered(query) and compares_only_datetime(self.restriction.items)
        return plain and not item_order(query.sort).keys[0].stored

    def statements(self) -> Iterator[Select[Any]]:
        """Yield the statements that together select the rows of the step."""
        if self.by_collection:
            yield self._of_each_collection()
            return
        order = item_order(self.query.sort, self.part.dated)
        segments = order.segments(len(self.types))
        if self.types and _compares_number(self.query.filter, order.keys[0].name):
            segments = segments[:1]
        columns = sa.select(items.c.collection, items.c.id, items.c.body, *item_order(self.query.sort).columns)
        found = columns.where(
            *search_conditions(self.query, self.restriction),
            *self.window.conditions(),
            *self.visibility.conditions(items.c.collection),
            *self.part.conditions(self.query),
        )
        yield from order.pages(found, self.part.position, self.query.limit, segments)

    def _of_each_collection(self) -> Select[Any]:
        """Return a statement for one page: the first keys of each collection, the first of those, and their records."""
        query, part = self.query, self.part
        values, order = parameters(query), item_order(query.sort, part.dated)
        order_clauses = partial(order.order_clause, backward=part.backward)
        requested = sa.bindparam("collections", values["collections"], ARRAY(sa.Text()))
        names = sa.func.unnest(requested).table_valued("name").render_derived()
        candidates = sa.select(items.c.collection, items.c.id, *order.columns).where(
            items.c.collection == names.c.name,
            *datetime_conditions(values, once=True),
            *visible(self.restriction),
            *part.conditions(query),
        )
        each = order.page(candidates, part.position, query.limit).lateral()
        first = sa.select(each).select_from(sa.join(names, each, sa.true()))
        keys = first.order_by(*order_clauses(each)).limit(row_limit(query.limit)).subquery()
        same = sa.and_(items.c.collection == keys.c.collection, items.c.id == keys.c.id)
        # A subquery and not a join, so that no plan can read the bodies of other items.
        body = sa.select(items.c.body).where(same).scalar_subquery()
        return sa.select(keys, body.label("body")).order_by(*order_clauses(keys))


def _step(search: _Search, values: dict[str, Any]) -> Step:
    query, part = search.query, search.part
    values = {
        **values,
        **search.window.parameters(),
        **item_order(query.sort).parameters(part.position),
        **part.parameters(query),
    }
    values = {name: texts(tuple(value)) if isinstance(value, list) else value for name, value in values.items()}
    direction = part.dated, part.position is not None and (part.backward, bool(part.position.values))
    shape = (frozenset(values), query.sort, inlined_limit(query.limit), direction, search.types, search.by_collection)
    return Step(shape, values, search.statements, search.has_generic_plan)


def _compares_number(expression: Cql2 | None, name: str) -> bool:
    """Return whether a filter compares a property with a number, and so holds only if the property is a number."""
    match expression:
        case {"op": "and", "args": [*parts]}:
            return any(_compares_number(part, name) for part in parts)
        case {"op": "=" | "<" | "<=" | ">" | ">=", "args": [{"property": str(compared)}, value]}:
            return compared.removeprefix("properties.") == name and is_number(value)
    return False


# --- Parts of a list --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ListPart:
    """A part of a list of items: those with a datetime, those without, or all (``dated`` is None).

    A ``position`` without values is the end at which reading begins.
    """

    dated: bool | None = None
    position: Position | None = None

    @property
    def backward(self) -> bool:
        """Whether the page lies before the position."""
        return self.position is not None and self.position.backward

    def conditions(self, query: ItemQuery) -> Iterator[SqlCondition]:
        """Yield the conditions on its items."""
        if self.dated:
            yield items.c.has_datetime
            # Without this condition, an index on the datetime would be read to its end if no item has one.
            some = sa.select(collections.c.id).where(collections.c.has_datetimes)
            if query.collections is not None:
                some = some.where(collections.c.id == sa.any_(sa.bindparam("dated", _names(query), ARRAY(sa.Text()))))
            yield sa.exists(some)
        elif self.dated is not None:
            yield sa.not_(items.c.has_datetime)

    def datetime_at_position(self, query: ItemQuery) -> Any:
        """Return the value of the first sort expression at the position, or None."""
        values = () if self.position is None else self.position.values
        return values[item_order(query.sort, self.dated).expressions[0].number] if values else None

    def parameters(self, query: ItemQuery) -> dict[str, Any]:
        """Return the parameters of those conditions by name."""
        return {"dated": _names(query)} if self.dated and query.collections is not None else {}


def _names(query: ItemQuery) -> list[str]:
    return list(dict.fromkeys(query.collections or ()))


def _list_parts(query: ItemQuery) -> Iterator[ListPart]:
    """Yield the parts of a list in the order of reading, in the direction of the query's position."""
    order = item_order(query.sort)
    position = order.position(query.token)
    if not order.splits_by_datetime:
        yield ListPart(None, position)
        return
    backward = position is not None and position.backward
    sides = [False, True] if backward else [True, False]
    here = None if position is None else position.values[0] is not None
    for side in sides if here is None else sides[sides.index(here) :]:
        yield ListPart(side, position if side is here else Position((), backward=backward))


def _newest_first(query: ItemQuery, dated: bool | None) -> bool:
    """Return whether the list is sorted by descending time. ``dated`` is that of a ``ListPart``.

    Items without a datetime are sorted by the next sort key, or without one by the start of their range.
    """
    first, *others = query.sort or (None,)
    if first is None:
        return True
    return first.descending and dated is not None and (dated or not others)
