"""Instants in expressions and in stored strings."""

import re
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from stacflask.catalog.cql2.values.problems import Problem
from stacflask.catalog.cql2.values.sql import TIMESTAMP, Sql
from stacflask.stac.times import parse_instant

_DAY = (
    "([0-9]{4}-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)"
    "|([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)"
)
_FIRST_YEAR = "0001"
_DATE = re.compile(_DAY).fullmatch
_TO_LAST_INSTANT = timedelta(days=1) - timedelta(microseconds=1)
"""From the first to the last instant of a day. PostgreSQL has a resolution of one microsecond."""


def read(text: Sql) -> Sql:
    """Return the instant of a string in SQL, or null.

    A migration creates the function. It never fails, and an index can use it.
    """
    return sa.func.stacflask_parse_instant(text, type_=TIMESTAMP)


def parse_date(text: str) -> tuple[datetime, datetime]:
    """Return the first and the last instant of a day in UTC. Raises Problem."""
    if not _DATE(text) or text < _FIRST_YEAR:
        raise Problem(f"expected a date such as 2020-01-31, got {text[:40]!r}")
    first = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return first, first + _TO_LAST_INSTANT


def parse_timestamp(text: str) -> datetime:
    """Parse an RFC 3339 date and time. Raises Problem."""
    try:
        return parse_instant(text)
    except ValueError as error:
        raise Problem(str(error)) from None
