"""Comparisons of single values: = <> < <= > >= between, in, like, isNull.

A comparison with a stored value of another type is unknown. Comparing two literals of different types is an error.
"""

import operator
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, array
from sqlalchemy.sql.elements import Grouping

from stacflask.catalog.cql2.values import coercion
from stacflask.catalog.cql2.values.coercion import NAMES, wrong_type
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
    every,
    some,
)

PLAIN: dict[str, Callable[[Sql, Sql], Sql]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
MIRRORED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def compare(symbol: str, left: Value, right: Value) -> BooleanValue:
    """Compare two values. The types of two stored values are read for each row; two strings can be times."""
    if isinstance(left, Stored) and isinstance(right, Stored):
        readings = (rule(symbol, left, right) for rule in _RULES.values())
        return BooleanValue(sa.func.coalesce(*readings, type_=sa.Boolean()))
    rule = _rule(left, right)
    if rule is _moments:
        return compare_times(symbol, coercion.moment(left), coercion.moment(right, 1))
    return BooleanValue(rule(symbol, left, right))


def _rule(left: Value, right: Value) -> Callable[[str, Value, Value], Sql]:
    kinds = [type(value) for value in (left, right) if not isinstance(value, Stored)]
    kind = InstantValue if InstantValue in kinds else kinds[0]
    if kind not in _RULES:
        raise Problem(f"{NAMES[kind]} cannot be compared with this operator")
    return _RULES[kind]


def _plain(read: Callable[..., Sql]) -> Callable[[str, Value, Value], Sql]:
    return lambda symbol, left, right: PLAIN[symbol](read(left), read(right, 1))


def _moments(symbol: str, left: Value, right: Value) -> Sql:
    return compare_moments(symbol, coercion.moment(left), coercion.moment(right, 1))


_RULES: dict[type, Callable[[str, Value, Value], Sql]] = {
    Number: _plain(coercion.number),
    InstantValue: _moments,
    Text: _plain(coercion.text),
    BooleanValue: _plain(coercion.truth),
}

_KINDS: dict[type[Text | Number | BooleanValue], tuple[Callable[..., Sql], sa.types.TypeEngine[Any]]] = {
    Text: (coercion.text, sa.Text()),
    Number: (coercion.number, sa.Numeric()),
    BooleanValue: (coercion.truth, sa.Boolean()),
}


def compare_times(symbol: str, left: InstantValue, right: InstantValue) -> BooleanValue:
    """Compare two instants. The time of an item is compared in its column, because that can have an index."""
    given = [time.given for time in (left, right) if time.given is not None]
    indexed = sa.and_(compare_moments(symbol, _in_column(left), _in_column(right)), *given) if given else None
    return BooleanValue(compare_moments(symbol, left, right), indexed=indexed)


def _in_column(time: InstantValue) -> InstantValue:
    return time if time.column is None else InstantValue(time.column)


def compare_moments(symbol: str, left: InstantValue, right: InstantValue) -> Sql:
    """Compare two instants. A literal DATE is compared with the day (in UTC) of the other one."""
    if left.last is not None and right.last is None:
        return compare_moments(MIRRORED[symbol], right, left)
    if right.last is None:
        return PLAIN[symbol](left.sql, right.sql)
    match symbol:
        case "=":
            return sa.and_(left.sql >= right.sql, left.sql <= right.last)
        case "<>":
            return sa.or_(left.sql < right.sql, left.sql > right.last)
        case "<=" | ">":
            return PLAIN[symbol](left.sql, right.last)
    return PLAIN[symbol](left.sql, right.sql)


# --- Comparisons with several values ----------------------------------------------------------------------------------


def between(value: Value, low: Value, high: Value | None = None) -> BooleanValue:
    """Whether ``low <= value <= high``. Older clients send both bounds in one array."""
    if isinstance(low, Array) and high is None and len(low.members) == len(("low", "high")):
        low, high = low.members
    if isinstance(value, BooleanValue) or high is None:
        raise Problem("between expects a number, a string or a time, and its lower and upper bound")
    return every([compare(">=", value, low), compare("<=", value, high)])


def is_in(value: Value, members: Value) -> BooleanValue:
    """Whether any of ``members`` equals ``value``."""
    if not isinstance(members, Array):
        raise wrong_type(Array, members, 1)
    if isinstance(value, Text | Number | BooleanValue):
        tests = [BooleanValue(_any_of(type(value), value, members.members))] if members.members else []
    else:
        tests = list(_equal_to_any(value, members.members))
    return some([BooleanValue(sa.false()), *tests])


def _equal_to_any(value: Value, members: tuple[Value, ...]) -> Iterator[BooleanValue]:
    """Compare a value with all members of one type at once, and with members of unknown type one by one."""
    kinds = tuple(_KINDS) if isinstance(value, Stored) else ()
    for kind in kinds:
        same = tuple(member for member in members if isinstance(member, kind))
        if same:
            yield BooleanValue(_any_of(kind, value, same))
    yield from (compare("=", value, member) for member in members if not isinstance(member, kinds))


def _any_of(kind: type[Text | Number | BooleanValue], value: Value, members: tuple[Value, ...]) -> Sql:
    """Compare with values of one type. If all of them are literals, they are one parameter of the statement."""
    read, sql_type = _KINDS[kind]
    literals = [member.literal for member in members if isinstance(member, kind)]
    if None in literals or len(literals) < len(members):
        return read(value) == sa.any_(array([read(member, 1) for member in members]))
    return read(value) == sa.any_(sa.literal(literals, ARRAY(sql_type)))


def like(value: Value, pattern: Value) -> BooleanValue:
    r"""Whether a string matches a pattern: ``%`` is any characters, ``_`` one character, ``\`` escapes the next one."""
    if not isinstance(pattern, Text) or pattern.pattern is None:
        raise Problem("expected a pattern: a literal string", 1)
    if (len(pattern.pattern) - len(pattern.pattern.rstrip("\\"))) % 2:
        raise Problem("expected a character after the last backslash of the pattern", 1)
    return BooleanValue(coercion.text(value).like(pattern.sql))


def is_null(value: Value) -> BooleanValue:
    """Whether a value is missing, null or unknown."""
    match value:
        case Stored():
            return BooleanValue(value.present.is_(None))
        case InstantValue() if value.given is not None:
            # Without the brackets, NOT would apply to the following operators, too.
            return BooleanValue(Grouping(sa.not_(value.given)))
        case IntervalValue():
            return BooleanValue(sa.or_(value.start.sql.is_(None), value.end.sql.is_(None)))
        case Array():
            return BooleanValue(sa.literal(False, sa.Boolean()))
        case Text() | Number() | BooleanValue() | InstantValue() | GeometryValue():
            return BooleanValue(value.sql.is_(None))
