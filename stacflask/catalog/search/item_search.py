"""Translates item queries to SQL: each parameter becomes one condition or None, and the conditions are joined.

Values are named parameters of the statement, so that a statement compiled once serves all queries of its shape, see
``catalog/search/statement_cache.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from stacflask.catalog.cql2 import COLLECTION_FIELDS, ITEM_FIELDS, condition
from stacflask.catalog.cql2.compiler.spatial import meets
from stacflask.catalog.cql2.values.sql import MAX_CACHED_LENGTH, TIMESTAMP
from stacflask.catalog.database.tables import collections, items
from stacflask.catalog.search import freetext
from stacflask.catalog.search.ordering import TIE_BREAKERS, SortOrder, row_limit
from stacflask.catalog.search.paging import Position
from stacflask.catalog.search.selectivity import search_areas
from stacflask.catalog.search.time_windows import ALL_TIME, TimeWindow, is_unfiltered
from stacflask.catalog.search.visibility import EVERYTHING_VISIBLE, VisibilityFilter
from stacflask.errors import BadQuery
from stacflask.stac.numbers import is_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy.sql import ColumnElement, Select

    from stacflask.catalog.cql2 import Fields
    from stacflask.catalog.cql2.values.sql import Sql
    from stacflask.catalog.search.durations import DurationBound
    from stacflask.model.decision import Restriction
    from stacflask.model.json_types import Cql2
    from stacflask.model.query import ItemQuery, SortKey

Condition = sa.ColumnElement[bool]

LONG_BBOX = 6
"""Length of a bbox with heights."""


PARAMETER_TYPES: dict[str, sa.types.TypeEngine[Any]] = {
    "collection": sa.Text(),
    "collections": ARRAY(sa.Text()),
    "id": sa.Text(),
    "ids": ARRAY(sa.Text()),
    "area": sa.LargeBinary(),
    "further_area": sa.LargeBinary(),
    "min_height": sa.Double(),
    "max_height": sa.Double(),
    "start": TIMESTAMP,
    "end": TIMESTAMP,
}
"""Types of the parameters of conditions by name."""


def parameters(query: ItemQuery) -> dict[str, Any]:
    """Return the parameters of a query's conditions by name. Filters and free text use literals instead."""
    values: dict[str, Any] = {}
    for one, several, names in (("collection", "collections", query.collections), ("id", "ids", query.ids)):
        if names is not None:
            unique = list(dict.fromkeys(names))
            values |= {one: unique[0]} if len(unique) == 1 else {several: unique}
    values |= zip(("area", "further_area"), search_areas(query), strict=False)
    if query.bbox is not None and len(query.bbox) == LONG_BBOX:
        values |= {"min_height": query.bbox[2], "max_height": query.bbox[5]}
    if query.interval is not None:
        ends = {"start": query.interval.start, "end": query.interval.end}
        values |= {name: end for name, end in ends.items() if end is not None}
    return values


Values: TypeAlias = "Mapping[str, Any]"


def in_collections(values: Values) -> Condition | None:
    """``collections``: the item is in one of these."""
    return _equals_any(items.c.collection, values, "collection", "collections")


def with_ids(values: Values) -> Condition | None:
    """``ids``: the item has one of these."""
    return _equals_any(items.c.id, values, "id", "ids")


def within_area(values: Values) -> Condition | None:
    """``bbox`` and ``intersects``: the footprint intersects the box or geometry.

    A box crosses the antimeridian if west is greater than east. Items without geometry never match.
    """
    intersections = [_meets(_parameter(values, name)) for name in ("area", "further_area") if name in values]
    return sa.or_(*intersections) if intersections else None


def _meets(wkb: Sql) -> Condition:
    return meets(items.c.geometry, sa.func.ST_GeomFromEWKB(wkb))


def within_heights(values: Values) -> Condition | None:
    """``bbox`` of six numbers: the item's heights, from its geometry and bbox, overlap. Without heights it is at 0."""
    if "min_height" not in values:
        return None
    return sa.and_(
        sa.func.coalesce(items.c.min_height, 0) <= _parameter(values, "max_height"),
        sa.func.coalesce(items.c.max_height, 0) >= _parameter(values, "min_height"),
    )


