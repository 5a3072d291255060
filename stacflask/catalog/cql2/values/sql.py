"""Small pieces of SQL that all of the room uses."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import array

if TYPE_CHECKING:
    from collections.abc import Callable

Sql: TypeAlias = sa.ColumnElement[Any]

CODE_POINTS = "C"
"""The collation that orders strings by code point, whatever the database's own locale."""
UNICODE = "und-x-icu"
"""The collation whose upper and lower case follow Unicode in full, whatever the database's own locale."""
TIMESTAMP = sa.DateTime(timezone=True)


LONGEST = 500
"""Characters of a name that what is made of it is remembered for: clients choose names, as long as they like."""


def constant(text: str) -> Sql:
    """Write ``text`` into the statement itself, quoted: expression indexes match constants, not parameters."""
    return _remembered(text) if len(text) <= LONGEST else _constant(text)


def _constant(text: str) -> Sql:
    return sa.literal(text, sa.Text(), literal_execute=True)


_remembered = lru_cache(maxsize=4096)(_constant)


def once(make: Callable[..., Sql], *operands: Sql) -> Sql:
    """Give what ``make`` makes of operands that it mentions more than once.

    They are computed in a row of their own. Written out each time, expressions within each other would grow as 2, 4, 8.
    """
    columns = (sa.column(f"operand{index}", operand.type) for index, operand in enumerate(operands))
    row = sa.func.unnest(*(array([operand]) for operand in operands)).table_valued(*columns).render_derived()
    return sa.select(make(*row.c)).scalar_subquery()
