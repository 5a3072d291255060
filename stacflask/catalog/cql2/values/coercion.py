"""Convert values to a type: a value of that type, or stored JSON, which is null if it has another type.

Each function takes the index of the operand, for messages, and raises Problem for a value of another type.
"""

import sqlalchemy as sa
from geoalchemy2 import Geometry

from stacflask.catalog.cql2.values import literals
from stacflask.catalog.cql2.values.problems import Problem
from stacflask.catalog.cql2.values.sql import Sql
from stacflask.catalog.cql2.values.types import (
    Array,
    BooleanValue,
    GeometryValue,
    InstantValue,
    IntervalValue,
    Number,
    Stored,
    Text,
    Value,
)

NAMES: dict[type, str] = {
    Text: "a string",
    Number: "a number",
    BooleanValue: "a boolean",
    InstantValue: "a date or time",
    IntervalValue: "an interval",
    GeometryValue: "a geometry",
    Array: "an array",
    Stored: "a property",
}


def wrong_type(expected: type, value: Value, argument: int | None = None) -> Problem:
    """Return the problem of a value of another type than expected."""
    return Problem(f"expected {NAMES[expected]}, got {NAMES[type(value)]}", argument)


def text(value: Value, argument: int = 0) -> Sql:
    """Return a value as a string."""
    if isinstance(value, Text):
        return value.sql
    if isinstance(value, Stored):
        return value.text
    raise wrong_type(Text, value, argument)


def number(value: Value, argument: int = 0) -> Sql:
    """Return a value as a number."""
    if isinstance(value, Number):
        return value.sql
    if isinstance(value, Stored):
        return value.number
    raise wrong_type(Number, value, argument)


def truth(value: Value, argument: int | None = 0) -> Sql:
    """Return a value as a boolean."""
    if isinstance(value, BooleanValue):
        return value.sql
    if isinstance(value, Stored):
        return value.truth
    raise wrong_type(BooleanValue, value, argument)


def moment(value: Value, argument: int = 0) -> InstantValue:
    """Return a value as an instant. A literal string in the form of an instant is accepted."""
    if isinstance(value, InstantValue):
        return value
    if isinstance(value, Stored):
        return InstantValue(value.moment)
    if isinstance(value, Text) and value.literal is not None:
        return literals.moment(value.literal)
    raise wrong_type(InstantValue, value, argument)


def period(value: Value, argument: int = 0) -> IntervalValue:
    """Return a value as an interval. An instant is an interval of no length."""
    if isinstance(value, IntervalValue):
        return value
    instant = moment(value, argument)
    return IntervalValue(instant, instant)


def shape(value: Value, argument: int = 0) -> Sql:
    """Return a value as a geometry. A stored value is never a geometry and becomes null, like a missing property."""
    if isinstance(value, GeometryValue):
        return value.sql
    if isinstance(value, Stored):
        return sa.cast(sa.null(), Geometry(srid=4326))
    raise wrong_type(GeometryValue, value, argument)
