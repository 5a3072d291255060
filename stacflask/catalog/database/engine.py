"""The connection to PostgreSQL: the engine, and what its failures mean to whoever asked."""

from __future__ import annotations

import json
import logging
import math
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

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
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from stacflask.bulkhead import SLOW_SECONDS, Bulkhead
from stacflask.catalog.database import connection_settings
from stacflask.catalog.database.database_errors import BUSY, UNREACHABLE, translated
from stacflask.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.sql import ClauseElement

log = logging.getLogger(__name__)
T = TypeVar("T")

REST = 1.0
"""Seconds after which a pooled connection is not trusted without asking."""

PATIENCE = 3
"""Seconds to wait for a connection from the pool."""

RECONNECT_SECONDS = 2.0
"""Seconds after which an attempt to connect is slow; and for which none is made after one that failed so late."""

COMMAND_SECONDS = 3600.0
"""Seconds that the statements of commands wait for their turn: a command has no client that waits."""

SELDOM = 2**31
"""After how many runs the driver prepares a statement that did not ask for it: never. A search that is planned once for
all boxes is planned well for none."""


PLANNING = {"max_parallel_workers_per_gather": "0"}
"""Requests come many at a time: one that takes several processes for itself keeps the others waiting."""


def _written(value: Any) -> str:
    """Write JSON for the database. It holds whole numbers of any length, which orjson does not write."""
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
    """Make the engine of one process.

    Args:
        url: The connection URL, see ``connecting.arguments``.
        pool_size: Connections at most; 0 keeps none between uses.
        statement_timeout: In seconds; 0 is none.
        pooled: Whether a pooler in transaction mode stands in between. Then nothing is prepared in a session, and
            server settings are set for each transaction.
        variable: The setting that holds the URL, for errors.

    Raises:
        SettingError: The URL is malformed.
    """
    given = connection_settings.arguments(url, variable)
    timeout = {"statement_timeout": f"{statement_timeout * 1000:.0f}"}
    session = {"jit": "off", **PLANNING, **given.pop("options"), "timezone": "UTC", **timeout}
    patience = statement_timeout + connection_settings.GRACE_SECONDS if statement_timeout else None
    engine = sa.create_engine(
        "postgresql+psycopg://",
        # Reads are single statements: without BEGIN and ROLLBACK each saves two round trips. Writing asks for more.
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        json_serializer=_written,
        json_deserializer=orjson.loads,
        connect_args={
            "connect_timeout": connection_settings.CONNECT_SECONDS,
            "application_name": "stacflask",
            # A peer that vanished must not hold a worker for the kernel's quarter of an hour.
            "tcp_user_timeout": 10_000,
            **given,
            "prepare_threshold": None if pooled else SELDOM,
            **({} if pooled else {"options": connection_settings.written(session)}),
        },
        **_pool(pool_size),
    )
    sa.event.listen(engine, "do_connect", _connector(pool_size, patience))
    sa.event.listen(engine, "checkin", _rested)
    sa.event.listen(engine, "checkout", _still_alive)
    if pooled:
        settings = connection_settings.set_local(session)
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(settings))
    primary = given.get("target_session_attrs") in ("read-write", "primary")
    # Commands wait for as long as it takes.
    slow = SLOW_SECONDS if statement_timeout else COMMAND_SECONDS
    return engine.execution_options(pooled=pooled, connections=Connections(engine, pool_size, slow, primary=primary))


def _pool(size: int) -> dict[str, Any]:
    if not size:
        return {"poolclass": sa.pool.NullPool}
    return {"pool_size": size, "max_overflow": 0, "pool_timeout": PATIENCE, "pool_use_lifo": True}


def _connector(pool_size: int, patience: float | None) -> Callable[..., connection_settings.Connection]:
    """Return what makes the connections of an engine. After one that timed out, none is tried for a while."""
    attempts = Bulkhead(
        "database connections",
        limit=max(1, pool_size),
        slow=RECONNECT_SECONDS,
        rest=RECONNECT_SECONDS if patience else 0,
        description=UNREACHABLE,
        code="DatabaseUnavailable",
    )

    def connect(_dialect: Any, _record: Any, arguments: Any, named: dict[str, Any]) -> connection_settings.Connection:
        with attempts:
            made = connection_settings.Connection.connect(*arguments, **named)
        made.patience = patience
        return made

    return connect


