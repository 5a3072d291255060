"""From a query to SQL: small functions from one parameter to one condition or none, and a fold over them.

What conditions compare with has a name in the statement: a statement that was compiled once serves all queries of its
shape, see ``catalog/search/statement_cache.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from stacflask.catalog.cql2 import COLLECTION_FIELDS, ITEM_FIELDS, condition
from stacflask.catalog.cql2.compiler.spatial import meets
from stacflask.catalog.cql2.values.sql import LONGEST, TIMESTAMP
from stacflask.catalog.database.tables import collections, items
from stacflask.catalog.search import freetext
from stacflask.catalog.search.ordering import TIE_BREAKERS, SortOrder, rows
from stacflask.catalog.search.paging import Position
from stacflask.catalog.search.selectivity import areas
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
"""Numbers in a bbox with heights."""


TYPES: dict[str, sa.types.TypeEngine[Any]] = {
    "collection": sa.Text(),
    "collections": ARRAY(sa.Text()),
    "id": sa.Text(),
    "ids": ARRAY(sa.Text()),
    "area": sa.LargeBinary(),
    "further_area": sa.LargeBinary(),
    "lowest": sa.Double(),
    "highest": sa.Double(),
    "start": TIMESTAMP,
    "end": TIMESTAMP,
}
"""What conditions compare with, by name."""


def parameters(query: ItemQuery) -> dict[str, Any]:
    """Give what a query's conditions compare with, by name; those of a filter and of free text have none."""
    values: dict[str, Any] = {}
    for one, several, names in (("collection", "collections", query.collections), ("id", "ids", query.ids)):
        if names is not None:
            wanted = list(dict.fromkeys(names))
            values |= {one: wanted[0]} if len(wanted) == 1 else {several: wanted}
    values |= zip(("area", "further_area"), areas(query), strict=False)
    if query.bbox is not None and len(query.bbox) == LONG_BBOX:
        values |= {"lowest": query.bbox[2], "highest": query.bbox[5]}
    if query.interval is not None:
        ends = {"start": query.interval.start, "end": query.interval.end}
        values |= {name: end for name, end in ends.items() if end is not None}
    return values


Values: TypeAlias = "Mapping[str, Any]"


def in_collections(values: Values) -> Condition | None:
    """``collections``: any of these."""
    return _any_of(items.c.collection, values, "collection", "collections")


def with_ids(values: Values) -> Condition | None:
    """``ids``: any of these."""
    return _any_of(items.c.id, values, "id", "ids")


def within_area(values: Values) -> Condition | None:
    """``bbox`` and ``intersects``: the footprint meets the box or geometry.

    A box crosses the antimeridian where west is greater than east. Items without geometry match none.
    """
    met = [_meets(_named(values, name)) for name in ("area", "further_area") if name in values]
    return sa.or_(*met) if met else None


def _meets(wkb: Sql) -> Condition:
    return meets(items.c.geometry, sa.func.ST_GeomFromEWKB(wkb))


def within_heights(values: Values) -> Condition | None:
    """``bbox`` of six numbers: heights are those of the item's geometry and its own bbox; without any, it lies at 0."""
    if "lowest" not in values:
        return None
    return sa.and_(
        sa.func.coalesce(items.c.lowest, 0) <= _named(values, "highest"),
        sa.func.coalesce(items.c.highest, 0) >= _named(values, "lowest"),
    )


def during(values: Values) -> Condition | None:
    """``datetime``: the item's instant or its range meets the interval."""
    if "start" not in values and "end" not in values:
        return None
    # Where an item has no instant, the column holds the start of its range, which is found in any case.
    instant = _between(items.c.datetime, items.c.datetime, values)
    ranged = (items.c.has_start_datetime, items.c.has_end_datetime)
    return sa.or_(instant, sa.and_(*ranged, _between(items.c.start_datetime, items.c.end_datetime, values)))


def _between(first: Sql, last: Sql, values: Values) -> Condition:
    bounds = []
    if "end" in values:
        bounds.append(first <= _named(values, "end"))
    if "start" in values:
        bounds.append(last >= _named(values, "start"))
    return sa.and_(*bounds)


