"""Spans of time, and what is remembered for one."""

import itertools
from datetime import timedelta

import pytest

from plugins._common.spans import cache_seconds, remembered, span, written
from stacflask import SettingError


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("12h", 43200), ("1d", 86400), ("4w", 2419200), (" 0s ", 0)]
)
def test_a_span_is_read(text: str, seconds: int) -> None:
    """A number and a unit."""
    assert span(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "h", "12", "12 h", "1.5h", "-1h", "1y", "12H", "1h30m", "٣h", "9999999999s", "999999999w"]
)
def test_what_is_no_span(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match=r"expected|too long"):
        span(text)


@pytest.mark.parametrize("text", ["1s", "90s", "5m", "36h", "1d", "9d", "3w"])
def test_a_span_is_written_as_it_is_read(text: str) -> None:
    """What is written reads as the same span."""
    assert span(written(int(span(text).total_seconds()))) == span(text)


def test_the_largest_unit_that_fits() -> None:
    """A day is a day and not 24 hours; a day and a half is 36 hours."""
    assert [written(seconds) for seconds in (86400, 129600, 61)] == ["1d", "36h", "61s"]


def test_answers_are_remembered_until_the_next_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a tick each question is asked once; then again."""
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    count = itertools.count()
    ask = remembered(lambda name: (name, next(count)), 5, 10)
    assert [ask("a"), ask("b"), ask("a")] == [("a", 0), ("b", 1), ("a", 0)]
    clock[0] += 5
    assert ask("a") == ("a", 2)


def test_nothing_is_remembered_for_no_time() -> None:
    """With no seconds each question is asked every time."""
    count = itertools.count()
    ask = remembered(lambda: next(count), 0, 10)
    assert [ask(), ask()] == [0, 1]


def test_errors_are_not_remembered() -> None:
    """After an error the question is asked again."""
    answers = iter([False, True])

    def read() -> str:
        if not next(answers):
            raise LookupError
        return "found"

    ask = remembered(read, 1000, 10)
    with pytest.raises(LookupError):
        ask()
    assert ask() == "found"


@pytest.mark.parametrize("text", ["soon", "-1", "3601", "nan", "inf"])
def test_wrong_seconds_are_named(text: str) -> None:
    """A setting that is no number of seconds within an hour stops the start."""
    with pytest.raises(SettingError, match=r"^STACFLASK_X_CACHE"):
        cache_seconds({"STACFLASK_X_CACHE": text}, "STACFLASK_X_CACHE")


@pytest.mark.parametrize(("environ", "seconds"), [({}, 5), ({"X": ""}, 5), ({"X": "0"}, 0), ({"X": "2.5"}, 2.5)])
def test_seconds_of_the_cache(environ: dict[str, str], seconds: float) -> None:
    """Five seconds, unless set otherwise."""
    assert cache_seconds(environ, "X") == seconds