def during(values: Values) -> Condition | None:
    """``datetime``: the item's instant or its range intersects the interval."""
    if "start" not in values and "end" not in values:
        return None
    # If an item has no instant, the column contains the start of its range, which the second condition finds anyway.
    instant = _overlaps(items.c.datetime, items.c.datetime, values)
    ranged = (items.c.has_start_datetime, items.c.has_end_datetime)
    return sa.or_(instant, sa.and_(*ranged, _overlaps(items.c.start_datetime, items.c.end_datetime, values)))


def _overlaps(first: Sql, last: Sql, values: Values) -> Condition:
    bounds = []
    if "end" in values:
        bounds.append(first <= _parameter(values, "end"))
    if "start" in values:
        bounds.append(last >= _parameter(values, "start"))
    return sa.and_(*bounds)


def matching(query: ItemQuery) -> Condition | None:
    """``filter``: the CQL2 condition holds."""
    return None if query.filter is None else condition(query.filter, ITEM_FIELDS)


def with_text(query: ItemQuery) -> Condition | None:
    """``q``: the item contains the free text."""
    return None if query.text is None else freetext.in_items(query.text)


CONDITION_BUILDERS: tuple[Callable[[Values], Condition | None], ...] = (
    in_collections,
    with_ids,
    within_area,
    within_heights,
)


def _equals_any(column: ColumnElement[Any], values: Values, one: str, several: str) -> Condition | None:
    if one not in values and several not in values:
        return None
    operand: Sql = _parameter(values, one) if one in values else sa.any_(_parameter(values, several))
    return column == operand


def _parameter(values: Values, name: str) -> Sql:
    return sa.bindparam(name, values[name], PARAMETER_TYPES[name])


# --- Restrictions ----------------------------------------------------------------------------------------------------


def visible(restriction: Restriction) -> Iterator[Condition]:
    """Yield the conditions under which an item is visible: those on the item and on its collection."""
    if restriction.items is not None:
        yield _policy_condition(restriction.items, ITEM_FIELDS)
    if restriction.collections is not None:
        visible_names = sa.select(collections.c.id).where(_policy_condition(restriction.collections, COLLECTION_FIELDS))
        yield items.c.collection.in_(visible_names)


def visible_collections(restriction: Restriction) -> Iterator[Condition]:
    """Yield the conditions under which a collection is visible."""
    if restriction.collections is not None:
        yield _policy_condition(restriction.collections, COLLECTION_FIELDS)


def _policy_condition(expression: Cql2, fields: Fields) -> Condition:
    """Return a policy's condition. Raises ValueError if it is invalid: the client is not at fault, and sees nothing."""
    try:
        return condition(expression, fields)
    except BadQuery as error:
        raise ValueError(f"a plugin returned an invalid restriction: {error.description}") from error


# --- The statement ---------------------------------------------------------------------------------------------------

ITEM_TIE_BREAKERS = tuple(items.c[name] for name in TIE_BREAKERS)


def item_order(sort: tuple[SortKey, ...], dated: bool | None = None) -> SortOrder:
    """Return the order of a list of items, or of a part of it. The default is newest first. Raises BadQuery."""
    return _cached_item_order(sort, dated) if is_short(sort) else _build_item_order(sort, dated)


def _build_item_order(sort: tuple[SortKey, ...], dated: bool | None) -> SortOrder:
    return SortOrder(sort, ITEM_FIELDS, ITEM_TIE_BREAKERS, descending=True).for_part(dated)


_cached_item_order = lru_cache(maxsize=256)(_build_item_order)


def is_short(sort: tuple[SortKey, ...]) -> bool:
    """Return whether an order can be cached. Clients choose the names and their length."""
    return sum(len(key.name) for key in sort) <= MAX_CACHED_LENGTH


def collection_order(sort: tuple[SortKey, ...]) -> SortOrder:
    """Return the order of a list of collections. The default is by id. Raises BadQuery."""
    return _cached_collection_order(sort) if is_short(sort) else _build_collection_order(sort)


