"""One frozen ``Settings``, read once from the environment. Every complaint begins with the variable's name."""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from stacflask.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Network: TypeAlias = IPv4Network | IPv6Network

_UNSET: Any = object()


def variable(name: str, parse: Callable[[str], Any], text: str, default: Any = _UNSET) -> Any:
    """Declare one setting: its variable, how it is read, what it does, and its default if it has one."""
    metadata = {"name": name, "parse": parse, "help": text, "required": default is _UNSET}
    if default is _UNSET:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


_PART = (
    r"(?:\w*(?:password|passwd|secret|token|credential|signature|authorization|api_?key|access_?key|private_?key)\w*"
    r"|\b(?:\w*_)?(?:pass|passphrase|pwd|sig)\b)"
)  # names of parts of a value
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
    """Return a setting's value without the secrets in it: passwords in URLs, and what secret names stand for."""
    if text[:1] in ("{", "["):
        try:
            return json.dumps(_masked_json(json.loads(text)), ensure_ascii=False)
        except (ValueError, RecursionError):
            pass  # masked as text
    text = _PRIVATE_KEY.sub("***", text)
    text = _SCHEME_VALUE.sub(r"\1=***", _USER_INFO.sub(r"\1:***", text))
    if text.startswith("http"):  # the key of a service stands for the user there
        text = _KEY_IN_URL.sub("***", text)
    return _SECRET_VALUE.sub(r"\1***", text)


def is_secret_name(name: str) -> bool:
    """Return whether a variable must hold a secret by its name, whatever a plugin says of it."""
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
    # The name of a variable or file is none of its value.
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
        raise ValueError("expected an http or https address without query, such as https://stac.example.org/api")
    return text.rstrip("/")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(word, strict=False) for word in _words(text))
    except ValueError:
        raise ValueError("expected networks such as 10.0.0.0/8, with commas between them") from None


def _origins(text: str) -> tuple[str, ...]:
    for word in _words(text):
        if not re.fullmatch(r"\*|https?://[A-Za-z0-9.-]+(:\d{1,5})?", word):
            raise ValueError("expected * or origins such as https://maps.example.org, without path and patterns")
    return _words(text)


def _yes_no(text: str) -> bool:
    answers = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if text.strip().lower() not in answers:
        raise ValueError("expected true or false")
    return answers[text.strip().lower()]


AUTO = "auto"


def _yes_no_auto(text: str) -> bool | str:
    return AUTO if text.strip().lower() == AUTO else _yes_no(text)


def _positive(text: str) -> int:
    if not _DIGITS(text) or int(text) < 1:
        raise ValueError("expected a whole number above 0")
    return int(text)


def _count(text: str) -> int:
    if not _DIGITS(text):
        raise ValueError("expected a whole number from 0 up")
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
        raise ValueError("expected seconds above 0, less than a day")
    return float(text)


def _identifier(text: str) -> str:
    if not re.fullmatch(r"[^\s/]+", text):
        raise ValueError("expected a name without spaces and slashes")
    return text


