"""A record of each download decided and of each stream ended: who took what, how much, and why she was allowed to.

Written by a thread in batches, in the request itself, or by way of a file that outlives the process: see docs/audit.md,
which says what can be lost with which setting. ``stacflask usage`` reads it.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import math
import os
import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from plugins import _usage
from plugins._audit_writer import Full, Writer
from plugins._spans import span
from stacflask import Setting, SettingError, StacflaskError, Unavailable, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import click

    from stacflask import Services, Storage, Transfer, Verdict

WRITE = "STACFLASK_AUDIT_WRITE"
FAILURE = "STACFLASK_AUDIT_ON_FAILURE"
SPOOL = "STACFLASK_AUDIT_SPOOL"
ADDRESS = "STACFLASK_AUDIT_ADDRESS"
AGENT = "STACFLASK_AUDIT_AGENT"
INTERVAL = "STACFLASK_AUDIT_INTERVAL"
QUEUE = "STACFLASK_AUDIT_QUEUE"
PATIENCE = "STACFLASK_AUDIT_PATIENCE"
KEEP = "STACFLASK_AUDIT_KEEP_PERSONAL"

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


# --- Settings --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """What an operator says. Times are in seconds."""

    batched: bool = True
    refuse: bool = True
    spool: Path | None = None
    address: str = "network"
    agent: bool = False
    interval: float = 0.5
    queue: int = 10_000
    patience: float = 10.0
    keep: timedelta | None = None


def create_plugin(environ: Mapping[str, str]) -> Audit:
    """Make the plugin. Raises SettingError."""
    return Audit(
        AuditSettings(
            batched=_choice(environ, WRITE, "batched", "sync") == "batched",
            refuse=_choice(environ, FAILURE, "refuse", "deliver") == "refuse",
            spool=_folder(environ),
            address=_choice(environ, ADDRESS, "network", "full", "hashed", "off"),
            agent=_choice(environ, AGENT, "off", "on") == "on",
            interval=_number(environ, INTERVAL, 0.5, 0.05, 60),
            queue=int(_number(environ, QUEUE, 10_000, 1, 1_000_000)),
            patience=_number(environ, PATIENCE, 10, 1, 3600),
            keep=keep_personal(environ),
        )
    )


def _choice(environ: Mapping[str, str], name: str, *choices: str) -> str:
    """Read one of several words, the first unless set."""
    word = environ.get(name, "").strip() or choices[0]
    if word not in choices:
        raise SettingError(name, f"expected one of {', '.join(choices)}, not {word!r}")
    return word


def _number(environ: Mapping[str, str], name: str, default: float, least: float, most: float) -> float:
    text = environ.get(name, "").strip() or str(default)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise SettingError(name, f"expected a number from {least} to {most}, not {text!r}")
    return number


def _folder(environ: Mapping[str, str]) -> Path | None:
    text = environ.get(SPOOL, "").strip()
    if not text:
        return None
    if not (Path(text).is_absolute() and Path(text).is_dir() and os.access(text, os.W_OK)):
        raise SettingError(SPOOL, f"{text} is not the absolute path of a folder that can be written to")
    return Path(text)


def keep_personal(environ: Mapping[str, str]) -> timedelta | None:
    """Read for how long it is remembered whose the records are; None: for as long as the records."""
    text = environ.get(KEEP, "").strip()
    try:
        return span(text) if text else None
    except ValueError as error:
        raise SettingError(KEEP, str(error)) from None


# --- Records ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def network(address: str) -> str | None:
    """Give the network that an address is in, a /24 or a /48; None for what is no address."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return None
    mapped = getattr(found, "ipv4_mapped", None) or found
    return str(ipaddress.ip_network((mapped, 24 if mapped.version == 4 else 48), strict=False))  # noqa: PLR2004


def encoded(record: dict[str, Any]) -> bytes:
    """Write a record as JSON that PostgreSQL can keep: it knows neither NUL nor half characters."""
    try:
        text = orjson.dumps(record)
        if b"\\u0000" not in text:
            return text
    except TypeError:
        pass
    return orjson.dumps({name: _storable(value) for name, value in record.items()})


def _storable(value: Any) -> Any:
    if isinstance(value, list):
        return [_storable(one) for one in value]
    return value.encode("utf-8", "replace").decode().replace("\0", "?") if isinstance(value, str) else value


COLUMNS = (
    "at, event, id, request, method, principal, groups, scheme, credential, address, agent, collection, item, asset, "
    "path, by, reason, code, others, delivery, declared, first, length, sent, complete, seconds"
)
INSERT = (
    f"INSERT INTO plugin_audit ({COLUMNS}) "
    f"SELECT {COLUMNS} FROM jsonb_populate_recordset(NULL::plugin_audit, CAST(:records AS jsonb)) AS new"
)
RESTORE = (
    f"{INSERT} WHERE NOT EXISTS "
    "(SELECT FROM plugin_audit AS old WHERE old.at = new.at AND old.id = new.id AND old.event = new.event)"
)
FORGET = (
    "UPDATE plugin_audit SET principal = NULL, groups = NULL, credential = NULL, address = NULL, agent = NULL, "
    "request = NULL "
    "WHERE at < :before AND num_nonnulls(principal, credential, address, agent, request) > 0 RETURNING 1"
)


