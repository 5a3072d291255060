"""Parts of SQL that all of CQL2 uses."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import array

Sql: TypeAlias = sa.ColumnElement[Any]
SqlCondition: TypeAlias = sa.ColumnElement[bool]

CODE_POINTS = "C"
"""The collation that orders strings by code point, independent of the locale of the database."""
UNICODE = "und-x-icu"
"""The collation whose upper and lower case are Unicode's, independent of the locale of the database."""
TIMESTAMP = sa.DateTime(timezone=True)


MAX_CACHED_LENGTH = 500
"""Characters of a name whose SQL is cached. Clients choose names, so longer ones are not cached."""


def constant(text: str) -> Sql:
    """Return ``text`` as a quoted constant in the statement, because expression indexes do not match parameters."""
    return _cached_constant(text) if len(text) <= MAX_CACHED_LENGTH else _constant(text)


def _constant(text: str) -> Sql:
    return sa.literal(text, sa.Text(), literal_execute=True)


_cached_constant = lru_cache(maxsize=4096)(_constant)


def once(make: Callable[..., Sql], *operands: Sql) -> Sql:
    """Return the result of ``make`` for operands that it uses more than once.

    The operands are computed in a subquery. Without it, nested expressions would grow as 2, 4, 8.
    """
    columns = (sa.column(f"operand{index}", operand.type) for index, operand in enumerate(operands))
    row = sa.func.unnest(*(array([operand]) for operand in operands)).table_valued(*columns).render_derived()
    return sa.select(make(*row.c)).scalar_subquery()
