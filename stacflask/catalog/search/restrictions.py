"""Restrictions, the combined results of the hook ``restrict``: which collections they permit, and their SQL conditions.

If a request names collections, they are checked here and not in the database. With thousands of names in a statement,
the restriction would cost more than the search. A hidden collection is replaced by a name that no collection has, so
that it takes as long as a missing one. For searches of all collections see ``catalog/search/long_name_lists.py``.
"""

from collections.abc import Iterator
from dataclasses import replace

import msgspec
import orjson
import sqlalchemy as sa

from stacflask.catalog.cql2 import COLLECTION_FIELDS, ITEM_FIELDS, Fields, condition
from stacflask.catalog.cql2.values.sql import SqlCondition
from stacflask.catalog.database.tables import collections, items
from stacflask.catalog.search.long_name_lists import ALL_COLLECTIONS, MAX_INLINE_NAMES, VisibilityFilter
from stacflask.errors import BadQuery
from stacflask.model.decision import Only, Restriction
from stacflask.model.json_types import Cql2
from stacflask.model.query import ItemQuery

NO_COLLECTION = ""
"""A name that no collection has."""


def split_ids(restriction: Restriction) -> tuple[Restriction, Only]:
    """Return the conditions of a restriction, and the collections that it permits by their ids."""
    if restriction.only is None:
        return restriction, ALL_COLLECTIONS
    return replace(restriction, only=None), restriction.only


def resolve_collection(collection: str, restriction: Restriction) -> tuple[str, Restriction]:
    """Return the collection to read, and the part of the restriction that the statement must contain."""
    conditions, only = split_ids(restriction)
    return collection if collection in only else NO_COLLECTION, conditions


def resolve_query(query: ItemQuery, restriction: Restriction) -> tuple[ItemQuery, Restriction, Only]:
    """Return the query to run, the restriction of its statement, and the ids that a ``VisibilityReader`` must check."""
    conditions, only = split_ids(restriction)
    if only is ALL_COLLECTIONS:
        return query, conditions, only
    if query.collections is None and (only.excluded or len(only.names) > MAX_INLINE_NAMES):
        return query, conditions, only
    candidates = sorted(only.names) if query.collections is None else query.collections
    # Hidden and missing names are treated alike, so that a client cannot distinguish them.
    named = (name if name in only else NO_COLLECTION for name in candidates)
    remaining = tuple(named) if only.excluded else tuple(name for name in named if name != NO_COLLECTION)
    return replace(query, collections=remaining or (NO_COLLECTION,)), conditions, ALL_COLLECTIONS


def restriction_key(conditions: Restriction) -> bytes:
    """Return the conditions of a restriction as text, for cache keys."""
    if conditions.items is None and conditions.collections is None:
        return b""
    try:
        return orjson.dumps([conditions.items, conditions.collections])
    except TypeError:  # an integer of more than 64 bits
        return msgspec.json.encode([conditions.items, conditions.collections])


# --- SQL -------------------------------------------------------------------------------------------------------------


def visible(restriction: Restriction) -> Iterator[SqlCondition]:
    """Yield the conditions under which an item is visible: those on the item and on its collection."""
    if restriction.only is not None:
        yield from VisibilityFilter(restriction.only).conditions(items.c.collection)
    if restriction.items is not None:
        yield _policy_condition(restriction.items, ITEM_FIELDS)
    if restriction.collections is not None:
        visible_names = sa.select(collections.c.id).where(_policy_condition(restriction.collections, COLLECTION_FIELDS))
        yield items.c.collection.in_(visible_names)


def visible_collections(restriction: Restriction) -> Iterator[SqlCondition]:
    """Yield the conditions under which a collection is visible."""
    if restriction.only is not None:
        yield from VisibilityFilter(restriction.only).conditions(collections.c.id)
    if restriction.collections is not None:
        yield _policy_condition(restriction.collections, COLLECTION_FIELDS)


def _policy_condition(expression: Cql2, fields: Fields) -> SqlCondition:
    """Return a policy's condition. Raises ValueError if it is invalid: the client is not at fault, and sees nothing."""
    try:
        return condition(expression, fields)
    except BadQuery as error:
        raise ValueError(f"a plugin returned an invalid restriction: {error.description}") from error