class Table:
    """The records in the database."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def insert(self, records: Sequence[bytes]) -> None:
        """Insert records. Raises Unavailable, or another StacflaskError for what cannot be kept."""
        self._insert(INSERT, records)

    def restore(self, records: Sequence[bytes]) -> None:
        """Insert records that may be there already."""
        self._insert(RESTORE, records)

    def _insert(self, sql: str, records: Sequence[bytes]) -> None:
        with self.storage.transaction() as statements:
            statements.rows(sql, records=f"[{b','.join(records).decode()}]")

    def salt(self, day: date) -> bytes:
        """Give the salt of a day, and forget those before: what was hashed with them is nobody's from then on."""
        with self.storage.transaction() as statements:
            statements.rows("DELETE FROM plugin_audit_salts WHERE day < :day", day=day)
            statements.rows(
                "INSERT INTO plugin_audit_salts (day, salt) VALUES (:day, :salt) ON CONFLICT DO NOTHING",
                day=day,
                salt=os.urandom(16),
            )
            return bytes(statements.rows("SELECT salt FROM plugin_audit_salts WHERE day = :day", day=day)[0]["salt"])

    def forget(self, before: datetime) -> int:
        """Forget whose the records before a time are; give how many."""
        with self.storage.transaction() as statements:
            return len(statements.rows(FORGET, before=before))


class Addresses:
    """Clients' addresses, as far as they are kept."""

    def __init__(self, kept: str, salt: Callable[[date], bytes]) -> None:
        self._kept = kept
        self._salt = salt
        self._today: tuple[date, bytes] | None = None

    def keep(self, address: str, day: date) -> str | None:
        """Give what is kept of an address on a day; nothing where that cannot be told."""
        match self._kept:
            case "full":
                return address or None
            case "network":
                return network(address)
            case "hashed":
                return self._hashed(address, day)
        return None

    def _hashed(self, address: str, day: date) -> str | None:
        today = self._today
        if today is None or today[0] != day:
            try:
                today = self._today = day, self._salt(day)
            except StacflaskError:
                return None
        return hashlib.blake2b(address.encode(), key=today[1], digest_size=8).hexdigest()


# --- Hooks -----------------------------------------------------------------------------------------------------------


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
        self._observe = services.observe
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
    def decided(self, verdict: Verdict) -> None:
        """Record a decision. Raises Unavailable if that fails and nothing may leave unrecorded."""
        try:
            self._record(self._decision(verdict))
        except (Full, StacflaskError) as error:
            if self.settings.refuse and verdict.decision.allowed:
                log.error("audit: refused what cannot be recorded: %s", error)  # noqa: TRY400 - no trace needed
                raise Unavailable("Downloads cannot be recorded just now.", code="AuditUnavailable") from error
            self._lose(1)

    @hookimpl
    def finished(self, transfer: Transfer) -> None:
        """Record the end of a stream. Its bytes are gone: what cannot be recorded is counted as lost."""
        try:
            self._record(self._end(transfer))
        except (Full, StacflaskError):
            self._lose(1)

    @hookimpl
    def extend_cli(self) -> Sequence[click.Command]:
        """Add ``stacflask usage``."""
        return [_usage.group(self)]

    def _record(self, record: dict[str, Any]) -> None:
        text = encoded(record)
        if self.settings.batched:
            self.writer.put(text)
        else:
            self.table.insert([text])

    def _decision(self, verdict: Verdict) -> dict[str, Any]:
        decision, portion = verdict.decision, verdict.portion
        return {
            **self._common(verdict),
            "event": "granted" if decision.allowed else "refused",
            "code": None if decision.allowed else decision.code or "Forbidden",
            "others": [f"{other.by}: {other.reason}" for other in verdict.others],
            "first": portion.first if portion else None,
            "length": portion.length if portion else None,
        }

    def _end(self, transfer: Transfer) -> dict[str, Any]:
        return {
            **self._common(transfer.verdict),
            "event": "finished",
            "sent": transfer.sent,
            "complete": transfer.complete,
            "seconds": round(transfer.seconds, 3),
        }

    def _common(self, verdict: Verdict) -> dict[str, Any]:
        now, asset, visit = datetime.now(UTC), verdict.asset, verdict.visit
        return {
            "at": now,
            "id": verdict.id,
            "request": visit.request_id,
            "method": visit.method,
            "principal": verdict.principal.id,
            "groups": sorted(verdict.principal.groups),
            "scheme": verdict.principal.scheme,
            "credential": verdict.principal.reference,
            "address": self._addresses.keep(visit.address, now.date()),
            "agent": visit.agent[:LONGEST_AGENT] if self.settings.agent else None,
            "collection": asset.collection,
            "item": asset.item,
            "asset": asset.key,
            "path": asset.path,
            "by": verdict.decision.by,
            "reason": verdict.decision.reason,
            "delivery": verdict.delivery,
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
