"""The connection to PostgreSQL: the engine, and what its failures mean to whoever asked."""

from __future__ import annotations

import logging
import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
import psycopg.errors as pg
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from stacflask.errors import BadDocument, StacflaskError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.engine import Connection, Engine

log = logging.getLogger(__name__)
T = TypeVar("T")

REST = 1.0
"""Seconds after which a pooled connection is not trusted without asking."""

PATIENCE = 3
"""Seconds to wait for a connection, from the server or from the pool."""


def create_engine(url: str, *, pool_size: int, statement_timeout: float) -> Engine:
    """Make the engine of one process. ``statement_timeout`` is in seconds; 0 is none."""
    engine = sa.create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=PATIENCE,
        pool_use_lifo=True,
        json_serializer=lambda value: orjson.dumps(value).decode(),
        json_deserializer=orjson.loads,
        connect_args={
            "connect_timeout": PATIENCE,
            "application_name": "stacflask",
            "options": f"-c statement_timeout={int(statement_timeout * 1000)} -c timezone=UTC -c jit=off",
            # A peer that vanished must not hold a worker for the kernel's quarter of an hour.
            "tcp_user_timeout": 10_000,
        },
    )
    sa.event.listen(engine, "checkin", _rested)
    sa.event.listen(engine, "checkout", _still_alive)
    return engine


def _rested(_: Any, record: Any) -> None:
    record.info["since"] = time.monotonic()


def _still_alive(connection: Any, record: Any, _: Any) -> None:
    """Ping a connection that has rested for a while; a dead one is replaced before any work is done on it."""
    if time.monotonic() - record.info.get("since", math.inf) < REST:
        return
    try:
        connection.execute("SELECT 1")
        connection.rollback()
    except pg.Error as error:
        raise DisconnectionError from error


class Database:
    """Lends connections, and tells their failures in the house's words. ``observe`` hears how long work took."""

    def __init__(self, engine: Engine, observe: Callable[[float], None] = lambda _: None) -> None:
        self.engine = engine
        self._observe = observe
        # Reads are single statements: without BEGIN and ROLLBACK each saves two round trips.
        self._reader = engine.execution_options(isolation_level="AUTOCOMMIT")

    def read(self, work: Callable[[Connection], T]) -> T:
        """Do reading work; if its connection turns out to be dead, once more on a fresh one.

        After a restart of the database every pooled connection is dead: the first to notice empties the pool.
        """
        with translated():
            try:
                return self._work(work)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                log.warning("the database connection was lost; trying once more")
                return self._work(work)

    def _work(self, work: Callable[[Connection], T]) -> T:
        with self._observed(), self._reader.connect() as connection:
            return work(connection)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Lend a connection with one transaction around the block."""
        with translated(), self._observed(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def _observed(self) -> Iterator[None]:
        """Tell how long the block took, the wait for a connection included."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._observe(time.perf_counter() - began)


@contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's errors into the house's. What they say stays in the log."""
    try:
        yield
    except PoolTimeoutError as error:
        raise Unavailable("All database connections are busy.", code="DatabaseBusy", retry_after=2) from error
    except DBAPIError as error:
        raise _translation(error) from error


def _translation(error: DBAPIError) -> StacflaskError:
    log.error("database error: %s", error.orig)
    match error.orig:
        case pg.QueryCanceled():
            return Unavailable("The query took too long.", code="QueryTimeout")
        case pg.DeadlockDetected() | pg.SerializationFailure() | pg.LockNotAvailable():
            return Unavailable("Others were changing the same things. Try again.", code="Busy", retry_after=1)
        case pg.DataError():
            return BadDocument("", "holds a value that the database cannot keep")
        case pg.OperationalError() | pg.InterfaceError():
            return Unavailable("The database cannot be reached.", code="DatabaseUnavailable")
    return StacflaskError("The database refused the statement.", code="DatabaseError")
