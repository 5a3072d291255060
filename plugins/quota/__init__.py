"""Downloads and bytes per principal in a rolling window of time, with limits by group.

``authorize`` only looks, and not again within a second while plenty is left; ``charge`` books, just before bytes or
address leave. A function in the database (``plugin_quota_book_download``) holds a lock on the principal while it looks,
so that many processes together grant exactly what the limit says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import click

from plugins._common.durations import cache_seconds
from plugins._common.groups import names_of
from plugins.quota.commands import list_limits, prune, set_limits, show_usage, unset_limits
from plugins.quota.limits import BYTES, DOWNLOADS, Limits, Shortage, Usage, fields, refusal, shortage, state
from plugins.quota.schema import QUOTA
from plugins.quota.table import Table
from stacflask import Decision, Endpoint, EndpointResponse, Principal, Setting, hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stacflask import Asset, ByteRange, EndpointRequest, Services, Storage

CACHE = "STACFLASK_QUOTA_CACHE"

COMMANDS = ("quota",)
SETTINGS = (
    Setting(CACHE, "Seconds for which limits are trusted; usage for one at most, and never where it is booked.", "5"),
)


def create_plugin(environ: Mapping[str, str]) -> Quota:
    """Make the plugin. Raises SettingError."""
    return Quota(cache_seconds(environ, CACHE))


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
        limits = self.table.limits(names_of(principal))
        if not limits:
            return None
        return self._judge(principal, limits, self.table.lately(principal.id, limits, asset), empty=asset.size == 0)

    @hookimpl
    def authorize_many(self, principal: Principal, assets: Sequence[Asset]) -> Sequence[Decision | None]:
        """Say the same of many, looking at the usage once; what was opened matters only when little is left."""
        limits = self.table.limits(names_of(principal))
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
        return Decision.abstain("within quota", headers=fields(limits, usage), counted=True)

    @hookimpl
    def charge(self, principal: Principal, asset: Asset, byte_range: ByteRange) -> Decision | None:
        """Book the portion, or deny."""
        limits = self.table.limits(names_of(principal))
        if not limits:
            return None
        short = self.table.book(principal.id, limits, asset, byte_range)
        return self._refusal(principal, limits, short) if short else None

    @hookimpl
    def charge_many(
        self, principal: Principal, assets: Sequence[Asset], byte_ranges: Sequence[ByteRange]
    ) -> Decision | None:
        """Book all of the portions, or none and deny."""
        limits = self.table.limits(names_of(principal))
        if not limits:
            return None
        short = self.table.book_many(principal.id, limits, assets, byte_ranges)
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

    def show(self, call: EndpointRequest) -> EndpointResponse:
        """Give the limits of whoever asks, and what is left of them."""
        limits = self.table.limits(names_of(call.principal))
        usage = self.table.usage(call.principal.id, limits)
        headers = {"Cache-Control": "no-store"} | (fields(limits, usage) if limits else {})
        return EndpointResponse({"principal": call.principal.id, "quota": state(limits, usage)}, headers=headers)

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
