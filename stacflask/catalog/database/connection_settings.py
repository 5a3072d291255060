"""Connections to PostgreSQL: parameters of a connection URL, and the time limit of a response."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

import psycopg
from psycopg import errors as pg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import PGconn

from stacflask.errors import SettingError

CONNECT_SECONDS = 3
"""Time in which one host must accept a connection, unless the URL has ``connect_timeout``."""

GRACE_SECONDS = 5.0
"""Time that a response can take beyond the statement timeout of the server."""

FIXED_OPTIONS = {
    "statement_timeout": "set STACFLASK_STATEMENT_TIMEOUT instead",
    "timezone": "stacflask needs UTC",
    "client_encoding": "stacflask needs UTF-8",
    "datestyle": "stacflask needs ISO",
    "standard_conforming_strings": "stacflask needs on",
}
"""Server settings that the parameter ``options`` cannot set, with the reason."""

INTEGER_PARAMETERS = (
    *("connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"),
    "tcp_user_timeout",
)
"""Parameters that libpq checks only after it has connected."""

NO_SOCKET_DIRECTORY = "/dev/null"
"""A host to which no connection is possible. libpq reads it as a directory of sockets."""

LIST_SETTINGS = ("search_path", "temp_tablespaces", "session_preload_libraries", "local_preload_libraries")
"""Server settings that are lists of names. SET needs each name as a separate value."""

_PAIR = re.compile(r"(?:-c\s*|--)([A-Za-z_][\w.]*)=((?:\\.|[^\s\\])*)(?:\s+|$)")
_WHOLE_NUMBER = re.compile(r"\s*[+-]?[0-9]{1,9}\s*")
_UTF_8 = re.compile(r"utf-?8", re.IGNORECASE)
_HOST_AND_PORT = re.compile(r"([^/:\[\],]+):(\d+)")


class Connection(psycopg.Connection[Any]):
    """A connection with a time limit for responses.

    The server ends statements that take too long, unless it hangs or the network loses its packets.
    """

    answer_timeout: float | None = None
    """Seconds to wait for a response; None is unlimited."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for a response. Raises AnswerTimeout."""
        limit = self.answer_timeout if timeout is None else timeout
        try:
            return super().wait(gen, interval, limit)
        except pg._WaitTimeout:  # noqa: SLF001 - documented as the exception of ``wait``
            if timeout is not None:
                raise
            self.pgconn.finish()
            raise AnswerTimeout(f"no response within {limit:g} s") from None


class AnswerTimeout(pg.OperationalError):
    """The server did not respond in time. The statement is not repeated, because that would take as long."""


def arguments(url: str, variable: str) -> dict[str, Any]:
    """Return a connection URL as keyword arguments of ``psycopg.connect``.

    All of libpq's URI syntax is accepted: several hosts, IPv6 addresses, directories of sockets, percent-encoding.

    Args:
        url: ``postgresql://``, ``postgres://`` or ``postgresql+psycopg://``.
        variable: The setting that holds the URL, for the error.

    Raises:
        SettingError: The URL is malformed, or has a parameter that does not exist, or whose value cannot be used.
    """
    base, _, query = url.partition("://")[2].partition("?")
    try:
        found: dict[str, Any] = dict(conninfo_to_dict(f"postgresql://{base}?{_joined(query)}"))
    except psycopg.ProgrammingError as error:
        # libpq repeats the malformed part, which can contain the password. Only names of parameters are safe.
        named = re.search(r'URI query parameter: "([\w ]*)"', str(error))
        problem = f"unknown parameter {named[1]!r}" if named else "expected postgresql://user:password@host:port/name"
        raise SettingError(variable, problem) from None
    for problem in _problems(found):
        raise SettingError(variable, problem)
    found["options"] = options(found.get("options", ""), variable)
    return found


