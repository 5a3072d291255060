"""Instants and intervals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stacflask.model.query import QueryInterval
from stacflask.stac.times import format_instant, parse_instant, parse_interval


def at(
    year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0, microsecond: int = 0
) -> datetime:
    return datetime(year, month, day, hour, minute, second, microsecond, tzinfo=UTC)


NOON = at(2020, 1, 31, 12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-01-31T12:00:00Z", NOON),
        ("2020-01-31t12:00:00z", NOON),
        ("2020-01-31T12:00:00z", NOON),
        ("2020-01-31T14:30:00+02:30", NOON),
        ("2020-01-31t14:30:00.0+02:30", NOON),
        ("2020-01-31T12:00:00-00:00", NOON),
        ("2020-01-30T12:01:00-23:59", NOON),
        ("2020-01-31T12:00:00.1Z", at(2020, 1, 31, 12, 0, 0, 100000)),
        ("2020-01-31T12:00:00.123456Z", at(2020, 1, 31, 12, 0, 0, 123456)),
        ("2020-01-31T12:00:00.999999999Z", at(2020, 1, 31, 12, 0, 0, 999999)),
        ("2020-01-31T12:00:00.1234567890Z", at(2020, 1, 31, 12, 0, 0, 123456)),
        (f"2020-01-31T12:00:00.{'9' * 5_000}+00:00", at(2020, 1, 31, 12, 0, 0, 999999)),
        ("2024-02-29T00:00:00Z", at(2024, 2, 29)),
        ("0001-01-01T00:00:00Z", at(1, 1, 1)),
        ("9999-12-31T23:59:59Z", at(9999, 12, 31, 23, 59, 59)),
        ("2016-12-31T23:59:60Z", at(2017, 1, 1)),
        ("2017-01-01T00:59:60.25+01:00", at(2017, 1, 1, 0, 0, 0, 250000)),
    ],
)
def test_rfc_3339_times_are_parsed(text: Any, expected: Any) -> None:
    """Both cases of letters, offsets, fractions and leap seconds are converted to UTC."""
    instant = parse_instant(text)
    assert instant == expected
    assert instant.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2020",
        "2020-01-31",
        "2020-01-31T12:00:00",
        "2020-01-31T12:00Z",
        "2020-01-31T12Z",
        "2020-01-31 12:00:00Z",
        "2020-01-31T12:00:00+0100",
        "2020-01-31T12:00:00+01",
        "2020-01-31T12:00:00+01:60",
        "2020-01-31T12:00:00+24:00",
        "2020-01-31T12:00:00,5Z",
        "2020-01-31T12:00:00.Z",
        "2020-13-01T12:00:00Z",
        "2020-00-01T12:00:00Z",
        "2023-02-29T12:00:00Z",
        "2020-01-32T12:00:00Z",
        "2020-01-31T25:00:00Z",
        "2020-01-31T24:00:00Z",
        "2020-01-31T12:60:00Z",
        "2020-01-31T12:00:61Z",
        "2020-01-31T12:00:60Z",
        "2020-01-31T23:59:60+01:00",
        "9999-12-31T23:59:60Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+10:00",
        "9999-12-31T23:59:59-10:00",
        "2020-W05-5T12:00:00Z",
        "20200131T120000Z",
        "+2020-01-31T12:00:00Z",
        "2020-01-31T12:00:00Z ",
        "2020-01-31T12:00:00Z\n",
        "٢٠٢٠-01-31T12:00:00Z",
    ],
)
def test_other_times_are_refused(text: Any) -> None:
    """The message contains an example of the expected form."""
    with pytest.raises(ValueError, match="expected an RFC 3339 date and time such as 2020-01-31T12:00:00Z, got "):
        parse_instant(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-01-31T12:00:00Z", QueryInterval(NOON, NOON)),
        ("2020-01-31T12:00:00Z/2021-01-01T00:00:00Z", QueryInterval(NOON, at(2021, 1, 1))),
        ("2020-01-31T12:00:00Z/2020-01-31T12:00:00Z", QueryInterval(NOON, NOON)),
        ("2020-01-31T12:00:00Z/..", QueryInterval(NOON, None)),
        ("2020-01-31T12:00:00Z/", QueryInterval(NOON, None)),
        ("../2020-01-31T12:00:00Z", QueryInterval(None, NOON)),
        ("/2020-01-31T12:00:00Z", QueryInterval(None, NOON)),
    ],
)
def test_intervals_can_be_open_at_one_end(text: Any, expected: Any) -> None:
    """An instant is an interval of no length; an open end is two dots or empty."""
    assert parse_interval(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "..",
        "/",
        "../..",
        "/..",
        "../",
        "2020-01-31T12:00:00Z/2020-01-31T12:00:00Z/2020-01-31T12:00:00Z",
        "2021-01-01T00:00:00Z/2020-01-31T12:00:00Z",
        "2020-01-31/2021-01-01",
        "2020-01-31T12:00:00Z/2021",
        "2020-01-31T12:00:00Z--2021-01-01T00:00:00Z",
    ],
)
def test_invalid_intervals_are_refused(text: Any) -> None:
    """Two open ends, three parts, an end before the start and dates without a time are refused."""
    with pytest.raises(ValueError, match="expected "):
        parse_interval(text)


@pytest.mark.parametrize(
    ("instant", "expected"),
    [
        (NOON, "2020-01-31T12:00:00Z"),
        (NOON.replace(microsecond=500000), "2020-01-31T12:00:00.5Z"),
        (NOON.replace(microsecond=1), "2020-01-31T12:00:00.000001Z"),
        (NOON.astimezone(timezone(timedelta(hours=5))), "2020-01-31T12:00:00Z"),
        (at(7, 1, 1), "0007-01-01T00:00:00Z"),
    ],
)
def test_instants_are_formatted_in_utc_without_trailing_zeros(instant: Any, expected: Any) -> None:
    """The fraction has no trailing zeros."""
    assert format_instant(instant) == expected


def test_an_instant_without_a_time_zone_is_refused() -> None:
    """No time zone is assumed."""
    with pytest.raises(ValueError, match="time zone"):
        format_instant(datetime(2020, 1, 1))  # noqa: DTZ001


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_formatted_instant_parses_to_the_same_instant(instant: Any) -> None:
    """Microseconds are kept."""
    assert parse_instant(format_instant(instant)) == instant


@given(st.text(max_size=30) | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", fullmatch=True))
def test_any_text_is_an_instant_or_a_value_error(text: Any) -> None:
    """No text raises another exception."""
    try:
        instant = parse_instant(text)
    except ValueError:
        return
    assert instant.tzinfo is UTC