def _build_collection_order(sort: tuple[SortKey, ...]) -> SortOrder:
    return SortOrder(sort, COLLECTION_FIELDS, (collections.c.id,))


_cached_collection_order = lru_cache(maxsize=256)(_build_collection_order)


@dataclass(frozen=True, slots=True)
class ListPart:
    """A part of a list of items: those with a datetime, those without, or all (``dated`` is None).

    A ``position`` without values is the end at which reading begins.
    """

    dated: bool | None = None
    position: Position | None = None

    def conditions(self, query: ItemQuery) -> Iterator[Condition]:
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


WHOLE_LIST = ListPart()


def _names(query: ItemQuery) -> list[str]:
    return list(dict.fromkeys(query.collections or ()))


def list_parts(query: ItemQuery) -> Iterator[ListPart]:
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


def search_conditions(
    query: ItemQuery, restriction: Restriction, duration_bound: DurationBound | None = None
) -> list[Condition]:
    """Return the conditions of a search, for all pages. ``duration_bound`` allows an index on the datetime."""
    values = parameters(query)
    conditions = [
        *(build(values) for build in CONDITION_BUILDERS),
        *_datetime_conditions(query, duration_bound),
        matching(query),
        with_text(query),
    ]
    return [*(condition for condition in conditions if condition is not None), *visible(restriction)]


def _datetime_conditions(query: ItemQuery, duration_bound: DurationBound | None) -> Iterator[Condition | None]:
    exactly = during(parameters(query))
    if exactly is None or query.interval is None or duration_bound is None:
        yield exactly
        return
    yield duration_bound.is_valid
    yield from duration_bound.datetime_conditions(query.interval)
    # This form makes the planner assume that the condition holds, as it nearly always does if the previous ones hold.
    # Otherwise the planner multiplies the selectivities of the columns and expects a tenth of the rows.
    yield sa.func.nullif(exactly, sa.false()).is_not(None)


def ordered_types(query: ItemQuery, indexed: Callable[[str], tuple[str, ...]]) -> tuple[str, ...]:
    """Return the types of the first sort key that an index sorts. ``indexed`` returns them for a name."""
    first = item_order(query.sort).keys[0]
    return indexed(first.name) if first.stored else ()


def page_statements(
    query: ItemQuery,
    restriction: Restriction,
    duration_bound: DurationBound | None,
    types: tuple[str, ...],
    window: TimeWindow = ALL_TIME,
    visibility: VisibilityFilter = EVERYTHING_VISIBLE,
    part: ListPart = WHOLE_LIST,
) -> Iterator[Select[Any]]:
    """Yield statements that together select the rows of one page, and one more row if there is one.

    An index serves each of them. Once there are enough rows, the remaining statements need not run. ``types`` are
    those of ``ordered_types``. The statements select only items of ``window`` and ``part`` that pass ``visibility``.
    """
    order = item_order(query.sort, part.dated)
    if window.scanned:
        scanned = _scan(query, restriction, duration_bound, window, part).where(
            *visibility.conditions(items.c.collection)
        )
        yield order.page(scanned, part.position, query.limit)
        return
    if reads_each_collection(query, restriction, part):
        yield _page_of_each_collection(query, restriction, duration_bound, window, part)
        return
    segments = order.segments(len(types))
    if types and _compares_number(query.filter, order.keys[0].name):
        segments = segments[:1]
    found = _select(query, restriction, duration_bound).where(
        *window.conditions(), *visibility.conditions(items.c.collection)
    )
    yield from order.pages(found.where(*part.conditions(query)), part.position, query.limit, segments)


MAX_INDEX_READS = 20_000
"""Most index entries that a search may read to find the first items of each of its collections."""


def reads_each_collection(query: ItemQuery, restriction: Restriction, part: ListPart = WHOLE_LIST) -> bool:
    """Return whether to read the first items of each collection, and not of all of them together.

    This is faster if an index has the items of each collection in the order of the list, and nearly all of them match.
    """
    number = len(set(query.collections or ()))
    indexed = item_order(query.sort, part.dated).column in ("datetime", "id")
    return indexed and is_unfiltered(query, restriction) and 1 < number <= MAX_INDEX_READS / (query.limit + 1)


