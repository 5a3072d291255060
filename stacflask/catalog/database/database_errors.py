"""Map errors of the database to stacflask's errors, by their SQLSTATE class."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg.errors as pg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from stacflask.errors import BadDocument, BadValue, StacflaskError, Unavailable

log = logging.getLogger(__name__)

UNREACHABLE = "The database cannot be reached."
TIMEOUT = "QueryTimeout"
"""Error code for a statement that took too long."""
BUSY = "All database connections are busy."

Meaning = tuple[str, str, int]
"""Code, description and Retry-After in seconds."""

_BY_KIND: tuple[tuple[tuple[type[pg.Error], ...], Meaning], ...] = (
    (
        (pg.DeadlockDetected, pg.SerializationFailure, pg.LockNotAvailable),
        ("Busy", "Other requests changed the same records. Try again.", 1),
    ),
    # The server is a standby, or is under maintenance.
    ((pg.ReadOnlySqlTransaction,), ("ReadOnly", "The database is read-only at the moment. Try again later.", 5)),
    ((pg.TooManyConnections,), ("DatabaseBusy", "The database has no free connection.", 2)),
    ((pg.DiskFull,), ("DatabaseFull", "The database has no disk space left. Nothing was changed.", 60)),
    (
        (pg.OutOfMemory, pg.ConfigurationLimitExceeded, pg.InsufficientResources),
        ("DatabaseResources", "The database has not enough memory or disk space. Send a smaller request.", 10),
    ),
    (
        (pg.AdminShutdown, pg.CrashShutdown, pg.CannotConnectNow, pg.DatabaseDropped, pg.IdleSessionTimeout),
        ("DatabaseRestarting", "The database is restarting.", 5),
    ),
    (
        (pg.UndefinedTable, pg.UndefinedColumn, pg.UndefinedObject, pg.InvalidSchemaName),
        ("NotMigrated", "The database lacks tables of this release. The operator must run the migrations.", 60),
    ),
    (
        (pg.InsufficientPrivilege, pg.InvalidAuthorizationSpecification, pg.InvalidPassword, pg.InvalidCatalogName),
        ("DatabaseRefused", "The database refused the login or a permission. The operator must correct this.", 60),
    ),
    # A plan from before a migration, a transaction that the server ended, or a session behind a pooler.
    (
        (
            pg.FeatureNotSupported,
            pg.InFailedSqlTransaction,
            pg.IdleInTransactionSessionTimeout,
            pg.InvalidSqlStatementName,
            pg.DuplicatePreparedStatement,
        ),
        ("Busy", "The database session has ended. Try again.", 1),
    ),
)

_BY_TEXT: tuple[tuple[tuple[str, ...], Meaning], ...] = (
    (
        ("too many clients", "remaining connection slots", "too many connections"),
        ("DatabaseBusy", "The database has no free connection.", 2),
    ),
    (
        ("starting up", "shutting down", "recovery mode", "not yet accepting connections", "not accepting connections"),
        ("DatabaseRestarting", "The database is restarting.", 5),
    ),
    (
        ("authentication failed", "pg_hba.conf", "does not exist", "permission denied", "is not permitted to log in"),
        ("DatabaseRefused", "The database refused the login or a permission. The operator must correct this.", 60),
    ),
    (
        ("unrecognized configuration parameter", "invalid value for parameter"),
        ("DatabaseRefused", "The database refused a parameter of the connection. The operator must correct this.", 60),
    ),
    (
        ("does not support ssl", "ssl error", "certificate", "was required"),
        ("DatabaseRefused", "The database does not support the encryption that the settings require.", 60),
    ),
    (
        ("read-only", "read-write", "standby mode", "not in hot standby"),
        ("DatabaseUnavailable", "No database server is in the state that the settings require.", 5),
    ),
)
"""Messages of libpq for a failed connection, which has no SQLSTATE."""


_OF_VALUES = (pg.DataError, pg.ProgramLimitExceeded, pg.StatementTooComplex, pg.InternalError_)
"""Errors that a value can cause in a statement that reads. PostGIS reports its errors as internal errors."""


@contextmanager
def translated(*, reading: bool = False) -> Iterator[None]:
    """Convert errors of the driver to stacflask's errors. Their text is logged, but not sent to the client.

    Args:
        reading: Whether the statement only reads. A value that makes it fail is then a value of the request.
    """
    try:
        yield
    except PoolTimeoutError as error:
        raise Unavailable(BUSY, code="DatabaseBusy", retry_after=2) from error
    except (DBAPIError, pg.Error) as error:
        raise translation(error.orig if isinstance(error, DBAPIError) else error, reading=reading) from error


def translation(error: BaseException | None, *, reading: bool = False) -> StacflaskError:
    """Return stacflask's error for an error of the driver, and log it."""
    of_values = reading and isinstance(error, _OF_VALUES)
    found = (
        BadValue("The database cannot compute this with the values in the request.") if of_values else _meaning(error)
    )
    text = str(error).strip() or type(error).__name__
    fields = {"sqlstate": getattr(error, "sqlstate", None), "error": type(error).__name__, "code": found.code}
    log.error("database error: %s", text, extra=fields)
    return found


def _meaning(error: BaseException | None) -> StacflaskError:
    if isinstance(error, pg.QueryCanceled):
        return _cancelled(str(error))
    # The value is too long for an index, or is nested too deep.
    if isinstance(error, pg.DataError | pg.ProgramLimitExceeded | pg.StatementTooComplex):
        return BadDocument("", "has a value that the database cannot store")
    for kinds, (code, description, retry_after) in _BY_KIND:
        if isinstance(error, kinds):
            return Unavailable(description, code=code, retry_after=retry_after)
    # A lost or failed connection has no SQLSTATE, or one of class 08.
    if isinstance(error, pg.OperationalError | pg.InterfaceError) and (error.sqlstate or "08").startswith("08"):
        return _of_connection(str(error).lower())
    return StacflaskError("The database refused the statement.", code="DatabaseError")


def _cancelled(text: str) -> Unavailable:
    if "user request" in text:
        return Unavailable("The query was cancelled by the operator.", code="QueryCancelled", retry_after=10)
    return Unavailable("The query took too long.", code=TIMEOUT)


def _of_connection(text: str) -> Unavailable:
    for phrases, (code, description, retry_after) in _BY_TEXT:
        if any(phrase in text for phrase in phrases):
            return Unavailable(description, code=code, retry_after=retry_after)
    return Unavailable(UNREACHABLE, code="DatabaseUnavailable")
