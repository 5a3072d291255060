"""What a restriction leaves of collections, where it looks at nothing but ids, as a list of what somebody may see does.

Collections that are asked for by name are then weighed without the database: with thousands of names in it, the
restriction would cost more than the search itself. A collection that is hidden is asked for under a name that none has,
so that it takes as long as one that does not exist. For searches of all collections see
``catalog/search/visibility.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stacflask.model.decision import Restriction
    from stacflask.model.json_types import Cql2
    from stacflask.model.query import ItemQuery

NOWHERE = ""
"""The name of no collection."""

FEW = 100
"""Names that stand in a statement as they are."""

REMEMBERED = 128
"""Lists that are remembered as sets; with thousands of names one takes half a megabyte."""


@dataclass(frozen=True, slots=True)
class IdSet:
    """A set of ids: these, or all ``but`` these."""

    names: frozenset[str]
    but: bool = False

    def __contains__(self, name: str) -> bool:
        """Whether an id is among them."""
        return (name in self.names) != self.but

    def __invert__(self) -> IdSet:
        """Give all others."""
        return IdSet(self.names, not self.but)

    def __and__(self, other: IdSet) -> IdSet:
        """Give those that are in both."""
        if self.but and other.but:
            return IdSet(self.names | other.names, but=True)
        if self.but:
            return IdSet(other.names - self.names)
        return IdSet(self.names - other.names if other.but else self.names & other.names)


ALL = IdSet(frozenset(), but=True)


def one(collection: str, restriction: Restriction) -> tuple[str, Restriction]:
    """Give the collection to ask for, and the restriction that is left to look at."""
    visible = ids(restriction.collections)
    if visible is None or visible is ALL:
        return collection, restriction
    return collection if collection in visible else NOWHERE, replace(restriction, collections=None)


def several(query: ItemQuery, restriction: Restriction) -> tuple[ItemQuery, Restriction, IdSet]:
    """Do the same for a search: it names a few that may be seen, or those are left to look at."""
    visible = ids(restriction.collections)
    if visible is None or visible is ALL:
        return query, restriction, ALL
    restriction = replace(restriction, collections=None)
    if query.collections is None and (visible.but or len(visible.names) > FEW):
        return query, restriction, visible
    asked = sorted(visible.names) if query.collections is None else query.collections
    # Names that no collection has are left out like those that are hidden, or else neither are.
    named = (name if name in visible else NOWHERE for name in asked)
    left = tuple(named) if visible.but else tuple(name for name in named if name != NOWHERE)
    return replace(query, collections=left or (NOWHERE,)), restriction, ALL


def ids(condition: Cql2 | None) -> IdSet | None:
    """Give the collections for which a condition holds; None if that takes more than their ids to tell."""
    return ALL if condition is None else _ids(condition)


def _ids(condition: Cql2) -> IdSet | None:
    found: IdSet | None = None
    match condition:
        case bool():
            found = ALL if condition else ~ALL
        case {"op": "in", "args": [{"property": "id"}, list() | tuple() as names]}:
            found = _named(names)
        case {"op": "=", "args": [{"property": "id"}, str(name)]}:
            found = IdSet(frozenset({name}))
        case {"op": "not", "args": [part]}:
            inner = _ids(part)
            found = None if inner is None else ~inner
        case {"op": "and" | "or" as op, "args": [_, *_] as parts}:
            found = _joined(op, [_ids(part) for part in parts])
    return found


def _joined(op: str, parts: list[IdSet | None]) -> IdSet | None:
    # Either of two is what not neither is.
    whole = ALL
    for part in parts:
        if part is None:
            return None
        whole = _common(whole, part if op == "and" else ~part)
    return whole if op == "and" else ~whole


@lru_cache(maxsize=REMEMBERED)
def _common(one: IdSet, other: IdSet) -> IdSet:
    return one & other


Names = list[Any] | tuple[Any, ...]

_known: dict[int, tuple[Names, IdSet]] = {}


def _named(names: Names) -> IdSet | None:
    """Give these names as a set. The same list makes the same set, unless somebody has changed it since."""
    known = _known.get(id(names))
    # A tuple is known by itself; of a list each name is compared, in no time if they are the same objects still.
    if known is not None and (known[0] is names or known[0] == names):
        return known[1]
    if not all(type(name) is str for name in names):
        return None
    made = IdSet(frozenset(names))
    # Policies read their lists again and again: of equal sets the first, so that what is known of it is found at once.
    made = next((one for _, one in list(_known.values()) if one == made), made)
    if len(_known) >= REMEMBERED:
        _known.pop(next(iter(list(_known))), None)
    _known[id(names)] = names if isinstance(names, tuple) else names.copy(), made
    return made