@dataclass(frozen=True)
class Settings:
    """What a deployment may set. The order is that of the table in docs/settings.md."""

    database_url: str = variable("DATABASE_URL", _database_url, "The PostGIS database, in Heroku's spelling too.")
    replica_url: str | None = variable(
        "STACFLASK_REPLICA_URL",
        _database_url,
        "A streaming replica of it to read from; whoever writes still sees what was written.",
        None,
    )
    transaction_pooler: bool = variable(
        "STACFLASK_TRANSACTION_POOLER",
        _yes_no,
        "Whether a pooler in transaction mode, such as pgbouncer, stands before the database and its replica.",
        False,
    )
    plugins: tuple[str, ...] = variable(
        "STACFLASK_PLUGINS", _words, "Plugins by name, comma separated; the leftmost is asked first.", ()
    )
    public_url: str | None = variable(
        "STACFLASK_PUBLIC_URL", _url, "The address that clients use, path included; every link begins with it.", None
    )
    trusted_proxies: tuple[Network, ...] = variable(
        "STACFLASK_TRUSTED_PROXIES",
        _networks,
        "Networks whose Forwarded and X-Forwarded-* fields are believed: for addresses where none is set, and for "
        "who the client is.",
        (),
    )
    id: str = variable("STACFLASK_ID", _identifier, "The catalogue's id.", "stacflask")
    title: str = variable("STACFLASK_TITLE", str, "The catalogue's title.", "stacflask")
    description: str = variable(
        "STACFLASK_DESCRIPTION", str, "The catalogue's description.", "A STAC API whose assets can be downloaded."
    )
    default_limit: int = variable("STACFLASK_DEFAULT_LIMIT", _positive, "Items in a page, unless asked.", 10)
    max_limit: int = variable("STACFLASK_MAX_LIMIT", _positive, "Items in a page at most; more is clamped.", 1000)
    manifest_limit: int = variable(
        "STACFLASK_MANIFEST_LIMIT",
        _positive,
        "Items of a search whose downloads are listed as text (aria2, list, metalink), at most; more are an error "
        "(413).",
        2000,
    )
    max_body: int = variable("STACFLASK_MAX_BODY", _positive, "Size of a request's body in bytes, at most.", 64 << 20)
    max_search_body: int = variable(
        "STACFLASK_MAX_SEARCH_BODY",
        _positive,
        "Size in bytes of the body of a request that changes nothing, such as a search, at most.",
        1 << 20,
    )
    strict_parameters: bool = variable(
        "STACFLASK_STRICT_PARAMETERS", _yes_no, "Whether an unknown query parameter is an error (400).", False
    )
    count: bool | str = variable(
        "STACFLASK_COUNT",
        _yes_no_auto,
        "Whether searches return numberMatched, unless asked; auto: if all pages are one, for limit=1, and in a "
        "catalogue of at most STACFLASK_COUNT_LIMIT items.",
        AUTO,
    )
    count_limit: int = variable(
        "STACFLASK_COUNT_LIMIT", _count, "Items counted for numberMatched at most; more are estimated.", 10_000
    )
    strict_names: bool = variable(
        "STACFLASK_STRICT_NAMES",
        _yes_no,
        "Whether a name in filter, query or sortby that is not among the queryables is an error (400).",
        False,
    )
    queryables_sample: int = variable(
        "STACFLASK_QUERYABLES_SAMPLE",
        _count,
        "Newest items looked at for queryables where not all items may be seen; 0 withholds what items hold.",
        2000,
    )
    hidden_extents: str = variable(
        "STACFLASK_HIDDEN_EXTENTS",
        _one_of("withheld", "computed", "stored"),
        "What is shown of a collection's extent to who may not see all items: withheld (the whole world at any time), "
        "computed of what may be seen, or stored. Summaries are shown with stored alone.",
        "withheld",
    )
    show_storage: bool = variable(
        "STACFLASK_SHOW_STORAGE",
        _yes_no,
        "Whether a managed asset's storage address is shown under alternate.",
        False,
    )
    show_authentication: bool = variable(
        "STACFLASK_SHOW_AUTHENTICATION",
        _yes_no,
        "Whether documents tell how to authenticate for downloads (STAC authentication extension).",
        False,
    )
    managed_hrefs: tuple[str, ...] = variable(
        "STACFLASK_MANAGED_HREFS",
        _words,
        "Beginnings of public hrefs (http, https, ftp) that are downloaded through this server; those of stores (s3, "
        "file, gs and all other schemes) always are.",
        (),
    )
    public_hrefs: tuple[str, ...] = variable(
        "STACFLASK_PUBLIC_HREFS",
        _words,
        "Beginnings of hrefs of stores, such as gs://open-data/, that are shown as they are, because anybody can "
        "resolve them.",
        (),
    )
    directory_types: tuple[str, ...] = variable(
        "STACFLASK_DIRECTORY_TYPES",
        _words,
        "Media types of assets that are directories, whose files are downloaded by path; so are hrefs that end in /.",
        ("application/vnd+zarr", "application/vnd.zarr", "application/x-zarr", "application/zarr"),
    )
    stream_collections: tuple[str, ...] = variable(
        "STACFLASK_STREAM_COLLECTIONS", _words, "Collections whose bytes are streamed, never redirected.", ()
    )
    stream_agents: tuple[str, ...] = variable(
        "STACFLASK_STREAM_AGENTS",
        _words,
        "Beginnings of the User-Agent of clients that send Authorization on to the store, which refuses it: streamed.",
        ("Wget/1.", "Python-urllib/"),
    )
    file_names: str = variable(
        "STACFLASK_FILE_NAMES",
        _one_of("item", "stored"),
        "How single downloads are named: item ({item}_{asset}.{extension}) or stored (as the file in the store).",
        "item",
    )
    max_streams: int = variable(
        "STACFLASK_MAX_STREAMS", _positive, "Streams in flight per process; beyond it, 503 with Retry-After.", 8
    )
    threads: int | None = variable(
        "STACFLASK_THREADS",
        _positive,
        "Threads per process, a stream's included; unless set, 16 more than STACFLASK_MAX_STREAMS.",
        None,
    )
    validate_schemas: bool = variable(
        "STACFLASK_VALIDATE_SCHEMAS",
        _yes_no,
        "Whether documents must be valid against the JSON schemas of STAC and of the extensions they name.",
        False,
    )
    schemas: str | None = variable(
        "STACFLASK_SCHEMAS",
        str.strip,
        "Folder of further JSON schemas for validation: files `*.json`, each with its address as `$id`.",
        None,
    )
    unknown_schemas: str = variable(
        "STACFLASK_UNKNOWN_SCHEMAS",
        _one_of("refuse", "warn"),
        "What validation does with a document that names a schema which is neither bundled nor in `STACFLASK_SCHEMAS`: "
        "refuse it, or check it against the others and warn.",
        "refuse",
    )
    require_if_match: bool = variable(
        "STACFLASK_REQUIRE_IF_MATCH", _yes_no, "Whether replacing, patching and deleting need If-Match (428).", False
    )
    indexes: tuple[str, ...] = variable(
        "STACFLASK_INDEXES", _words, "Properties that `stacflask index add` indexes if none are named.", ()
    )
    statement_timeout: float = variable(
        "STACFLASK_STATEMENT_TIMEOUT", _seconds, "Seconds that one statement of a request may take; then 503.", 20.0
    )
    aggregate_timeout: float = variable(
        "STACFLASK_AGGREGATE_TIMEOUT",
        _seconds,
        "Seconds that one statement of a count or an aggregation may take, which look at all that is found; then 503.",
        10.0,
    )
    costly_timeout: float = variable(
        "STACFLASK_COSTLY_TIMEOUT",
        _seconds,
        "Seconds that all statements of a search, count or aggregation with a costly condition may take together; "
        "then 503.",
        2.0,
    )
    pool_size: int = variable("STACFLASK_POOL_SIZE", _positive, "Database connections per process, at most.", 8)
    cors_origins: tuple[str, ...] = variable(
        "STACFLASK_CORS_ORIGINS", _origins, "Origins that browsers may call from, comma separated.", ("*",)
    )
    log_level: str = variable(
        "STACFLASK_LOG_LEVEL", _one_of("debug", "info", "warning", "error"), "The least that is logged.", "info"
    )
    log_format: str = variable("STACFLASK_LOG_FORMAT", _one_of("json", "text"), "How it is logged.", "json")

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Read the settings. Raises SettingError for the first that is missing or wrong."""
        return cls(**{f.name: _read(f.metadata, environ) for f in fields(cls) if _given(f.metadata, environ)})

    @classmethod
    def problems(cls, environ: Mapping[str, str]) -> Iterator[SettingError]:
        """Find all that are missing or wrong."""
        for declared in (f.metadata for f in fields(cls)):
            try:
                if _given(declared, environ):
                    _read(declared, environ)
            except SettingError as error:
                yield error


def _given(declared: Mapping[str, Any], environ: Mapping[str, str]) -> bool:
    if environ.get(declared["name"], "").strip():
        return True
    if declared["required"]:
        raise SettingError(declared["name"], f"missing. {declared['help']}")
    return False


def _read(declared: Mapping[str, Any], environ: Mapping[str, str]) -> Any:
    try:
        return declared["parse"](environ[declared["name"]].strip())
    except ValueError as error:
        # A database address holds a password: the message names the form, never the value.
        shown = "" if declared["parse"] is _database_url else f", not {masked(environ[declared['name']])!r}"
        raise SettingError(declared["name"], f"{error}{shown}") from error
