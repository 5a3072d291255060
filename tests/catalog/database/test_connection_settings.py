"""Connection URLs, for the server, its commands and its migrations."""

import re
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from psycopg import errors as pg

from stacflask.catalog.database import connection_settings
from stacflask.catalog.database.database_errors import translation
from stacflask.catalog.database.engine import Database, create_engine
from stacflask.errors import SettingError

URLS: list[tuple[str, dict[str, Any]]] = [
    ("postgres://u:p%40ss%2F%3A@h/db", {"user": "u", "password": "p@ss/:", "host": "h", "dbname": "db"}),
    ("postgresql+psycopg://h1:1,h2:2/db", {"host": "h1,h2", "port": "1,2", "dbname": "db"}),
    ("postgresql://h1,h2/db", {"host": "h1,h2", "dbname": "db"}),
    ("postgresql:///db?host=h1&host=h2", {"host": "h1,h2", "dbname": "db"}),
    ("postgresql:///db?host=h1:1&host=h2:2", {"host": "h1,h2", "port": "1,2", "dbname": "db"}),
    ("postgresql://[::1]:5432/db", {"host": "::1", "port": "5432", "dbname": "db"}),
    ("postgresql://[::1]:1,[fe80::1]:2/db", {"host": "::1,fe80::1", "port": "1,2", "dbname": "db"}),
    ("postgresql://u@%2Frun%2Fpg/db", {"user": "u", "host": "/run/pg", "dbname": "db"}),
    ("postgresql:///db?host=/run/pg", {"host": "/run/pg", "dbname": "db"}),
    ("postgresql://h/db?sslmode=require&connect_timeout=9", {"sslmode": "require", "connect_timeout": "9"}),
    ("postgresql://h/db?options=-c%20a.b%3D1%20--c=2", {"options": {"a.b": "1", "c": "2"}}),
    ("postgresql://h/db?options=-c search_path=a\\ b", {"options": {"search_path": "a b"}}),
]


@pytest.mark.parametrize(("url", "expected"), URLS, ids=[url for url, _ in URLS])
def test_all_forms_of_a_url_are_accepted(url: str, expected: dict[str, Any]) -> None:
    """All forms of libpq are accepted, and SQLAlchemy's form of several hosts."""
    found = connection_settings.arguments(url, "DATABASE_URL")
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("postgresql://h/db?no_such=1", "unknown parameter 'no_such'"),
        ("postgresql://u:secret@[::1/db", "expected postgresql://"),
        ("postgresql://h/db?options=-c statement_timeout=0", "options: statement_timeout cannot be set here"),
        ("postgresql://h/db?options=-c TimeZone=CET", "options: timezone cannot be set here"),
        ("postgresql://h/db?options=nonsense", "options: expected -c name=value"),
        ("postgresql://h/db?options=-c client_encoding=latin1", "options: client_encoding cannot be set here"),
        ("postgresql://h/db?sslmode=bogus", 'invalid sslmode value: "bogus"'),
        ("postgresql://h/db?sslmode=disable;connect_timeout=3", "invalid sslmode value"),
        ("postgresql://h1,h2/db?target_session_attrs=any-one", 'invalid target_session_attrs value: "any-one"'),
        ("postgresql://h/db?gssencmode=bogus", "invalid gssencmode value"),
        ("postgresql://h/db?channel_binding=bogus", "invalid channel_binding value"),
        ("postgresql://h/db?require_auth=bogus", "invalid require_auth value"),
        ("postgresql://h/db?ssl_min_protocol_version=TLSv9", 'invalid "ssl_min_protocol_version" value'),
        ("postgresql://h/db?service=no_such", 'definition of service "no_such" not found'),
        ("postgresql://h/db?connect_timeout=3s", "connect_timeout: expected an integer, got '3s'"),
        ("postgresql://h/db?keepalives=yes", "keepalives: expected an integer, got 'yes'"),
        ("postgresql://h/db?tcp_user_timeout=", "tcp_user_timeout: expected an integer, got ''"),
        ("postgresql://h/db?client_encoding=latin1", "client_encoding: stacflask needs UTF-8"),
        ("postgresql://h/db?replication=database", "replication: stacflask needs an ordinary session"),
        ("postgresql://h1,h2,h3/db?port=1,2", "could not match 2 port numbers to 3 hosts"),
        ("postgresql://h:0/db", "port: expected a number from 1 to 65535"),
        ("postgresql://u:secret/x@h:5432/db", "port: expected a number from 1 to 65535"),
        ("postgresql://u:my@secret@h:5432/db", "host: expected no @"),
        ("postgresql://u:my?secret@h:5432/db", "expected postgresql://"),
    ],
)
def test_a_parameter_that_cannot_be_applied_is_refused(url: str, problem: str) -> None:
    """The error contains the name of the setting, but not the password."""
    with pytest.raises(SettingError, match=f"^STACFLASK_REPLICA_URL: {re.escape(problem)}") as refused:
        create_engine(url, pool_size=1, statement_timeout=1, variable="STACFLASK_REPLICA_URL")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("timeout", [0, 5])
