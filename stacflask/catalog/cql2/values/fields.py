"""Properties of items and collections, by the names that expressions use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import lru_cache, reduce

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.elements import Grouping

from stacflask.catalog.cql2.values.limits import MAXIMUM_STEPS
from stacflask.catalog.cql2.values.literals import check_storable
from stacflask.catalog.cql2.values.problems import Problem
from stacflask.catalog.cql2.values.sql import MAX_CACHED_LENGTH, Sql, constant
from stacflask.catalog.cql2.values.types import GeometryValue, InstantValue, Stored, Text, Value
from stacflask.catalog.database.tables import collections, items

PREFIX = "properties."


@dataclass(frozen=True)
class Fields:
    """Names with a column, and the JSON document for all other names.

    A name with dots is read as one key, and then as a path of keys. A name that is not ``listed`` is null if
    ``additional`` is true; otherwise it is an error.
    """

    columns: Mapping[str, Value]
    document: Sql
    listed: frozenset[str] = frozenset()
    additional: bool = True

    def only(self, names: Iterable[str]) -> Fields:
        """Return the same fields; names that are neither columns nor among ``names`` are errors."""
        return replace(self, listed=frozenset(names), additional=False)

    def value(self, name: str) -> Value:
        """Return the value of a name. Raises Problem if there is no such property."""
        if name in self.columns:
            return self.columns[name]
        own = name.removeprefix(PREFIX)
        if not self.additional and not {name, own} & self.listed:
            raise self._unknown(name)
        return self.stored(own)

    def _unknown(self, name: str) -> Problem:
        alike = get_close_matches(name, [*self.columns, *self.listed], n=1)
        return Problem(f"there is no property {name!r}" + (f"; did you mean {alike[0]!r}?" if alike else ""))

    def stored(self, name: str) -> Stored:
        """Return the member of the JSON document for a name."""
        read = _cached if len(name) <= MAX_CACHED_LENGTH else _stored
        return read(self.document, name)


def _stored(document: Sql, name: str) -> Stored:
    check_storable(name)
    keys = name.split(".")
    if len(keys) == 1:
        return Stored(_member(document, name), document.op("->>", return_type=sa.Text())(constant(name)))
    if len(keys) > MAXIMUM_STEPS:
        raise Problem(f"expected a name of at most {MAXIMUM_STEPS} parts, separated by dots, got {len(keys)}")
    json = _found(document, keys)
    return Stored(json, json.op("#>>", return_type=sa.Text())(_WHOLE))


_cached = lru_cache(maxsize=4096)(_stored)

_WHOLE: Sql = sa.literal_column("'{}'")
"""The path from a JSON value to itself."""
_MAX_JOINED_PARTS = 4
"""Up to this number, parts of a name are joined to keys in all combinations. Above, only keys of one level are."""


def _member(document: Sql, key: str) -> Sql:
    return document.op("->", return_type=JSONB())(constant(key))


def _found(document: Sql, keys: Sequence[str]) -> Sql:
    """Return the first existing member among those that a name can stand for. JSON's null exists, too."""
    readings = [_member(document, ".".join(keys))]
    for end in range(len(keys) - 1, 0, -1):
        inner = _member(document, ".".join(keys[:end]))
        readings.append(
            _found(inner, keys[end:]) if len(keys) <= _MAX_JOINED_PARTS else _member(inner, ".".join(keys[end:]))
        )
    if len(keys) > _MAX_JOINED_PARTS:
        readings.append(reduce(_member, keys, document))
    return sa.func.coalesce(*readings, type_=JSONB()) if len(readings) > 1 else readings[0]


def _item_time(name: str) -> InstantValue:
    """Return a time of an item; null if the item does not have it, although the column has another time then."""
    column, given = items.c[name], items.c[f"has_{name}"]
    return InstantValue(Grouping(sa.case((given, column))), column=column, given=given)


def _item_columns() -> dict[str, Value]:
    times = {name: _item_time(name) for name in ("datetime", "start_datetime", "end_datetime")}
    return {
        "id": Text(items.c.id),
        "collection": Text(items.c.collection),
        "geometry": GeometryValue(items.c.geometry),
        **times,
        **{PREFIX + name: moment for name, moment in times.items()},
    }


ITEM_FIELDS = Fields(_item_columns(), items.c.properties)
"""Items: the members of ``properties``, with or without ``properties.`` in front, and columns."""

COLLECTION_FIELDS = Fields(
    {"id": Text(collections.c.id), "geometry": GeometryValue(collections.c.footprint)}, collections.c.document
)
"""Collections: the members of their documents. ``geometry`` is the union of the boxes of the extent."""
