"""Sort orders of lists, and positions in them.

An order is total: if all sort keys are equal, the tie breakers decide, in the direction of the last sort key, so that
one index serves both directions. In both directions numbers come first, then strings by code point, then booleans, and
last rows without a sortable value: null, absent, an array or an object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from itertools import count
from operator import attrgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql import FromClause, Select

from stacflask.catalog.cql2 import Fields
from stacflask.catalog.cql2.values.literals import check_storable
from stacflask.catalog.cql2.values.problems import Problem
from stacflask.catalog.cql2.values.sql import Sql, SqlCondition
from stacflask.catalog.cql2.values.types import InstantValue, Stored, Text, Value
from stacflask.catalog.database.tables import items
from stacflask.catalog.search.paging import Position, decode
from stacflask.errors import BadQuery
from stacflask.model.json_types import Json
from stacflask.model.query import SortKey
from stacflask.stac.times import format_instant, parse_instant

MAX_SORT_KEYS = 8
"""Most names in ``sortby``."""
MAX_EXPONENT = 16_383
"""Largest absolute exponent of a number in a token. PostgreSQL supports this range in both directions."""

KEY_COLUMNS = ("collection", "id")
"""Columns that identify a record. They are selected in any case."""

ORDERED_TYPES: Mapping[str, Callable[[Stored], Sql]] = {
    "number": attrgetter("number"),
    "string": attrgetter("text"),
    "boolean": attrgetter("truth"),
}
"""Sort expressions of a stored value by type, in the order of the types."""
PYTHON_TYPES = {"number": Decimal, "string": str, "boolean": bool}

TIE_BREAKERS = ("datetime", "collection", "id")
"""Columns that decide between items with equal sort keys. ``datetime`` is the column that contains the item's datetime,
or its start_datetime if that is null."""


@dataclass(frozen=True)
class SortExpression:
    """One expression of an ORDER BY. If ``nullable``, rows with null come last in both directions."""

    sql: Sql
    descending: bool
    nullable: bool
    python_type: type
    """Type of the values that it is compared with."""
    number: int = 0
    """Its index in its order."""

    @property
    def parameter_name(self) -> str:
        """Name of the parameter with its value in a position."""
        return f"at{self.number}"

    def order_clause(self, *, backward: bool) -> Sql:
        """Return the expression for ORDER BY."""
        directed = self.sql.desc() if self.descending != backward else self.sql.asc()
        if not self.nullable:
            return directed
        return directed.nulls_first() if backward else directed.nulls_last()

    def equal(self, value: Any) -> SqlCondition:
        """Return the condition that a row has this value."""
        return self.sql.is_(None) if value is None else self.sql == self.value_parameter(value)

    def after(self, value: Any, *, backward: bool) -> SqlCondition:
        """Return the condition that a row comes after this value, or before it if ``backward``."""
        if value is None:
            return self.sql.is_not(None) if backward else sa.false()
        here = self.value_parameter(value)
        further = self.sql < here if self.descending != backward else self.sql > here
        return sa.or_(further, self.sql.is_(None)) if self.nullable and not backward else further

    def value_parameter(self, value: Any) -> Sql:
        """Return a value as a parameter of the type of this expression."""
        return sa.bindparam(self.parameter_name, value, self.sql.type)


@dataclass(frozen=True)
class OrderKey:
    """A sort key: a column, or a stored value as three typed expressions, of which at most one is not null."""

    name: str
    expressions: tuple[SortExpression, ...]

    @property
    def stored(self) -> bool:
        """Whether it is stored JSON, whose type can differ between rows."""
        return len(self.expressions) > 1

    def parse_value(self, value: Json) -> tuple[Any, ...]:
        """Return the values of its expressions for a value of a token. Raises ValueError if the types do not match."""
        if value is None and all(expression.nullable for expression in self.expressions):
            return (None,) * len(self.expressions)
        values = tuple(_token_value(value, expression.python_type) for expression in self.expressions)
        if all(value is None for value in values):
            raise ValueError("not a value of this key")
        return values


def _token_value(value: Json, expected: type) -> Any:
    """Return a token's value as the expected type, or None for other types. Raises ValueError, Problem."""
    if expected is datetime:
        return parse_instant(value) if isinstance(value, str) else None
    if not isinstance(value, expected):
        return None
    if isinstance(value, str):
        check_storable(value)
    elif isinstance(value, Decimal) and max(map(abs, (value.adjusted(), _exponent(value)))) > MAX_EXPONENT:
        raise ValueError("not a number that PostgreSQL can hold")
    return value