def test_parameters_reach_the_session(database_url: str, *, pooled: bool, timeout: int) -> None:
    """Options and ``application_name`` are set in every session, in addition to the settings of stacflask."""
    url = f"{database_url}?application_name=mine&options={quote('-c search_path=public,other -c work_mem=5MB')}"
    database = Database(create_engine(url, pool_size=1, statement_timeout=timeout, pooled=pooled))
    names = ("application_name", "search_path", "work_mem", "statement_timeout", "TimeZone")
    row = database.read(lambda c: [c.scalar(sa.text(f"SELECT current_setting('{name}')")) for name in names])
    assert [row[0], row[1].replace(" ", ""), *row[2:]] == [
        "mine",
        "public,other",
        "5MB",
        f"{timeout}s" if timeout else "0",
        "UTC",
    ]
    database.engine.dispose()


def test_the_first_usable_host_is_used(database_url: str) -> None:
    """Of several hosts, the first one is used that accepts a connection and is in the required state."""
    url = database_url.replace("@", "@127.0.0.1:9,", 1) + "?target_session_attrs=read-write"
    database = Database(create_engine(url, pool_size=1, statement_timeout=5))
    assert database.read(lambda connection: connection.scalar(sa.text("SELECT 1"))) == 1
    database.engine.dispose()


MEANINGS = {
    pg.DiskFull("could not extend file"): "DatabaseFull",
    pg.TooManyConnections("sorry"): "DatabaseBusy",
    pg.OutOfMemory("out of memory"): "DatabaseResources",
    pg.ConfigurationLimitExceeded("temporary file size exceeds temp_file_limit"): "DatabaseResources",
    pg.AdminShutdown("terminating connection due to administrator command"): "DatabaseRestarting",
    pg.CannotConnectNow("the database system is starting up"): "DatabaseRestarting",
    pg.ReadOnlySqlTransaction("cannot execute INSERT in a read-only transaction"): "ReadOnly",
    pg.SerializationFailure("could not serialize access"): "Busy",
    pg.FeatureNotSupported("cached plan must not change result type"): "Busy",
    pg.StatementTooComplex("stack depth limit exceeded"): "InvalidDocument",
    pg.UndefinedTable('relation "items" does not exist'): "NotMigrated",
    pg.InsufficientPrivilege("permission denied for table items"): "DatabaseRefused",
    pg.QueryCanceled("canceling statement due to statement timeout"): "QueryTimeout",
    pg.QueryCanceled("canceling statement due to user request"): "QueryCancelled",
    pg.IoError("could not read block"): "DatabaseError",
    pg.DataCorrupted("invalid page"): "DatabaseError",
    pg.OperationalError("connection failed: FATAL:  sorry, too many clients already"): "DatabaseBusy",
    pg.OperationalError("connection failed: FATAL:  the database system is starting up"): "DatabaseRestarting",
    pg.OperationalError('connection failed: FATAL:  password authentication failed for user "u"'): "DatabaseRefused",
    pg.OperationalError('connection failed: FATAL:  database "x" does not exist'): "DatabaseRefused",
    pg.OperationalError('connection failed: FATAL:  unrecognized configuration parameter "x.y"'): "DatabaseRefused",
    pg.OperationalError('connection failed: FATAL:  invalid value for parameter "work_mem": "x"'): "DatabaseRefused",
    pg.OperationalError("connection failed: server does not support SSL, but SSL was required"): "DatabaseRefused",
    pg.OperationalError("connection failed: SSL error: certificate verify failed"): "DatabaseRefused",
    pg.OperationalError("connection failed: Connection refused"): "DatabaseUnavailable",
    pg.OperationalError("server closed the connection unexpectedly"): "DatabaseUnavailable",
    pg.OperationalError("connection failed: session is read-only"): "DatabaseUnavailable",
    pg.OperationalError(""): "DatabaseUnavailable",
}


@pytest.mark.parametrize(("error", "code"), MEANINGS.items(), ids=[str(error) or "empty" for error in MEANINGS])
def test_each_database_error_has_a_code(error: Exception, code: str) -> None:
    """Only connection errors become DatabaseUnavailable."""
    assert translation(error).code == code


def test_an_error_without_a_message_is_logged_by_its_class(caplog: pytest.LogCaptureFixture) -> None:
    """The log never has an empty reason."""
    translation(pg.OperationalError(""))
    assert caplog.messages == ["database error: OperationalError"]
