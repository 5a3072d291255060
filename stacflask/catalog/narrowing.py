"""What a restriction leaves of collections that are asked for by name.

Where it looks at nothing but ids, as a list of what somebody may see does, no database is needed to tell: with
thousands of names in it, it would cost more than the search itself. A collection that is hidden is then asked for under
a name that none has, so that it takes as long as one that does not exist.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stacflask.values import Cql2, ItemQuery, Restriction

NOWHERE = ""
"""The name of no collection."""


def one(collection: str, restriction: Restriction) -> tuple[str, Restriction]:
    """Give the collection to ask for, and the restriction that is left to look at."""
    seen = None if restriction.collections is None else _holds(restriction.collections, collection)
    if seen is None:
        return collection, restriction
    return collection if seen else NOWHERE, replace(restriction, collections=None)


def several(query: ItemQuery, restriction: Restriction) -> tuple[ItemQuery, Restriction]:
    """Do the same for a search that names its collections."""
    if query.collections is None or restriction.collections is None:
        return query, restriction
    seen = {name: _holds(restriction.collections, name) for name in query.collections}
    if None in seen.values():
        return query, restriction
    left = tuple(name for name, holds in seen.items() if holds)
    return replace(query, collections=left or (NOWHERE,)), replace(restriction, collections=None)


def _holds(condition: Cql2, collection: str) -> bool | None:
    """Whether a condition on collections holds for the one of this id; None if that takes more than the id to tell."""
    held: bool | None = None
    match condition:
        case bool():
            held = condition
        case {"op": "in", "args": [{"property": "id"}, list(names)]} if all(type(name) is str for name in names):
            held = collection in names
        case {"op": "=", "args": [{"property": "id"}, str(name)]}:
            held = collection == name
        case {"op": "not", "args": [part]}:
            inner = _holds(part, collection)
            held = None if inner is None else not inner
        case {"op": "and" | "or" as op, "args": [*parts]}:
            each = [_holds(part, collection) for part in parts]
            if None not in each:
                held = all(each) if op == "and" else any(each)
    return held
