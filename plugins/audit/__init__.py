"""A record of each download decided and of each stream ended: who took what, how much, and why she was allowed to.

Written by a thread in batches, in the request itself, or by way of a file that outlives the process: see docs/audit.md,
which says what can be lost with which setting. ``stacflask usage`` reads it.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from plugins.audit import usage
from plugins.audit.addresses import Addresses
from plugins.audit.settings import (
    ADDRESS,
    AGENT,
    FAILURE,
    INTERVAL,
    KEEP,
    PATIENCE,
    QUEUE,
    SPOOL,
    WRITE,
    AuditSettings,
    keep_personal,
    read_choice,
    read_folder,
    read_number,
)
from plugins.audit.table import Table, encoded
from plugins.audit.writer import Full, Writer
from stacflask import Setting, StacflaskError, Unavailable, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import click

    from stacflask import DownloadDecision, Services, StreamResult

COMMANDS = ("usage",)
SETTINGS = (
    Setting(ADDRESS, "What is kept of an address: `network`, `full`, `hashed` with a salt a day, or `off`.", "network"),
    Setting(AGENT, "`on`: the User-Agent is kept too.", "off"),
    Setting(KEEP, "A span (`90d`) after which it is forgotten whose a record is."),
    Setting(
        WRITE,
        "`batched`: a thread writes what waits. `sync`: each record is committed before its bytes leave.",
        "batched",
    ),
    Setting(INTERVAL, "Seconds between two batches.", "0.5"),
    Setting(QUEUE, "Records that may wait in each process.", "10000"),
    Setting(PATIENCE, "Seconds that a record may wait before no more is granted; with `refuse` only.", "10"),
    Setting(SPOOL, "An absolute folder, on this machine's disk, where waiting records lie too."),
    Setting(FAILURE, "What becomes of a download that cannot be recorded: `refuse` or `deliver`.", "refuse"),
)

LONGEST_AGENT = 300  # characters
TIDYING = 3600.0  # seconds between two looks for what is to be forgotten
SILENCE = 10.0  # seconds between two lines on lost records

log = logging.getLogger(__name__)


def create_plugin(environ: Mapping[str, str]) -> Audit:
    """Make the plugin. Raises SettingError."""
    return Audit(
        AuditSettings(
            batched=read_choice(environ, WRITE, "batched", "sync") == "batched",
            refuse=read_choice(environ, FAILURE, "refuse", "deliver") == "refuse",
            spool=read_folder(environ),
            address=read_choice(environ, ADDRESS, "network", "full", "hashed", "off"),
            agent=read_choice(environ, AGENT, "off", "on") == "on",
            interval=read_number(environ, INTERVAL, 0.5, 0.05, 60),
            queue=int(read_number(environ, QUEUE, 10_000, 1, 1_000_000)),
            patience=read_number(environ, PATIENCE, 10, 1, 3600),
            keep=keep_personal(environ),
        )
    )


@dataclass
class Audit:
    """The plugin."""

    settings: AuditSettings = field(default_factory=AuditSettings)
    table: Table = field(init=False, repr=False)
    writer: Writer = field(init=False, repr=False)
    _addresses: Addresses = field(init=False, repr=False)
    _observe: Callable[[str, float], None] = field(init=False, repr=False)
    _lost: int = 0
    _told: float = -math.inf
    _tidied: float = -math.inf

    @hookimpl
    def startup(self, services: Services) -> None:
        """Take the storage, and write what a process that was killed had left."""
        self.table = Table(services.storage)
        self._observe = services.record_metric
        self._addresses = Addresses(self.settings.address, self.table.salt)
        self.writer = Writer(
            self._insert,
            self.table.restore,
            self._lose,
            interval=self.settings.interval,
            capacity=self.settings.queue,
            patience=self.settings.patience if self.settings.refuse else math.inf,
            folder=self.settings.spool,
        )
        if self.settings.spool is not None and any(self.settings.spool.iterdir()):
            self.writer.begin()

    @hookimpl
    def download_decided(self, download_decision: DownloadDecision) -> None:
        """Record a decision. Raises Unavailable if that fails and nothing may leave unrecorded."""
        try:
            self._record(self._decision(download_decision))
        except (Full, StacflaskError) as error:
            if self.settings.refuse and download_decision.decision.allowed:
                log.error("audit: refused what cannot be recorded: %s", error)  # noqa: TRY400 - no trace needed
                raise Unavailable("Downloads cannot be recorded just now.", code="AuditUnavailable") from error
            self._lose(1)

    @hookimpl
    def stream_finished(self, stream_result: StreamResult) -> None:
        """Record the end of a stream. Its bytes are gone: what cannot be recorded is counted as lost."""
        try:
            self._record(self._end(stream_result))
        except (Full, StacflaskError):
            self._lose(1)

    @hookimpl
    def extend_cli(self) -> Sequence[click.Command]:
        """Add ``stacflask usage``."""
        return [usage.group(self)]

    def _record(self, record: dict[str, Any]) -> None:
        text = encoded(record)
        if self.settings.batched:
            self.writer.put(text)
        else:
            self.table.insert([text])

    def _decision(self, download_decision: DownloadDecision) -> dict[str, Any]:
        decision, byte_range = download_decision.decision, download_decision.byte_range
        return {
            **self._common(download_decision),
            "event": "granted" if decision.allowed else "refused",
            "code": None if decision.allowed else decision.code or "Forbidden",
            "others": [f"{other.by}: {other.reason}" for other in download_decision.others],
            "first": byte_range.first if byte_range else None,
            "length": byte_range.length if byte_range else None,
        }

    def _end(self, stream_result: StreamResult) -> dict[str, Any]:
        return {
            **self._common(stream_result.download_decision),
            "event": "finished",
            "sent": stream_result.sent,
            "complete": stream_result.complete,
            "seconds": round(stream_result.seconds, 3),
        }

    def _common(self, download_decision: DownloadDecision) -> dict[str, Any]:
        now, asset, request_info = datetime.now(UTC), download_decision.asset, download_decision.request_info
        return {
            "at": now,
            "id": download_decision.id,
            "request": request_info.request_id,
            "method": request_info.method,
            "principal": download_decision.principal.id,
            "groups": sorted(download_decision.principal.groups),
            "scheme": download_decision.principal.scheme,
            "credential": download_decision.principal.reference,
            "address": self._addresses.keep(request_info.address, now.date()),
            "agent": request_info.agent[:LONGEST_AGENT] if self.settings.agent else None,
            "collection": asset.collection,
            "item": asset.item,
            "asset": asset.key,
            "path": asset.path,
            "by": download_decision.decision.by,
            "reason": download_decision.decision.reason,
            "delivery": download_decision.delivery,
            "declared": asset.size,
        }

    def _insert(self, records: Sequence[bytes]) -> None:
        self.table.insert(records)
        if self.settings.keep is not None and time.monotonic() - self._tidied > TIDYING:
            self._tidied = time.monotonic()
            self.table.forget(datetime.now(UTC) - self.settings.keep)

    def _lose(self, number: int) -> None:
        """Count what was not recorded, and say so now and then."""
        self._lost += number
        self._observe("audit_lost", number)
        if time.monotonic() - self._told > SILENCE:
            self._told = time.monotonic()
            log.error("audit: %s events were not recorded since this process began", self._lost)
