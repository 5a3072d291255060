"""The connection to PostgreSQL: the engine, and what its failures mean to whoever asked."""

from __future__ import annotations

import logging
import math
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
import psycopg.errors as pg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from stacflask.errors import BadDocument, StacflaskError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.sql import Select

log = logging.getLogger(__name__)
T = TypeVar("T")

REST = 1.0
"""Seconds after which a pooled connection is not trusted without asking."""

PATIENCE = 3
"""Seconds to wait for a connection, from the server or from the pool."""

SELDOM = 2**31
"""After how many runs the driver prepares a statement that did not ask for it: never. A search that is planned once for
all boxes is planned well for none."""


PLANNING = {"max_parallel_workers_per_gather": "0", "enable_bitmapscan": "off"}
"""Requests come many at a time: one that takes several processes for itself keeps the others waiting. And searches are
for a page: a bitmap is made of everything that meets a condition before there is a first row."""


def create_engine(url: str, *, pool_size: int, statement_timeout: float, pooled: bool = False) -> Engine:
    """Make the engine of one process. ``statement_timeout`` is in seconds; 0 is none.

    ``pooled``: a pooler in transaction mode stands in between. Then sessions are not ours: nothing is prepared in them,
    and what is set is set for each transaction.
    """
    session = {"statement_timeout": f"{statement_timeout * 1000:.0f}", "timezone": "UTC", "jit": "off", **PLANNING}
    engine = sa.create_engine(
        url,
        # Reads are single statements: without BEGIN and ROLLBACK each saves two round trips. Writing asks for more.
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=PATIENCE,
        pool_use_lifo=True,
        json_serializer=lambda value: orjson.dumps(value).decode(),
        json_deserializer=orjson.loads,
        connect_args={
            "connect_timeout": PATIENCE,
            "application_name": "stacflask",
            "prepare_threshold": None if pooled else SELDOM,
            **({} if pooled else {"options": _words("-c {}={}", session)}),
            # A peer that vanished must not hold a worker for the kernel's quarter of an hour.
            "tcp_user_timeout": 10_000,
        },
    )
    sa.event.listen(engine, "checkin", _rested)
    sa.event.listen(engine, "checkout", _still_alive)
    if pooled:
        settings = _words("SET LOCAL {} = '{}';", session)
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(settings))
    return engine.execution_options(pooled=pooled)


def _words(form: str, session: Mapping[str, str]) -> str:
    return " ".join(form.format(name, value) for name, value in session.items())


def _rested(_: Any, record: Any) -> None:
    record.info["since"] = time.monotonic()


def _still_alive(connection: Any, record: Any, _: Any) -> None:
    """Ping a connection that has rested for a while; a dead one is replaced before any work is done on it."""
    if time.monotonic() - record.info.get("since", math.inf) < REST:
        return
    try:
        connection.execute("SELECT 1")
    except pg.Error as error:
        raise DisconnectionError from error


@dataclass(frozen=True, slots=True)
class Lookup:
    """A statement compiled once, with the values it has in itself. ``order``: its parameters as they stand in it."""

    sql: str
    order: tuple[str, ...]
    values: Mapping[str, Any]


# By position, which the driver likes better than by name.
_DIALECT = PGDialect_psycopg(paramstyle="format")  # type: ignore[no-untyped-call]


def _bound(compiled: Any, name: str) -> Any:
    """Give the value that stands in a compiled statement, as the driver wants it."""
    value = compiled.params[name]
    to_driver = compiled.binds[name].type.dialect_impl(_DIALECT).bind_processor(_DIALECT)
    return value if to_driver is None or value is None else to_driver(value)


class Database:
    """Lends connections, and tells their failures in the house's words. ``observe`` hears how long work took."""

    def __init__(self, engine: Engine, observe: Callable[[float], None] = lambda _: None) -> None:
        self.engine = engine
        self._observe = observe
        self._writer = engine.execution_options(isolation_level="READ COMMITTED")
        # Through a pooler, what holds for a statement is set in its transaction.
        self._reader = self._writer if engine.get_execution_options().get("pooled") else engine

    @staticmethod
    def lookup(statement: Select[Any]) -> Lookup:
        """Compile a statement that is asked again and again, for ``value``."""
        compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
        order = tuple(compiled.positiontup or ())
        return Lookup(compiled.string, order, {name: _bound(compiled, name) for name in order})

    def value(self, lookup: Lookup, values: Mapping[str, str]) -> Any:
        """Give the one value that a lookup finds, or None.

        The driver runs it, prepared in the server: SQLAlchemy's way costs three times as much, see docs/decisions.
        """
        given = {**lookup.values, **values}
        parameters = tuple([given[name] for name in lookup.order])
        with translated(), self._observed():
            connection = self.engine.raw_connection()
            driver: Any = connection.driver_connection
            try:
                row = driver.execute(lookup.sql, parameters, prepare=True, binary=True).fetchone()
            except pg.OperationalError as error:
                if not driver.closed:
                    raise
                connection.invalidate(error)
            else:
                return None if row is None else row[0]
            finally:
                connection.close()
        return self.read(lambda connection: connection.exec_driver_sql(lookup.sql, parameters).scalar())

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
        with translated(), self._observed(), self._writer.begin() as connection:
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
    except (DBAPIError, pg.Error) as error:
        raise _translation(error.orig if isinstance(error, DBAPIError) else error) from error


def _translation(error: BaseException | None) -> StacflaskError:
    log.error("database error: %s", error)
    match error:
        case pg.QueryCanceled():
            return Unavailable("The query took too long.", code="QueryTimeout")
        case pg.DeadlockDetected() | pg.SerializationFailure() | pg.LockNotAvailable():
            return Unavailable("Others were changing the same things. Try again.", code="Busy", retry_after=1)
        case pg.DataError():
            return BadDocument("", "holds a value that the database cannot keep")
        case pg.OperationalError() | pg.InterfaceError():
            return Unavailable("The database cannot be reached.", code="DatabaseUnavailable")
    return StacflaskError("The database refused the statement.", code="DatabaseError")
