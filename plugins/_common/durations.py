"""Durations in settings and options, and caches that expire after one."""

import re
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import lru_cache
from typing import TypeVar

from stacflask import SettingError

T = TypeVar("T")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
MAX_CACHE_SECONDS = 3600


def parse_duration(text: str) -> timedelta:
    """Parse a duration such as ``90s``, ``15m``, ``12h``, ``30d`` or ``4w``. Raises ValueError."""
    match = re.fullmatch(r"(\d{1,9})([smhdw])", text.strip(), re.ASCII)
    if match is None:
        raise ValueError(f"expected a number and a unit (s, m, h, d or w), such as 12h, got {text!r}")
    try:
        return timedelta(**{UNITS[match[2]]: int(match[1])})
    except OverflowError:
        raise ValueError(f"the duration {text} is too long") from None


def format_duration(seconds: int) -> str:
    """Format a duration for ``parse_duration``, in the largest unit that divides it."""
    sizes = {unit: int(timedelta(**{name: 1}).total_seconds()) for unit, name in UNITS.items()}
    unit = max((unit for unit in sizes if seconds % sizes[unit] == 0), key=sizes.__getitem__)
    return f"{seconds // sizes[unit]}{unit}"


def cache_seconds(environ: Mapping[str, str], name: str) -> float:
    """Return the setting ``name``: how many seconds values are cached; 0 disables the cache. Raises SettingError."""
    text = environ.get(name, "").strip() or "5"
    try:
        seconds = float(text)
    except ValueError:
        raise SettingError(name, f"expected a number of seconds, got {text!r}") from None
    if not 0 <= seconds <= MAX_CACHE_SECONDS:
        raise SettingError(name, f"expected 0 to {MAX_CACHE_SECONDS} seconds, got {text!r}")
    return seconds


def cached(read: Callable[..., T], seconds: float, size: int) -> Callable[..., T]:
    """Return a function that caches results of ``read`` for up to ``seconds``; 0 disables the cache.

    The cache has at most ``size`` results, by positional arguments. Exceptions are not cached.
    """
    if not seconds:
        return read
    # The period is a part of the cache key. No result is older than one period.
    by_period = lru_cache(maxsize=size)(lambda _period, *arguments: read(*arguments))
    return lambda *arguments: by_period(int(time.monotonic() / seconds), *arguments)
