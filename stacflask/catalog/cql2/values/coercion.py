"""Reading a value as a type: as it is, or as stored JSON that may be of that type. Anything else is a mistake.

Each function takes the operand's index, for the message, and raises Problem.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from geoalchemy2 import Geometry

from stacflask.catalog.cql2.values import literals
from stacflask.catalog.cql2.values.problems import Problem
from stacflask.catalog.cql2.values.types import Array, Moment, Number, Period, Shape, Stored, Text, Truth, Value

if TYPE_CHECKING:
    from stacflask.catalog.cql2.values.sql import Sql

NAMES: dict[type, str] = {
    Text: "a string",
    Number: "a number",
    Truth: "a boolean",
    Moment: "a date or time",
    Period: "an interval",
    Shape: "a geometry",
    Array: "an array",
    Stored: "a property",
}


def unlike(expected: type, value: Value, argument: int | None = None) -> Problem:
    """Give the problem of a value that is of another type than expected."""
    return Problem(f"expected {NAMES[expected]}, got {NAMES[type(value)]}", argument)


def text(value: Value, argument: int = 0) -> Sql:
    """Read as string."""
    if isinstance(value, Text):
        return value.sql
    if isinstance(value, Stored):
        return value.text
    raise unlike(Text, value, argument)


def number(value: Value, argument: int = 0) -> Sql:
    """Read as number."""
    if isinstance(value, Number):
        return value.sql
    if isinstance(value, Stored):
        return value.number
    raise unlike(Number, value, argument)


def truth(value: Value, argument: int | None = 0) -> Sql:
    """Read as boolean."""
    if isinstance(value, Truth):
        return value.sql
    if isinstance(value, Stored):
        return value.truth
    raise unlike(Truth, value, argument)


def moment(value: Value, argument: int = 0) -> Moment:
    """Read as instant. Where one is expected, a literal string that spells one will do."""
    if isinstance(value, Moment):
        return value
    if isinstance(value, Stored):
        return Moment(value.moment)
    if isinstance(value, Text) and value.literal is not None:
        return literals.moment(value.literal)
    raise unlike(Moment, value, argument)


def period(value: Value, argument: int = 0) -> Period:
    """Read as interval; an instant is a short one."""
    if isinstance(value, Period):
        return value
    instant = moment(value, argument)
    return Period(instant, instant)


def shape(value: Value, argument: int = 0) -> Sql:
    """Read as geometry. No stored value is one: read as one it is null, as that of a name that nothing has."""
    if isinstance(value, Shape):
        return value.sql
    if isinstance(value, Stored):
        return sa.cast(sa.null(), Geometry(srid=4326))
    raise unlike(Shape, value, argument)