def _problems(found: Mapping[str, Any]) -> Iterator[str]:
    """Return the problems of parameter values. Values that can be a part of a password are not repeated."""
    if "@" in found.get("host", ""):
        yield "host: expected no @. In a user or password, write it as %40"
    ports = str(found.get("port", "")).split(",")
    if not all(not port or (_WHOLE_NUMBER.fullmatch(port) and 0 < int(port) < 1 << 16) for port in ports):
        yield "port: expected a number from 1 to 65535. In a password, write / as %2F"
    for name in INTEGER_PARAMETERS:
        if name in found and not _WHOLE_NUMBER.fullmatch(found[name]):
            yield f"{name}: expected an integer, got {found[name]!r}"
    if not _UTF_8.fullmatch(found.get("client_encoding", "utf8")):
        yield "client_encoding: stacflask needs UTF-8"
    if "replication" in found:
        yield "replication: stacflask needs an ordinary session"
    yield from _problem_of_libpq(found)


def _problem_of_libpq(found: Mapping[str, Any]) -> Iterator[str]:
    """Return the problem that libpq finds. It checks values before it connects, here to a host that does not exist."""
    hosts = str(found.get("hostaddr") or found.get("host") or "").count(",") + 1
    others = {name: value for name, value in found.items() if name not in ("hostaddr", *INTEGER_PARAMETERS)}
    conninfo = make_conninfo("", **{**others, "host": ",".join([NO_SOCKET_DIRECTORY] * hosts)})
    connection = PGconn.connect_start(conninfo.encode())
    text = connection.error_message.decode(errors="replace").strip()
    connection.finish()
    if not text.startswith("connection to server"):
        yield text.partition("\n")[0]


def _joined(query: str) -> str:
    """Rewrite a query: repeated hosts and ports become libpq's lists."""
    given: dict[str, str] = {}
    for pair in filter(None, query.split("&")):
        name, _, value = pair.partition("=")
        name, value = unquote(name), unquote(value)
        # SQLAlchemy's form, host=h1:5432&host=h2:5432.
        port = _HOST_AND_PORT.fullmatch(value) if name == "host" else None
        for one, text in (("host", port[1]), ("port", port[2])) if port else ((name, value),):
            given[one] = f"{given[one]},{text}" if one in given and one in ("host", "port") else text
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in given.items())


def options(text: str, variable: str) -> dict[str, str]:
    """Return the server settings in a parameter ``options``, by name.

    They are sent at the start of a session or, with a pooler, in each transaction. Raises SettingError.
    """
    found, end = {}, 0
    text = text.strip()
    for pair in _PAIR.finditer(text):
        if pair.start() != end:
            break
        found[pair[1].lower()] = re.sub(r"\\(.)", r"\1", pair[2])
        end = pair.end()
    if end != len(text):
        raise SettingError(variable, "options: expected -c name=value, separated by spaces")
    for name in sorted(found.keys() & FIXED_OPTIONS.keys()):
        raise SettingError(variable, f"options: {name} cannot be set here: {FIXED_OPTIONS[name]}")
    return found


def as_options(settings: Mapping[str, str]) -> str:
    """Return server settings as the parameter ``options``."""
    return " ".join(_written(settings))


def _written(settings: Mapping[str, str]) -> Iterator[str]:
    for name, value in settings.items():
        escaped = re.sub(r"([\\\s])", r"\\\1", value)
        yield f"-c {name}={escaped}"


def set_local(settings: Mapping[str, str]) -> str:
    """Return the statements that set server settings for one transaction.

    They take no snapshot, so the isolation level of the transaction can still be set.
    """
    return " ".join(f"SET LOCAL {name} = {_quoted(name, value)};" for name, value in settings.items())


def _quoted(name: str, value: str) -> str:
    parts = [part.strip().strip('"') for part in value.split(",")] if name in LIST_SETTINGS else [value]
    return ", ".join("'" + part.replace("'", "''").replace("%", "%%") + "'" for part in parts)
