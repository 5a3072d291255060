"""Settings of a deployment, read once from the environment. Every error begins with the name of the variable."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from stacflask.errors import SettingError

Network: TypeAlias = IPv4Network | IPv6Network

_UNSET: Any = object()


def variable(name: str, parse: Callable[[str], Any], text: str, default: Any = _UNSET) -> Any:
    """Declare a setting.

    Args:
        name: Name of the environment variable.
        parse: Function that returns the value of a text, and raises ValueError for a wrong one.
        text: Description for operators.
        default: Default value; a setting without one is required.
    """
    metadata = {"name": name, "parse": parse, "help": text, "required": default is _UNSET}
    if default is _UNSET:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


_PART = (
    r"(?:\w*(?:password|passwd|secret|token|credential|signature|authorization|api_?key|access_?key|private_?key)\w*"
    r"|\b(?:\w*_)?(?:pass|passphrase|pwd|sig)\b)"
)  # names of secret parts of a value
_SECRET_NAME = re.compile(_PART, re.IGNORECASE)
_SECRET_VARIABLE = re.compile(
    r"\w*(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|CREDENTIAL)\w*(?<!_FILE)(?<!_ENV)"
    r"|\w*(?:PWD|TOKENS?|KEYS?)|(?:\w*_)?PASS",
    re.IGNORECASE,
)
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_KEY_IN_URL = re.compile(r"(?<=://)[^:/@\s]+(?=@)")
_SCHEME_VALUE = re.compile(r"\b(Bearer|(?<=:)Basic|(?<=: )Basic)\s+\S+", re.IGNORECASE)
_USER_INFO = re.compile(r"(?<=://)([^:/@\s]*):\S*(?=@)")
_SECRET_VALUE = re.compile(rf"""({_PART}["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^&\s,;}}]+)""", re.IGNORECASE)


def masked(text: str) -> str:
    """Return the value of a setting without its secrets: passwords in URLs, and the values of secret names."""
    if text[:1] in ("{", "["):
        try:
            return json.dumps(_masked_json(json.loads(text)), ensure_ascii=False)
        except (ValueError, RecursionError):
            pass  # The text is masked below.
    text = _PRIVATE_KEY.sub("***", text)
    text = _SCHEME_VALUE.sub(r"\1=***", _USER_INFO.sub(r"\1:***", text))
    if text.startswith("http"):  # The user name in such a URL can be the key of a service.
        text = _KEY_IN_URL.sub("***", text)
    return _SECRET_VALUE.sub(r"\1***", text)


def is_secret_name(name: str) -> bool:
    """Return whether the value of a variable is secret by its name, even if its plugin does not declare that."""
    return _SECRET_VARIABLE.fullmatch(name) is not None


def _masked_json(value: Any, name: str = "") -> Any:
    if value and _is_secret_member(name):
        return "***"
    if isinstance(value, dict):
        return {key: _masked_json(part, key) for key, part in value.items()}
    if isinstance(value, list):
        return [_masked_json(part) for part in value]
    return masked(value) if isinstance(value, str) else value


def _is_secret_member(name: str) -> bool:
    # The name of a variable or a file is not secret.
    if name.endswith(("_env", "_file")):
        return False
    return name.lower() in ("key", "keys") or _SECRET_NAME.fullmatch(name) is not None


def _database_url(text: str) -> str:
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in ("postgres", "postgresql", "postgresql+psycopg"):
        raise ValueError("expected postgresql://user:password@host:port/name")
    return f"postgresql+psycopg://{rest}"


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("expected an http or https URL without a query, such as https://stac.example.org/api")
    return text.rstrip("/")


def _list(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(word, strict=False) for word in _list(text))
    except ValueError:
        raise ValueError("expected networks such as 10.0.0.0/8, separated by commas") from None


def _origins(text: str) -> tuple[str, ...]:
    for word in _list(text):
        if not re.fullmatch(r"\*|https?://[A-Za-z0-9.-]+(:\d{1,5})?", word):
            raise ValueError("expected * or origins such as https://maps.example.org, without path or pattern")
    return _list(text)


def _boolean(text: str) -> bool:
    answers = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if text.strip().lower() not in answers:
        raise ValueError("expected true or false")
    return answers[text.strip().lower()]


AUTO = "auto"


def _boolean_or_auto(text: str) -> bool | str:
    return AUTO if text.strip().lower() == AUTO else _boolean(text)


def _positive(text: str) -> int:
    if not _DIGITS(text) or int(text) < 1:
        raise ValueError("expected a whole number greater than 0")
    return int(text)


def _count(text: str) -> int:
    if not _DIGITS(text):
        raise ValueError("expected a whole number of 0 or more")
    return int(text)


_DIGITS = re.compile("[0-9]{1,18}").fullmatch


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return text.lower()

    return parse


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) or not 0 < float(text) < 86400:  # noqa: PLR2004 - a day
        raise ValueError("expected seconds, greater than 0 and less than 86400")
    return float(text)


