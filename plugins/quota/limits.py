"""Limits and usage of downloads and bytes: the rest, shortages, and waits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stacflask import Decision

from .._common.durations import format_duration
from .sizes import format_size

DOWNLOADS, BYTES = COUNTED = ("downloads", "bytes")
PERIODS_PER_WINDOW = 288
"""The number of periods in a window: five minutes each for a day. Usage is summed up by period."""
MAX_HEADER_INTEGER = 10**15 - 1
"""The largest integer in a structured header field (RFC 9651)."""
UNLIMITED = 10**18
"""No limit. It overrides all other limits."""


@dataclass(frozen=True, slots=True)
class Limit:
    """An amount in a window of seconds."""

    amount: int
    window: int


LimitRow = tuple[int | None, int | None, int]
"""Limits of downloads and of bytes, and the window in seconds."""
DAY = 86_400
"""The window of new limits, in seconds."""

Limits = dict[str, Limit]
"""Limits by dimension. A missing dimension is not limited."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Usage by dimension, the age in seconds of the oldest of it, and whether the asset was opened in the window."""

    used: Mapping[str, int]
    oldest: Mapping[str, float | None]
    opened: bool

    def after(self, cost: Mapping[str, int]) -> Usage | None:
        """Return the usage with a cost added; None if the age of the oldest must be read again."""
        if any(amount and self.oldest[name] is None for name, amount in cost.items()):
            return None
        return Usage({name: self.used[name] + amount for name, amount in cost.items()}, self.oldest, opened=False)


@dataclass(frozen=True, slots=True)
class Shortage:
    """A cost that does not fit: the usage before it, the cost, and the dimensions without enough left."""

    usage: Usage
    cost: Mapping[str, int]
    over: Sequence[str]


def combined(rows: Sequence[Mapping[str, Any]]) -> Limits:
    """Return the limits for rows that all apply: the largest in each dimension."""
    chosen = {dimension: _largest(rows, dimension) for dimension in (DOWNLOADS, BYTES)}
    return {dimension: limit for dimension, limit in chosen.items() if limit is not None}


def _largest(rows: Sequence[Mapping[str, Any]], dimension: str) -> Limit | None:
    """Return the limit with the largest rate, the larger amount of two equal ones; None: not limited."""
    limits = [Limit(row[dimension], row["window_seconds"]) for row in rows if row[dimension] is not None]
    if not limits or any(limit.amount >= UNLIMITED for limit in limits):
        return None
    return max(limits, key=lambda limit: (limit.amount / limit.window, limit.amount))


def period_seconds(limits: Limits) -> int:
    """Return the length of the periods in which usage is summed up, in seconds."""
    return max(1, min(limit.window for limit in limits.values()) // PERIODS_PER_WINDOW)


def horizons(limits: Limits) -> dict[str, int]:
    """Return for how many seconds usage counts in each dimension; 0 without a limit."""
    # A period counts while any part of it may be in the window: the limit is never exceeded, and sometimes a little
    # less is granted.
    period = period_seconds(limits) if limits else 0
    return {name: limits[name].window + period if name in limits else 0 for name in COUNTED}


def wait(limit: Limit, horizon: int, usage: Sequence[tuple[float, int]], cost: int) -> int | None:
    """Return in how many seconds the cost will fit; None: never.

    ``usage``: pairs of age in seconds and amount, the oldest first.
    """
    if cost > limit.amount:
        return None
    excess, oldest_left = sum(amount for _, amount in usage) + cost - limit.amount, float(horizon)
    for age, amount in usage:
        if excess <= 0:
            break
        excess, oldest_left = excess - amount, age
    return max(1, math.ceil(horizon - oldest_left))


def quota_state(limits: Limits, usage: Usage) -> dict[str, dict[str, int]]:
    """Return limits, usage and rest by dimension, as in the response of ``GET /quota``."""
    states, counted = {}, horizons(limits)
    for dimension, limit in limits.items():
        used, oldest = usage.used[dimension], usage.oldest[dimension]
        states[dimension] = {
            "limit": limit.amount,
            "used": used,
            "left": max(0, limit.amount - used),
            "window": limit.window,
        }
        if oldest is not None:
            states[dimension]["resets"] = max(1, math.ceil(counted[dimension] - oldest))
    return states


def rate_limit_headers(limits: Limits, usage: Usage) -> dict[str, str]:
    """Return the header fields RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-11)."""
    units = {DOWNLOADS: "", BYTES: ';qu="content-bytes"'}
    policies, items = [], []
    for dimension, now in quota_state(limits, usage).items():
        policies.append(f'"{dimension}";q={min(now["limit"], MAX_HEADER_INTEGER)};w={now["window"]}{units[dimension]}')
        resets = f";t={now['resets']}" if "resets" in now else ""
        items.append(f'"{dimension}";r={min(now["left"], MAX_HEADER_INTEGER)}{resets}')
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(items)}


def is_plenty(limits: Limits, usage: Usage) -> bool:
    """Return whether at least half of each limit is left, and at least 1."""
    return all(usage.used[name] + max(1, limit.amount // 2) <= limit.amount for name, limit in limits.items())


def shortage(limits: Limits, usage: Usage, cost: Mapping[str, int]) -> Shortage | None:
    """Return the shortage for a cost; None if it fits."""
    over = [dimension for dimension, limit in limits.items() if usage.used[dimension] + cost[dimension] > limit.amount]
    return Shortage(usage, cost, over) if over else None


WINDOW_NAMES = {60: "a minute", 3600: "an hour", 86400: "a day", 7 * 86400: "a week"}


def denial(limits: Limits, usage: Usage, over: str, seconds: int | None) -> Decision:
    """Return the denial for the dimension ``over``, with the seconds to wait; None: the cost never fits."""
    limit = limits[over]
    amount = format_size(limit.amount) if over == BYTES else f"{limit.amount} downloads"
    quota = f"Quota of {amount} {WINDOW_NAMES.get(limit.window) or f'in {format_duration(limit.window)}'}"
    detail = f"{quota} used up. Try again in {seconds} seconds."
    if seconds is None:
        detail = f"{quota} exceeded by one download. It is larger than the whole quota, so waiting does not help."
    return Decision.deny(
        f"quota of {over} exceeded",
        detail=detail,
        kind="exhausted",
        code="QuotaExceeded",
        retry_after=seconds,
        headers=rate_limit_headers(limits, usage),
        extra={"quota": quota_state(limits, usage)},
    )
