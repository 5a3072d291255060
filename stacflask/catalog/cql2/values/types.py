"""What operators work on: SQL expressions of a known type, and stored JSON whose type only its row knows.

Read as another type than it has, a stored value is null, which is CQL2's unknown. Nothing here can make PostgreSQL
fail, whatever the rows hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.elements import Grouping

from stacflask.catalog.cql2.values import times
from stacflask.catalog.cql2.values.sql import CODE_POINTS, Sql, constant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from decimal import Decimal

    from stacflask.model.json_types import Json


@dataclass(frozen=True, slots=True)
class Text:
    """A string: one that SQL computes, or a ``literal`` of the expression itself.

    ``pattern`` is roughly what a string comes to that is made of a literal.
    """

    computed: Sql | None = None
    literal: str | None = None
    pattern: str | None = None

    @property
    def sql(self) -> Sql:
        """It in SQL. Literals get there late: most of a long list never do, one by one."""
        if self.computed is not None:
            return self.computed
        return sa.literal(self.literal, sa.Text()).collate(CODE_POINTS)


@dataclass(frozen=True, slots=True)
class Number:
    """A number, decimal and exact: one that SQL computes, or a ``literal``."""

    computed: Sql | None = None
    literal: Decimal | None = None
    bounded: bool = False
    """Whether it is known not to be too large for arithmetic."""

    @property
    def sql(self) -> Sql:
        """It in SQL."""
        return self.computed if self.computed is not None else sa.literal(self.literal, sa.Numeric())


@dataclass(frozen=True, slots=True)
class Truth:
    """True, false or unknown: what SQL computes, or a ``literal``."""

    computed: Sql | None = None
    literal: bool | None = None
    indexed: Sql | None = None
    """A condition that is true exactly where this is, in a form that an index can serve. It may be false instead of
    unknown, so it stands for this only in a WHERE clause and below AND and OR."""

    @property
    def sql(self) -> Sql:
        """It in SQL."""
        return self.computed if self.computed is not None else sa.literal(self.literal, sa.Boolean())

    @property
    def where(self) -> Sql:
        """It as a condition on rows."""
        return self.sql if self.indexed is None else self.indexed


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant. A literal DATE lasts from ``sql`` to ``last``, both included; all others are points.

    ``column`` is an item's column that is never null, and ``given`` whether the item itself has the time in it.
    """

    sql: Sql
    last: Sql | None = None
    column: Sql | None = None
    given: Sql | None = None


@dataclass(frozen=True, slots=True)
class Period:
    """An interval with both its ends; open ends are at infinity."""

    start: Moment
    end: Moment


@dataclass(frozen=True, slots=True)
class Shape:
    """A geometry in the plane of longitude and latitude."""

    sql: Sql


@dataclass(frozen=True, slots=True)
class Array:
    """Values in a row. ``document`` is the same as JSON, if all of it stands in the expression itself."""

    members: tuple[Value, ...]
    document: list[Json]


@dataclass(frozen=True)
class Stored:
    """A value of stored JSON.

    ``number``, ``text``, ``truth`` and ``moment`` are the forms that an expression index has to have to serve
    comparisons with numbers, strings, booleans and times: PostgreSQL recognises an index by its exact form.
    """

    json: Sql
    content: Sql
    """It as text; a string without its quotes."""

    @cached_property
    def kind(self) -> Sql:
        """The name of its JSON type."""
        return sa.func.jsonb_typeof(self.json, type_=sa.Text)

    @cached_property
    def number(self) -> Sql:
        """It as number."""
        return self._when("number", sa.cast(self.json, sa.Numeric))

    @cached_property
    def text(self) -> Sql:
        """It as string."""
        return self._when("string", self.content).collate(CODE_POINTS)

    @cached_property
    def truth(self) -> Sql:
        """It as boolean."""
        return self._when("boolean", sa.cast(self.json, sa.Boolean))

    @cached_property
    def moment(self) -> Sql:
        """It as instant: a string that is an RFC 3339 time or date, the latter at its first instant."""
        return times.read(self.content)

    @cached_property
    def array(self) -> Sql:
        """It as array, still JSON."""
        return self._when("array", self.json)

    @cached_property
    def present(self) -> Sql:
        """It, with null for JSON's null."""
        return sa.func.nullif(self.json, sa.cast(constant("null"), JSONB), type_=JSONB())

    def _when(self, kind: str, sql: Sql) -> Sql:
        return Grouping(sa.case((self.kind == constant(kind), sql)))  # in brackets, as CREATE INDEX wants it


def every(truths: Sequence[Truth]) -> Truth:
    """Return whether all of these hold."""
    return _joined(sa.and_, truths)


def some(truths: Sequence[Truth]) -> Truth:
    """Return whether any of these holds."""
    return _joined(sa.or_, truths)


def _joined(join: Callable[..., Sql], truths: Sequence[Truth]) -> Truth:
    indexed = any(truth.indexed is not None for truth in truths)
    return Truth(
        join(*(truth.sql for truth in truths)), indexed=join(*(truth.where for truth in truths)) if indexed else None
    )


Value: TypeAlias = Text | Number | Truth | Moment | Period | Shape | Array | Stored