def _scan(
    query: ItemQuery, restriction: Restriction, duration_bound: DurationBound | None, window: TimeWindow, part: ListPart
) -> Select[Any]:
    """Return an unsorted statement for a window that reads every item of the query's collections in it."""
    values, in_window = parameters(query), sa.select(items).where(*window.conditions())
    # The scanned subquery has only these conditions, and OFFSET 0 isolates it, so that no other index can serve it.
    fence: Sql = sa.literal_column("0")
    if "collections" in values:
        opaque_names = sa.select(_parameter(values, "collections")).scalar_subquery()
        names = sa.func.unnest(opaque_names).table_valued("name").render_derived()
        each = in_window.where(items.c.collection == names.c.name).offset(fence).lateral()
        scan = sa.select(each).select_from(sa.join(names, each, sa.true()))
    else:
        one_collection, expressions = in_collections(values), item_order(query.sort, part.dated).expressions
        in_window = in_window if one_collection is None else in_window.where(one_collection)
        scan = in_window.order_by(*(expression.order_clause(backward=False) for expression in expressions)).offset(
            fence
        )
    # The CTE has the name of the table, so that all other conditions on items apply to it.
    scanned = scan.cte(items.name).prefix_with("NOT MATERIALIZED")
    conditions = [
        *search_conditions(replace(query, collections=None), restriction, duration_bound),
        *part.conditions(query),
    ]
    if within_area(values) is not None:
        # The first condition, on the area, is cheaper than those on properties. The planner assumes the opposite.
        area, *others = conditions
        conditions = [sa.case((area, sa.and_(sa.true(), *others)), else_=sa.false())]
    return _columns(query).where(*conditions).add_cte(scanned)


def _page_of_each_collection(
    query: ItemQuery, restriction: Restriction, duration_bound: DurationBound | None, window: TimeWindow, part: ListPart
) -> Select[Any]:
    """Return a statement for one page: the first keys of each collection, the first of those, and their records.

    In an index on all collections, the newest items of a few small collections lie among thousands of others.
    """
    order, position = item_order(query.sort, part.dated), part.position
    order_clauses = partial(order.order_clause, backward=position is not None and position.backward)
    names = sa.func.unnest(_parameter(parameters(query), "collections")).table_valued("name").render_derived()
    candidates = sa.select(items.c.collection, items.c.id, *order.columns).where(items.c.collection == names.c.name)
    candidates = candidates.where(
        *search_conditions(replace(query, collections=None), restriction, duration_bound), *window.conditions()
    )
    candidates = candidates.where(*part.conditions(query))
    each = order.page(candidates, position, query.limit).lateral()
    first = sa.select(each).select_from(sa.join(names, each, sa.true()))
    keys = first.order_by(*order_clauses(each)).limit(row_limit(query.limit)).subquery()
    same = sa.and_(items.c.collection == keys.c.collection, items.c.id == keys.c.id)
    # A subquery and not a join, so that no plan can read the bodies of other items.
    body = sa.select(items.c.body).where(same).scalar_subquery()
    return sa.select(keys, body.label("body")).order_by(*order_clauses(keys))


def _select(query: ItemQuery, restriction: Restriction, duration_bound: DurationBound | None) -> Select[Any]:
    """Return an unsorted statement for all items that a query finds."""
    return _columns(query).where(*search_conditions(query, restriction, duration_bound))


def _columns(query: ItemQuery) -> Select[Any]:
    return sa.select(items.c.collection, items.c.id, items.c.body, *item_order(query.sort).columns)


def _compares_number(expression: Cql2 | None, name: str) -> bool:
    """Return whether a filter compares a property with a number, and so holds only if the property is a number."""
    match expression:
        case {"op": "and", "args": [*parts]}:
            return any(_compares_number(part, name) for part in parts)
        case {"op": "=" | "<" | "<=" | ">" | ">=", "args": [{"property": str(compared)}, value]}:
            return compared.removeprefix("properties.") == name and is_number(value)
    return False
