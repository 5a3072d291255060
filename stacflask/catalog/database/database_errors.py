"""What an error of the database means for the client, by its SQLSTATE class."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg.errors as pg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from stacflask.errors import BadDocument, BadValue, StacflaskError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

UNREACHABLE = "The database cannot be reached."
TIMEOUT = "QueryTimeout"
"""The error's code if a statement took too long."""
BUSY = "All database connections are busy."

Meaning = tuple[str, str, int]
"""Code, description and Retry-After in seconds."""

_BY_KIND: tuple[tuple[tuple[type[pg.Error], ...], Meaning], ...] = (
    (
        (pg.DeadlockDetected, pg.SerializationFailure, pg.LockNotAvailable),
        ("Busy", "Others were changing the same things. Try again.", 1),
    ),
    # A standby, or a database under maintenance.
    ((pg.ReadOnlySqlTransaction,), ("ReadOnly", "Nothing can be changed just now.", 5)),
    ((pg.TooManyConnections,), ("DatabaseBusy", "The database has no free connection.", 2)),
    ((pg.DiskFull,), ("DatabaseFull", "The database has no disk space left. Nothing was changed.", 60)),
    (
        (pg.OutOfMemory, pg.ConfigurationLimitExceeded, pg.InsufficientResources),
        ("DatabaseResources", "The database has not enough memory or disk space for this. Ask for less.", 10),
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
        ("DatabaseRefused", "The database refused the login or a permission. The operator must mend this.", 60),
    ),
    # A plan that was prepared before a migration, a transaction that the server ended, a session behind a pooler.
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
        ("DatabaseRefused", "The database refused the login or a permission. The operator must mend this.", 60),
    ),
    (
        ("unrecognized configuration parameter", "invalid value for parameter"),
        ("DatabaseRefused", "The database refused a parameter of the connection. The operator must mend this.", 60),
    ),
    (
        ("does not support ssl", "ssl error", "certificate", "was required"),
        ("DatabaseRefused", "The database does not offer the encryption that the settings ask for.", 60),
    ),
    (
        ("read-only", "read-write", "standby mode", "not in hot standby"),
        ("DatabaseUnavailable", "No database server is in the state that the settings ask for.", 5),
    ),
)
"""What libpq says of a connection that failed: such an error has no SQLSTATE."""


_OF_VALUES = (pg.DataError, pg.ProgramLimitExceeded, pg.StatementTooComplex, pg.InternalError_)
"""Errors that a value in a statement that only reads can cause. PostGIS reports its own as internal errors."""


@contextmanager
def translated(*, reading: bool = False) -> Iterator[None]:
    """Turn the driver's errors into stacflask's. Their text is logged, and not shown.

    Args:
        reading: The statement changes nothing: a value that it fails on is one of the request, and not of a document.
    """
    try:
        yield
    except PoolTimeoutError as error:
        raise Unavailable(BUSY, code="DatabaseBusy", retry_after=2) from error
    except (DBAPIError, pg.Error) as error:
        raise translation(error.orig if isinstance(error, DBAPIError) else error, reading=reading) from error


def translation(error: BaseException | None, *, reading: bool = False) -> StacflaskError:
    """Return stacflask's error for one of the driver."""
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
    # Too long for an index, or too deeply nested.
    if isinstance(error, pg.DataError | pg.ProgramLimitExceeded | pg.StatementTooComplex):
        return BadDocument("", "holds a value that the database cannot keep")
    for kinds, (code, description, retry_after) in _BY_KIND:
        if isinstance(error, kinds):
            return Unavailable(description, code=code, retry_after=retry_after)
    # A connection that was lost, or never made, has no SQLSTATE, or one of class 08.
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
