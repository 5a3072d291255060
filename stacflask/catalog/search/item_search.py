"""The conditions and the order of item queries in SQL. Each parameter becomes one condition or None.

Values are named parameters of the statement, so that a statement compiled once serves all queries of its shape, see
``catalog/search/statement_cache.py``. ``catalog/search/plan.py`` makes the statements.
"""

import operator
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql import ColumnElement

from stacflask.catalog.cql2 import ITEM_FIELDS, condition
from stacflask.catalog.cql2.compiler.spatial import meets
from stacflask.catalog.cql2.values.sql import MAX_CACHED_LENGTH, TIMESTAMP, Sql, SqlCondition
from stacflask.catalog.database.tables import items
from stacflask.catalog.documents.rows import LONG_BBOX
from stacflask.catalog.search import freetext
from stacflask.catalog.search.ordering import TIE_BREAKERS, SortOrder
from stacflask.catalog.search.restrictions import visible
from stacflask.errors import BadDocument, BadQuery
from stacflask.model.decision import Restriction
from stacflask.model.json_types import Document
from stacflask.model.query import ItemQuery, SortKey
from stacflask.stac.geometry import SearchGeometry, to_wkb

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


def search_areas(query: ItemQuery) -> list[bytes]:
    """Return the geometries of a query as WKB: none, one, or two if a box crosses the antimeridian. Raises BadQuery."""
    try:
        return [_wkb(geometry) for geometry in _geometries(query)]
    except BadDocument as error:
        raise BadQuery("intersects", error.problem) from error


def _wkb(geometry: Document) -> bytes:
    return geometry.wkb if isinstance(geometry, SearchGeometry) else to_wkb(geometry)


def _geometries(query: ItemQuery) -> list[Document]:
    if query.intersects is not None:
        return [query.intersects]
    if query.bbox is None:
        return []
    half = len(query.bbox) // 2
    (west, south), (east, north) = query.bbox[:2], query.bbox[half : half + 2]
    if west <= east:
        return [_box(west, south, east, north)]
    return [_box(west, south, 180, north), _box(-180, south, east, north)]


def _box(west: float, south: float, east: float, north: float) -> Document:
    corners = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    # ``to_wkb`` turns a box without width or height into a line or a point. As a polygon it would intersect nothing.
    return {"type": "Polygon", "coordinates": [corners]}


Values: TypeAlias = "Mapping[str, Any]"


def in_collections(values: Values) -> SqlCondition | None:
    """``collections``: the item is in one of these."""
    return _equals_any(items.c.collection, values, "collection", "collections")


def with_ids(values: Values) -> SqlCondition | None:
    """``ids``: the item has one of these."""
    return _equals_any(items.c.id, values, "id", "ids")


def within_area(values: Values) -> SqlCondition | None:
    """``bbox`` and ``intersects``: the footprint intersects the box or geometry.

    A box crosses the antimeridian if west is greater than east. Items without geometry never match.
    """
    intersections = [_meets(_parameter(values, name)) for name in ("area", "further_area") if name in values]
    return sa.or_(*intersections) if intersections else None


def _meets(wkb: Sql) -> SqlCondition:
    return meets(items.c.geometry, sa.func.ST_GeomFromEWKB(wkb))


def within_heights(values: Values) -> SqlCondition | None:
    """``bbox`` of six numbers: the item's heights, from its geometry and bbox, overlap. Without heights it is at 0."""
    if "min_height" not in values:
        return None
    return sa.and_(
        sa.func.coalesce(items.c.min_height, 0) <= _parameter(values, "max_height"),
        sa.func.coalesce(items.c.max_height, 0) >= _parameter(values, "min_height"),
    )


def during(values: Values) -> SqlCondition | None:
    """``datetime``: the item's instant or its range intersects the interval."""
    if "start" not in values and "end" not in values:
        return None
    # If an item has no instant, the column contains the start of its range, which the second condition finds anyway.
    instant = _overlaps(items.c.datetime, items.c.datetime, values)
    ranged = (items.c.has_start_datetime, items.c.has_end_datetime)
    return sa.or_(instant, sa.and_(*ranged, _overlaps(items.c.start_datetime, items.c.end_datetime, values)))


def _overlaps(first: Sql, last: Sql, values: Values) -> SqlCondition:
    bounds = []
    if "end" in values:
        bounds.append(first <= _parameter(values, "end"))
    if "start" in values:
        bounds.append(last >= _parameter(values, "start"))
    return sa.and_(*bounds)


def matching(query: ItemQuery) -> SqlCondition | None:
    """``filter``: the CQL2 condition holds."""
    return None if query.filter is None else condition(query.filter, ITEM_FIELDS)


def with_text(query: ItemQuery) -> SqlCondition | None:
    """``q``: the item contains the free text."""
    return None if query.text is None else freetext.in_items(query.text)


CONDITION_BUILDERS: tuple[Callable[[Values], SqlCondition | None], ...] = (
    in_collections,
    with_ids,
    within_area,
    within_heights,
)


def search_conditions(query: ItemQuery, restriction: Restriction) -> list[SqlCondition]:
    """Return the conditions of a search, for all pages."""
    values = parameters(query)
    conditions = [*(build(values) for build in CONDITION_BUILDERS), matching(query), with_text(query)]
    return [
        *(condition for condition in conditions if condition is not None),
        *datetime_conditions(values),
        *visible(restriction),
    ]


def datetime_conditions(values: Values, *, once: bool = False) -> Iterator[SqlCondition]:
    """Yield the conditions of ``datetime``: ``during``, and limits that an index on the datetime serves.

    No item that meets an interval has its datetime further from it than the longest duration of an item. The database
    reads that bound in the same statement, so it is never out of date. The planner reads it, too. With ``once``, the
    planner does not, and the bound is read once although the conditions are part of a repeated subquery.
    """
    exactly = during(values)
    if exactly is None:
        return
    for name, compare, direction in (("start", operator.ge, -1), ("end", operator.le, 1)):
        if name in values:
            collection = _parameter(values, "collection") if "collection" in values else sa.null()
            sign: Sql = sa.literal_column(str(direction))
            limit = sa.func.stacflask_extend_time(_parameter(values, name), sign, collection)
            yield compare(items.c.datetime, sa.select(limit).scalar_subquery() if once else limit)
    # This form makes the planner assume that the condition holds, as it nearly always does if the previous ones hold.
    # Otherwise the planner multiplies the selectivities of the columns and expects a tenth of the rows.
    yield sa.func.nullif(exactly, sa.false()).is_not(None)


def _equals_any(column: ColumnElement[Any], values: Values, one: str, several: str) -> SqlCondition | None:
    if one not in values and several not in values:
        return None
    operand: Sql = _parameter(values, one) if one in values else sa.any_(_parameter(values, several))
    return column == operand


def _parameter(values: Values, name: str) -> Sql:
    return sa.bindparam(name, values[name], PARAMETER_TYPES[name])


# --- Order -----------------------------------------------------------------------------------------------------------

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
