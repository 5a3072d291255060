"""A record of each decision on a download and of each stream that ended: principal, asset, bytes and reason.

A thread writes the records in batches; or the request itself does; or they go through a file that survives the process.
docs/audit.md says which records can be lost with which setting. ``stacflask usage`` reports them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from stacflask import DownloadDecision, Services, Setting, StacflaskError, StreamResult, Unavailable, hookimpl

from . import usage
from .recorder import Recorder
from .settings import (
    ADDRESS,
    AGENT,
    FAILURE,
    INTERVAL,
    KEEP,
    MAX_WAIT,
    QUEUE,
    SPOOL,
    WRITE,
    AuditSettings,
    keep_personal,
    read_choice,
    read_folder,
    read_number,
)
from .writer import Full

COMMANDS = ("usage",)
MIGRATIONS = Path(__file__).with_name("migrations")
SETTINGS = (
    Setting(
        ADDRESS,
        "What is stored of client addresses: `network`, `full`, `hashed` with a daily salt, or `off`.",
        "network",
    ),
    Setting(AGENT, "`on`: the User-Agent is stored.", "off"),
    Setting(KEEP, "A duration (`90d`) after which personal data in records are deleted."),
    Setting(
        WRITE,
        "`batched`: a thread writes records in batches. `sync`: each record is committed before its bytes are sent.",
        "batched",
    ),
    Setting(INTERVAL, "Seconds between two batches.", "0.5"),
    Setting(QUEUE, "Records that can wait in each process.", "10000"),
    Setting(MAX_WAIT, "Seconds that a record can wait before downloads are refused; with `refuse` only.", "10"),
    Setting(SPOOL, "An absolute path of a folder on a local disk for records that wait."),
    Setting(FAILURE, "What happens to a download that cannot be recorded: `refuse` or `deliver`.", "refuse"),
)

log = logging.getLogger(__name__)


def create_plugin(environ: Mapping[str, str]) -> Audit:
    """Return the plugin. Raises SettingError."""
    return Audit(
        Recorder(
            AuditSettings(
                batched=read_choice(environ, WRITE, "batched", "sync") == "batched",
                refuse=read_choice(environ, FAILURE, "refuse", "deliver") == "refuse",
                spool=read_folder(environ),
                address=read_choice(environ, ADDRESS, "network", "full", "hashed", "off"),
                agent=read_choice(environ, AGENT, "off", "on") == "on",
                interval=read_number(environ, INTERVAL, 0.5, 0.05, 60),
                queue=int(read_number(environ, QUEUE, 10_000, 1, 1_000_000)),
                max_wait=read_number(environ, MAX_WAIT, 10, 1, 3600),
                keep=keep_personal(environ),
            )
        )
    )


@dataclass
class Audit:
    """The plugin."""

    recorder: Recorder = field(default_factory=Recorder)

    @hookimpl
    def startup(self, services: Services) -> None:
        """Start the recorder."""
        self.recorder.start(services)

    @hookimpl
    def download_decided(self, download_decision: DownloadDecision) -> None:
        """Record a decision. Raises Unavailable if it cannot be recorded and the setting is ``refuse``."""
        try:
            self.recorder.record_decision(download_decision)
        except (Full, StacflaskError) as error:
            if self.recorder.settings.refuse and download_decision.decision.allowed:
                log.error("download not recorded, refused", extra={"reason": str(error)})  # noqa: TRY400 - no trace needed
                raise Unavailable(
                    "Downloads cannot be recorded at the moment. Try again later.", code="AuditUnavailable"
                ) from error
            self.recorder.count_lost(1)

    @hookimpl
    def stream_finished(self, stream_result: StreamResult) -> None:
        """Record the end of a stream. Its bytes are sent already, so a record that fails counts as lost."""
        try:
            self.recorder.record_stream(stream_result)
        except (Full, StacflaskError):
            self.recorder.count_lost(1)

    @hookimpl
    def extend_cli(self) -> Sequence[click.Command]:
        """Add ``stacflask usage``."""
        return [usage.group(self.recorder)]
