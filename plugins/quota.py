"""Downloads and bytes per principal in a rolling window of time, with limits by group.

``authorize`` only looks, and not again within a second while plenty is left; ``charge`` books, just before bytes or
address leave. A function in the database (``plugin_quota_book``) holds a lock on the principal while it looks, so that
many processes together grant exactly what the limit says.
"""

from __future__ import annotations

import math
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import click

from plugins import _tables
from plugins._groups import is_plain, names, warn_unknown
from plugins._spans import cache_seconds, remembered, span, written
from stacflask import Answer, Decision, Endpoint, Principal, Setting, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stacflask import Asset, Call, Portion, Services, Storage

CACHE = "STACFLASK_QUOTA_CACHE"

COMMANDS = ("quota",)
SETTINGS = (
    Setting(CACHE, "Seconds for which limits are trusted; usage for one at most, and never where it is booked.", "5"),
)
REMEMBERED = 1024  # sets of groups
PEOPLE = 4096
"""Of so many it is remembered that they have plenty left."""
FRESH = 1.0
"""Seconds for which a look is good for the next. What is granted is exact all the same: ``charge`` always looks."""

DOWNLOADS, BYTES = COUNTED = ("downloads", "bytes")
GRAINS = 288
"""Into how many stretches a window is divided, a day into those of five minutes. Usage is summed up by stretch."""
LARGEST = 10**15 - 1
"""The largest integer that a structured header field can hold (RFC 9651)."""
SIZE = 10**14
"""Bytes that one download counts at most. No store has larger objects: a ``file:size`` beyond it is a mistake, and the
sums of many such would be larger than the database can hold."""
UNLIMITED = 10**18
"""A limit that is none: it outdoes all others."""


def create_plugin(environ: Mapping[str, str]) -> Quota:
    """Make the plugin. Raises SettingError."""
    return Quota(cache_seconds(environ, CACHE))


# --- Rules: each is about DOWNLOADS and BYTES by name ----------------------------------------------------------------


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
    quota = f"Quota of {amount} {SPANS.get(limit.window) or f'in {written(limit.window)}'}"
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


SIZES = {unit: 1000**power for power, unit in enumerate(("", "k", "M", "G", "T", "P"))}


def size(text: str) -> int:
    """Read a number of bytes, such as ``500GB`` or ``1.5 TiB``. Raises ValueError."""
    form = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)\s*([kmgtp]?)(i?)b?", text.strip(), re.IGNORECASE | re.ASCII)
    if form is None or (form[3] and not form[2]):
        raise ValueError(f"expected a size such as 500GB or 1.5TiB, not {text!r}")
    step = 1024.0 if form[3] else 1000.0
    return round(float(form[1]) * step ** " kmgtp".index(form[2].lower() or " "))


def spelled(number: int) -> str:
    """Write a number of bytes for people."""
    unit = max((unit for unit in SIZES if number >= SIZES[unit]), key=SIZES.__getitem__, default="")
    return f"{number / SIZES[unit]:.4g} {unit}B"


# --- Storage ---------------------------------------------------------------------------------------------------------

USAGE = """
SELECT
    CAST(coalesce(sum(downloads) FILTER (WHERE in_downloads), 0) AS bigint) AS downloads,
    CAST(coalesce(sum(bytes) FILTER (WHERE in_bytes), 0) AS bigint) AS bytes,
    CAST(extract(epoch FROM statement_timestamp() - min(since) FILTER (WHERE in_downloads AND downloads > 0)) AS float)
    AS downloads_oldest,
    CAST(extract(epoch FROM statement_timestamp() - min(since) FILTER (WHERE in_bytes AND bytes > 0)) AS float)
    AS bytes_oldest,
    EXISTS (
        SELECT FROM plugin_quota_openings
        WHERE principal = :principal AND collection = :collection AND item = :item AND asset = :asset
        AND opened > statement_timestamp() - make_interval(secs => :downloads)
    ) AS opened
FROM (
    SELECT downloads, bytes, since,
        since > statement_timestamp() - make_interval(secs => :downloads) AS in_downloads,
        since > statement_timestamp() - make_interval(secs => :bytes) AS in_bytes
    FROM plugin_quota_usage
    WHERE principal = :principal AND since > statement_timestamp() - make_interval(secs => :longest)
) AS taken
"""