def _identifier(text: str) -> str:
    if not re.fullmatch(r"[^\s/]+", text):
        raise ValueError("expected an identifier without spaces and slashes")
    return text


@dataclass(frozen=True)
class Settings:
    """Settings of a deployment, in the order of the table in docs/settings.md."""

    database_url: str = variable("DATABASE_URL", _database_url, "PostGIS connection URL; `postgres://` is accepted.")
    replica_url: str | None = variable(
        "STACFLASK_REPLICA_URL",
        _database_url,
        "Connection URL of a streaming replica to read from. Set `synchronous_commit` as docs/scaling.md describes.",
        None,
    )
    transaction_pooler: bool = variable(
        "STACFLASK_TRANSACTION_POOLER",
        _boolean,
        "Whether the database and its replica are behind a pooler in transaction mode, such as pgbouncer.",
        False,
    )
    plugins: tuple[str, ...] = variable(
        "STACFLASK_PLUGINS", _list, "Names of plugins, separated by commas; the leftmost is called first.", ()
    )
    public_url: str | None = variable(
        "STACFLASK_PUBLIC_URL",
        _url,
        "URL of this API as clients use it, with its path; every link begins with it.",
        None,
    )
    trusted_proxies: tuple[Network, ...] = variable(
        "STACFLASK_TRUSTED_PROXIES",
        _networks,
        "Networks whose Forwarded and X-Forwarded-* fields are trusted, for the client's address and, if "
        "STACFLASK_PUBLIC_URL is not set, for URLs.",
        (),
    )
    id: str = variable("STACFLASK_ID", _identifier, "Identifier of the catalog.", "stacflask")
    title: str = variable("STACFLASK_TITLE", str, "Title of the catalog.", "stacflask")
    description: str = variable(
        "STACFLASK_DESCRIPTION", str, "Description of the catalog.", "A STAC API whose assets can be downloaded."
    )
    default_limit: int = variable(
        "STACFLASK_DEFAULT_LIMIT", _positive, "Items per page if a request has no `limit`.", 10
    )
    max_limit: int = variable(
        "STACFLASK_MAX_LIMIT", _positive, "Maximum number of items per page; a larger `limit` is reduced to it.", 1000
    )
    manifest_limit: int = variable(
        "STACFLASK_MANIFEST_LIMIT",
        _positive,
        "Maximum number of items in a search that is returned as a text manifest (aria2, list, metalink); more are an "
        "error (413).",
        2000,
    )
    max_body: int = variable("STACFLASK_MAX_BODY", _positive, "Maximum size of a request body, in bytes.", 64 << 20)
    max_search_body: int = variable(
        "STACFLASK_MAX_SEARCH_BODY",
        _positive,
        "Maximum size of the body of a request that changes nothing, such as a search, in bytes.",
        1 << 20,
    )
    strict_parameters: bool = variable(
        "STACFLASK_STRICT_PARAMETERS", _boolean, "Whether an unknown query parameter is an error (400).", False
    )
    count: bool | str = variable(
        "STACFLASK_COUNT",
        _boolean_or_auto,
        "Whether searches return numberMatched if a request does not state it. `auto`: if all items are on one "
        "page, for `limit=1`, and in a catalog of at most STACFLASK_COUNT_LIMIT items.",
        AUTO,
    )
    count_limit: int = variable(
        "STACFLASK_COUNT_LIMIT",
        _count,
        "Maximum number of items that are counted for numberMatched; more are estimated.",
        10_000,
    )
    strict_names: bool = variable(
        "STACFLASK_STRICT_NAMES",
        _boolean,
        "Whether a name in filter, query or sortby that is not among the queryables is an error (400).",
        False,
    )
    queryables_sample: int = variable(
        "STACFLASK_QUERYABLES_SAMPLE",
        _count,
        "Number of newest items that are read for the queryables of users who cannot see all items; 0 withholds "
        "queryables from items.",
        2000,
    )
    hidden_extents: str = variable(
        "STACFLASK_HIDDEN_EXTENTS",
        _one_of("withheld", "computed", "stored"),
        "Extent of a collection for users who cannot see all its items: `withheld` (the whole world at any time), "
        "`computed` from visible items, or `stored`. Summaries are shown only with `stored`.",
        "withheld",
    )
    show_storage: bool = variable(
        "STACFLASK_SHOW_STORAGE",
        _boolean,
        "Whether documents have the storage URL of a managed asset under `alternate`.",
        False,
    )
    show_authentication: bool = variable(
        "STACFLASK_SHOW_AUTHENTICATION",
        _boolean,
        "Whether documents describe the authentication for downloads (STAC authentication extension).",
        False,
    )
    managed_hrefs: tuple[str, ...] = variable(
        "STACFLASK_MANAGED_HREFS",
        _list,
        "Prefixes of public hrefs (http, https, ftp) that are downloaded through this server. Hrefs of stores "
        "(s3, file, gs and all other schemes) always are.",
        (),
    )
    public_hrefs: tuple[str, ...] = variable(
        "STACFLASK_PUBLIC_HREFS",
        _list,
        "Prefixes of hrefs of stores, such as gs://open-data/, that are shown unchanged, because all clients can "
        "resolve them.",
        (),
    )
    directory_types: tuple[str, ...] = variable(
        "STACFLASK_DIRECTORY_TYPES",
        _list,
        "Media types of assets that are directories, whose files are downloaded by path. Hrefs that end in / are "
        "directories, too.",
        ("application/vnd+zarr", "application/vnd.zarr", "application/x-zarr", "application/zarr"),
    )
    stream_collections: tuple[str, ...] = variable(
        "STACFLASK_STREAM_COLLECTIONS", _list, "Collections whose assets are streamed, never redirected.", ()
    )
    stream_agents: tuple[str, ...] = variable(
        "STACFLASK_STREAM_AGENTS",
        _list,
        "Prefixes of the User-Agent of clients that get streams, because they send Authorization on to the store, "
        "which refuses it.",
        ("Wget/1.", "Python-urllib/"),
    )
    file_names: str = variable(
        "STACFLASK_FILE_NAMES",
        _one_of("item", "stored"),
        "File names of single downloads: `item` ({item}_{asset}.{extension}) or `stored` (the file name in the store).",
        "item",
    )
    max_streams: int = variable(
        "STACFLASK_MAX_STREAMS",
        _positive,
        "Maximum number of streams in flight per process; further ones are refused with 503 and Retry-After.",
        8,
    )
    max_buffered_bytes: int = variable(
        "STACFLASK_MAX_BUFFERED_BYTES",
        _positive,
        "Maximum size in bytes of a transformed asset whose length is unknown, because it is kept in a temporary file "
        "before it is sent. A response of several such assets shares it.",
        64 << 20,
    )
    threads: int | None = variable(
        "STACFLASK_THREADS",
        _positive,
        "Threads per process, including those of streams. The default is STACFLASK_MAX_STREAMS + 16.",
        None,
    )
    validate_schemas: bool = variable(
        "STACFLASK_VALIDATE_SCHEMAS",
        _boolean,
        "Whether documents must be valid against the JSON schemas of STAC and of their extensions.",
        False,
    )
    schemas: str | None = variable(
        "STACFLASK_SCHEMAS",
        str.strip,
        "Folder of further JSON schemas for validation: files `*.json`, each with its URL as `$id`.",
        None,
    )
    unknown_schemas: str = variable(
        "STACFLASK_UNKNOWN_SCHEMAS",
        _one_of("refuse", "warn"),
        "Validation of a document with a schema that is neither bundled nor in `STACFLASK_SCHEMAS`: `refuse` it, "
        "or `warn` and validate it against the others.",
        "refuse",
    )
    require_if_match: bool = variable(
        "STACFLASK_REQUIRE_IF_MATCH", _boolean, "Whether PUT, PATCH and DELETE require If-Match (428).", False
    )
    indexes: tuple[str, ...] = variable(
        "STACFLASK_INDEXES", _list, "Properties that `stacflask index add` indexes if none are named.", ()
    )
    statement_timeout: float = variable(
        "STACFLASK_STATEMENT_TIMEOUT",
        _seconds,
        "Maximum time of one statement of a request, in seconds; then 503.",
        20.0,
    )
    aggregate_timeout: float = variable(
        "STACFLASK_AGGREGATE_TIMEOUT",
        _seconds,
        "Maximum time of one statement of a count or an aggregation, which reads all matching items, in seconds; "
        "then 503.",
        10.0,
    )
    costly_timeout: float = variable(
        "STACFLASK_COSTLY_TIMEOUT",
        _seconds,
        "Maximum time of all statements of a search, count or aggregation with a costly condition, in seconds; "
        "then 503.",
        2.0,
    )
    pool_size: int = variable(
        "STACFLASK_POOL_SIZE",
        _positive,
        "Maximum number of database connections per process.",
        8,
    )
    cors_origins: tuple[str, ...] = variable(
        "STACFLASK_CORS_ORIGINS",
        _origins,
        "Origins from which browsers may send requests, separated by commas.",
        ("*",),
    )
    tracing: bool = variable(
        "STACFLASK_TRACING",
        _boolean,
        "Whether to export OpenTelemetry traces. Needs `stacflask[tracing]`; variables `OTEL_*` set the details.",
        False,
    )
    log_level: str = variable(
        "STACFLASK_LOG_LEVEL", _one_of("debug", "info", "warning", "error"), "Lowest level that is logged.", "info"
    )
    log_format: str = variable("STACFLASK_LOG_FORMAT", _one_of("json", "text"), "Format of log lines.", "json")

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Read the settings.

        Args:
            environ: Environment variables by name.

        Raises:
            SettingError: A setting is missing or wrong; the first one is reported.
        """
        return cls(**{f.name: _read(f.metadata, environ) for f in fields(cls) if _is_set(f.metadata, environ)})

    @classmethod
    def problems(cls, environ: Mapping[str, str]) -> Iterator[SettingError]:
        """Return an error for each setting that is missing or wrong."""
        for declared in (f.metadata for f in fields(cls)):
            try:
                if _is_set(declared, environ):
                    _read(declared, environ)
            except SettingError as error:
                yield error


def _is_set(declared: Mapping[str, Any], environ: Mapping[str, str]) -> bool:
    if environ.get(declared["name"], "").strip():
        return True
    if declared["required"]:
        raise SettingError(declared["name"], f"missing. {declared['help']}")
    return False


def _read(declared: Mapping[str, Any], environ: Mapping[str, str]) -> Any:
    try:
        return declared["parse"](environ[declared["name"]].strip())
    except ValueError as error:
        # A database URL can contain a password, so the message never has the value.
        shown = "" if declared["parse"] is _database_url else f", got {masked(environ[declared['name']])!r}"
        raise SettingError(declared["name"], f"{error}{shown}") from error
