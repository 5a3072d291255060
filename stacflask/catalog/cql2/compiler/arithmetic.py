"""Decimal arithmetic without errors: a result that cannot be computed, or is too large, is unknown (null)."""

import operator
from collections.abc import Callable
from functools import partial

import sqlalchemy as sa

from stacflask.catalog.cql2.values import coercion
from stacflask.catalog.cql2.values.limits import LARGEST
from stacflask.catalog.cql2.values.sql import Sql, once
from stacflask.catalog.cql2.values.types import Number, Value

_EXPONENT = 230
"""e to this power is about ``LARGEST``."""
_DECIMAL_PLACES = 100
"""Further decimal places are rounded."""


def compute(symbol: str, left: Value, right: Value) -> Number:
    """Return the result of one operation."""
    return Number(_OPERATIONS[symbol](_operand(left, 0), _operand(right, 1)), bounded=True)


def _operand(value: Value, argument: int) -> Sql:
    """Return an operand within bounds.

    Results are not checked again: an expression has too few operations to exceed the range of PostgreSQL.
    """
    sql = coercion.number(value, argument)
    return sql if isinstance(value, Number) and value.bounded else _bounded(sql)


def _bounded(sql: Sql) -> Sql:
    """Return the number; null if it is too large, 0 if it is too small."""
    sql = sa.func.round(sql, _DECIMAL_PLACES, type_=sa.Numeric())
    for limit, bound in ((LARGEST, sa.func.least), (-LARGEST, sa.func.greatest)):
        end = sa.literal(limit, sa.Numeric())
        sql = sa.func.nullif(bound(sql, end), end, type_=sa.Numeric())
    return sql


def _nonzero(sql: Sql) -> Sql:
    return sa.func.nullif(sql, 0, type_=sa.Numeric())


def _quotient(left: Sql, right: Sql) -> Sql:
    return left / _nonzero(right)


def _remainder(left: Sql, right: Sql) -> Sql:
    return sa.func.mod(left, _nonzero(right), type_=sa.Numeric())


def _whole_quotient(left: Sql, right: Sql) -> Sql:
    return sa.func.div(left, _nonzero(right), type_=sa.Numeric())


def _power(base: Sql, exponent: Sql) -> Sql:
    """Return the power, or null if it is not real or too large."""
    size = sa.func.abs(exponent * sa.func.ln(sa.func.abs(base)))
    real = sa.or_(base > 0, exponent == sa.func.trunc(exponent))
    possible = sa.case((base == 0, exponent >= 0), else_=sa.and_(real, size < _EXPONENT))
    return sa.case((possible, sa.func.power(base, exponent, type_=sa.Numeric())))


_OPERATIONS: dict[str, Callable[[Sql, Sql], Sql]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _quotient,
    "%": _remainder,
    "div": _whole_quotient,
    "^": partial(once, _power),
}