def matching(query: ItemQuery) -> Condition | None:
    """``filter``: CQL2."""
    return None if query.filter is None else condition(query.filter, ITEM_FIELDS)


def with_text(query: ItemQuery) -> Condition | None:
    """``q``: free text."""
    return None if query.text is None else freetext.in_items(query.text)


FOLD: tuple[Callable[[Values], Condition | None], ...] = (
    in_collections,
    with_ids,
    within_area,
    within_heights,
)


def _any_of(column: ColumnElement[Any], values: Values, one: str, several: str) -> Condition | None:
    if one not in values and several not in values:
        return None
    wanted: Sql = _named(values, one) if one in values else sa.any_(_named(values, several))
    return column == wanted


def _named(values: Values, name: str) -> Sql:
    return sa.bindparam(name, values[name], TYPES[name])


# --- What may be seen ------------------------------------------------------------------------------------------------


def visible(restriction: Restriction) -> Iterator[Condition]:
    """Give the conditions under which an item may be seen: its own, and those on its collection."""
    if restriction.items is not None:
        yield _rule(restriction.items, ITEM_FIELDS)
    if restriction.collections is not None:
        visible_names = sa.select(collections.c.id).where(_rule(restriction.collections, COLLECTION_FIELDS))
        yield items.c.collection.in_(visible_names)


def visible_collections(restriction: Restriction) -> Iterator[Condition]:
    """Give the conditions under which a collection may be seen."""
    if restriction.collections is not None:
        yield _rule(restriction.collections, COLLECTION_FIELDS)


def _rule(expression: Cql2, fields: Fields) -> Condition:
    """Give a policy's condition. A wrong one is no fault of whoever asked: nothing is shown, and the log says why."""
    try:
        return condition(expression, fields)
    except BadQuery as error:
        raise ValueError(f"a plugin restricts by what is no condition: {error.description}") from error


# --- The statement ---------------------------------------------------------------------------------------------------

ITEM_TIES = tuple(items.c[name] for name in TIE_BREAKERS)


def item_order(sort: tuple[SortKey, ...], dated: bool | None = None) -> SortOrder:
    """Give the order of a list of items, or of a part of it; the usual one is newest first. Raises BadQuery."""
    return _remembered_items(sort, dated) if is_short(sort) else _items_by(sort, dated)


def _items_by(sort: tuple[SortKey, ...], dated: bool | None) -> SortOrder:
    return SortOrder(sort, ITEM_FIELDS, ITEM_TIES, descending=True).part(dated)


_remembered_items = lru_cache(maxsize=256)(_items_by)


def is_short(sort: tuple[SortKey, ...]) -> bool:
    """Whether what is made of an order may be remembered: clients choose names, as long as they like."""
    return sum(len(key.name) for key in sort) <= LONGEST


def collection_order(sort: tuple[SortKey, ...]) -> SortOrder:
    """Give the order of a list of collections; the usual one is by id. Raises BadQuery."""
    return _remembered_collections(sort) if is_short(sort) else _collections_by(sort)


def _collections_by(sort: tuple[SortKey, ...]) -> SortOrder:
    return SortOrder(sort, COLLECTION_FIELDS, (collections.c.id,))


_remembered_collections = lru_cache(maxsize=256)(_collections_by)


@dataclass(frozen=True, slots=True)
class ListPart:
    """A part of a list of items: those that have a datetime, those that have none, or all (``dated`` is None).

    A ``position`` without values is the part's end that is nearer.
    """

    dated: bool | None = None
    position: Position | None = None

    def conditions(self, query: ItemQuery) -> Iterator[Condition]:
        """Give the conditions on its items."""
        if self.dated:
            yield items.c.has_datetime
            # Where no item has a datetime, an index on it would be read to its end.
            some = sa.select(collections.c.id).where(collections.c.dated)
            if query.collections is not None:
                some = some.where(collections.c.id == sa.any_(sa.bindparam("dated", _names(query), ARRAY(sa.Text()))))
            yield sa.exists(some)
        elif self.dated is not None:
            yield sa.not_(items.c.has_datetime)

    def time(self, query: ItemQuery) -> Any:
        """Give the value at its position of the form that comes first, or None."""
        values = () if self.position is None else self.position.values
        return values[item_order(query.sort, self.dated).expressions[0].number] if values else None

    def parameters(self, query: ItemQuery) -> dict[str, Any]:
        """Give what those conditions compare with, by name."""
        return {"dated": _names(query)} if self.dated and query.collections is not None else {}


