"""Small pieces of SQL that all of the room uses."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

import sqlalchemy as sa

Sql: TypeAlias = sa.ColumnElement[Any]

CODE_POINTS = "C"
"""The collation that orders strings by code point, whatever the database's own locale."""
UNICODE = "und-x-icu"
"""The collation whose upper and lower case follow Unicode in full, whatever the database's own locale."""
TIMESTAMP = sa.DateTime(timezone=True)


@lru_cache(maxsize=4096)
def constant(text: str) -> Sql:
    """Write ``text`` into the statement itself, quoted: expression indexes match constants, not parameters."""
    return sa.literal(text, sa.Text(), literal_execute=True)