def _exponent(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return exponent if isinstance(exponent, int) else MAX_EXPONENT + 1  # a letter for infinity and NaN


class SortOrder:
    """A total order of rows: sort keys, then tie breakers."""

    def __init__(
        self,
        sort: Iterable[SortKey],
        fields: Fields,
        tie_breakers: Sequence[sa.Column[Any]],
        *,
        descending: bool = False,
    ) -> None:
        """Create an order. Raises BadQuery if a name is unknown or cannot be sorted by."""
        sort_keys = tuple(sort)
        if len(sort_keys) > MAX_SORT_KEYS:
            raise BadQuery("sortby", f"expected {MAX_SORT_KEYS} names at most, got {len(sort_keys)}")
        keys: dict[str | sa.Column[Any], OrderKey] = {}
        for key in sort_keys:
            keys.setdefault(_canonical_name(key.name, fields), _key(key, fields))
        for column in tie_breakers:
            # A tie breaker that is also a field is the same key. The datetime column of items is not a field.
            canonical: str | sa.Column[Any] = column.name if column.name in KEY_COLUMNS else column
            keys.setdefault(
                canonical, _tie_breaker(column, descending=sort_keys[-1].descending if sort_keys else descending)
            )
        self.keys = tuple(_numbered(keys.values()))
        self._all_expressions = tuple(expression for key in self.keys for expression in key.expressions)
        self.expressions = self._all_expressions
        """The expressions of ORDER BY."""
        self._labels = tuple(_label(expression, number) for number, expression in enumerate(self._all_expressions))

    @property
    def column(self) -> str | None:
        """The name of the first column, or None if the order begins with another expression."""
        first = self.expressions[0].sql
        return first.name if isinstance(first, sa.Column) else None

    @property
    def splits_by_datetime(self) -> bool:
        """Whether the first key is the items' datetime. Items with a datetime come first, in both directions."""
        return self.keys[0].name == "datetime" and self.keys[0].expressions[0].nullable and not self.keys[0].stored

    def for_part(self, dated: bool | None) -> SortOrder:
        """Return the order of a part of the list: items with a datetime, or items without one.

        Tokens are the same in all parts. An index on the datetime column, which is never null, serves each part.
        """
        if dated is None:
            return self
        own, *others = self._all_expressions
        part = copy(self)
        if dated:
            # In this part the column contains the item's own datetime.
            time = next(expression for expression in others if expression.sql is items.c.datetime)
            others = [
                replace(time, descending=own.descending),
                *(expression for expression in others if expression is not time),
            ]
        part.expressions = tuple(others)
        return part

    @property
    def columns(self) -> list[sa.Label[Any]]:
        """Columns that ``values`` needs in a row, beside collection and id."""
        pairs = zip(self._all_expressions, self._labels, strict=True)
        return [expression.sql.label(label) for expression, label in pairs if label not in KEY_COLUMNS]

    def page(self, statement: Select[Any], position: Position | None, limit: int) -> Select[Any]:
        """Return the statement for one page and one more row, in the position's direction."""
        return _page(statement, self.expressions, position, limit)

    def order_clause(self, part: FromClause, *, backward: bool) -> list[Sql]:
        """Return the expressions for ORDER BY if the ``columns`` come from a subquery."""
        pairs = ((expression, part.c[self._labels[expression.number]]) for expression in self.expressions)
        return [replace(expression, sql=column).order_clause(backward=backward) for expression, column in pairs]

    def segments(self, indexed: int) -> tuple[OrderSegment, ...]:
        """Return segments of the order, each of which one index serves.

        The first ``indexed`` types of the first key have an index. Rows of each indexed type are one segment, in the
        order of the types. The last segment has all other rows.
        """
        first = self.keys[0].expressions
        if not self.keys[0].stored:
            return (OrderSegment((), self.expressions),)
        segments = [
            OrderSegment(
                (expression.sql.is_not(None),), (replace(expression, nullable=False), *self.expressions[len(first) :])
            )
            for expression in first[:indexed]
        ]
        rest = tuple(expression.sql.is_(None) for expression in first[:indexed])
        return (*segments, OrderSegment(rest, self.expressions[indexed:]))

    def pages(
        self, statement: Select[Any], position: Position | None, limit: int, segments: tuple[OrderSegment, ...]
    ) -> Iterator[Select[Any]]:
        """Yield statements that together select the rows of a page, and one more row if there is one.

        Once there are enough rows, the remaining statements need not run.
        """
        backward = position is not None and position.backward
        here = None if position is None else next((s for s in segments if s.contains(position)), None)
        if position is not None and position.values:
            past = segments.index(here) if here is not None else len(segments)
            segments = segments[: past + 1] if backward else segments[past:]
        for segment in reversed(segments) if backward else segments:
            within = position if segment is here else None
            yield _page(statement.where(*segment.conditions), segment.expressions, within, limit, backward=backward)

    def position(self, token: str | None) -> Position | None:
        """Parse a token of this order. Raises BadQuery if it is invalid."""
        if token is None:
            return None
        position = decode(token)
        try:
            pairs = zip(self.keys, position.values, strict=True)
            values = tuple(value for key, raw_value in pairs for value in key.parse_value(raw_value))
        except (ValueError, Problem) as error:
            raise BadQuery("token", "not a token of this list; follow the links instead of making one") from error
        return replace(position, values=values)

    def parameters(self, position: Position | None) -> dict[str, Any]:
        """Return the parameters of a position's conditions by name."""
        values = () if position is None else position.values
        return {
            expression.parameter_name: value
            for expression, value in zip(self._all_expressions, values, strict=False)
            if value is not None
        }

    def values(self, row: Any) -> tuple[Json, ...]:
        """Return a row's sort values as a token contains them."""
        return tuple(self._values(row))

    def _values(self, row: Any) -> Iterator[Json]:
        start = 0
        for key in self.keys:
            end = start + len(key.expressions)
            found = (getattr(row, label) for label in self._labels[start:end])
            value = next((value for value in found if value is not None), None)
            yield format_instant(value) if isinstance(value, datetime) else value
            start = end


def _numbered(keys: Iterable[OrderKey]) -> Iterator[OrderKey]:
    numbers = count()
    for key in keys:
        yield replace(
            key, expressions=tuple(replace(expression, number=next(numbers)) for expression in key.expressions)
        )


def _label(expression: SortExpression, number: int) -> str:
    """Return the column label of an expression. Columns that identify a record keep their names."""
    return (
        expression.sql.name
        if isinstance(expression.sql, sa.Column) and expression.sql.name in KEY_COLUMNS
        else f"sort{number}"
    )


@dataclass(frozen=True)
class OrderSegment:
    """A segment of an order: the rows that fulfil ``conditions``, sorted by ``expressions``."""

    conditions: tuple[SqlCondition, ...]
    expressions: tuple[SortExpression, ...]

    def contains(self, position: Position) -> bool:
        """Return whether a position lies in this segment, and in none before it."""
        first = self.expressions[0]
        return first.nullable or not position.values or position.values[first.number] is not None


INLINED_LIMITS = (10, 100)
"""Limits that are literals in the statement. A generic plan is then as good as one for the actual limit."""


def inlined_limit(limit: int) -> int | None:
    """Return a limit if it is a literal of the statement, or None if it is a parameter."""
    return limit if limit in INLINED_LIMITS else None


def row_limit(limit: int) -> Sql:
    """Return the number of rows to read for a page: one more than the limit, to detect a next page."""
    return sa.bindparam("rows", limit + 1, sa.Integer(), literal_execute=limit in INLINED_LIMITS)


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
        values = tuple(position.values[expression.number] for expression in expressions)
        statement = statement.where(_after_position(expressions, values, backward=backward))
    return statement.order_by(*(expression.order_clause(backward=backward) for expression in expressions)).limit(
        row_limit(limit)
    )


def _canonical_name(name: str, fields: Fields) -> str:
    """Return one name for all names of the same property."""
    return name if name in fields.columns and not name.startswith("properties.") else name.removeprefix("properties.")


def _key(key: SortKey, fields: Fields) -> OrderKey:
    try:
        value = fields.value(key.name)
        return OrderKey(_canonical_name(key.name, fields), tuple(_sort_expressions(value, descending=key.descending)))
    except Problem as problem:
        raise BadQuery("sortby", problem.message) from problem


def _tie_breaker(column: sa.Column[Any], *, descending: bool) -> OrderKey:
    return OrderKey(
        column.name, (SortExpression(column, descending, nullable=False, python_type=column.type.python_type),)
    )


def _sort_expressions(value: Value, *, descending: bool) -> Iterator[SortExpression]:
    match value:
        case Stored():
            for name, expression in ORDERED_TYPES.items():
                yield SortExpression(expression(value), descending, nullable=True, python_type=PYTHON_TYPES[name])
        case Text(computed=sql) if sql is not None:
            yield SortExpression(sql, descending, nullable=False, python_type=str)
        case InstantValue(sql=sql):
            yield SortExpression(sql, descending, nullable=True, python_type=datetime)
        case _:
            raise Problem("expected the name of a string, number or time; geometries have no order")


def _after_position(expressions: Sequence[SortExpression], values: Sequence[Any], *, backward: bool) -> SqlCondition:
    """Return the condition that a row comes after a position, or before it if ``backward``."""
    if _is_uniform(expressions):
        there = sa.tuple_(
            *(expression.value_parameter(value) for expression, value in zip(expressions, values, strict=True))
        )
        order = sa.tuple_(*(expression.sql for expression in expressions))
        return order < there if expressions[0].descending != backward else order > there
    first, value = expressions[0], values[0]
    further = first.after(value, backward=backward)
    tied = sa.and_(first.equal(value), _after_position(expressions[1:], values[1:], backward=backward))
    if first.nullable:
        return sa.or_(further, tied)
    here = first.value_parameter(value)
    bound: Sql = first.sql <= here if first.descending != backward else first.sql >= here
    return sa.and_(bound, sa.or_(further, tied))  # an index scan can start at the bound, but not at an OR


def _is_uniform(expressions: Sequence[SortExpression]) -> bool:
    """Return whether all have one direction and are never null, so that one comparison of rows is enough."""
    return len({expression.descending for expression in expressions}) == 1 and not any(
        expression.nullable for expression in expressions
    )
