"""Search of collections: as for items, one function for each parameter returns a condition or None."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TSTZRANGE, Range
from sqlalchemy.sql import Select

from stacflask.catalog.cql2 import COLLECTION_FIELDS, condition
from stacflask.catalog.cql2.compiler.spatial import meets
from stacflask.catalog.cql2.values import literals
from stacflask.catalog.cql2.values.sql import SqlCondition
from stacflask.catalog.database.tables import collections
from stacflask.catalog.documents.rows import LONG_BBOX
from stacflask.catalog.search import freetext
from stacflask.catalog.search.item_search import is_short
from stacflask.catalog.search.ordering import SortOrder
from stacflask.catalog.search.visible_extents import VisibleExtents
from stacflask.model.query import CollectionQuery, SortKey


def within_bbox(query: CollectionQuery) -> SqlCondition | None:
    """``bbox``: it intersects a box of the extent, also across the antimeridian. Boxes without heights lie at 0."""
    if query.bbox is None:
        return None
    box = literals.bbox(list(query.bbox)).sql
    met: SqlCondition = meets(collections.c.footprint, box)
    if len(query.bbox) != LONG_BBOX:
        return met
    low, high = query.bbox[2], query.bbox[5]
    lowest, highest = (sa.func.coalesce(collections.c[name], 0) for name in ("min_height", "max_height"))
    return sa.and_(met, lowest <= high, highest >= low)


def during(query: CollectionQuery) -> SqlCondition | None:
    """``datetime``: it intersects an interval of the extent."""
    if query.interval is None:
        return None
    interval: Range[Any] = Range(query.interval.start, query.interval.end, bounds="[]")
    met: SqlCondition = collections.c.intervals.overlaps(sa.literal(interval, TSTZRANGE()))
    return met


def matching(query: CollectionQuery) -> SqlCondition | None:
    """``filter``: the CQL2 condition holds."""
    return None if query.filter is None else condition(query.filter, COLLECTION_FIELDS)


def with_text(query: CollectionQuery) -> SqlCondition | None:
    """``q``: the collection contains the free text."""
    return None if query.text is None else freetext.in_collections(query.text)


CONDITION_BUILDERS: tuple[Callable[[CollectionQuery], SqlCondition | None], ...] = (
    within_bbox,
    during,
    matching,
    with_text,
)


def collection_order(sort: tuple[SortKey, ...]) -> SortOrder:
    """Return the order of a list of collections. The default is by id. Raises BadQuery."""
    return _cached_collection_order(sort) if is_short(sort) else _build_collection_order(sort)


def _build_collection_order(sort: tuple[SortKey, ...]) -> SortOrder:
    return SortOrder(sort, COLLECTION_FIELDS, (collections.c.id,))


_cached_collection_order = lru_cache(maxsize=256)(_build_collection_order)


def reads_documents(query: CollectionQuery) -> bool:
    """Return whether a query reads more of a collection than its id and its texts."""
    return any((query.bbox, query.interval, query.filter is not None, query.sort))


def select_collections(
    query: CollectionQuery, extents: VisibleExtents | None, visible: list[SqlCondition]
) -> Select[Any]:
    """Return the statement for one page and one more row, in the direction of the query's position.

    ``visible`` are the conditions under which a collection is visible. ``extents`` replace the stored extents.
    """
    order = collection_order(query.sort)
    conditions = [built for build in CONDITION_BUILDERS if (built := build(query)) is not None]
    statement = sa.select(collections.c.id, collections.c.body, *order.columns)
    statement = statement.where(*conditions, *visible)
    page = order.page(statement, order.position(query.token), query.limit)
    return page if extents is None else extents.apply_to(page)
