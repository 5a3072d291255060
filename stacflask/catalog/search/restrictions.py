"""Restrictions of collections by their ids, see ``stacflask.Only``.

If a request names collections, they are checked here and not in the database. With thousands of names in a statement,
the restriction would cost more than the search. A hidden collection is replaced by a name that no collection has, so
that it takes as long as a missing one. For searches of all collections see ``catalog/search/visibility.py``.
"""

from dataclasses import replace

import msgspec
import orjson

from stacflask.model.decision import Only, Restriction
from stacflask.model.query import ItemQuery

NO_COLLECTION = ""
"""A name that no collection has."""

MAX_INLINE_NAMES = 100
"""Names that a statement contains as they are."""

ALL_COLLECTIONS = ~Only(frozenset())


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