OPENED = """
SELECT collection, item, asset FROM plugin_quota_openings
WHERE principal = :principal AND opened > statement_timestamp() - make_interval(secs => :downloads)
"""

TAKEN = """
SELECT CAST(extract(epoch FROM statement_timestamp() - since) AS float) AS age, downloads, bytes
FROM plugin_quota_usage
WHERE principal = :principal AND since > statement_timestamp() - make_interval(secs => :longest)
ORDER BY since
"""

BOOK = """
SELECT * FROM plugin_quota_book(
    :principal, :collection, :item, :asset, :file, :opening, :size, :whole, :grain, :downloads, :bytes,
    :most_downloads, :most_bytes
)
"""

FORGET = (
    "DELETE FROM plugin_quota_usage WHERE since < now() - make_interval(secs => :seconds) RETURNING 1",
    "DELETE FROM plugin_quota_openings WHERE opened < now() - make_interval(secs => :seconds) RETURNING 1",
)


class TooMuchError(Exception):
    """Not all that was to be booked together fits: what was booked of it is undone."""


class Plenty:
    """What was seen a moment ago of those who have plenty left: they need not be looked at again for ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._seen: dict[str, tuple[float, Limits, Usage]] = {}

    def of(self, principal: str, limits: Limits) -> Usage | None:
        """Give what a principal had taken a moment ago; None if that is not known, or not plenty is left."""
        seen, known, usage = self._seen.get(principal, (-math.inf, limits, None))
        return usage if time.monotonic() - seen < self._seconds and known == limits else None

    def see(self, principal: str, limits: Limits, usage: Usage | None) -> None:
        """Remember what a principal has taken, or that this is not known."""
        if usage is None or not self._seconds or not is_plenty(limits, usage):
            self._seen.pop(principal, None)
            return
        self._seen[principal] = time.monotonic(), limits, usage
        if len(self._seen) > PEOPLE:  # the one who came first goes
            self._seen.pop(next(iter(list(self._seen))), None)


class Table:
    """Limits and usage in the database.

    Limits are trusted for ``cache`` seconds. Usage is trusted for a second of that at most, while plenty is left, and
    never where it is booked.
    """

    def __init__(self, storage: Storage, cache: float) -> None:
        self._storage = storage
        self.limits = remembered(self._limits, cache, REMEMBERED)
        self._plenty = Plenty(min(cache, FRESH))

    def _limits(self, groups: frozenset[str]) -> Limits:
        """Give the limits of somebody in these groups."""
        return combined(
            self._storage.rows(
                "SELECT downloads, bytes, window_seconds FROM plugin_quota_limits WHERE group_name = ANY(:groups)",
                groups=list(groups),
            )
        )

    def usage(self, principal: str, limits: Limits, asset: Asset | None = None) -> Usage:
        """Look at what a principal has taken."""
        return _usage(self._storage, principal, limits, asset)

    def lately(self, principal: str, limits: Limits, asset: Asset | None = None) -> Usage:
        """Do the same, or give what was seen a moment ago if plenty was left then; what was opened is not told then."""
        usage = self._plenty.of(principal, limits)
        if usage is None:
            usage = self.usage(principal, limits, asset)
            self._plenty.see(principal, limits, usage)
        return usage

    def opened(self, principal: str, limits: Limits) -> set[tuple[str, str, str]]:
        """Give collection, item and key of what a principal opened within the window."""
        rows = self._storage.rows(OPENED, principal=principal, downloads=horizons(limits)[DOWNLOADS])
        return {(row["collection"], row["item"], row["asset"]) for row in rows}

    def seconds(self, principal: str, limits: Limits, over: str, cost: int) -> int | None:
        """Say in how many seconds the cost will fit; None: never."""
        counted = horizons(limits)
        rows = self._storage.rows(TAKEN, principal=principal, longest=counted[over])
        return wait(limits[over], counted[over], [(row["age"], row[over]) for row in rows], cost)

    def book(self, principal: str, limits: Limits, asset: Asset, portion: Portion) -> Shortage | None:
        """Book a portion if it fits; if not, say what is short."""
        (row,) = self._storage.write(BOOK, **_booking(principal, limits, asset, portion))
        return self._result(principal, limits, _seen(row), _cost(limits, row, portion), booked=row["booked"])

    def book_many(
        self, principal: str, limits: Limits, assets: Sequence[Asset], portions: Sequence[Portion]
    ) -> Shortage | None:
        """Book portions if all of them fit; if not, book none, and say what is short."""
        total, rows = dict.fromkeys(limits, 0), []
        with suppress(TooMuchError), self._storage.transaction() as statements:
            for asset, portion in zip(assets, portions, strict=True):
                rows += statements.rows(BOOK, **_booking(principal, limits, asset, portion))
                cost = _cost(limits, rows[-1], portion)
                total = {dimension: total[dimension] + cost[dimension] for dimension in limits}
            if not all(row["booked"] for row in rows):
                raise TooMuchError
        booked = all(row["booked"] for row in rows)
        return self._result(principal, limits, _seen(rows[0]), total, booked=booked)

    def _result(
        self, principal: str, limits: Limits, before: Usage, cost: Mapping[str, int], *, booked: bool
    ) -> Shortage | None:
        self._plenty.see(principal, limits, before.after(cost) if booked else None)
        return None if booked else shortage(limits, before, cost)

    def set(self, group: str, downloads: int | None, size: int | None, window: int) -> None:
        """Limit a group, or replace its limits. ``window`` is in seconds."""
        self.change(group, lambda _: (downloads, size, window))

    def change(self, group: str, changed: Callable[[Mapping[str, Any]], Row]) -> tuple[Mapping[str, Any], Row]:
        """Change a group's limits; return what they were (empty: none) and what they are."""
        with self._storage.transaction() as statements:
            statements.rows("LOCK TABLE plugin_quota_limits IN SHARE ROW EXCLUSIVE MODE")
            rows = statements.rows(
                "SELECT downloads, bytes, window_seconds FROM plugin_quota_limits WHERE group_name = :group",
                group=group,
            )
            before = rows[0] if rows else {}
            downloads, size, window = after = changed(before)
            statements.rows(
                "INSERT INTO plugin_quota_limits (group_name, downloads, bytes, window_seconds) "
                "VALUES (:group, :downloads, :bytes, :window) ON CONFLICT (group_name) DO UPDATE SET "
                "downloads = excluded.downloads, bytes = excluded.bytes, window_seconds = excluded.window_seconds",
                group=group,
                downloads=downloads,
                bytes=size,
                window=window,
            )
        return before, after

    def unset(self, group: str) -> bool:
        """Limit a group no more. False if it was not limited."""
        with self._storage.transaction() as statements:
            return bool(
                statements.rows(
                    "DELETE FROM plugin_quota_limits WHERE group_name = :group RETURNING group_name", group=group
                )
            )

    def all(self) -> list[Mapping[str, Any]]:
        """Give the limits of all groups."""
        return self._storage.rows(
            "SELECT group_name, downloads, bytes, window_seconds FROM plugin_quota_limits ORDER BY group_name"
        )

    def prune(self) -> int:
        """Delete the usage that no limit looks back to, and give the number of rows."""
        longest = max((row["window_seconds"] for row in self.all()), default=0)
        with self._storage.transaction() as statements:
            older = longest + longest // GRAINS + 1
            return sum(len(statements.rows(sql, seconds=older)) for sql in FORGET)


