"""What names mean."""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from stacflask.catalog.cql2.literals import check_storable
from stacflask.catalog.cql2.problems import Problem
from stacflask.catalog.cql2.sql import Sql, constant
from stacflask.catalog.cql2.values import Moment, Shape, Stored, Text, Value
from stacflask.catalog.tables import collections, items

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PREFIX = "properties."


@dataclass(frozen=True)
class Fields:
    """Names with columns of their own, and the JSON in which all others are looked up.

    A dot leads into an object. ``additional`` says whether a name outside ``listed`` is unknown (it is null) or wrong.
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
        return _stored(self.document, name)


@lru_cache(maxsize=4096)
def _stored(document: Sql, name: str) -> Stored:
    check_storable(name)
    *above, last = map(constant, name.split("."))
    for key in above:
        document = document.op("->", return_type=JSONB())(key)
    return Stored(
        json=document.op("->", return_type=JSONB())(last),
        content=document.op("->>", return_type=sa.Text())(last),
    )


def _item_times() -> dict[str, Value]:
    """The columns are never null: where an item gives only a range, or only an instant, they hold what it implies."""
    given = Fields({}, items.c.properties)
    return {
        name: Moment(items.c[name], given=given.stored(name)) for name in ("datetime", "start_datetime", "end_datetime")
    }


def _item_columns() -> dict[str, Value]:
    times = _item_times()
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
