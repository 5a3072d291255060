"""Parse and format instants and intervals in the form of RFC 3339."""

import re
from datetime import UTC, datetime, timedelta

from stacflask.model.query import QueryInterval

_USUAL = re.compile(
    r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
    r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?"
    r"(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
).fullmatch
_SECOND = slice(17, 19)
_MAX_QUOTED_LENGTH = 70
_OPEN = ("", "..")


def parse_instant(text: str) -> datetime:
    """Return an RFC 3339 date and time in UTC.

    A fraction can have any number of digits. Digits beyond microseconds, which PostgreSQL does not store, are cut off
    in stored and in searched times, so a time stays within every interval that contains it.

    A leap second (23:59:60 in UTC) is read as the second after it, as in PostgreSQL.

    Raises:
        ValueError: The text has another form, the day does not exist, or the year is not within 1 to 9999.
    """
    try:
        if not _USUAL(text):
            return _parse_unusual(text)
        instant = datetime.fromisoformat(text)
        return instant if instant.tzinfo is UTC else instant.astimezone(UTC)
    except (ValueError, OverflowError):
        expected = "an RFC 3339 date and time such as 2020-01-31T12:00:00Z"
        raise ValueError(f"expected {expected}, got {text[:_MAX_QUOTED_LENGTH]!r}") from None


def _parse_unusual(text: str) -> datetime:
    """Parse a time with lower-case letters or a leap second."""
    text = text.upper()
    leap = timedelta(seconds=text[_SECOND] == "60")
    text = f"{text[:17]}59{text[19:]}" if leap else text
    if not _USUAL(text):
        raise ValueError
    instant = parse_instant(text) + leap
    if leap and (instant.hour, instant.minute) != (0, 0):
        raise ValueError
    return instant


def parse_interval(text: str) -> QueryInterval:
    """Parse the ``datetime`` parameter: an instant, or ``a/b``, of which one end can be open (``..`` or empty).

    Raises:
        ValueError: The text has another form, both ends are open, or the end is before the start.
    """
    parts = text.split("/")
    if len(parts) == 1:
        instant = parse_instant(text)
        return QueryInterval(instant, instant)
    if len(parts) != 2 or (parts[0] in _OPEN and parts[1] in _OPEN):  # noqa: PLR2004
        raise ValueError(f"expected an instant, start/end, start/.. or ../end, got {text[: 2 * _MAX_QUOTED_LENGTH]!r}")
    start, end = (None if part in _OPEN else parse_instant(part) for part in parts)
    if start and end and end < start:
        raise ValueError(f"expected an end that is not before the start, got {text!r}")
    return QueryInterval(start, end)


def format_instant(instant: datetime) -> str:
    """Format an instant as RFC 3339 in UTC, with ``Z`` and without trailing zeros in the fraction.

    Raises:
        ValueError: ``instant`` has no time zone.
    """
    if instant.tzinfo is None:
        raise ValueError("expected an instant with a time zone")
    whole, dot, fraction = instant.astimezone(UTC).replace(tzinfo=None).isoformat().partition(".")
    return whole + dot + fraction.rstrip("0") + "Z"