def _usage(storage: Storage, principal: str, limits: Limits, asset: Asset | None) -> Usage:
    counted = horizons(limits)
    row = storage.rows(USAGE, principal=principal, longest=max(counted.values()), **counted, **_place(asset))[0]
    oldest = {dimension: row[f"{dimension}_oldest"] for dimension in (DOWNLOADS, BYTES)}
    return Usage({dimension: row[dimension] for dimension in (DOWNLOADS, BYTES)}, oldest, row["opened"])


def _booking(principal: str, limits: Limits, asset: Asset, portion: Portion) -> dict[str, Any]:
    """Give what is asked of the database to book a portion."""
    most = {f"most_{dimension}": limits[dimension].amount if dimension in limits else None for dimension in COUNTED}
    part = {
        # A file of a directory is a part of the directory, from its first byte on.
        "opening": portion.opening and not asset.path,
        "file": f"{asset.key}/{asset.path}" if asset.path else asset.key,
        "size": _size(portion),
        "whole": None if portion.size is None else min(portion.size, SIZE),
    }
    return {"principal": principal, "grain": grain(limits), **part, **horizons(limits), **most, **_place(asset)}


def _size(portion: Portion) -> int:
    return min(portion.length or 0, SIZE)


def _seen(row: Mapping[str, Any]) -> Usage:
    """Give what was taken before a booking, as it saw it."""
    used = {dimension: row[f"used_{dimension}"] for dimension in COUNTED}
    return Usage(used, {dimension: row[f"oldest_{dimension}"] for dimension in COUNTED}, opened=not row["cost"])


