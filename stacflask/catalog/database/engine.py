"""The connection to PostgreSQL: the engine, and ``Database``, which runs statements and translates errors."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import orjson
import psycopg.errors as pg
import sqlalchemy as sa
from psycopg import adapters, postgres
from psycopg.adapt import Dumper
from psycopg.pq import ExecStatus, Format
from psycopg.rows import dict_row, namedtuple_row, tuple_row
from psycopg.types.array import ListDumper
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.sql import ClauseElement

from stacflask.bulkhead import SLOW_SECONDS, Bulkhead
from stacflask.catalog.database import connection_settings
from stacflask.catalog.database.database_errors import BUSY, UNREACHABLE, translated
from stacflask.errors import Unavailable
from stacflask.model.services import ShareState

log = logging.getLogger(__name__)
T = TypeVar("T")

CHECK_AFTER_IDLE_SECONDS = 1.0
"""Seconds of idle time after which a pooled connection is checked before use."""

POOL_TIMEOUT_SECONDS = 3
"""Seconds to wait for a connection from the pool."""

RECONNECT_SECONDS = 2.0
"""Seconds after which an attempt to connect is slow. After a slow failure, none is made for the same time."""

COMMAND_SECONDS = 3600.0
"""Seconds that statements of commands wait for a connection, because no client waits for a command."""

NEVER = 2**31
"""Number of runs after which the driver prepares a statement by itself: never. One plan for the searches of all boxes
would be good for none of them."""


PLANNING = {"max_parallel_workers_per_gather": "0"}
"""Many requests run at the same time. One that used several processes would delay the others."""


def _written(value: Any) -> str:
    """Return JSON for the database. The database supports integers of any length, orjson does not."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return json.dumps(value)


def create_engine(
    url: str,
    *,
    pool_size: int,
    statement_timeout: float,
    pooled: bool = False,
    variable: str = "DATABASE_URL",
) -> Engine:
    """Create the engine of one process.

    Args:
        url: The connection URL, see ``connection_settings.arguments``.
        pool_size: Maximum number of connections; 0 closes each after use.
        statement_timeout: In seconds; 0 is unlimited.
        pooled: Whether there is a pooler in transaction mode. Statements are then not prepared, and server settings are
            set in each transaction.
        variable: The setting with the URL, for errors.

    Raises:
        SettingError: The URL is malformed.
    """
    given = connection_settings.arguments(url, variable)
    timeout = {"statement_timeout": f"{statement_timeout * 1000:.0f}"}
    session = {"jit": "off", **PLANNING, **given.pop("options"), "timezone": "UTC", **timeout}
    answer_timeout = statement_timeout + connection_settings.GRACE_SECONDS if statement_timeout else None
    engine = sa.create_engine(
        "postgresql+psycopg://",
        # Reads are single statements. Without BEGIN and ROLLBACK, each saves two round trips.
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        json_serializer=_written,
        json_deserializer=orjson.loads,
        connect_args={
            "connect_timeout": connection_settings.CONNECT_SECONDS,
            "application_name": "stacflask",
            # Without it, a vanished peer blocks a worker for the 15 minutes of the kernel.
            "tcp_user_timeout": 10_000,
            **given,
            "prepare_threshold": None if pooled else NEVER,
            **({} if pooled else {"options": connection_settings.as_options(session)}),
        },
        **_pool(pool_size),
    )
    sa.event.listen(engine, "do_connect", _connector(pool_size, answer_timeout))
    sa.event.listen(engine, "checkin", _record_idle_since)
    sa.event.listen(engine, "checkout", _check_alive)
    if pooled:
        settings = connection_settings.set_local(session)
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(settings))
    name = "database pool" if variable == "DATABASE_URL" else "replica pool"
    primary = given.get("target_session_attrs") in ("read-write", "primary")
    # Commands can wait longer than requests.
    slow = SLOW_SECONDS if statement_timeout else COMMAND_SECONDS
    return engine.execution_options(
        pooled=pooled, connections=Connections(engine, name, pool_size, slow, primary=primary)
    )


def _pool(size: int) -> dict[str, Any]:
    if not size:
        return {"poolclass": sa.pool.NullPool}
    return {"pool_size": size, "max_overflow": 0, "pool_timeout": POOL_TIMEOUT_SECONDS, "pool_use_lifo": True}


