"""Read from a streaming replica.

Every read can use the replica, because the primary waits until the replica has applied a change before it confirms it
(PostgreSQL's ``synchronous_commit = remote_apply``, see docs/scaling.md). Without that setting, reads can lack the
changes of the last moments.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy.engine import Connection, Engine

from stacflask.catalog.database.engine import Database, Lookup
from stacflask.errors import Unavailable
from stacflask.model.services import ShareState

log = logging.getLogger(__name__)
T = TypeVar("T")

RETRY_SECONDS = 10.0
"""Time for which a replica that could not be reached is not used."""

UNAVAILABLE_CODES = ("DatabaseUnavailable", "DatabaseRestarting", "DatabaseRefused")
"""Error codes for a server that cannot be used, in contrast to a statement that fails."""


@dataclass(slots=True)
class ServerChoice:
    """The server for the reads of one request; None before the first read."""

    server: Database | None = None


_CHOICE: ContextVar[ServerChoice | None] = ContextVar("stacflask_replica_choice", default=None)


class Replicated(Database):
    """The database and its replica. Reads use the replica, or the primary if the replica does not respond."""

    def __init__(
        self, primary: Engine, replica: Engine, record_metric: Callable[[float], None] = lambda _: None
    ) -> None:
        super().__init__(primary, record_metric)
        self._primary = Database(primary, record_metric)
        self._replica = Database(replica, record_metric)
        self._retry_at = 0.0

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
        """Read from the server of the request. If the replica fails, use the primary for the rest of the request.

        The primary is never behind the replica. The opposite change could let the request see older data.
        """
        choice = _CHOICE.get() or ServerChoice()
        if choice.server is None:
            choice.server = self._replica if time.monotonic() >= self._retry_at else self._primary
        if choice.server is self._primary:
            return query(self._primary)
        try:
            return query(self._replica)
        except Unavailable as error:
            if error.code not in (*UNAVAILABLE_CODES, "Busy"):
                raise
            if error.code in UNAVAILABLE_CODES:
                log.warning("replica not reached, reading from primary", extra={"code": error.code})
                self._retry_at = time.monotonic() + RETRY_SECONDS
        choice.server = self._primary
        return query(self._primary)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a connection with one transaction for the block.

        Reads in the block, such as that of a dictionary, use the primary.
        """
        before = _CHOICE.get()
        _CHOICE.set(ServerChoice(self._primary))
        try:
            with super().write() as connection:
                yield connection
        finally:
            _CHOICE.set(before)