def _cost(limits: Limits, row: Mapping[str, Any], portion: Portion) -> dict[str, int]:
    """Give what a portion costs, as its booking saw it."""
    costs = {DOWNLOADS: row["cost"], BYTES: _size(portion)}
    return {dimension: costs[dimension] for dimension in limits}


def _place(asset: Asset | None) -> dict[str, str | None]:
    if asset is None:
        return {"collection": None, "item": None, "asset": None}
    return {"collection": asset.collection, "item": asset.item or "", "asset": asset.key}


# --- Hooks -----------------------------------------------------------------------------------------------------------


@dataclass
class Quota:
    """The plugin. ``cache``: seconds for which limits are trusted once read."""

    cache: float = 5.0
    storage: Storage = field(init=False, repr=False)
    table: Table = field(init=False, repr=False)

    @hookimpl
    def startup(self, services: Services) -> None:
        """Take the storage."""
        self.storage = services.storage
        self.table = Table(services.storage, self.cache)

    @hookimpl
    def authorize(self, principal: Principal, asset: Asset) -> Decision | None:
        """Deny if nothing is left, else remark how much; what exactly it costs is only known to ``charge``."""
        limits = self.table.limits(names(principal))
        if not limits:
            return None
        return self._judge(principal, limits, self.table.lately(principal.id, limits, asset), empty=asset.size == 0)

    @hookimpl
    def authorize_many(self, principal: Principal, assets: Sequence[Asset]) -> Sequence[Decision | None]:
        """Say the same of many, looking at the usage once; what was opened matters only when little is left."""
        limits = self.table.limits(names(principal))
        if not limits:
            return [None] * len(assets)
        usage = self.table.lately(principal.id, limits)
        if not shortage(limits, usage, {DOWNLOADS: 1, BYTES: 1}):
            return [self._judge(principal, limits, usage, empty=False)] * len(assets)
        opened = self.table.opened(principal.id, limits)
        kinds = [((asset.collection, asset.item or "", asset.key) in opened, asset.size == 0) for asset in assets]
        judged = {
            kind: self._judge(principal, limits, replace(usage, opened=kind[0]), empty=kind[1]) for kind in set(kinds)
        }
        return [judged[kind] for kind in kinds]

    def _judge(self, principal: Principal, limits: Limits, usage: Usage, *, empty: bool) -> Decision:
        least = {DOWNLOADS: 0 if usage.opened else 1, BYTES: 0 if empty else 1}
        short = shortage(limits, usage, least)
        if short:
            return self._refusal(principal, limits, short)
        return Decision.remark("within quota", headers=fields(limits, usage), counted=True)

    @hookimpl
    def charge(self, principal: Principal, asset: Asset, portion: Portion) -> Decision | None:
        """Book the portion, or deny."""
        limits = self.table.limits(names(principal))
        if not limits:
            return None
        short = self.table.book(principal.id, limits, asset, portion)
        return self._refusal(principal, limits, short) if short else None

    @hookimpl
    def charge_many(
        self, principal: Principal, assets: Sequence[Asset], portions: Sequence[Portion]
    ) -> Decision | None:
        """Book all of the portions, or none and deny."""
        limits = self.table.limits(names(principal))
        if not limits:
            return None
        short = self.table.book_many(principal.id, limits, assets, portions)
        return self._refusal(principal, limits, short) if short else None

    def _refusal(self, principal: Principal, limits: Limits, short: Shortage) -> Decision:
        """Deny for the dimension that makes one wait longest."""
        waits = {over: self.table.seconds(principal.id, limits, over, short.cost[over]) for over in short.over}
        longest = max(waits, key=lambda over: math.inf if (seconds := waits[over]) is None else seconds)
        return refusal(limits, short.usage, longest, waits[longest])

    @hookimpl
    def extend_api(self) -> Sequence[Endpoint]:
        """Add the address that tells what is left."""
        return [Endpoint("GET", "/quota", self.show, "See what is left of your quota.", QUOTA)]

    def show(self, call: Call) -> Answer:
        """Give the limits of whoever asks, and what is left of them."""
        limits = self.table.limits(names(call.principal))
        usage = self.table.usage(call.principal.id, limits)
        headers = {"Cache-Control": "no-store"} | (fields(limits, usage) if limits else {})
        return Answer({"principal": call.principal.id, "quota": state(limits, usage)}, headers=headers)

    @hookimpl
    def extend_cli(self) -> Sequence[click.Command]:
        """Add ``stacflask quota``."""
        group = click.Group(
            "quota",
            commands=[set_limits, unset_limits, list_limits, show_usage, prune],
            help="Limit downloads and bytes by group, and see who took how much.",
            context_settings={"obj": self},
        )
        return [group]