ALL = ListPart()


def _names(query: ItemQuery) -> list[str]:
    return list(dict.fromkeys(query.collections or ()))


def list_parts(query: ItemQuery) -> Iterator[ListPart]:
    """Give the parts in which a list is read, one after the other, in the direction of the query's position."""
    order = item_order(query.sort)
    position = order.position(query.token)
    if not order.parted:
        yield ListPart(None, position)
        return
    backward = position is not None and position.backward
    sides = [False, True] if backward else [True, False]
    here = None if position is None else position.values[0] is not None
    for side in sides if here is None else sides[sides.index(here) :]:
        yield ListPart(side, position if side is here else Position((), backward=backward))


def found(query: ItemQuery, restriction: Restriction, duration_bound: DurationBound | None = None) -> list[Condition]:
    """Give the conditions under which an item is found, on whatever page; ``longest`` helps to find it by its time."""
    values = parameters(query)
    wanted = [*(build(values) for build in FOLD), *_in_time(query, duration_bound), matching(query), with_text(query)]
    return [*(condition for condition in wanted if condition is not None), *visible(restriction)]


def _in_time(query: ItemQuery, duration_bound: DurationBound | None) -> Iterator[Condition | None]:
    exactly = during(parameters(query))
    if exactly is None or query.interval is None or duration_bound is None:
        yield exactly
        return
    yield duration_bound.holds
    yield from duration_bound.around(query.interval)
    # The same, put so that the planner takes it for met, as it nearly always is where those before are met. It would
    # take what each column tells for chance, multiply it, and expect a tenth of what there is.
    yield sa.func.nullif(exactly, sa.false()).is_not(None)


def ordered_types(query: ItemQuery, indexed: Callable[[str], tuple[str, ...]]) -> tuple[str, ...]:
    """Name the types of the first sort key's values that an index can give in order; ``indexed`` knows by its name."""
    first = item_order(query.sort).keys[0]
    return indexed(first.name) if first.stored else ()


def page_statements(
    query: ItemQuery,
    restriction: Restriction,
    duration_bound: DurationBound | None,
    types: tuple[str, ...],
    window: TimeWindow = ALL_TIME,
    visibility: VisibilityFilter = EVERYTHING_VISIBLE,
    part: ListPart = ALL,
) -> Iterator[Select[Any]]:
    """Give statements which, one after the other, select the records of one page, and one more if there is one.

    Each is served by an index; once there are enough rows, those left need not be asked. For ``types``, see
    ``ordered_types``; only items of the ``stretch`` and the ``part`` are looked at, and of collections that are
    ``seen``.
    """
    order = item_order(query.sort, part.dated)
    if window.scanned:
        walked = _walked(query, restriction, duration_bound, window, part).where(
            *visibility.conditions(items.c.collection)
        )
        yield order.page(walked, part.position, query.limit)
        return
    if reads_each_collection(query, restriction, part):
        yield _merged(query, restriction, duration_bound, window, part)
        return
    strands = order.strands(len(types))
    if types and _compares_number(query.filter, order.keys[0].name):
        strands = strands[:1]
    found = _select(query, restriction, duration_bound).where(
        *window.conditions(), *visibility.conditions(items.c.collection)
    )
    yield from order.pages(found.where(*part.conditions(query)), part.position, query.limit, strands)


MOST_KEYS = 20_000
"""Places in the index that a search may look at to find the first items of each of some collections."""


