"""Durations in settings and options, and caches that expire."""

import itertools
from datetime import timedelta

import pytest

from plugins._common.durations import cache_seconds, cached, format_duration, parse_duration
from stacflask import SettingError


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("12h", 43200), ("1d", 86400), ("4w", 2419200), (" 0s ", 0)]
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    """Each unit is accepted, with spaces around it."""
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "h", "12", "12 h", "1.5h", "-1h", "1y", "12H", "1h30m", "٣h", "9999999999s", "999999999w"]
)
def test_other_texts_are_no_duration(text: str) -> None:
    """Anything else raises ValueError."""
    with pytest.raises(ValueError, match=r"expected|too long"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["1s", "90s", "5m", "36h", "1d", "9d", "3w"])
def test_a_formatted_duration_is_parsed_to_the_same(text: str) -> None:
    """``format_duration`` and ``parse_duration`` are inverse."""
    assert parse_duration(format_duration(int(parse_duration(text).total_seconds()))) == parse_duration(text)


def test_a_duration_is_formatted_in_the_largest_unit_that_divides_it() -> None:
    """A day is 1d, not 24h; a day and a half is 36h."""
    assert [format_duration(seconds) for seconds in (86400, 129600, 61)] == ["1d", "36h", "61s"]


def test_results_are_cached_for_one_period(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a period each argument is read once; then again."""
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    count = itertools.count()
    find = cached(lambda name: (name, next(count)), 5, 10)
    assert [find("a"), find("b"), find("a")] == [("a", 0), ("b", 1), ("a", 0)]
    clock[0] += 5
    assert find("a") == ("a", 2)


def test_zero_seconds_disable_the_cache() -> None:
    """With 0 seconds every call reads."""
    count = itertools.count()
    find = cached(lambda: next(count), 0, 10)
    assert [find(), find()] == [0, 1]


def test_errors_are_not_cached() -> None:
    """After an error the next call reads again."""
    answers = iter([False, True])

    def read() -> str:
        if not next(answers):
            raise LookupError
        return "found"

    find = cached(read, 1000, 10)
    with pytest.raises(LookupError):
        find()
    assert find() == "found"


@pytest.mark.parametrize("text", ["soon", "-1", "3601", "nan", "inf"])
def test_wrong_seconds_are_named(text: str) -> None:
    """A setting that is no number of seconds from 0 to 3600 prevents the start."""
    with pytest.raises(SettingError, match=r"^STACFLASK_X_CACHE"):
        cache_seconds({"STACFLASK_X_CACHE": text}, "STACFLASK_X_CACHE")


@pytest.mark.parametrize(("environ", "seconds"), [({}, 5), ({"X": ""}, 5), ({"X": "0"}, 0), ({"X": "2.5"}, 2.5)])
def test_the_cache_has_a_default(environ: dict[str, str], seconds: float) -> None:
    """The default is five seconds."""
    assert cache_seconds(environ, "X") == seconds
