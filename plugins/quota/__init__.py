"""Quotas of downloads and bytes per principal in a rolling window, with limits by group.

``authorize`` only reads the usage, at most once a second while much is left. ``charge`` books immediately before bytes
or a URL are sent. A database function (``plugin_quota_book_download``) locks the principal while it reads and books, so
that all processes together grant exactly the limit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import click

from stacflask import (
    Asset,
    ByteRange,
    Decision,
    Endpoint,
    EndpointRequest,
    EndpointResponse,
    Principal,
    Services,
    Setting,
    Storage,
    hookimpl,
)

from .._common.durations import cache_seconds
from .._common.groups import names_of
from .commands import list_limits, prune, set_limits, show_usage, unset_limits
from .limits import (
    BYTES,
    DOWNLOADS,
    Limits,
    Shortage,
    Usage,
    denial,
    quota_state,
    rate_limit_headers,
    shortage,
)
from .schema import QUOTA
from .table import QuotaTables

CACHE = "STACFLASK_QUOTA_CACHE"

COMMANDS = ("quota",)
MIGRATIONS = Path(__file__).with_name("migrations")
SETTINGS = (
    Setting(CACHE, "Seconds that limits are cached; usage at most one second, and never when it is booked.", "5"),
)


def create_plugin(environ: Mapping[str, str]) -> Quota:
    """Return the plugin. Raises SettingError."""
    return Quota(cache_seconds(environ, CACHE))


@dataclass
class Quota:
    """The plugin. ``cache``: seconds that limits are cached."""

    cache: float = 5.0
    storage: Storage = field(init=False, repr=False)
    table: QuotaTables = field(init=False, repr=False)

    @hookimpl
    def startup(self, services: Services) -> None:
        """Keep the storage."""
        self.storage = services.storage
        self.table = QuotaTables(services.storage, self.cache)

    @hookimpl
    def authorize(self, principal: Principal, asset: Asset) -> Decision | None:
        """Deny if nothing is left, else abstain with the rest in headers. ``charge`` computes the exact cost."""
        limits = self.table.limits(names_of(principal))
        if not limits:
            return None
        usage = self.table.recent_usage(principal.id, limits, asset)
        return self._decision(principal, limits, usage, empty=asset.size == 0)

    @hookimpl
    def authorize_many(self, principal: Principal, assets: Sequence[Asset]) -> Sequence[Decision | None]:
        """Return the decisions of ``authorize`` for many assets; read usage once, openings only if little is left."""
        limits = self.table.limits(names_of(principal))
        if not limits:
            return [None] * len(assets)
        usage = self.table.recent_usage(principal.id, limits)
        if not shortage(limits, usage, {DOWNLOADS: 1, BYTES: 1}):
            return [self._decision(principal, limits, usage, empty=False)] * len(assets)
        opened = self.table.opened(principal.id, limits)
        kinds = [((asset.collection, asset.item or "", asset.key) in opened, asset.size == 0) for asset in assets]
        decisions = {
            kind: self._decision(principal, limits, replace(usage, opened=kind[0]), empty=kind[1])
            for kind in set(kinds)
        }
        return [decisions[kind] for kind in kinds]

    def _decision(self, principal: Principal, limits: Limits, usage: Usage, *, empty: bool) -> Decision:
        minimum = {DOWNLOADS: 0 if usage.opened else 1, BYTES: 0 if empty else 1}
        short = shortage(limits, usage, minimum)
        if short:
            return self._denial(principal, limits, short)
        return Decision.abstain("within quota", headers=rate_limit_headers(limits, usage), counted=True)

    @hookimpl
    def charge(self, principal: Principal, asset: Asset, byte_range: ByteRange) -> Decision | None:
        """Book the range, or deny."""
        limits = self.table.limits(names_of(principal))
        if not limits:
            return None
        short = self.table.book(principal.id, limits, asset, byte_range)
        return self._denial(principal, limits, short) if short else None

    @hookimpl
    def charge_many(
        self, principal: Principal, assets: Sequence[Asset], byte_ranges: Sequence[ByteRange]
    ) -> Decision | None:
        """Book all ranges, or book none and deny."""
        limits = self.table.limits(names_of(principal))
        if not limits:
            return None
        short = self.table.book_many(principal.id, limits, assets, byte_ranges)
        return self._denial(principal, limits, short) if short else None

    def _denial(self, principal: Principal, limits: Limits, short: Shortage) -> Decision:
        """Return the denial for the dimension with the longest wait."""
        waits = {over: self.table.seconds(principal.id, limits, over, short.cost[over]) for over in short.over}
        longest = max(waits, key=lambda over: math.inf if (seconds := waits[over]) is None else seconds)
        return denial(limits, short.usage, longest, waits[longest])

    @hookimpl
    def extend_api(self) -> Sequence[Endpoint]:
        """Add the endpoint that returns the quota."""
        return [Endpoint("GET", "/quota", self.show, "Show your quota and what is left of it.", QUOTA)]

    def show(self, call: EndpointRequest) -> EndpointResponse:
        """Return the limits of the principal, and what is left of them."""
        limits = self.table.limits(names_of(call.principal))
        usage = self.table.usage(call.principal.id, limits)
        headers = {"Cache-Control": "no-store"} | (rate_limit_headers(limits, usage) if limits else {})
        return EndpointResponse({"principal": call.principal.id, "quota": quota_state(limits, usage)}, headers=headers)

    @hookimpl
    def extend_cli(self) -> Sequence[click.Command]:
        """Add ``stacflask quota``."""
        group = click.Group(
            "quota",
            commands=[set_limits, unset_limits, list_limits, show_usage, prune],
            help="Limit downloads and bytes by group, and show the usage of principals.",
            context_settings={"obj": self},
        )
        return [group]