def _connector(pool_size: int, answer_timeout: float | None) -> Callable[..., connection_settings.Connection]:
    """Return the function that opens the connections of an engine. After a timeout, it refuses for a while."""
    attempts = Bulkhead(
        "database connections",
        limit=max(1, pool_size),
        slow=RECONNECT_SECONDS,
        rest=RECONNECT_SECONDS if answer_timeout else 0,
        description=UNREACHABLE,
        code="DatabaseUnavailable",
    )

    def connect(_dialect: Any, _record: Any, arguments: Any, named: dict[str, Any]) -> connection_settings.Connection:
        with attempts:
            made = connection_settings.Connection.connect(*arguments, **named)
        made.answer_timeout = answer_timeout
        return made

    return connect


class Connections:
    """The connections of one engine: shares for kinds of statements, and whether connections return to the pool."""

    def __init__(self, engine: Engine, name: str, size: int, slow: float, *, primary: bool) -> None:
        self._engine = engine
        self._name = name
        self._refused = 0
        self.callers: list[None] = []
        """One element for each thread that has a connection or waits for one."""
        self._primary = primary
        self._size = size
        self._slow = slow
        self._stuck = False
        self.long = self.share("long statements")
        """The share of statements that can take long."""
        sa.event.listen(engine, "checkin", self._returned)

    def share(self, name: str, slow: float = 0.0) -> Bulkhead:
        """Return a limit of half of the connections. Calls wait for up to ``slow`` seconds."""
        wait = max(slow, self._slow)
        return Bulkhead(name, limit=max(1, self._size // 2), slow=wait, rest=0, description=BUSY, code="DatabaseBusy")

    def drop_if_standby(self, error: BaseException | None) -> None:
        """Drop all connections if their server has become a standby and the URL requires a primary."""
        if self._primary and isinstance(error, pg.ReadOnlySqlTransaction):
            self._engine.dispose()

    def _returned(self, _connection: Any, _record: Any) -> None:
        self._stuck = False

    def check_available(self) -> None:
        """Raise Unavailable if the pool is exhausted and has timed out since a connection was last returned."""
        if self._stuck and self._engine.pool.checkedout() >= self._size:  # type: ignore[attr-defined]
            self._refused += 1
            raise Unavailable(BUSY, code="DatabaseBusy", retry_after=2)

    def record_timeout(self) -> None:
        """Record that the pool has timed out."""
        self._stuck = True
        self._refused += 1

    def state(self) -> ShareState:
        """Return the current use of the pool."""
        used: int = self._engine.pool.checkedout()  # type: ignore[attr-defined]
        return ShareState(self._name, used, self._size, max(0, len(self.callers) - used), self._refused)


def _record_idle_since(_: Any, record: Any) -> None:
    record.info["since"] = time.monotonic()


def _check_alive(connection: Any, record: Any, _: Any) -> None:
    """Check a connection that was idle for a while, so that a dead one is replaced before use."""
    if time.monotonic() - record.info.get("since", math.inf) < CHECK_AFTER_IDLE_SECONDS:
        return
    answer_timeout, connection.answer_timeout = connection.answer_timeout, POOL_TIMEOUT_SECONDS
    try:
        connection.execute("SELECT 1")
    except pg.Error as error:
        raise DisconnectionError from error
    connection.answer_timeout = answer_timeout


@dataclass(frozen=True, slots=True)
class Lookup:
    """A compiled statement with its own values. ``order`` are its parameters in their order in the SQL.

    The driver runs it directly. With SQLAlchemy it costs three times as much, see docs/decisions/0003.
    """

    sql: str
    order: tuple[str, ...]
    values: Mapping[str, Any]
    prepared: bool = True
    """Whether the server plans it once for all values, which is right for lookups by key."""
    named: bool = False
    """Whether it has named parameters, because some occur more than once but are sent once."""

    def run(self, driver: Any, values: Mapping[str, Any], shape: Any) -> Any:
        """Run the statement on a connection of the driver with these further values, and return the cursor."""
        cursor = driver.cursor(row_factory=shape)
        return cursor.execute(self.sql, self.arguments(values), prepare=self.prepared, binary=True)

    def arguments(self, values: Mapping[str, Any]) -> tuple[Any, ...] | dict[str, Any]:
        """Return the arguments by name or by position."""
        given = {**self.values, **values}
        return {name: given[name] for name in self.order} if self.named else tuple(given[name] for name in self.order)

    def rows(self, driver: Any, values: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Run the statement and return its rows, if any."""
        cursor = self.run(driver, values, dict_row)
        return list(cursor.fetchall()) if cursor.pgresult.status == ExecStatus.TUPLES_OK else []


# Parameters by position are cheaper for the driver.
_DIALECT = PGDialect_psycopg(paramstyle="format")  # type: ignore[no-untyped-call]
# Parameters by name are sent once if they occur twice.
_NAMED = PGDialect_psycopg(paramstyle="pyformat")  # type: ignore[no-untyped-call]


def lookup(statement: ClauseElement, *, prepared: bool = True) -> Lookup:
    """Compile a statement that is run often."""
    compiled = _compiled(statement, _DIALECT)
    order = tuple(compiled.positiontup or ())
    named = len(set(order)) < len(order)
    if named:
        compiled, order = _compiled(statement, _NAMED), tuple(dict.fromkeys(order))
    own = {name: _bound(compiled, name) for name in order if not compiled.binds[name].required}
    return Lookup(compiled.string, order, own, prepared, named)


def _compiled(statement: ClauseElement, dialect: PGDialect_psycopg) -> Any:
    return statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})


def _bound(compiled: Any, name: str) -> Any:
    """Return a value of a compiled statement in the form of the driver."""
    value = compiled.params[name]
    sql_type = compiled.binds[name].type
    if isinstance(sql_type, ARRAY) and isinstance(sql_type.item_type, sa.Text):
        return texts(tuple(value))
    to_driver = sql_type.dialect_impl(_DIALECT).bind_processor(_DIALECT)
    return value if to_driver is None or value is None else to_driver(value)


MAX_CACHED_TEXT = 5_000
"""Characters of a list of strings whose form for the driver is cached."""


def texts(several: tuple[str, ...]) -> str:
    """Return a list of strings as an array literal. The driver would check each string in each request."""
    return _cached_text_array(several) if sum(map(len, several)) <= MAX_CACHED_TEXT else _text_array(several)


def _text_array(several: tuple[str, ...]) -> str:
    return bytes(ListDumper(list).dump(list(several)) or b"").decode()


_cached_text_array = lru_cache(maxsize=1024)(_text_array)


class Numbers(bytes):
    """An array of bigint in PostgreSQL's binary format, which is sent without conversion."""

    __slots__ = ()


class _NumbersDumper(Dumper):
    format = Format.BINARY
    oid = postgres.types["int8"].array_oid

    def dump(self, obj: Numbers) -> bytes:
        """Return the bytes without conversion."""
        return obj


adapters.register_dumper(Numbers, _NumbersDumper)


class Database:
    """Runs statements, and converts errors to stacflask's. ``record_metric`` receives the seconds of each call."""

    def __init__(self, engine: Engine, record_metric: Callable[[float], None] = lambda _: None) -> None:
        self.engine = engine
        self._record_metric = record_metric
        self._writer = engine.execution_options(isolation_level="READ COMMITTED")
        # With a pooler, settings of a statement must be set in its transaction.
        self._reader = self._writer if self.pooled else engine
        self._connections: Connections = engine.get_execution_options()["connections"]

    def value(self, lookup: Lookup, **values: Any) -> Any:
        """Return the one value that a lookup finds, or None."""
        row = self._run(lambda driver: lookup.run(driver, values, tuple_row).fetchone())
        return None if row is None else row[0]

    def rows(self, lookup: Lookup, values: Mapping[str, Any], *, again: bool = True) -> list[Mapping[str, Any]]:
        """Return the rows that a lookup finds. ``again`` is whether it can be repeated after a lost connection."""
        return self._run(lambda driver: lookup.rows(driver, values), again=again)

    def records(self, lookup: Lookup, values: Mapping[str, Any], *, long: bool = False) -> list[Any]:
        """Return the rows that a lookup finds, as named tuples. ``long``: it can take long, see ``share``."""
        with self._share_of(long=long):
            return self._run(lambda driver: lookup.run(driver, values, namedtuple_row).fetchall())

    def share(self, name: str) -> Bulkhead:
        """Return a limit of half of the connections, for statements that are usually short."""
        return self._connections.share(name, POOL_TIMEOUT_SECONDS)

    def _share_of(self, *, long: bool) -> AbstractContextManager[object]:
        """Limit long statements to half of the connections. The other half is for short ones."""
        return self._connections.long if long else nullcontext()

    @property
    def pooled(self) -> bool:
        """Whether settings of a statement, such as its timeout, must be set in its transaction."""
        return bool(self.engine.get_execution_options().get("pooled"))

    def _run(self, work: Callable[[Any], T], *, again: bool = True) -> T:
        """Run work on a connection of the driver. Repeat it once on a new connection if the first one is dead."""
        with translated(reading=again), self._timed():
            if self.pooled:
                with self._writer.begin() as transaction:
                    return work(transaction.connection.driver_connection)
            while True:
                connection = self.engine.raw_connection()
                driver = connection.driver_connection
                try:
                    return work(driver)
                except pg.OperationalError as error:
                    if driver is None or not driver.closed:
                        raise
                    connection.invalidate(error)
                    if not again or isinstance(error, connection_settings.AnswerTimeout):
                        raise
                    log.warning("database connection lost, repeating")
                    # After a restart of the database, all connections are dead.
                    self.engine.dispose()
                    again = False
                finally:
                    connection.close()

    def read(self, work: Callable[[Connection], T], *, long: bool = False) -> T:
        """Run reading work. Repeat it once on a new connection if the first one is dead.

        After a restart of the database all pooled connections are dead. The first error empties the pool.
        ``long``: the work can take long, see ``share``.
        """
        with translated(reading=True), self._share_of(long=long):
            try:
                return self._work(work)
            except DBAPIError as error:
                if not error.connection_invalidated or isinstance(error.orig, connection_settings.AnswerTimeout):
                    raise
                log.warning("database connection lost, repeating")
                return self._work(work)

    def _work(self, work: Callable[[Connection], T]) -> T:
        with self._timed(), self._reader.connect() as connection:
            return work(connection)

    def within(self, seconds: float, work: Callable[[Connection], T], *, together: bool = False) -> T:
        """Run reading work with another statement timeout.

        ``together``: the timeout applies to all statements together, not to each.
        """
        limited_work = _with_deadline(seconds, work, pooled=self.pooled) if together else work
        return self.read(
            lambda connection: _with_timeout(connection, seconds, limited_work, pooled=self.pooled), long=True
        )

    def pool_states(self) -> list[ShareState]:
        """Return the current use of the pools of connections."""
        return [self._connections.state()]

    def begin_request(self, *, changing: bool) -> None:
        """Begin a request in this thread. With a replica, all its reads use one server."""

    def end_request(self) -> None:
        """End the request of this thread."""

    def one_server(self) -> AbstractContextManager[None]:
        """Use one server for all reads in the block, if there are two and the request has not chosen one."""
        return nullcontext()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a connection with one transaction for the block."""
        with translated(), self._timed(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """Record the time of the block, including the wait for a connection."""
        began = time.perf_counter()
        self._connections.callers.append(None)
        try:
            self._connections.check_available()
            yield
        except PoolTimeoutError:
            self._connections.record_timeout()
            raise
        except (DBAPIError, pg.ReadOnlySqlTransaction) as error:
            self._connections.drop_if_standby(getattr(error, "orig", error))
            raise
        finally:
            self._connections.callers.pop()
            self._record_metric(time.perf_counter() - began)


def _with_timeout(connection: Connection, seconds: float, work: Callable[[Connection], T], *, pooled: bool) -> T:
    # With a pooler, the setting ends with the transaction.
    limit = sa.func.set_config("statement_timeout", _milliseconds(seconds), pooled)
    driver: Any = connection.connection.driver_connection
    answer_timeout, driver.answer_timeout = driver.answer_timeout, seconds + connection_settings.GRACE_SECONDS
    connection.execute(sa.select(limit))
    try:
        return work(connection)
    finally:
        driver.answer_timeout = answer_timeout
        if not pooled and not connection.invalidated:
            connection.execute(sa.text("RESET statement_timeout"))


def _milliseconds(seconds: float) -> str:
    """Return a timeout in milliseconds, at least 1, because 0 is unlimited."""
    return f"{max(1, seconds * 1000):.0f}"


def _with_deadline(seconds: float, work: Callable[[Connection], T], *, pooled: bool) -> Callable[[Connection], T]:
    """Return work whose statements share these seconds. Each has the remaining time as its timeout."""

    def limited_work(connection: Connection) -> T:
        deadline = time.monotonic() + seconds
        driver: Any = connection.connection.driver_connection

        def before(*_: Any) -> None:
            left = _milliseconds(deadline - time.monotonic())
            driver.execute("SELECT set_config('statement_timeout', %s, %s)", (left, pooled))

        sa.event.listen(connection, "before_cursor_execute", before)
        try:
            return work(connection)
        finally:
            sa.event.remove(connection, "before_cursor_execute", before)

    return limited_work
