"""Evaluates restrictions of collections that use only ids, such as a list of visible collections.

If a request names collections, they are checked here and not in the database. With thousands of names in a statement,
the restriction would cost more than the search. A hidden collection is replaced by a name that no collection has, so
that it takes as long as a missing one. For searches of all collections see ``catalog/search/visibility.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stacflask.model.decision import Restriction
    from stacflask.model.json_types import Cql2
    from stacflask.model.query import ItemQuery

NO_COLLECTION = ""
"""A name that no collection has."""

MAX_INLINE_NAMES = 100
"""Names that a statement contains as they are."""

CACHED_SETS = 128
"""Lists that are cached as sets. A list of thousands of names takes half a megabyte."""


@dataclass(frozen=True, slots=True)
class IdSet:
    """A set of ids: ``names``, or if ``excluded`` all other ids."""

    names: frozenset[str]
    excluded: bool = False

    def __contains__(self, name: str) -> bool:
        """Return whether an id is in the set."""
        return (name in self.names) != self.excluded

    def __invert__(self) -> IdSet:
        """Return the set of all other ids."""
        return IdSet(self.names, not self.excluded)

    def __and__(self, other: IdSet) -> IdSet:
        """Return the ids that are in both sets."""
        if self.excluded and other.excluded:
            return IdSet(self.names | other.names, excluded=True)
        if self.excluded:
            return IdSet(other.names - self.names)
        return IdSet(self.names - other.names if other.excluded else self.names & other.names)


ALL_IDS = IdSet(frozenset(), excluded=True)


def resolve_collection(collection: str, restriction: Restriction) -> tuple[str, Restriction]:
    """Return the collection to read, and the part of the restriction that the statement must contain."""
    visible = visible_ids(restriction.collections)
    if visible is None or visible is ALL_IDS:
        return collection, restriction
    return collection if collection in visible else NO_COLLECTION, replace(restriction, collections=None)


def resolve_query(query: ItemQuery, restriction: Restriction) -> tuple[ItemQuery, Restriction, IdSet]:
    """Return the query to run, the restriction of its statement, and the ids that a ``VisibilityReader`` must check."""
    visible = visible_ids(restriction.collections)
    if visible is None or visible is ALL_IDS:
        return query, restriction, ALL_IDS
    restriction = replace(restriction, collections=None)
    if query.collections is None and (visible.excluded or len(visible.names) > MAX_INLINE_NAMES):
        return query, restriction, visible
    candidates = sorted(visible.names) if query.collections is None else query.collections
    # Hidden and missing names are treated alike, so that a client cannot distinguish them.
    named = (name if name in visible else NO_COLLECTION for name in candidates)
    remaining = tuple(named) if visible.excluded else tuple(name for name in named if name != NO_COLLECTION)
    return replace(query, collections=remaining or (NO_COLLECTION,)), restriction, ALL_IDS


def visible_ids(condition: Cql2 | None) -> IdSet | None:
    """Return the collections for which a condition holds, or None if it depends on more than their ids."""
    return ALL_IDS if condition is None else _condition_ids(condition)


def _condition_ids(condition: Cql2) -> IdSet | None:
    found: IdSet | None = None
    match condition:
        case bool():
            found = ALL_IDS if condition else ~ALL_IDS
        case {"op": "in", "args": [{"property": "id"}, list() | tuple() as names]}:
            found = _id_set(names)
        case {"op": "=", "args": [{"property": "id"}, str(name)]}:
            found = IdSet(frozenset({name}))
        case {"op": "not", "args": [part]}:
            inner = _condition_ids(part)
            found = None if inner is None else ~inner
        case {"op": "and" | "or" as op, "args": [_, *_] as parts}:
            found = _combine(op, [_condition_ids(part) for part in parts])
    return found


def _combine(op: str, parts: list[IdSet | None]) -> IdSet | None:
    # "a or b" is "not (not a and not b)".
    whole = ALL_IDS
    for part in parts:
        if part is None:
            return None
        whole = _intersection(whole, part if op == "and" else ~part)
    return whole if op == "and" else ~whole


@lru_cache(maxsize=CACHED_SETS)
def _intersection(one: IdSet, other: IdSet) -> IdSet:
    return one & other


NameList = list[Any] | tuple[Any, ...]

_cached_sets: dict[int, tuple[NameList, IdSet]] = {}


def _id_set(names: NameList) -> IdSet | None:
    """Return these names as a set. The same list returns the same set, unless the list has changed."""
    cached = _cached_sets.get(id(names))
    # A tuple is compared by identity. The names of a list are compared, which is fast if they are the same objects.
    if cached is not None and (cached[0] is names or cached[0] == names):
        return cached[1]
    if not all(type(name) is str for name in names):
        return None
    id_set = IdSet(frozenset(names))
    # Policies read their lists repeatedly. Equal sets are replaced by the first one, so that caches by set are hit.
    id_set = next((one for _, one in list(_cached_sets.values()) if one == id_set), id_set)
    if len(_cached_sets) >= CACHED_SETS:
        _cached_sets.pop(next(iter(list(_cached_sets))), None)
    _cached_sets[id(names)] = names if isinstance(names, tuple) else names.copy(), id_set
    return id_set
