"""The tables of limits and usage. A function in the database books, so that processes together stay exact."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from plugins._common.durations import cached
from plugins.quota.limits import (
    BYTES,
    COUNTED,
    DOWNLOADS,
    GRAINS,
    Limits,
    Row,
    Shortage,
    Usage,
    combined,
    grain,
    horizons,
    is_plenty,
    shortage,
    wait,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stacflask import Asset, ByteRange, Storage
REMEMBERED = 1024  # sets of groups
PEOPLE = 4096
"""Of so many it is cached that they have plenty left."""
FRESH = 1.0
"""Seconds for which a look is good for the next. What is granted is exact all the same: ``charge`` always looks."""
SIZE = 10**14
"""Bytes that one download counts at most. No store has larger objects: a ``file:size`` beyond it is a mistake, and the
sums of many such would be larger than the database can hold."""


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
SELECT * FROM plugin_quota_book_download(
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
        self.limits = cached(self._limits, cache, REMEMBERED)
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

    def book(self, principal: str, limits: Limits, asset: Asset, byte_range: ByteRange) -> Shortage | None:
        """Book a portion if it fits; if not, say what is short."""
        (row,) = self._storage.write(BOOK, **_booking(principal, limits, asset, byte_range))
        return self._result(principal, limits, _seen(row), _cost(limits, row, byte_range), booked=row["booked"])

    def book_many(
        self, principal: str, limits: Limits, assets: Sequence[Asset], byte_ranges: Sequence[ByteRange]
    ) -> Shortage | None:
        """Book portions if all of them fit; if not, book none, and say what is short."""
        total, rows = dict.fromkeys(limits, 0), []
        with suppress(TooMuchError), self._storage.transaction() as statements:
            for asset, byte_range in zip(assets, byte_ranges, strict=True):
                rows += statements.rows(BOOK, **_booking(principal, limits, asset, byte_range))
                cost = _cost(limits, rows[-1], byte_range)
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


def _booking(principal: str, limits: Limits, asset: Asset, byte_range: ByteRange) -> dict[str, Any]:
    """Give what is asked of the database to book a portion."""
    most = {f"most_{dimension}": limits[dimension].amount if dimension in limits else None for dimension in COUNTED}
    part = {
        # A file of a directory is a part of the directory, from its first byte on.
        "opening": byte_range.opening and not asset.path,
        "file": f"{asset.key}/{asset.path}" if asset.path else asset.key,
        "size": _size(byte_range),
        "whole": None if byte_range.size is None else min(byte_range.size, SIZE),
    }
    return {"principal": principal, "grain": grain(limits), **part, **horizons(limits), **most, **_place(asset)}


def _size(byte_range: ByteRange) -> int:
    return min(byte_range.length or 0, SIZE)


def _seen(row: Mapping[str, Any]) -> Usage:
    """Give what was taken before a booking, as it saw it."""
    used = {dimension: row[f"used_{dimension}"] for dimension in COUNTED}
    return Usage(used, {dimension: row[f"oldest_{dimension}"] for dimension in COUNTED}, opened=not row["cost"])


def _cost(limits: Limits, row: Mapping[str, Any], byte_range: ByteRange) -> dict[str, int]:
    """Give what a portion costs, as its booking saw it."""
    costs = {DOWNLOADS: row["cost"], BYTES: _size(byte_range)}
    return {dimension: costs[dimension] for dimension in limits}


def _place(asset: Asset | None) -> dict[str, str | None]:
    if asset is None:
        return {"collection": None, "item": None, "asset": None}
    return {"collection": asset.collection, "item": asset.item or "", "asset": asset.key}
