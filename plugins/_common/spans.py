"""Spans of time: as an operator writes them, and how long a plugin may trust what it read."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from stacflask import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
LONGEST = 3600  # seconds


def span(text: str) -> timedelta:
    """Read a span such as ``90s``, ``15m``, ``12h``, ``30d`` or ``4w``. Raises ValueError."""
    form = re.fullmatch(r"(\d{1,9})([smhdw])", text.strip(), re.ASCII)
    if form is None:
        raise ValueError(f"expected a number and one of s, m, h, d, w, such as 12h, not {text!r}")
    try:
        return timedelta(**{UNITS[form[2]]: int(form[1])})
    except OverflowError:
        raise ValueError(f"{text} is too long") from None


def written(seconds: int) -> str:
    """Write a span as ``span`` reads it, in the largest unit that fits."""
    sizes = {unit: int(timedelta(**{name: 1}).total_seconds()) for unit, name in UNITS.items()}
    unit = max((unit for unit in sizes if seconds % sizes[unit] == 0), key=sizes.__getitem__)
    return f"{seconds // sizes[unit]}{unit}"


def cache_seconds(environ: Mapping[str, str], name: str) -> float:
    """Read the setting ``name``: for how many seconds what was read is trusted; 0: not at all. Raises SettingError."""
    text = environ.get(name, "").strip() or "5"
    try:
        seconds = float(text)
    except ValueError:
        raise SettingError(name, f"expected seconds, not {text!r}") from None
    if not 0 <= seconds <= LONGEST:
        raise SettingError(name, f"expected from 0 to {LONGEST} seconds, not {text!r}")
    return seconds


def remembered(read: Callable[..., T], seconds: float, size: int) -> Callable[..., T]:
    """Give a function that asks ``read`` again only after ``seconds``; 0: always. Errors are not remembered.

    At most ``size`` answers are kept, by positional arguments.
    """
    if not seconds:
        return read
    # Time as an argument ages all answers at once, and none gets older than a tick of this clock.
    kept = lru_cache(maxsize=size)(lambda _tick, *arguments: read(*arguments))
    return lambda *arguments: kept(int(time.monotonic() / seconds), *arguments)
