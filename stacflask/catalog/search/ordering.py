"""Orders in which rows can be listed, and positions in them.

An order is total: where all sort keys are equal, ``ties`` decide, in the direction of the last sort key, so that an
index over all of it serves both directions. In either direction numbers come first, then strings by code point, then
booleans, and last what has no value: null, absent, an array or an object.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from itertools import count
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias

import sqlalchemy as sa

from stacflask.catalog.cql2.values.literals import check_storable
from stacflask.catalog.cql2.values.problems import Problem
from stacflask.catalog.cql2.values.types import Moment, Stored, Text
from stacflask.catalog.database.tables import items
from stacflask.catalog.search.paging import Position, decode
from stacflask.errors import BadQuery
from stacflask.stac.times import format_instant, parse_instant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy.sql import FromClause, Select

    from stacflask.catalog.cql2 import Fields
    from stacflask.catalog.cql2.values.sql import Sql
    from stacflask.catalog.cql2.values.types import Value
    from stacflask.model.json_types import Json
    from stacflask.model.query import SortKey

MOST_KEYS = 8
"""Names that one list may be sorted by."""
LARGEST_EXPONENT = 16_383
"""Of a number in a token: further than this PostgreSQL's do not go in both directions."""

KNOWN = ("collection", "id")
"""Columns that every record has."""

ORDERED_TYPES: Mapping[str, Callable[[Stored], Sql]] = {
    "number": attrgetter("number"),
    "string": attrgetter("text"),
    "boolean": attrgetter("truth"),
}
"""What stored values are ordered by: the names of their types, in the order in which they come."""
TAKES = {"number": Decimal, "string": str, "boolean": bool}

TIE_BREAKERS = ("datetime", "collection", "id")
"""The columns that decide among items that are alike in all sort keys. Here ``datetime`` is the column that every item
has: its datetime, or its start_datetime where that is null."""

Condition: TypeAlias = sa.ColumnElement[bool]


@dataclass(frozen=True)
class SortExpression:
    """One expression that is ordered by. ``nullable``: rows where it is null come last, in either direction."""

    sql: Sql
    descending: bool
    nullable: bool
    takes: type
    """What it is compared with."""
    number: int = 0
    """Its place in its order."""

    @property
    def place(self) -> str:
        """What its value in a position is called."""
        return f"at{self.number}"

    def arranged(self, *, backward: bool) -> Sql:
        """Give what stands in ORDER BY."""
        directed = self.sql.desc() if self.descending != backward else self.sql.asc()
        if not self.nullable:
            return directed
        return directed.nulls_first() if backward else directed.nulls_last()

    def equal(self, value: Any) -> Condition:
        """Rows that have this value."""
        return self.sql.is_(None) if value is None else self.sql == self.literal(value)

    def beyond(self, value: Any, *, backward: bool) -> Condition:
        """Rows that come later than this value, or earlier when going ``backward``."""
        if value is None:
            return self.sql.is_not(None) if backward else sa.false()
        here = self.literal(value)
        further = self.sql < here if self.descending != backward else self.sql > here
        return sa.or_(further, self.sql.is_(None)) if self.nullable and not backward else further

    def literal(self, value: Any) -> Sql:
        """Give a value as this is compared with it."""
        return sa.bindparam(self.place, value, self.sql.type)


@dataclass(frozen=True)
class Key:
    """A sort key: a column, or a stored value in its three forms, of which at most one is not null."""

    name: str
    expressions: tuple[SortExpression, ...]

    @property
    def stored(self) -> bool:
        """Whether it is stored JSON, whose type only the row knows."""
        return len(self.expressions) > 1

    def read(self, value: Json) -> tuple[Any, ...]:
        """Give the values of its forms for what stands in a token. Raises ValueError: it is not of this key."""
        if value is None and all(form.nullable for form in self.expressions):
            return (None,) * len(self.expressions)
        values = tuple(_of_type(value, form.takes) for form in self.expressions)
        if all(value is None for value in values):
            raise ValueError("not a value of this key")
        return values


def _of_type(value: Json, expected: type) -> Any:
    """Give a token's value as the type expected, or None if it is another. Raises ValueError, Problem."""
    if expected is datetime:
        return parse_instant(value) if isinstance(value, str) else None
    if not isinstance(value, expected):
        return None
    if isinstance(value, str):
        check_storable(value)
    elif isinstance(value, Decimal) and max(map(abs, (value.adjusted(), _exponent(value)))) > LARGEST_EXPONENT:
        raise ValueError("not a number that PostgreSQL can hold")
    return value