def reads_each_collection(query: ItemQuery, restriction: Restriction, part: ListPart = ALL) -> bool:
    """Whether the first items of each of a query's collections are found sooner than those of all of them together.

    They are where each has an index in their order, and nearly all that it holds will do.
    """
    number = len(set(query.collections or ()))
    indexed = item_order(query.sort, part.dated).column in ("datetime", "id")
    return indexed and is_unfiltered(query, restriction) and 1 < number <= MOST_KEYS / (query.limit + 1)


def _walked(
    query: ItemQuery, restriction: Restriction, duration_bound: DurationBound | None, window: TimeWindow, part: ListPart
) -> Select[Any]:
    """Select all that a query finds in a stretch, in no order, by looking at each item of its collections there."""
    values, there = parameters(query), sa.select(items).where(*window.conditions())
    # Nothing but these conditions goes into the part that is walked through, so that no other index can serve it.
    fence: Sql = sa.literal_column("0")
    if "collections" in values:
        hidden = sa.select(_named(values, "collections")).scalar_subquery()
        names = sa.func.unnest(hidden).table_valued("name").render_derived()
        each = there.where(items.c.collection == names.c.name).offset(fence).lateral()
        walk = sa.select(each).select_from(sa.join(names, each, sa.true()))
    else:
        of_one, expressions = in_collections(values), item_order(query.sort, part.dated).expressions
        there = there if of_one is None else there.where(of_one)
        walk = there.order_by(*(form.arranged(backward=False) for form in expressions)).offset(fence)
    # It goes by the table's own name: whatever is asked of items is then asked of these.
    walked = walk.cte(items.name).prefix_with("NOT MATERIALIZED")
    conditions = [*found(replace(query, collections=None), restriction, duration_bound), *part.conditions(query)]
    if within_area(values) is not None:
        # Where it lies, the first of them, is told sooner than what its properties hold; the planner thinks otherwise.
        area, *others = conditions
        conditions = [sa.case((area, sa.and_(sa.true(), *others)), else_=sa.false())]
    return _columns(query).where(*conditions).add_cte(walked)


def _merged(
    query: ItemQuery, restriction: Restriction, duration_bound: DurationBound | None, window: TimeWindow, part: ListPart
) -> Select[Any]:
    """Select one page of a few collections: the first keys of each, of those the first, and their records.

    Looked for in all of them at once, the newest of a few small collections lie among thousands of other items.
    """
    order, position = item_order(query.sort, part.dated), part.position
    arranged = partial(order.arranged, backward=position is not None and position.backward)
    names = sa.func.unnest(_named(parameters(query), "collections")).table_valued("name").render_derived()
    own = sa.select(items.c.collection, items.c.id, *order.columns).where(items.c.collection == names.c.name)
    own = own.where(*found(replace(query, collections=None), restriction, duration_bound), *window.conditions())
    own = own.where(*part.conditions(query))
    each = order.page(own, position, query.limit).lateral()
    first = sa.select(each).select_from(sa.join(names, each, sa.true()))
    keys = first.order_by(*arranged(each)).limit(rows(query.limit)).subquery()
    same = sa.and_(items.c.collection == keys.c.collection, items.c.id == keys.c.id)
    # Not joined, so that no plan can read more of them than these.
    body = sa.select(items.c.body).where(same).scalar_subquery()
    return sa.select(keys, body.label("body")).order_by(*arranged(keys))


def _select(query: ItemQuery, restriction: Restriction, duration_bound: DurationBound | None) -> Select[Any]:
    """Select all that a query finds, in no order."""
    return _columns(query).where(*found(query, restriction, duration_bound))


def _columns(query: ItemQuery) -> Select[Any]:
    return sa.select(items.c.collection, items.c.id, items.c.body, *item_order(query.sort).columns)


def _compares_number(expression: Cql2 | None, name: str) -> bool:
    """Whether a filter holds only where a property is a number, because it is compared with one."""
    match expression:
        case {"op": "and", "args": [*parts]}:
            return any(_compares_number(part, name) for part in parts)
        case {"op": "=" | "<" | "<=" | ">" | ">=", "args": [{"property": str(own)}, value]}:
            return own.removeprefix("properties.") == name and is_number(value)
    return False
