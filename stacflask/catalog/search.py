"""From a query to SQL: small functions from one parameter to one condition or none, and a fold over them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from geoalchemy2 import WKBElement
from geoalchemy2.functions import ST_Intersects

from stacflask.catalog import freetext
from stacflask.catalog.cql2 import COLLECTION_FIELDS, ITEM_FIELDS, condition
from stacflask.catalog.ordering import BY_ID, NEWEST_FIRST, TIES, Order
from stacflask.catalog.tables import collections, items
from stacflask.errors import BadDocument, BadQuery
from stacflask.stac.geometry import to_wkb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.sql import ColumnElement, Select

    from stacflask.catalog.lasting import Longest
    from stacflask.values import Cql2, Document, ItemQuery, Restriction, SortKey

Condition = sa.ColumnElement[bool]

LONG_BBOX = 6
"""Numbers in a bbox with heights."""


def in_collections(query: ItemQuery) -> Condition | None:
    """``collections``: any of these."""
    return None if query.collections is None else _any_of(items.c.collection, query.collections)


def with_ids(query: ItemQuery) -> Condition | None:
    """``ids``: any of these."""
    if query.ids is None:
        return None
    named = _any_of(items.c.id, query.ids)
    if query.collections is not None:
        return named
    # The key begins with the collection: looked up in each of them, ids are found without an index of their own.
    return sa.and_(items.c.collection.in_(sa.select(collections.c.id)), named)


def within_bbox(query: ItemQuery) -> Condition | None:
    """``bbox``: the footprint meets the box, which crosses the antimeridian where west is greater than east.

    Items without geometry match no box. Heights are those of the item's own bbox; without any, it lies at 0.
    """
    if query.bbox is None:
        return None
    if len(query.bbox) != LONG_BBOX:
        west, south, east, north = query.bbox
        return _meets_box(west, south, east, north)
    west, south, low, east, north, high = query.bbox
    return sa.and_(
        _meets_box(west, south, east, north),
        sa.func.coalesce(items.c.lowest, 0) <= high,
        sa.func.coalesce(items.c.highest, 0) >= low,
    )


def _meets_box(west: float, south: float, east: float, north: float) -> Condition:
    if west > east:
        return sa.or_(_meets_box(west, south, 180, north), _meets_box(-180, south, east, north))
    corners = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    # A box without width or height becomes the line or point that it is; as a polygon it would meet nothing.
    return _meets({"type": "Polygon", "coordinates": [corners]})


def _meets(geometry: Document) -> Condition:
    return ST_Intersects(items.c.geometry, WKBElement(to_wkb(geometry), srid=4326, extended=True))


def intersecting(query: ItemQuery) -> Condition | None:
    """``intersects``: the footprint meets the geometry."""
    if query.intersects is None:
        return None
    try:
        return _meets(query.intersects)
    except BadDocument as error:
        raise BadQuery("intersects", error.problem) from error


def during(query: ItemQuery) -> Condition | None:
    """``datetime``: the item's instant or range meets the interval."""
    if query.interval is None:
        return None
    bounds = []
    if query.interval.end is not None:
        bounds.append(items.c.start_datetime <= query.interval.end)
    if query.interval.start is not None:
        bounds.append(items.c.end_datetime >= query.interval.start)
    return sa.and_(*bounds)


def matching(query: ItemQuery) -> Condition | None:
    """``filter``: CQL2."""
    return None if query.filter is None else condition(query.filter, ITEM_FIELDS)


def with_text(query: ItemQuery) -> Condition | None:
    """``q``: free text."""
    return None if query.text is None else freetext.in_items(query.text)


FOLD: tuple[Callable[[ItemQuery], Condition | None], ...] = (
    in_collections,
    with_ids,
    within_bbox,
    intersecting,
    during,
    matching,
    with_text,
)


def _any_of(column: ColumnElement[Any], values: tuple[str, ...]) -> Condition:
    return column == values[0] if len(values) == 1 else column.in_(values)


# --- What may be seen ------------------------------------------------------------------------------------------------


def visible(restriction: Restriction) -> Iterator[Condition]:
    """Give the conditions under which an item may be seen: its own, and those on its collection."""
    if restriction.items is not None:
        yield condition(restriction.items, ITEM_FIELDS)
    if restriction.collections is not None:
        seen = sa.select(collections.c.id).where(condition(restriction.collections, COLLECTION_FIELDS))
        yield items.c.collection.in_(seen)


def visible_collections(restriction: Restriction) -> Iterator[Condition]:
    """Give the conditions under which a collection may be seen."""
    if restriction.collections is not None:
        yield condition(restriction.collections, COLLECTION_FIELDS)


# --- The statement ---------------------------------------------------------------------------------------------------

COLLECTION_TIES = ("id",)


@lru_cache(maxsize=256)
def item_order(sort: tuple[SortKey, ...]) -> Order:
    """Give the order of a list of items; the usual one is newest first. Raises BadQuery."""
    return Order(sort or NEWEST_FIRST, ITEM_FIELDS, TIES)


@lru_cache(maxsize=256)
def collection_order(sort: tuple[SortKey, ...]) -> Order:
    """Give the order of a list of collections; the usual one is by id. Raises BadQuery."""
    return Order(sort or BY_ID, COLLECTION_FIELDS, COLLECTION_TIES)


def found(query: ItemQuery, restriction: Restriction) -> list[Condition]:
    """Give the conditions under which an item is found, on whatever page."""
    return [*(made for build in FOLD if (made := build(query)) is not None), *visible(restriction)]


def statements(
    query: ItemQuery, restriction: Restriction, longest: Longest | None, indexed: Callable[[str], tuple[str, ...]]
) -> Iterator[Select[Any]]:
    """Give statements which, one after the other, select the records of one page, and one more if there is one.

    Each is served by an index; once there are enough rows, those left need not be asked. ``indexed(name)`` names the
    types of a property's values that an index can give in order.
    """
    order = item_order(query.sort)
    first = order.keys[0]
    forms = indexed(first.name) if first.stored else ()
    strands = order.strands(len(forms))
    if forms and _compares_number(query.filter, first.name):
        strands = strands[:1]
    yield from order.pages(_select(query, restriction, longest), order.position(query.token), query.limit, strands)


def _select(query: ItemQuery, restriction: Restriction, longest: Longest | None) -> Select[Any]:
    """Select all that a query finds, in no order."""
    statement = sa.select(items.c.collection, items.c.id, items.c.body, *item_order(query.sort).columns)
    return statement.where(*_around(query, longest), *found(query, restriction))


def _compares_number(expression: Cql2 | None, name: str) -> bool:
    """Whether a filter holds only where a property is a number, because it is compared with one."""
    match expression:
        case {"op": "and", "args": [*parts]}:
            return any(_compares_number(part, name) for part in parts)
        case {"op": "=" | "<" | "<=" | ">" | ">=", "args": [{"property": str(own)}, value]}:
            return own.removeprefix("properties.") == name and type(value) in (int, float)
    return False


def _around(query: ItemQuery, longest: Longest | None) -> Iterator[Condition]:
    """``datetime`` once more: what the index on time can begin and end with."""
    if query.interval is not None and longest is not None:
        yield longest.holds
        yield from longest.around(query.interval)