_NUMBER = {"type": "integer", "minimum": 0}
_DIMENSION = {
    "type": "object",
    "required": ["limit", "used", "left", "window"],
    "properties": {
        "limit": _NUMBER,
        "used": _NUMBER,
        "left": _NUMBER,
        "window": {**_NUMBER, "description": "Seconds; what was taken longer ago does not count."},
        "resets": {**_NUMBER, "description": "Seconds until the oldest of what is used comes back."},
    },
}
QUOTA = {
    "type": "object",
    "required": ["principal", "quota"],
    "properties": {
        "principal": {"type": "string"},
        "quota": {
            "type": "object",
            "description": "What is limited. What is missing here is not.",
            "properties": {DOWNLOADS: _DIMENSION, BYTES: _DIMENSION},
        },
    },
}


# --- Commands --------------------------------------------------------------------------------------------------------


def _given_group(_: click.Context, __: click.Parameter, group: str) -> str:
    if not is_plain(group):
        raise click.BadParameter(f"{group!r} cannot be used as a name")
    return group


def _given_amount(_: click.Context, option: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    if text.lower() == "unlimited":
        return UNLIMITED
    try:
        number = size(text) if option.name == "volume" else int(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if not 0 <= number < UNLIMITED:
        raise click.BadParameter("expected at least 0, and less than a billion billions")
    return number


def _given_window(_: click.Context, __: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        seconds = int(span(text).total_seconds())
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if not 0 < seconds < 10**9:
        raise click.BadParameter("expected from a second to thirty years")
    return seconds


@click.command("set")
@click.argument("group", callback=_given_group)
@click.option("--downloads", callback=_given_amount, help="How many downloads, or unlimited.")
@click.option("--bytes", "volume", callback=_given_amount, help="How much: 500GB, 1.5TiB, or unlimited.")
@click.option("--window", callback=_given_window, help="In what time: 15m, 24h, 30d.  [default: 24h, if new]")
@click.pass_obj
def set_limits(plugin: Quota, /, group: str, downloads: int | None, volume: int | None, window: int | None) -> None:
    """Limit GROUP, or change those of its limits that are named; the others stay.

    Who is in several groups has the largest limits. Special: * is everybody, @ who has credentials.
    """

    def changed(before: Mapping[str, Any]) -> Row:
        named = (downloads, volume, window)
        kept = [before.get(column) for column in ("downloads", "bytes", "window_seconds")]
        after = [old if new is None else new for old, new in zip(kept, named, strict=True)]
        if after[:2] == [None, None]:
            raise click.UsageError("name --downloads or --bytes, or both; unset removes limits")
        return after[0], after[1], after[2] or DAY

    if downloads is None and volume is None and window is None:
        raise click.UsageError("name --downloads, --bytes or --window; unset removes limits")
    before, after = plugin.table.change(group, changed)
    old = _described(before["downloads"], before["bytes"], before["window_seconds"]) if before else ""
    replaced = f" (was {old})" if old and old != _described(*after) else ""
    click.echo(f"{group}: {_described(*after)}{replaced}", err=True)
    warn_unknown(plugin.storage, [group])


def _described(downloads: int | None, volume: int | None, window: int) -> str:
    amounts = ((DOWNLOADS, downloads), (BYTES, volume))
    limits = [f"{dimension} {_shown(dimension, amount)}" for dimension, amount in amounts if amount is not None]
    return f"{' and '.join(limits)} in {written(window)}"


@click.command("unset")
@click.argument("group")
@click.pass_obj
def unset_limits(plugin: Quota, /, group: str) -> None:
    """Limit GROUP no more."""
    if not plugin.table.unset(group):
        raise click.ClickException(f"group {group!r} has no limits")
    click.echo(f"{group}: no limits", err=True)


@click.command("list")
@click.pass_obj
def list_limits(plugin: Quota, /) -> None:
    """List the limits. Who is in several groups has the largest; who is in none is not limited."""
    rows = []
    for row in plugin.table.all():
        amounts = [_shown(dimension, row[dimension]) for dimension in (DOWNLOADS, BYTES)]
        rows.append((row["group_name"], *amounts, written(row["window_seconds"])))
    columns = ("GROUP", "DOWNLOADS", "BYTES", "WINDOW")
    _tables.show(columns, rows, numbers=columns[1:])


def _shown(dimension: str, amount: int | None) -> str:
    if amount is None:
        return "-"
    if amount >= UNLIMITED:
        return "unlimited"
    return spelled(amount) if dimension == BYTES else str(amount)


@click.command("show")
@click.argument("principal")
@click.option("--group", "groups", multiple=True, help="A group of the principal, to which limits apply; repeatable.")
@click.pass_obj
def show_usage(plugin: Quota, /, principal: str, groups: tuple[str, ...]) -> None:
    """Show what PRINCIPAL has used and has left."""
    scheme = "" if principal == "anonymous" else "asked about"
    limits = plugin.table.limits(names(Principal(principal, frozenset(groups), scheme)))
    if not limits:
        raise click.ClickException("no limit applies; say the principal's groups with --group")
    rows = []
    for dimension, now in state(limits, plugin.table.usage(principal, limits)).items():
        amounts = [_shown(dimension, now[name]) for name in ("limit", "used", "left")]
        rows.append((dimension, *amounts, written(now["window"])))
    columns = ("", "LIMIT", "USED", "LEFT", "WINDOW")
    _tables.show(columns, rows, numbers=columns[1:])


@click.command("prune")
@click.pass_obj
def prune(plugin: Quota, /) -> None:
    """Delete usage that no limit looks back to, of those who do not come any more."""
    click.echo(f"deleted {plugin.table.prune()} rows", err=True)
