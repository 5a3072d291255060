"""Limits and usage of downloads and bytes: what is left, what does not fit, and how long that lasts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plugins._common.durations import format_duration
from plugins.quota.sizes import spelled
from stacflask import Decision

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


DOWNLOADS, BYTES = COUNTED = ("downloads", "bytes")
GRAINS = 288
"""Into how many stretches a window is divided, a day into those of five minutes. Usage is summed up by stretch."""
LARGEST = 10**15 - 1
"""The largest integer that a structured header field can hold (RFC 9651)."""
UNLIMITED = 10**18
"""A limit that is none: it outdoes all others."""


@dataclass(frozen=True, slots=True)
class Limit:
    """So much in so many seconds."""

    amount: int
    window: int


Row = tuple[int | None, int | None, int]
"""Limits of downloads and of bytes, and the window in seconds."""
DAY = 86_400
"""The window of new limits, in seconds."""

Limits = dict[str, Limit]
"""By dimension; what is not in it is not limited."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What was taken in each window, how many seconds ago the oldest of it, and whether the asset was opened before."""

    used: Mapping[str, int]
    oldest: Mapping[str, float | None]
    opened: bool

    def after(self, cost: Mapping[str, int]) -> Usage | None:
        """Give what it is with this cost, too; None where only a look tells how old the oldest is then."""
        if any(amount and self.oldest[name] is None for name, amount in cost.items()):
            return None
        return Usage({name: self.used[name] + amount for name, amount in cost.items()}, self.oldest, opened=False)


@dataclass(frozen=True, slots=True)
class Shortage:
    """What did not fit: usage before, the cost, and the dimensions in which it was too much."""

    usage: Usage
    cost: Mapping[str, int]
    over: Sequence[str]


def combined(rows: Sequence[Mapping[str, Any]]) -> Limits:
    """Give the limits of somebody to whom all these rows apply: in each dimension the largest."""
    chosen = {dimension: _largest(rows, dimension) for dimension in (DOWNLOADS, BYTES)}
    return {dimension: limit for dimension, limit in chosen.items() if limit is not None}


def _largest(rows: Sequence[Mapping[str, Any]], dimension: str) -> Limit | None:
    """Give the limit that grants most per time, and the larger one of two that grant alike; None: not limited."""
    limits = [Limit(row[dimension], row["window_seconds"]) for row in rows if row[dimension] is not None]
    if not limits or any(limit.amount >= UNLIMITED for limit in limits):
        return None
    return max(limits, key=lambda limit: (limit.amount / limit.window, limit.amount))


def grain(limits: Limits) -> int:
    """Give the length of the stretches in which usage is summed up, in seconds."""
    return max(1, min(limit.window for limit in limits.values()) // GRAINS)


def horizons(limits: Limits) -> dict[str, int]:
    """Say for how many seconds usage counts in each dimension; 0 where there is no limit."""
    # A stretch counts as long as any of it may lie in the window: never too much is granted, at times a little less.
    stretch = grain(limits) if limits else 0
    return {name: limits[name].window + stretch if name in limits else 0 for name in COUNTED}


def wait(limit: Limit, horizon: int, taken: Sequence[tuple[float, int]], cost: int) -> int | None:
    """Say in how many seconds the cost will fit; None: never.

    ``taken`` are pairs of seconds ago and amount, oldest first.
    """
    if cost > limit.amount:
        return None
    excess, oldest_left = sum(amount for _, amount in taken) + cost - limit.amount, float(horizon)
    for age, amount in taken:
        if excess <= 0:
            break
        excess, oldest_left = excess - amount, age
    return max(1, math.ceil(horizon - oldest_left))


def state(limits: Limits, usage: Usage) -> dict[str, dict[str, int]]:
    """Describe limits and what is left of them, for people and programs."""
    described, counted = {}, horizons(limits)
    for dimension, limit in limits.items():
        used, oldest = usage.used[dimension], usage.oldest[dimension]
        described[dimension] = {
            "limit": limit.amount,
            "used": used,
            "left": max(0, limit.amount - used),
            "window": limit.window,
        }
        if oldest is not None:
            described[dimension]["resets"] = max(1, math.ceil(counted[dimension] - oldest))
    return described


def fields(limits: Limits, usage: Usage) -> dict[str, str]:
    """Give the header fields RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-11)."""
    units = {DOWNLOADS: "", BYTES: ';qu="content-bytes"'}
    policies, items = [], []
    for dimension, now in state(limits, usage).items():
        policies.append(f'"{dimension}";q={min(now["limit"], LARGEST)};w={now["window"]}{units[dimension]}')
        resets = f";t={now['resets']}" if "resets" in now else ""
        items.append(f'"{dimension}";r={min(now["left"], LARGEST)}{resets}')
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(items)}


def is_plenty(limits: Limits, usage: Usage) -> bool:
    """Whether at least half of each limit is left, and something of it."""
    return all(usage.used[name] + max(1, limit.amount // 2) <= limit.amount for name, limit in limits.items())


def shortage(limits: Limits, usage: Usage, cost: Mapping[str, int]) -> Shortage | None:
    """Say what does not fit any more; None: all does."""
    over = [dimension for dimension, limit in limits.items() if usage.used[dimension] + cost[dimension] > limit.amount]
    return Shortage(usage, cost, over) if over else None


SPANS = {60: "a minute", 3600: "an hour", 86400: "a day", 7 * 86400: "a week"}


def refusal(limits: Limits, usage: Usage, over: str, seconds: int | None) -> Decision:
    """Deny, because in dimension ``over`` nothing will fit for so many seconds; None: it never will."""
    limit = limits[over]
    amount = spelled(limit.amount) if over == BYTES else f"{limit.amount} downloads"
    quota = f"Quota of {amount} {SPANS.get(limit.window) or f'in {format_duration(limit.window)}'}"
    detail = f"{quota} used up. Try again in {seconds} seconds."
    if seconds is None:
        detail = f"{quota} exceeded by one download. It is larger than the whole quota, so waiting does not help."
    return Decision.deny(
        f"quota of {over} exceeded",
        detail=detail,
        kind="exhausted",
        code="QuotaExceeded",
        retry_after=seconds,
        headers=fields(limits, usage),
        extra={"quota": state(limits, usage)},
    )
