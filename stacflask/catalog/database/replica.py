"""Reading from a streaming replica, so that whoever has written sees what was written, by whatever process.

A process reads from the replica while it holds a lease: proof that the replica has everything that was committed up to
``BEHIND`` seconds ago. A write answers once the replica has it, or after these seconds, when no lease is left that was
given before it. So there is nothing that a client must send along, and nothing that processes must tell each other.
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

log = logging.getLogger(__name__)
T = TypeVar("T")

BEHIND = 3.0
"""Seconds that the replica may be behind and still be read from; and that a write waits at most."""

LOOK = 1.0
"""Seconds between two looks at how far the replica is."""

ABSENT = 10.0
"""Seconds until the next look at a replica that could not be reached."""

AWAY = ("DatabaseUnavailable", "DatabaseRestarting", "DatabaseRefused")
"""Codes of the errors that say that a server cannot be used, and not what is wrong with a statement."""

_WRITTEN = sa.text("SELECT pg_current_wal_insert_lsn()::text")
_REPLAYED = sa.text("SELECT pg_wal_lsn_diff(pg_last_wal_replay_lsn(), CAST(:position AS pg_lsn)) >= 0")


@dataclass(frozen=True, slots=True)
class Mark:
    """A position in the primary's log: what was committed before ``when`` lies before it."""

    position: str
    when: float


class Lease:
    """One process's proof of how far the replica is."""

    def __init__(self, primary: Database, replica: Database) -> None:
        self._primary = primary
        self._replica = replica
        self._mark: Mark | None = None
        self._until = self._next = 0.0
        self._looking = threading.Lock()

    def holds(self) -> bool:
        """Whether the replica may be read from now."""
        if time.monotonic() >= self._next and self._looking.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._looking.release()
        return time.monotonic() < self._until

    def give_up(self) -> None:
        """Read from the primary for a while: the replica does not answer."""
        self._mark, self._until, self._next = None, 0.0, time.monotonic() + ABSENT

    def outlast(self) -> None:
        """Return once what was committed before this call is seen by all who read."""
        mark = self._now()
        while time.monotonic() < mark.when + BEHIND and not self._has(mark):
            time.sleep(0.01)

    def _look(self) -> None:
        self._next = time.monotonic() + LOOK
        try:
            now = self._now()
            reached = self._mark is None or self._replica.read(_replayed(self._mark))
        except Unavailable:
            self.give_up()
            return
        if not reached:
            return
        if self._mark is not None:
            self._until = self._mark.when + BEHIND
        self._mark = now

    def _now(self) -> Mark:
        when = time.monotonic()
        return Mark(self._primary.read(lambda connection: str(connection.execute(_WRITTEN).scalar_one())), when)

    def _has(self, mark: Mark) -> bool:
        try:
            return self._replica.read(_replayed(mark))
        except Unavailable:  # it may still answer others
            return False


def _replayed(mark: Mark) -> Callable[[Connection], bool]:
    return lambda connection: bool(connection.execute(_REPLAYED, {"position": mark.position}).scalar_one())


@dataclass(slots=True)
class Choice:
    """The server that one request is read from; None until it reads for the first time."""

    server: Database | None = None


_CHOICE: ContextVar[Choice | None] = ContextVar("stacflask_replica_choice", default=None)


class Replicated(Database):
    """The database and its replica as one: reads go to the replica where that cannot be told from the primary."""

    def __init__(
        self, primary: Engine, replica: Engine, record_metric: Callable[[float], None] = lambda _: None
    ) -> None:
        super().__init__(primary, record_metric)
        self._primary = Database(primary, record_metric)
        self._replica = Database(replica, record_metric)
        self.lease = Lease(Database(primary), Database(replica))

    def read(self, work: Callable[[Connection], T], *, long: bool = False) -> T:
        """Do reading work on either."""
        return self._either(lambda database: database.read(work, long=long))

    def value(self, lookup: Lookup, **values: Any) -> Any:
        """Give the one value that a lookup finds on either, or None."""
        return self._either(lambda database: database.value(lookup, **values))

    def records(self, lookup: Lookup, values: Mapping[str, Any], *, long: bool = False) -> list[Any]:
        """Give the rows that a lookup finds on either."""
        return self._either(lambda database: database.records(lookup, values, long=long))

    def begin_request(self, *, changing: bool) -> None:
        """Begin a request: what decides about a change is read from the primary, all else from one server."""
        _CHOICE.set(Choice(self._primary) if changing else Choice())

    def end_request(self) -> None:
        """End the request: what is read after it is read from either server."""
        _CHOICE.set(None)

    @contextmanager
    def one_server(self) -> Iterator[None]:
        """Read all in the block from one server: that of the request, if there is one."""
        if _CHOICE.get() is not None:
            yield
            return
        self.begin_request(changing=False)
        try:
            yield
        finally:
            self.end_request()

    def _either(self, ask: Callable[[Database], T]) -> T:
        """Read from the server that was chosen for the request, and choose one if none was."""
        choice = _CHOICE.get() or Choice()
        if choice.server is None:
            return self._first(choice, ask)
        if choice.server is self._primary:
            return ask(self._primary)
        return self._ask_replica(choice, ask)

    def _first(self, choice: Choice, ask: Callable[[Database], T]) -> T:
        """Read for the first time in a request: from the replica if it has all, and from the other if that fails."""
        if self.lease.holds():
            choice.server = self._replica
            return self._ask_replica(choice, ask)
        choice.server = self._primary
        try:
            return ask(self._primary)
        except Unavailable as error:
            if error.code not in AWAY:
                raise
            # Nobody can write now: what the replica has is all there is.
            log.warning("the primary cannot be reached; reading from the replica")
            choice.server = self._replica
            return ask(self._replica)

    def _ask_replica(self, choice: Choice, ask: Callable[[Database], T]) -> T:
        """Read from the replica. If that fails, the rest of the request is read from the primary, which is ahead.

        The other way round, the request would go back in time.
        """
        try:
            return ask(self._replica)
        except Unavailable as error:
            if error.code not in (*AWAY, "Busy"):
                raise
            if error.code in AWAY:
                log.warning("the replica cannot be reached; reading from the primary")
                self.lease.give_up()
        choice.server = self._primary
        return ask(self._primary)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Lend a connection with one transaction around the block; return once all who read can see what it did.

        What is read in the block, such as a dictionary, is read from the primary.
        """
        before = _CHOICE.get()
        _CHOICE.set(Choice(self._primary))
        try:
            with super().write() as connection:
                yield connection
        finally:
            _CHOICE.set(before)
        self.lease.outlast()