class Connections:
    """The connections of one engine: how many of them statements of one kind can use, and whether any comes back."""

    def __init__(self, engine: Engine, size: int, slow: float, *, primary: bool) -> None:
        self._engine = engine
        self._primary = primary
        self._size = size
        self._slow = slow
        self._stuck = False
        self.long = self.share("long statements")
        """The share of statements that may take long."""
        sa.event.listen(engine, "checkin", self._returned)

    def share(self, name: str, slow: float = 0.0) -> Bulkhead:
        """Return a bound of half of the connections. Calls wait for their turn for up to ``slow`` seconds."""
        wait = max(slow, self._slow)
        return Bulkhead(name, limit=max(1, self._size // 2), slow=wait, rest=0, description=BUSY, code="DatabaseBusy")

    def look_elsewhere(self, error: BaseException | None) -> None:
        """Drop all connections if their server has become a standby, and the URL asks for one that is none."""
        if self._primary and isinstance(error, pg.ReadOnlySqlTransaction):
            self._engine.dispose()

    def _returned(self, _connection: Any, _record: Any) -> None:
        self._stuck = False

    def refuse_if_stuck(self) -> None:
        """Refuse to wait for a connection if others have waited in vain and none has come back since."""
        if self._stuck and self._engine.pool.checkedout() >= self._size:  # type: ignore[attr-defined]
            raise Unavailable(BUSY, code="DatabaseBusy", retry_after=2)

    def waited_in_vain(self) -> None:
        """Remember that no connection has come back in time."""
        self._stuck = True


def _rested(_: Any, record: Any) -> None:
    record.info["since"] = time.monotonic()


def _still_alive(connection: Any, record: Any, _: Any) -> None:
    """Ping a connection that has rested for a while; a dead one is replaced before any work is done on it."""
    if time.monotonic() - record.info.get("since", math.inf) < REST:
        return
    patience, connection.patience = connection.patience, PATIENCE
    try:
        connection.execute("SELECT 1")
    except pg.Error as error:
        raise DisconnectionError from error
    connection.patience = patience


@dataclass(frozen=True, slots=True)
class Lookup:
    """A statement compiled once, with the values it has in itself. ``order``: its parameters as they stand in it.

    The driver runs it: SQLAlchemy's way costs three times as much, see docs/decisions/0003.
    """

    sql: str
    order: tuple[str, ...]
    values: Mapping[str, Any]
    prepared: bool = True
    """Whether the server plans it once for all values, which is right where all are found by the same key."""
    named: bool = False
    """Whether they stand in it by name, because some do more than once, and are sent once all the same."""

    def run(self, driver: Any, values: Mapping[str, Any], shape: Any) -> Any:
        """Run it on a connection of the driver's, with these further values; give the cursor."""
        cursor = driver.cursor(row_factory=shape)
        return cursor.execute(self.sql, self.arguments(values), prepare=self.prepared, binary=True)

    def arguments(self, values: Mapping[str, Any]) -> tuple[Any, ...] | dict[str, Any]:
        """Give its arguments, as it takes them."""
        given = {**self.values, **values}
        return {name: given[name] for name in self.order} if self.named else tuple(given[name] for name in self.order)

    def rows(self, driver: Any, values: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Run it and give its rows, if it has any."""
        cursor = self.run(driver, values, dict_row)
        return list(cursor.fetchall()) if cursor.pgresult.status == ExecStatus.TUPLES_OK else []


# By position, which the driver likes better than by name,
_DIALECT = PGDialect_psycopg(paramstyle="format")  # type: ignore[no-untyped-call]
# or by name, and then it sends once what stands in a statement twice.
_NAMED = PGDialect_psycopg(paramstyle="pyformat")  # type: ignore[no-untyped-call]


def lookup(statement: ClauseElement, *, prepared: bool = True) -> Lookup:
    """Compile a statement that is asked again and again."""
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
    """Give the value that stands in a compiled statement, as the driver wants it."""
    value = compiled.params[name]
    sql_type = compiled.binds[name].type
    if isinstance(sql_type, ARRAY) and isinstance(sql_type.item_type, sa.Text):
        return texts(tuple(value))
    to_driver = sql_type.dialect_impl(_DIALECT).bind_processor(_DIALECT)
    return value if to_driver is None or value is None else to_driver(value)


LONGEST = 5_000
"""Characters in a list of texts that is remembered as it is sent."""


def texts(several: tuple[str, ...]) -> str:
    """Give a list of texts as one: the driver would look at each of them again for each request."""
    return _remembered(several) if sum(map(len, several)) <= LONGEST else _joined(several)


def _joined(several: tuple[str, ...]) -> str:
    return bytes(ListDumper(list).dump(list(several)) or b"").decode()


_remembered = lru_cache(maxsize=1024)(_joined)


class Numbers(bytes):
    """An array of bigint as the database itself packs it: sent as it is, and read without being parsed."""

    __slots__ = ()


class _NumbersDumper(Dumper):
    format = Format.BINARY
    oid = postgres.types["int8"].array_oid

    def dump(self, obj: Numbers) -> bytes:
        """Give it as it is."""
        return obj


adapters.register_dumper(Numbers, _NumbersDumper)


class Database:
    """Lends connections, and tells their failures in the house's words. ``record_metric`` hears how long work took."""

    def __init__(self, engine: Engine, record_metric: Callable[[float], None] = lambda _: None) -> None:
        self.engine = engine
        self._observe = record_metric
        self._writer = engine.execution_options(isolation_level="READ COMMITTED")
        # Through a pooler, what holds for a statement is set in its transaction.
        self._reader = self._writer if self.pooled else engine
        self._connections: Connections = engine.get_execution_options()["connections"]

    def value(self, lookup: Lookup, **values: Any) -> Any:
        """Give the one value that a lookup finds, or None."""
        row = self._asked(lambda driver: lookup.run(driver, values, tuple_row).fetchone())
        return None if row is None else row[0]

    def rows(self, lookup: Lookup, values: Mapping[str, Any], *, again: bool = True) -> list[Mapping[str, Any]]:
        """Give the rows that a lookup finds. What is not to be done twice is not tried ``again``."""
        return self._asked(lambda driver: lookup.rows(driver, values), again=again)

    def records(self, lookup: Lookup, values: Mapping[str, Any], *, long: bool = False) -> list[Any]:
        """Give the rows that a lookup finds, their columns by name. ``long``: it may take long, see ``share``."""
        with self._share_of(long=long):
            return self._asked(lambda driver: lookup.run(driver, values, namedtuple_row).fetchall())

    def share(self, name: str) -> Bulkhead:
        """Return a bound of half of the connections, for statements that are short unless something is wrong."""
        return self._connections.share(name, PATIENCE)

    def _share_of(self, *, long: bool) -> AbstractContextManager[object]:
        """Bound statements that may take long to half of the connections: the others are for short ones."""
        return self._connections.long if long else nullcontext()

    @property
    def pooled(self) -> bool:
        """Whether what holds for a statement, as its timeout does, has to be said in its transaction."""
        return bool(self.engine.get_execution_options().get("pooled"))

    def _asked(self, ask: Callable[[Any], T], *, again: bool = True) -> T:
        """Ask the driver itself; if its connection turns out to be dead, once more on a fresh one."""
        with translated(reading=again), self._observed():
            if self.pooled:
                with self._writer.begin() as transaction:
                    return ask(transaction.connection.driver_connection)
            while True:
                connection = self.engine.raw_connection()
                driver = connection.driver_connection
                try:
                    return ask(driver)
                except pg.OperationalError as error:
                    if driver is None or not driver.closed:
                        raise
                    connection.invalidate(error)
                    if not again or isinstance(error, connection_settings.Overdue):
                        raise
                    log.warning("the database connection was lost; trying once more")
                    # After a restart of the database all of them are dead.
                    self.engine.dispose()
                    again = False
                finally:
                    connection.close()

    def read(self, work: Callable[[Connection], T], *, long: bool = False) -> T:
        """Do reading work; if its connection turns out to be dead, once more on a fresh one.

        After a restart of the database every pooled connection is dead: the first to notice empties the pool.
        ``long``: it may take long, see ``share``.
        """
        with translated(reading=True), self._share_of(long=long):
            try:
                return self._work(work)
            except DBAPIError as error:
                if not error.connection_invalidated or isinstance(error.orig, connection_settings.Overdue):
                    raise
                log.warning("the database connection was lost; trying once more")
                return self._work(work)

    def _work(self, work: Callable[[Connection], T]) -> T:
        with self._observed(), self._reader.connect() as connection:
            return work(connection)

    def within(self, seconds: float, work: Callable[[Connection], T], *, together: bool = False) -> T:
        """Do reading work each statement of which may take so long, instead of what holds for all others.

        ``together``: all of them may, not each.
        """
        timed = _sharing(seconds, work, pooled=self.pooled) if together else work
        return self.read(lambda connection: _limited(connection, seconds, timed, pooled=self.pooled), long=True)

    def begin_request(self, *, changing: bool) -> None:
        """Begin a request in this thread. Where there is a replica, all of it is read from one server."""

    def end_request(self) -> None:
        """End the thread's request."""

    def one_server(self) -> AbstractContextManager[None]:
        """Read all in the block from one server, where there are two and no request has chosen one."""
        return nullcontext()

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
            self._connections.refuse_if_stuck()
            yield
        except PoolTimeoutError:
            self._connections.waited_in_vain()
            raise
        except (DBAPIError, pg.ReadOnlySqlTransaction) as error:
            self._connections.look_elsewhere(getattr(error, "orig", error))
            raise
        finally:
            self._observe(time.perf_counter() - began)


def _limited(connection: Connection, seconds: float, work: Callable[[Connection], T], *, pooled: bool) -> T:
    # Through a pooler, what is set for the transaction is gone with it.
    limit = sa.func.set_config("statement_timeout", _milliseconds(seconds), pooled)
    driver: Any = connection.connection.driver_connection
    patience, driver.patience = driver.patience, seconds + connection_settings.GRACE_SECONDS
    connection.execute(sa.select(limit))
    try:
        return work(connection)
    finally:
        driver.patience = patience
        if not pooled and not connection.invalidated:
            connection.execute(sa.text("RESET statement_timeout"))


def _milliseconds(seconds: float) -> str:
    """Write a timeout. It is never 0, which is none."""
    return f"{max(1, seconds * 1000):.0f}"


def _sharing(seconds: float, work: Callable[[Connection], T], *, pooled: bool) -> Callable[[Connection], T]:
    """Return work whose statements share these seconds: before each, the timeout is set to what is left."""

    def timed(connection: Connection) -> T:
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

    return timed
