"""Read from a streaming replica. Reads always see committed writes, from any process.

A process reads from the replica while its lease is valid. The lease proves that the replica has all transactions that
were committed until ``MAX_LAG_SECONDS`` ago. A write returns when the replica has replayed it, or after
``MAX_LAG_SECONDS``, when all leases from before the write have expired. Clients and processes exchange no information.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from stacflask.catalog.database.engine import Database
from stacflask.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy.engine import Connection, Engine

    from stacflask.catalog.database.engine import Lookup
    from stacflask.model.services import ShareState

log = logging.getLogger(__name__)
T = TypeVar("T")

MAX_LAG_SECONDS = 3.0
"""Lag up to which the replica is used, and the maximum wait of a write."""

CHECK_SECONDS = 1.0
"""Time between two checks of the replica's position."""

RETRY_SECONDS = 10.0
"""Time until the next check of a replica that could not be reached."""

UNAVAILABLE_CODES = ("DatabaseUnavailable", "DatabaseRestarting", "DatabaseRefused")
"""Error codes for a server that cannot be used, in contrast to a statement that fails."""

_WRITTEN_LSN = sa.text("SELECT pg_current_wal_insert_lsn()::text")
_REPLAYED = sa.text("SELECT pg_wal_lsn_diff(pg_last_wal_replay_lsn(), CAST(:lsn AS pg_lsn)) >= 0")


@dataclass(frozen=True, slots=True)
class WalPosition:
    """A position in the primary's write-ahead log, after all transactions committed before ``when``."""

    lsn: str
    when: float


class Lease:
    """The proof of one process that the replica has recent transactions."""

    def __init__(self, primary: Database, replica: Database) -> None:
        self._primary = primary
        self._replica = replica
        self._position: WalPosition | None = None
        self._until = self._next = 0.0
        self._checking = threading.Lock()

    def is_valid(self) -> bool:
        """Whether the replica can be used now."""
        if time.monotonic() >= self._next and self._checking.acquire(blocking=False):
            try:
                self._check()
            finally:
                self._checking.release()
        return time.monotonic() < self._until

    def suspend(self) -> None:
        """Stop using the replica for ``RETRY_SECONDS``, because it does not respond."""
        self._position, self._until, self._next = None, 0.0, time.monotonic() + RETRY_SECONDS

    def wait_for_replica(self) -> None:
        """Wait until all processes read the transactions that were committed before this call."""
        position = self._current_position()
        while time.monotonic() < position.when + MAX_LAG_SECONDS and not self._has_replayed(position):
            time.sleep(0.01)

    def _check(self) -> None:
        self._next = time.monotonic() + CHECK_SECONDS
        try:
            now = self._current_position()
            reached = self._position is None or self._replica.read(_replayed(self._position))
        except Unavailable:
            self.suspend()
            return
        if not reached:
            return
        if self._position is not None:
            self._until = self._position.when + MAX_LAG_SECONDS
        self._position = now

    def _current_position(self) -> WalPosition:
        when = time.monotonic()
        return WalPosition(
            self._primary.read(lambda connection: str(connection.execute(_WRITTEN_LSN).scalar_one())), when
        )

    def _has_replayed(self, position: WalPosition) -> bool:
        try:
            return self._replica.read(_replayed(position))
        except Unavailable:  # other processes may still reach it
            return False


def _replayed(position: WalPosition) -> Callable[[Connection], bool]:
    return lambda connection: bool(connection.execute(_REPLAYED, {"lsn": position.lsn}).scalar_one())


@dataclass(slots=True)
class ServerChoice:
    """The server for the reads of one request; None before the first read."""

    server: Database | None = None


_CHOICE: ContextVar[ServerChoice | None] = ContextVar("stacflask_replica_choice", default=None)


class Replicated(Database):
    """The database and its replica. Reads use the replica if its lease is valid."""

    def __init__(
        self, primary: Engine, replica: Engine, record_metric: Callable[[float], None] = lambda _: None
    ) -> None:
        super().__init__(primary, record_metric)
        self._primary = Database(primary, record_metric)
        self._replica = Database(replica, record_metric)
        self.lease = Lease(Database(primary), Database(replica))

    def read(self, work: Callable[[Connection], T], *, long: bool = False) -> T:
        """Run reading work on either server."""
        return self._either(lambda database: database.read(work, long=long))

    def value(self, lookup: Lookup, **values: Any) -> Any:
        """Return the one value that a lookup finds on either server, or None."""
        return self._either(lambda database: database.value(lookup, **values))

    def records(self, lookup: Lookup, values: Mapping[str, Any], *, long: bool = False) -> list[Any]:
        """Return the rows that a lookup finds on either server."""
        return self._either(lambda database: database.records(lookup, values, long=long))

    def pool_states(self) -> list[ShareState]:
        """Return the current use of the pools of both servers."""
        return [*self._primary.pool_states(), *self._replica.pool_states()]

    def begin_request(self, *, changing: bool) -> None:
        """Begin a request. A request that changes something reads from the primary, others from one server."""
        _CHOICE.set(ServerChoice(self._primary) if changing else ServerChoice())

    def end_request(self) -> None:
        """End the request. Later reads can use either server."""
        _CHOICE.set(None)

    @contextmanager
    def one_server(self) -> Iterator[None]:
        """Use one server for all reads in the block: the server of the request, if there is one."""
        if _CHOICE.get() is not None:
            yield
            return
        self.begin_request(changing=False)
        try:
            yield
        finally:
            self.end_request()

    def _either(self, query: Callable[[Database], T]) -> T:
        """Read from the server of the request. Choose one for the first read."""
        choice = _CHOICE.get() or ServerChoice()
        if choice.server is None:
            return self._read_first(choice, query)
        if choice.server is self._primary:
            return query(self._primary)
        return self._read_replica(choice, query)

    def _read_first(self, choice: ServerChoice, query: Callable[[Database], T]) -> T:
        """Run the first read of a request on the replica if the lease is valid, else on the primary if it responds."""
        if self.lease.is_valid():
            choice.server = self._replica
            return self._read_replica(choice, query)
        choice.server = self._primary
        try:
            return query(self._primary)
        except Unavailable as error:
            if error.code not in UNAVAILABLE_CODES:
                raise
            # Without the primary there are no writes, so the replica is complete.
            log.warning("primary not reached, reading from replica", extra={"code": error.code})
            choice.server = self._replica
            return query(self._replica)

    def _read_replica(self, choice: ServerChoice, query: Callable[[Database], T]) -> T:
        """Read from the replica. If that fails, use the primary for the rest of the request.

        The primary is ahead of the replica. The opposite change would let the request see older data.
        """
        try:
            return query(self._replica)
        except Unavailable as error:
            if error.code not in (*UNAVAILABLE_CODES, "Busy"):
                raise
            if error.code in UNAVAILABLE_CODES:
                log.warning("replica not reached, reading from primary", extra={"code": error.code})
                self.lease.suspend()
        choice.server = self._primary
        return query(self._primary)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a connection with one transaction for the block. Return when all processes read its changes.

        Reads in the block, such as that of a dictionary, use the primary.
        """
        before = _CHOICE.get()
        _CHOICE.set(ServerChoice(self._primary))
        try:
            with super().write() as connection:
                yield connection
        finally:
            _CHOICE.set(before)
        self.lease.wait_for_replica()
