"""Decimal arithmetic that never fails: what cannot be computed, or grows too large, is unknown."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import array

from stacflask.catalog.cql2 import coercion
from stacflask.catalog.cql2.limits import LARGEST
from stacflask.catalog.cql2.values import Number, Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from stacflask.catalog.cql2.sql import Sql

_EXPONENT = 690
"""e to this power is about the largest number."""


def compute(symbol: str, left: Value, right: Value) -> Number:
    """Compute one operation."""
    return Number(_OPERATIONS[symbol](_bounded(left, 0), _bounded(right, 1)))


def _bounded(value: Value, argument: int) -> Sql:
    """Read a number; one too large is null. The operand is written once, so that what is nested does not grow."""
    sql = coercion.number(value, argument)
    if isinstance(value, Number) and value.literal is not None:
        return sql
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


def _power(left: Sql, right: Sql) -> Sql:
    """Raise to a power, where the result is real and not too large. A row of its own computes the operands once."""
    columns = sa.column("base", sa.Numeric()), sa.column("exponent", sa.Numeric())
    row = sa.func.unnest(array([left]), array([right])).table_valued(*columns).render_derived()
    base, exponent = row.c.base, row.c.exponent
    size = sa.func.abs(exponent * sa.func.ln(sa.func.abs(base)))
    real = sa.or_(base > 0, exponent == sa.func.trunc(exponent))
    possible = sa.case((base == 0, exponent >= 0), else_=sa.and_(real, size < _EXPONENT))
    return sa.select(sa.case((possible, sa.func.power(base, exponent, type_=sa.Numeric())))).scalar_subquery()


_OPERATIONS: dict[str, Callable[[Sql, Sql], Sql]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _quotient,
    "%": _remainder,
    "div": _whole_quotient,
    "^": _power,
}
SYMBOLS = tuple(_OPERATIONS)
