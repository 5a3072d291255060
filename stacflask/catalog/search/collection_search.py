"""Searching collections: as for items, small functions from one parameter to one condition or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TSTZRANGE, Range

from stacflask.catalog.cql2 import COLLECTION_FIELDS, condition
from stacflask.catalog.cql2.compiler.spatial import meets
from stacflask.catalog.cql2.values import literals
from stacflask.catalog.database.tables import collections
from stacflask.catalog.documents.rows import LONG_BBOX
from stacflask.catalog.search import freetext
from stacflask.catalog.search.item_search import collection_order

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.sql import Select

    from stacflask.catalog.search.visible_extents import VisibleExtents
    from stacflask.model.query import CollectionQuery

Condition = sa.ColumnElement[bool]


def within_bbox(query: CollectionQuery) -> Condition | None:
    """``bbox``: any box of the extent meets it, across the antimeridian too. Those without heights lie at 0."""
    if query.bbox is None:
        return None
    box = literals.bbox(list(query.bbox)).sql
    met: Condition = meets(collections.c.footprint, box)
    if len(query.bbox) != LONG_BBOX:
        return met
    low, high = query.bbox[2], query.bbox[5]
    lowest, highest = (sa.func.coalesce(collections.c[name], 0) for name in ("lowest", "highest"))
    return sa.and_(met, lowest <= high, highest >= low)


def during(query: CollectionQuery) -> Condition | None:
    """``datetime``: any interval of the extent meets it."""
    if query.interval is None:
        return None
    asked: Range[Any] = Range(query.interval.start, query.interval.end, bounds="[]")
    met: Condition = collections.c.periods.overlaps(sa.literal(asked, TSTZRANGE()))
    return met


def matching(query: CollectionQuery) -> Condition | None:
    """``filter``: CQL2."""
    return None if query.filter is None else condition(query.filter, COLLECTION_FIELDS)


def with_text(query: CollectionQuery) -> Condition | None:
    """``q``: free text."""
    return None if query.text is None else freetext.in_collections(query.text)


FOLD: tuple[Callable[[CollectionQuery], Condition | None], ...] = (within_bbox, during, matching, with_text)


def reads_documents(query: CollectionQuery) -> bool:
    """Whether a query looks at more of a collection than its id and its texts."""
    return any((query.bbox, query.interval, query.filter is not None, query.sort))


def select_collections(query: CollectionQuery, shown: VisibleExtents | None, visible: list[Condition]) -> Select[Any]:
    """Select the records of one page, and one more if there is one, in the direction of the query's position.

    ``visible`` are the conditions under which a collection may be seen; ``shown`` is what it is found by then.
    """
    order = collection_order(query.sort)
    conditions = [made for build in FOLD if (made := build(query)) is not None]
    statement = sa.select(collections.c.id, collections.c.body, *order.columns)
    statement = statement.where(*conditions, *visible)
    page = order.page(statement, order.position(query.token), query.limit)
    return page if shown is None else shown.through(page)
