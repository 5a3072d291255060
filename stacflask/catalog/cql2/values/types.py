"""Operands: SQL expressions of a known type, and stored JSON whose type differs by row.

Converted to another type, a stored value is null, which is CQL2's unknown. No conversion raises an error in PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.elements import Grouping

from stacflask.catalog.cql2.values import times
from stacflask.catalog.cql2.values.sql import CODE_POINTS, Sql, constant
from stacflask.model.json_types import Json


@dataclass(frozen=True, slots=True)
class Text:
    """A string: computed in SQL, or a ``literal`` of the expression.

    ``pattern`` is approximately the value of a string that is computed from a literal.
    """

    computed: Sql | None = None
    literal: str | None = None
    pattern: str | None = None

    @property
    def sql(self) -> Sql:
        """The value in SQL. A literal is converted on access, because most literals of long lists are never needed."""
        if self.computed is not None:
            return self.computed
        return sa.literal(self.literal, sa.Text()).collate(CODE_POINTS)


@dataclass(frozen=True, slots=True)
class Number:
    """A decimal number: computed in SQL, or a ``literal``."""

    computed: Sql | None = None
    literal: Decimal | None = None
    bounded: bool = False
    """Whether the number cannot be too large for arithmetic."""

    @property
    def sql(self) -> Sql:
        """The value in SQL."""
        return self.computed if self.computed is not None else sa.literal(self.literal, sa.Numeric())


@dataclass(frozen=True, slots=True)
class BooleanValue:
    """True, false or unknown: computed in SQL, or a ``literal``."""

    computed: Sql | None = None
    literal: bool | None = None
    indexed: Sql | None = None
    """A condition that is true if and only if this value is true, in a form that can use an index. It can be false
    instead of unknown, so it replaces this value only in a WHERE clause and below AND and OR."""

    @property
    def sql(self) -> Sql:
        """The value in SQL."""
        return self.computed if self.computed is not None else sa.literal(self.literal, sa.Boolean())

    @property
    def where(self) -> Sql:
        """The value as a condition for a WHERE clause."""
        return self.sql if self.indexed is None else self.indexed


@dataclass(frozen=True, slots=True)
class InstantValue:
    """An instant. A literal DATE lasts from ``sql`` to ``last``, both included; others have no length.

    ``column`` is a column of items that is never null; ``given`` is whether the item itself has this time.
    """

    sql: Sql
    last: Sql | None = None
    column: Sql | None = None
    given: Sql | None = None


@dataclass(frozen=True, slots=True)
class IntervalValue:
    """An interval. Open ends are at infinity."""

    start: InstantValue
    end: InstantValue


@dataclass(frozen=True, slots=True)
class GeometryValue:
    """A geometry in the plane of longitude and latitude."""

    sql: Sql


@dataclass(frozen=True, slots=True)
class Array:
    """An array of values. ``document`` is its JSON in the expression."""

    members: tuple[Value, ...]
    document: list[Json]


@dataclass(frozen=True)
class Stored:
    """A value of stored JSON.

    ``number``, ``text``, ``truth`` and ``moment`` are the expressions of indexes for comparisons with numbers, strings,
    booleans and times. PostgreSQL uses an index only if the expression is exactly the same.
    """

    json: Sql
    content: Sql
    """The value as text; a string without its quotes."""

    @cached_property
    def kind(self) -> Sql:
        """The name of the JSON type."""
        return sa.func.jsonb_typeof(self.json, type_=sa.Text)

    @cached_property
    def number(self) -> Sql:
        """The value as a number."""
        return self._when("number", sa.cast(self.json, sa.Numeric))

    @cached_property
    def text(self) -> Sql:
        """The value as a string."""
        return self._when("string", self.content).collate(CODE_POINTS)

    @cached_property
    def truth(self) -> Sql:
        """The value as a boolean."""
        return self._when("boolean", sa.cast(self.json, sa.Boolean))

    @cached_property
    def moment(self) -> Sql:
        """The value as an instant: a string with an RFC 3339 time or date. A date is its first instant."""
        return times.read(self.content)

    @cached_property
    def array(self) -> Sql:
        """The value as a JSON array."""
        return self._when("array", self.json)

    @cached_property
    def present(self) -> Sql:
        """The value, with SQL's null for JSON's null."""
        return sa.func.nullif(self.json, sa.cast(constant("null"), JSONB), type_=JSONB())

    def _when(self, kind: str, sql: Sql) -> Sql:
        return Grouping(sa.case((self.kind == constant(kind), sql)))  # CREATE INDEX requires the brackets


def every(truths: Sequence[BooleanValue]) -> BooleanValue:
    """Return whether all values are true."""
    return _joined(sa.and_, truths)


def some(truths: Sequence[BooleanValue]) -> BooleanValue:
    """Return whether any value is true."""
    return _joined(sa.or_, truths)


def _joined(join: Callable[..., Sql], truths: Sequence[BooleanValue]) -> BooleanValue:
    indexed = any(truth.indexed is not None for truth in truths)
    return BooleanValue(
        join(*(truth.sql for truth in truths)), indexed=join(*(truth.where for truth in truths)) if indexed else None
    )


Value: TypeAlias = Text | Number | BooleanValue | InstantValue | IntervalValue | GeometryValue | Array | Stored
