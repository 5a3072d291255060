"""Makes records of decisions and streams, and writes them: in batches, or each in its own transaction."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from stacflask import DownloadDecision, Services, StreamResult

from .addresses import Addresses
from .settings import AuditSettings
from .table import AuditTables, encoded
from .writer import Writer

MAX_AGENT_CHARACTERS = 300
FORGET_INTERVAL_SECONDS = 3600.0
LOST_LOG_INTERVAL_SECONDS = 10.0

log = logging.getLogger(__name__)


@dataclass
class Recorder:
    """Records of one process. ``start`` must be called before anything is recorded."""

    settings: AuditSettings = field(default_factory=AuditSettings)
    table: AuditTables = field(init=False, repr=False)
    writer: Writer = field(init=False, repr=False)
    _addresses: Addresses = field(init=False, repr=False)
    _record_metric: Callable[[str, float], None] = field(init=False, repr=False)
    _lost: int = 0
    _lost_logged: float = -math.inf
    _forgot: float = -math.inf

    def start(self, services: Services) -> None:
        """Keep the storage, and start to write the records in spool files of killed processes."""
        self.table = AuditTables(services.storage)
        self._record_metric = services.record_metric
        self._addresses = Addresses(self.settings.address, self.table.salt)
        self.writer = Writer(
            self._insert,
            self.table.restore,
            self.count_lost,
            interval=self.settings.interval,
            capacity=self.settings.queue,
            max_wait=self.settings.max_wait if self.settings.refuse else math.inf,
            folder=self.settings.spool,
        )
        if self.settings.spool is not None and any(self.settings.spool.iterdir()):
            self.writer.begin()

    def record_decision(self, download_decision: DownloadDecision) -> None:
        """Record a decision. Raises Full or StacflaskError."""
        decision, byte_range = download_decision.decision, download_decision.byte_range
        self._record(
            {
                **self._common(download_decision),
                "event": "granted" if decision.allowed else "refused",
                "code": None if decision.allowed else decision.code or "Forbidden",
                "others": [f"{other.by}: {other.reason}" for other in download_decision.others],
                "first": byte_range.first if byte_range else None,
                "length": byte_range.length if byte_range else None,
            }
        )

    def record_stream(self, stream_result: StreamResult) -> None:
        """Record the end of a stream. Raises Full or StacflaskError."""
        self._record(
            {
                **self._common(stream_result.download_decision),
                "event": "finished",
                "sent": stream_result.sent,
                "complete": stream_result.complete,
                "seconds": round(stream_result.seconds, 3),
            }
        )

    def count_lost(self, number: int) -> None:
        """Count records that were lost, and log the sum at most once in ``LOST_LOG_INTERVAL_SECONDS``."""
        self._lost += number
        self._record_metric("audit_lost", number)
        if time.monotonic() - self._lost_logged > LOST_LOG_INTERVAL_SECONDS:
            self._lost_logged = time.monotonic()
            log.error("audit records lost", extra={"lost_since_start": self._lost})

    def _record(self, record: dict[str, Any]) -> None:
        text = encoded(record)
        if self.settings.batched:
            self.writer.put(text)
        else:
            self.table.insert([text])

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
            "address": self._addresses.stored(request_info.address, now.date()),
            "agent": request_info.agent[:MAX_AGENT_CHARACTERS] if self.settings.agent else None,
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
        if self.settings.keep is not None and time.monotonic() - self._forgot > FORGET_INTERVAL_SECONDS:
            self._forgot = time.monotonic()
            self.table.forget(datetime.now(UTC) - self.settings.keep)
