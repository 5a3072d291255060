"""What names mean."""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import lru_cache, reduce
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.elements import Grouping

from stacflask.catalog.cql2.values.limits import MAXIMUM_STEPS
from stacflask.catalog.cql2.values.literals import check_storable
from stacflask.catalog.cql2.values.problems import Problem
from stacflask.catalog.cql2.values.sql import LONGEST, Sql, constant
from stacflask.catalog.cql2.values.types import Moment, Shape, Stored, Text, Value
from stacflask.catalog.database.tables import collections, items

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PREFIX = "properties."


@dataclass(frozen=True)
class Fields:
    """Names with columns of their own, and the JSON in which all others are looked up.

    A name with dots is tried as it is, and then as the way into objects. ``additional`` says whether a name outside
    ``listed`` is unknown (it is null) or wrong.
    """

    columns: Mapping[str, Value]
    document: Sql
    listed: frozenset[str] = frozenset()
    additional: bool = True

    def only(self, names: Iterable[str]) -> Fields:
        """Give the same fields, where names that are neither columns nor among ``names`` are wrong."""
        return replace(self, listed=frozenset(names), additional=False)

    def value(self, name: str) -> Value:
        """Give what a name stands for. Raises Problem: it is not known here."""
        if name in self.columns:
            return self.columns[name]
        own = name.removeprefix(PREFIX)
        if not self.additional and not {name, own} & self.listed:
            raise self._unknown(name)
        return self.stored(own)

    def _unknown(self, name: str) -> Problem:
        alike = get_close_matches(name, [*self.columns, *self.listed], n=1)
        return Problem(f"there is no property {name!r}" + (f"; is {alike[0]!r} meant?" if alike else ""))

    def stored(self, name: str) -> Stored:
        """Give the member of the JSON that a name leads to."""
        read = _remembered if len(name) <= LONGEST else _stored
        return read(self.document, name)


def _stored(document: Sql, name: str) -> Stored:
    check_storable(name)
    keys = name.split(".")
    if len(keys) == 1:
        return Stored(_member(document, name), document.op("->>", return_type=sa.Text())(constant(name)))
    if len(keys) > MAXIMUM_STEPS:
        raise Problem(f"expected a name of at most {MAXIMUM_STEPS} parts with dots between them, got {len(keys)}")
    json = _found(document, keys)
    return Stored(json, json.op("#>>", return_type=sa.Text())(_WHOLE))


_remembered = lru_cache(maxsize=4096)(_stored)

_WHOLE: Sql = sa.literal_column("'{}'")
"""The path from a JSON value to itself."""
_ALL_WAYS = 4
"""Parts of a name that are joined to keys in every way there is. Of more, the keys of one level alone are joined."""


def _member(document: Sql, key: str) -> Sql:
    return document.op("->", return_type=JSONB())(constant(key))


def _found(document: Sql, keys: Sequence[str]) -> Sql:
    """Give the first member of those that a name can mean. A member that is null is there, too: it is JSON's null."""
    ways = [_member(document, ".".join(keys))]
    for end in range(len(keys) - 1, 0, -1):
        inner = _member(document, ".".join(keys[:end]))
        ways.append(_found(inner, keys[end:]) if len(keys) <= _ALL_WAYS else _member(inner, ".".join(keys[end:])))
    if len(keys) > _ALL_WAYS:
        ways.append(reduce(_member, keys, document))
    return sa.func.coalesce(*ways, type_=JSONB()) if len(ways) > 1 else ways[0]


def _item_time(name: str) -> Moment:
    """Return an item's own time: null where the item has none, though the column is filled in from its other times."""
    column, given = items.c[name], items.c[f"has_{name}"]
    return Moment(Grouping(sa.case((given, column))), column=column, given=given)


def _item_columns() -> dict[str, Value]:
    times = {name: _item_time(name) for name in ("datetime", "start_datetime", "end_datetime")}
    return {
        "id": Text(items.c.id),
        "collection": Text(items.c.collection),
        "geometry": Shape(items.c.geometry),
        **times,
        **{PREFIX + name: moment for name, moment in times.items()},
    }


ITEM_FIELDS = Fields(_item_columns(), items.c.properties)
"""Items: the members of their properties, with or without ``properties.`` in front, and what has a column."""

COLLECTION_FIELDS = Fields(
    {"id": Text(collections.c.id), "geometry": Shape(collections.c.footprint)}, collections.c.document
)
"""Collections: the members of their documents; ``geometry`` is the boxes of the extent."""