def _exponent(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return exponent if isinstance(exponent, int) else LARGEST_EXPONENT + 1  # of infinity and NaN it is a letter


class SortOrder:
    """A total order of rows: sort keys, and then the ties."""

    def __init__(
        self, sort: Iterable[SortKey], fields: Fields, ties: Sequence[sa.Column[Any]], *, descending: bool = False
    ) -> None:
        """Make an order; without sort keys, that of the ties. Raises BadQuery: a name is unknown, or has no order."""
        wanted = tuple(sort)
        if len(wanted) > MOST_KEYS:
            raise BadQuery("sortby", f"expected {MOST_KEYS} names at most, got {len(wanted)}")
        keys: dict[str | sa.Column[Any], Key] = {}
        for key in wanted:
            keys.setdefault(_same(key.name, fields), _key(key, fields))
        for column in ties:
            # A column that is also a field is the same key; the time of every item is no field.
            known: str | sa.Column[Any] = column.name if column.name in KNOWN else column
            keys.setdefault(known, _tie(column, descending=wanted[-1].descending if wanted else descending))
        self.keys = tuple(_numbered(keys.values()))
        self._all = tuple(form for key in self.keys for form in key.expressions)
        self.expressions = self._all
        """What is ordered by."""
        self._labels = tuple(_label(form, number) for number, form in enumerate(self._all))

    @property
    def column(self) -> str | None:
        """The name of the column that comes first, if it is one that is never null."""
        first = self.expressions[0].sql
        return first.name if isinstance(first, sa.Column) else None

    @property
    def parted(self) -> bool:
        """Whether it begins with the items' own datetime: those that have one come first, in either direction."""
        return self.keys[0].name == "datetime" and self.keys[0].expressions[0].nullable and not self.keys[0].stored

    def part(self, dated: bool | None) -> SortOrder:
        """Return the order of a part of the list: the items that have a datetime, or those that have none.

        Tokens are the same in all parts. Each part can be read from an index on the column that every item has.
        """
        if dated is None:
            return self
        own, *others = self._all
        part = copy(self)
        if dated:
            # Here the column holds the item's own datetime.
            time = next(form for form in others if form.sql is items.c.datetime)
            others = [replace(time, descending=own.descending), *(form for form in others if form is not time)]
        part.expressions = tuple(others)
        return part

    @property
    def columns(self) -> list[sa.Label[Any]]:
        """What a statement must select beside its records' collection and id, for ``values``."""
        pairs = zip(self._all, self._labels, strict=True)
        return [form.sql.label(label) for form, label in pairs if label not in KNOWN]

    def page(self, statement: Select[Any], position: Position | None, limit: int) -> Select[Any]:
        """Give the statement for one page, and one row more if there is one, in the position's direction."""
        return _page(statement, self.expressions, position, limit)

    def arranged(self, part: FromClause, *, backward: bool) -> list[Sql]:
        """Give what stands in ORDER BY where these ``columns`` come from a part of the statement."""
        pairs = ((form, part.c[self._labels[form.number]]) for form in self.expressions)
        return [replace(form, sql=column).arranged(backward=backward) for form, column in pairs]

    def strands(self, indexed: int) -> tuple[Strand, ...]:
        """Give the order in parts, each of which an index serves alone: ``indexed`` forms of the first key have one.

        Rows where that key is of an indexed type come first, type by type; the last part is the rest.
        """
        first = self.keys[0].expressions
        if not self.keys[0].stored:
            return (Strand((), self.expressions),)
        strands = [
            Strand((form.sql.is_not(None),), (replace(form, nullable=False), *self.expressions[len(first) :]))
            for form in first[:indexed]
        ]
        rest = tuple(form.sql.is_(None) for form in first[:indexed])
        return (*strands, Strand(rest, self.expressions[indexed:]))

    def pages(
        self, statement: Select[Any], position: Position | None, limit: int, strands: tuple[Strand, ...]
    ) -> Iterator[Select[Any]]:
        """Give statements which, one after the other, have the rows of a page, and one more if there is one.

        Once there are enough rows, the statements left need not be asked.
        """
        backward = position is not None and position.backward
        here = None if position is None else next((s for s in strands if s.holds(position)), None)
        if position is not None and position.values:
            past = strands.index(here) if here is not None else len(strands)
            strands = strands[: past + 1] if backward else strands[past:]
        for strand in reversed(strands) if backward else strands:
            within = position if strand is here else None
            yield _page(statement.where(*strand.conditions), strand.expressions, within, limit, backward=backward)

    def position(self, token: str | None) -> Position | None:
        """Read a token of this order. Raises BadQuery: it is not one."""
        if token is None:
            return None
        position = decode(token)
        try:
            pairs = zip(self.keys, position.values, strict=True)
            values = tuple(value for key, given in pairs for value in key.read(given))
        except (ValueError, Problem) as error:
            raise BadQuery("token", "not a token of this list") from error
        return replace(position, values=values)

    def parameters(self, position: Position | None) -> dict[str, Any]:
        """Give what a position's conditions compare with, by name."""
        values = () if position is None else position.values
        return {form.place: value for form, value in zip(self._all, values, strict=False) if value is not None}

    def values(self, row: Any) -> tuple[Json, ...]:
        """Give a row's place in the order, as it stands in a token."""
        return tuple(self._values(row))

    def _values(self, row: Any) -> Iterator[Json]:
        start = 0
        for key in self.keys:
            end = start + len(key.expressions)
            found = (getattr(row, label) for label in self._labels[start:end])
            value = next((value for value in found if value is not None), None)
            yield format_instant(value) if isinstance(value, datetime) else value
            start = end


def _numbered(keys: Iterable[Key]) -> Iterator[Key]:
    numbers = count()
    for key in keys:
        yield replace(key, expressions=tuple(replace(form, number=next(numbers)) for form in key.expressions))


def _label(form: SortExpression, number: int) -> str:
    """Name what is selected for a form; what every record has anyway has its name already."""
    return form.sql.name if isinstance(form.sql, sa.Column) and form.sql.name in KNOWN else f"sort{number}"


@dataclass(frozen=True)
class Strand:
    """A part of an order: rows that fulfil ``conditions``, and by what they are ordered among each other."""

    conditions: tuple[Condition, ...]
    expressions: tuple[SortExpression, ...]

    def holds(self, position: Position) -> bool:
        """Whether a position lies in this part, and in none before it."""
        first = self.expressions[0]
        return first.nullable or not position.values or position.values[first.number] is not None


USUAL = (10, 100)
"""Limits that stand in a statement themselves: a plan that is made once is as good as one that knows the limit then."""


def inlined_limit(limit: int) -> int | None:
    """Give a limit if it stands in the statement; others come with its values."""
    return limit if limit in USUAL else None


def rows(limit: int) -> Sql:
    """Give how many rows are read for a page: one more than it shows, to see whether there is one."""
    return sa.bindparam("rows", limit + 1, sa.Integer(), literal_execute=limit in USUAL)


def _page(
    statement: Select[Any],
    expressions: Sequence[SortExpression],
    position: Position | None,
    limit: int,
    *,
    backward: bool = False,
) -> Select[Any]:
    if position is not None:
        backward = position.backward
    if position is not None and position.values:
        values = tuple(position.values[form.number] for form in expressions)
        statement = statement.where(_beyond(expressions, values, backward=backward))
    return statement.order_by(*(form.arranged(backward=backward) for form in expressions)).limit(rows(limit))


def _same(name: str, fields: Fields) -> str:
    """Give one name for those that mean the same."""
    return name if name in fields.columns and not name.startswith("properties.") else name.removeprefix("properties.")


def _key(key: SortKey, fields: Fields) -> Key:
    try:
        value = fields.value(key.name)
        return Key(_same(key.name, fields), tuple(_forms(value, descending=key.descending)))
    except Problem as problem:
        raise BadQuery("sortby", problem.message) from problem


def _tie(column: sa.Column[Any], *, descending: bool) -> Key:
    return Key(column.name, (SortExpression(column, descending, nullable=False, takes=column.type.python_type),))


def _forms(value: Value, *, descending: bool) -> Iterator[SortExpression]:
    match value:
        case Stored():
            for name, form in ORDERED_TYPES.items():
                yield SortExpression(form(value), descending, nullable=True, takes=TAKES[name])
        case Text(computed=sql) if sql is not None:
            yield SortExpression(sql, descending, nullable=False, takes=str)
        case Moment(sql=sql):
            yield SortExpression(sql, descending, nullable=True, takes=datetime)
        case _:
            raise Problem("expected a name of strings, numbers or times; there is no order among geometries")


def _beyond(expressions: Sequence[SortExpression], values: Sequence[Any], *, backward: bool) -> Condition:
    """Rows that come after a position, or before it when going ``backward``."""
    if _alike(expressions):
        there = sa.tuple_(*(form.literal(value) for form, value in zip(expressions, values, strict=True)))
        order = sa.tuple_(*(form.sql for form in expressions))
        return order < there if expressions[0].descending != backward else order > there
    first, value = expressions[0], values[0]
    further = first.beyond(value, backward=backward)
    level = sa.and_(first.equal(value), _beyond(expressions[1:], values[1:], backward=backward))
    if first.nullable:
        return sa.or_(further, level)
    here = first.literal(value)
    bound: Sql = first.sql <= here if first.descending != backward else first.sql >= here
    return sa.and_(bound, sa.or_(further, level))  # an index can begin at the bound, but not at an OR


def _alike(expressions: Sequence[SortExpression]) -> bool:
    """Whether all go in one direction and are never null: then one comparison of rows will do."""
    return len({form.descending for form in expressions}) == 1 and not any(form.nullable for form in expressions)
