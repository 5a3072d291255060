"""The tables of limits and usage. A database function books, so that the limit is exact with many processes."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from threading import Lock
from typing import Any

from cachetools import TTLCache

from stacflask import Asset, ByteRange, Storage

from .._common.durations import cached
from .limits import (
    BYTES,
    COUNTED,
    DOWNLOADS,
    PERIODS_PER_WINDOW,
    LimitRow,
    Limits,
    Shortage,
    Usage,
    combined,
    horizons,
    is_plenty,
    period_seconds,
    shortage,
    wait,
)

CACHED_GROUP_SETS = 1024
CACHED_PRINCIPALS = 4096
USAGE_CACHE_SECONDS = 1.0
"""How long usage is cached while much is left. Limits are still exact, because ``charge`` always reads the usage."""
MAX_COUNTED_BYTES = 10**14
"""The largest number of bytes that one download counts. No store has larger objects: a larger ``file:size`` is a
mistake, and sums of such sizes would exceed the range of the database type."""


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
) AS recent
"""

OPENED = """
SELECT collection, item, asset FROM plugin_quota_openings
WHERE principal = :principal AND opened > statement_timestamp() - make_interval(secs => :downloads)
"""

AGES = """
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
    """The bookings of one request do not fit together. The transaction is rolled back."""


class QuotaTables:
    """Limits and usage in the database.

    Limits are cached for ``cache`` seconds. Usage is cached for at most one second while much is left, and never for
    bookings.
    """

    def __init__(self, storage: Storage, cache: float) -> None:
        self._storage = storage
        self.limits = cached(self._limits, cache, CACHED_GROUP_SETS)
        self._recent: TTLCache[str, tuple[Limits, Usage]] = TTLCache(
            CACHED_PRINCIPALS,
            min(cache, USAGE_CACHE_SECONDS),
            lambda: time.monotonic(),  # noqa: PLW0108 - tests set the clock
        )
        self._lock = Lock()

    def _limits(self, groups: frozenset[str]) -> Limits:
        """Return the limits of a principal in these groups."""
        return combined(
            self._storage.rows(
                "SELECT downloads, bytes, window_seconds FROM plugin_quota_limits WHERE group_name = ANY(:groups)",
                groups=list(groups),
            )
        )

    def usage(self, principal: str, limits: Limits, asset: Asset | None = None) -> Usage:
        """Return the usage of a principal."""
        return _usage(self._storage, principal, limits, asset)

    def recent_usage(self, principal: str, limits: Limits, asset: Asset | None = None) -> Usage:
        """Return the usage of a principal, cached if much is left. Cached usage has no openings."""
        with self._lock:
            cached_limits, cached_usage = self._recent.get(principal, (None, None))
        if cached_usage is not None and cached_limits == limits:
            return cached_usage
        usage = self.usage(principal, limits, asset)
        self._cache(principal, limits, usage)
        return usage

    def _cache(self, principal: str, limits: Limits, usage: Usage | None) -> None:
        """Cache the usage of a principal if much is left, else drop it. None means that it is not known."""
        with self._lock:
            if usage is not None and is_plenty(limits, usage):
                self._recent[principal] = limits, usage
            else:
                self._recent.pop(principal, None)

    def opened(self, principal: str, limits: Limits) -> set[tuple[str, str, str]]:
        """Return collection, item and key of the assets that a principal opened within the window."""
        rows = self._storage.rows(OPENED, principal=principal, downloads=horizons(limits)[DOWNLOADS])
        return {(row["collection"], row["item"], row["asset"]) for row in rows}

    def seconds(self, principal: str, limits: Limits, over: str, cost: int) -> int | None:
        """Return in how many seconds the cost will fit; None: never."""
        counted = horizons(limits)
        rows = self._storage.rows(AGES, principal=principal, longest=counted[over])
        return wait(limits[over], counted[over], [(row["age"], row[over]) for row in rows], cost)

    def book(self, principal: str, limits: Limits, asset: Asset, byte_range: ByteRange) -> Shortage | None:
        """Book a range if it fits, else return the shortage."""
        (row,) = self._storage.write(BOOK, **_booking(principal, limits, asset, byte_range))
        return self._result(principal, limits, _before(row), _cost(limits, row, byte_range), booked=row["booked"])

    def book_many(
        self, principal: str, limits: Limits, assets: Sequence[Asset], byte_ranges: Sequence[ByteRange]
    ) -> Shortage | None:
        """Book ranges if all of them fit, else book none and return the shortage."""
        total, rows = dict.fromkeys(limits, 0), []
        with suppress(TooMuchError), self._storage.transaction() as statements:
            for asset, byte_range in zip(assets, byte_ranges, strict=True):
                rows += statements.rows(BOOK, **_booking(principal, limits, asset, byte_range))
                cost = _cost(limits, rows[-1], byte_range)
                total = {dimension: total[dimension] + cost[dimension] for dimension in limits}
            if not all(row["booked"] for row in rows):
                raise TooMuchError
        booked = all(row["booked"] for row in rows)
        return self._result(principal, limits, _before(rows[0]), total, booked=booked)

    def _result(
        self, principal: str, limits: Limits, before: Usage, cost: Mapping[str, int], *, booked: bool
    ) -> Shortage | None:
        self._cache(principal, limits, before.after(cost) if booked else None)
        return None if booked else shortage(limits, before, cost)

    def set(self, group: str, downloads: int | None, size: int | None, window: int) -> None:
        """Set the limits of a group. ``window`` is in seconds."""
        self.change(group, lambda _: (downloads, size, window))

    def change(
        self, group: str, changed: Callable[[Mapping[str, Any]], LimitRow]
    ) -> tuple[Mapping[str, Any], LimitRow]:
        """Change the limits of a group, and return the old (empty: none) and the new ones."""
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
        """Remove the limits of a group. Return False if it had none."""
        return bool(
            self._storage.write(
                "DELETE FROM plugin_quota_limits WHERE group_name = :group RETURNING group_name", group=group
            )
        )

    def all(self) -> list[Mapping[str, Any]]:
        """Return the limits of all groups."""
        return self._storage.rows(
            "SELECT group_name, downloads, bytes, window_seconds FROM plugin_quota_limits ORDER BY group_name"
        )

    def prune(self) -> int:
        """Delete usage that is older than all windows, and return the number of rows."""
        longest = max((row["window_seconds"] for row in self.all()), default=0)
        older = longest + longest // PERIODS_PER_WINDOW + 1
        return sum(len(self._storage.write(sql, seconds=older)) for sql in FORGET)


def _usage(storage: Storage, principal: str, limits: Limits, asset: Asset | None) -> Usage:
    counted = horizons(limits)
    row = storage.rows(USAGE, principal=principal, longest=max(counted.values()), **counted, **_asset_key(asset))[0]
    oldest = {dimension: row[f"{dimension}_oldest"] for dimension in (DOWNLOADS, BYTES)}
    return Usage({dimension: row[dimension] for dimension in (DOWNLOADS, BYTES)}, oldest, row["opened"])


def _booking(principal: str, limits: Limits, asset: Asset, byte_range: ByteRange) -> dict[str, Any]:
    """Return the parameters of ``BOOK`` for a range."""
    most = {f"most_{dimension}": limits[dimension].amount if dimension in limits else None for dimension in COUNTED}
    part = {
        # A file of a directory asset is a part of the directory, also from its first byte.
        "opening": byte_range.opening and not asset.path,
        "file": f"{asset.key}/{asset.path}" if asset.path else asset.key,
        "size": _size(byte_range),
        "whole": None if byte_range.size is None else min(byte_range.size, MAX_COUNTED_BYTES),
    }
    return {
        "principal": principal,
        "grain": period_seconds(limits),
        **part,
        **horizons(limits),
        **most,
        **_asset_key(asset),
    }


def _size(byte_range: ByteRange) -> int:
    return min(byte_range.length or 0, MAX_COUNTED_BYTES)


def _before(row: Mapping[str, Any]) -> Usage:
    """Return the usage before a booking, from its row."""
    used = {dimension: row[f"used_{dimension}"] for dimension in COUNTED}
    return Usage(used, {dimension: row[f"oldest_{dimension}"] for dimension in COUNTED}, opened=not row["cost"])


def _cost(limits: Limits, row: Mapping[str, Any], byte_range: ByteRange) -> dict[str, int]:
    """Return the cost of a range, from the row of its booking."""
    costs = {DOWNLOADS: row["cost"], BYTES: _size(byte_range)}
    return {dimension: costs[dimension] for dimension in limits}


def _asset_key(asset: Asset | None) -> dict[str, str | None]:
    if asset is None:
        return {"collection": None, "item": None, "asset": None}
    return {"collection": asset.collection, "item": asset.item or "", "asset": asset.key}
