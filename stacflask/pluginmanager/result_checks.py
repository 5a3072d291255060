"""Checks of the values that plugins return, field by field.

A value is valid if it has exactly the expected class, and each field passes its check in ``FIELDS``. Numbers and texts
must have exactly the built-in type, because 0 is not False, and a subclass could return another value each time.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, NamedTuple

import orjson

from stacflask.errors import Offline, Refused, StacflaskError, Unavailable
from stacflask.model.decision import Decision
from stacflask.model.delivery import Location, Order, Redirect, SignedQueries, Stream
from stacflask.model.endpoint import Cookie, Endpoint, EndpointResponse
from stacflask.model.principal import Challenge, Principal
from stacflask.model.readonly import EMPTY
from stacflask.model.services import Setting

Check = Callable[[Any], bool]

MAX_TEXT_LENGTH = 10_000
MAX_NAME_LENGTH = 1_000
MAX_URL_LENGTH = 16_000
MAX_FIELD_LENGTH = 8_000
"""Maximum lengths, in characters."""
MAX_GROUPS = 10_000
MAX_HEADERS = 50
MAX_QUERIES = 1_000_000
MAX_JSON_BYTES = 64 << 10
"""Maximum size of a JSON object, such as further members of an error's body."""
MAX_OBJECT_BYTES = (1 << 63) - 1
MAX_WAIT_SECONDS = 10 * 366 * 86_400
MIN_LIFETIME, MAX_LIFETIME = timedelta(0), timedelta(days=36_525)
MAX_DEPTH = 64
"""Maximum number of levels of a condition."""


class Field(NamedTuple):
    """A check of a field: the function, the expected value in words, and a description of a wrong value."""

    check: Check
    expected: str
    got: Callable[[Any], str] | None = None

    def optional(self) -> Field:
        """Return a check that allows None as well."""
        check = self.check
        return Field(lambda value: value is None or check(value), f"{self.expected} or None")


# --- Texts -----------------------------------------------------------------------------------------------------------

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PORT = r"[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
_URL = re.compile(
    r"https?://(?:[A-Za-z0-9_-][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])"
    rf"(?::(?:{_PORT}))?(?:[/?][!$-;=?-\[\]^_`a-z{{|}}~]*)?"
)
_QUERY = re.compile(r"[A-Za-z0-9._~-]+=[A-Za-z0-9._~%!$'()*+,;:@/?=&-]*")
_PATH = re.compile(r"/(?![/\\])[A-Za-z0-9._~%!$'()*+,;:@/?=&-]*")
_REL = re.compile(r"[a-z][a-z0-9.-]*|[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9._~%!$'()*+,;:@/?=&#-]+")
_ETAG = re.compile(r'"[!#-~\x80-\xff]*"')
_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(?:\s?;\s?[\w.+-]+=[\w.+/:-]+)*", re.ASCII)
TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
"""The name of a header field (RFC 9110, 5.6.2)."""
VALUE = re.compile(r"[\t !-~\x80-\xff]*")
"""The value of a header field, in Latin-1 (RFC 9110, 5.5)."""


def is_text(value: Any, most: int = MAX_TEXT_LENGTH) -> bool:
    """Return whether a value is a text that can be encoded as UTF-8."""
    if type(value) is not str or len(value) > most:
        return False
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:  # a lone surrogate
        return False


def _is_str(value: Any) -> bool:
    return value is None or type(value) is str


def is_line(value: Any, most: int = MAX_TEXT_LENGTH) -> bool:
    """Return whether a value is a text of one line that is not empty."""
    if type(value) is not str or not 0 < len(value) <= most:
        return False
    return value.isprintable() or (is_text(value, most) and not _CONTROL.search(value))


def is_name(value: Any) -> bool:
    """Return whether a value is a text of one line that is neither empty nor too long."""
    return is_line(value, MAX_NAME_LENGTH)


def _matching(form: re.Pattern[str], most: int) -> Check:
    return lambda value: type(value) is str and len(value) <= most and form.fullmatch(value) is not None


def _one_of(*choices: str) -> Field:
    return Field(lambda value: type(value) is str and value in choices, f"one of {', '.join(choices)}")


TEXT = Field(is_text, "text (str) in UTF-8 that is not too long")
NAME = Field(is_name, "text (str) without control characters, not empty")
LINE = Field(lambda value: value == "" or is_name(value), "text (str) without control characters")
URL = Field(
    _matching(_URL, MAX_URL_LENGTH),
    "an absolute http or https URL without user, fragment, spaces and control characters",
)
WORD = Field(_matching(re.compile(r"[A-Za-z][A-Za-z0-9_.:/-]*"), 100), "a word of letters, digits and _.:/-")
LINK = Field(_matching(_PATH, MAX_FIELD_LENGTH), "a path of this API that begins with a slash")
REL = Field(_matching(_REL, MAX_NAME_LENGTH), "a relation in lower case, such as license, or a URI")
MEDIA_TYPE = Field(_matching(_MEDIA_TYPE, 200), "a media type")
ETAG = Field(_matching(_ETAG, MAX_NAME_LENGTH), "a strong validator with its quotes")

# --- Numbers and times -----------------------------------------------------------------------------------------------


def _whole(most: int) -> Field:
    return Field(lambda value: type(value) is int and 0 <= value <= most, f"a whole number (int) from 0 to {most}")


def _is_time(value: Any) -> bool:
    return isinstance(value, datetime) and value.utcoffset() is not None


def _is_lifetime(value: Any) -> bool:
    return isinstance(value, timedelta) and MIN_LIFETIME <= value <= MAX_LIFETIME


BOOLEAN = Field(lambda value: value is True or value is False, "True or False")
SECONDS = _whole(MAX_WAIT_SECONDS)
BYTES = _whole(MAX_OBJECT_BYTES)
STATUS = Field(lambda value: type(value) is int and 200 <= value <= 599, "a status (int) from 200 to 599")  # noqa: PLR2004
TIME = Field(_is_time, "a datetime with a time zone")
LIFETIME = Field(_is_lifetime, f"a timedelta from 0 to {MAX_LIFETIME.days} days")

# --- Sequences and mappings ------------------------------------------------------------------------------------------


def _sequence(one: Check, most: int) -> Check:
    return lambda value: isinstance(value, list | tuple) and len(value) <= most and all(map(one, value))


def _is_members(value: Any) -> bool:
    """Return whether a value is a mapping that can be written as a JSON object."""
    if not isinstance(value, Mapping):
        return False
    try:
        return not value or len(orjson.dumps(dict(value))) <= MAX_JSON_BYTES
    except TypeError:
        return False


def _is_extra(value: Any) -> bool:
    return _is_members(value) and not value.keys() & {"code", "description"}


def _is_claims(value: Any) -> bool:
    return value is EMPTY or (isinstance(value, Mapping) and all(type(name) is str for name in value))


def _names(value: Any) -> bool:
    return isinstance(value, frozenset) and len(value) <= MAX_GROUPS and all(map(is_name, value))


def _texts(value: Any) -> bool:
    return isinstance(value, Mapping) and all(is_text(part) for pair in value.items() for part in pair)


MEMBERS = Field(_is_members, f"a mapping that is a JSON object of at most {MAX_JSON_BYTES} bytes")
EXTRA = Field(_is_extra, f"{MEMBERS.expected}, without code and description")
GROUP_NAMES = Field(_names, "a frozenset of names")
CALLABLE = Field(lambda value: callable(value) and not inspect.iscoroutinefunction(value), "a plain function")

# --- Header fields ---------------------------------------------------------------------------------------------------

DECISION_HEADERS = frozenset({"ratelimit", "ratelimit-policy", "link", "deprecation", "sunset", "warning"})
"""Header fields that a decision can add, besides custom ones that begin with X-."""
RESERVED_X_HEADERS = re.compile(
    r"X-(?:Accel|Sendfile|Lighttpd|LiteSpeed|Reproxy|Request-ID|Content|Frame|XSS|Permitted|DNS|Download|UA|Forwarded"
    r"|Real|Original|Rewrite|HTTP|Refused-Assets|Signed|Powered|Robots|Varnish|Cache|Served)(?:-.*)?",
    re.IGNORECASE,
)
"""Header fields with X- that this server sets, or that proxies and browsers use."""
RESERVED_HEADERS = frozenset(
    {
        *("connection", "content-length", "content-type", "date", "keep-alive", "proxy-connection", "server"),
        *("set-cookie", "te", "trailer", "transfer-encoding", "upgrade", "x-content-type-options"),
        *("x-request-id", "x-sendfile", "content-encoding", "accept-ranges", "content-range"),
    }
)
"""Header fields that an endpoint must not set, because the server or fields of ``EndpointResponse`` set them."""


def _headers(allowed: Callable[[str], bool], expected: str) -> Field:
    def wrong(value: Any) -> str | None:
        if not isinstance(value, Mapping):
            return describe(value)
        names = set()
        for name, text in value.items() if len(value) <= MAX_HEADERS else ():
            if not (_is_token(name) and allowed(name) and _is_value(text)):
                return _header_name(name)
            names.add(name.lower())
        return None if len(names) == len(value) else "too many, or a duplicate"

    return Field(lambda value: wrong(value) is None, expected, lambda value: str(wrong(value)))


def _header_name(name: Any) -> str:
    return name if _is_token(name) else describe(name)


_is_token = _matching(TOKEN, 100)
_is_value = _matching(VALUE, MAX_FIELD_LENGTH)


def _is_decision_header(name: str) -> bool:
    lower = name.lower()
    return lower in DECISION_HEADERS or (lower.startswith("x-") and not RESERVED_X_HEADERS.fullmatch(name))


def _is_endpoint_header(name: str) -> bool:
    return name.lower() not in RESERVED_HEADERS and not name.lower().startswith("x-accel")


HEADERS = "header fields by name, in Latin-1 without control characters"
DECISION_FIELDS = _headers(
    _is_decision_header, f"{HEADERS}: RateLimit, RateLimit-Policy, Link, Deprecation, Sunset, Warning or X-..."
)
ENDPOINT_FIELDS = _headers(_is_endpoint_header, f"{HEADERS}, and not set by the server")

# --- Endpoints, challenges, commands ---------------------------------------------------------------------------------

_SEGMENT = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|\{\w+\})+"
PATH = re.compile(rf"(?:/(?!\.{{1,2}}(?:/|$)){_SEGMENT})+/?", re.ASCII)
"""The path of an endpoint, as in OpenAPI."""
COMMAND = re.compile(r"[a-z0-9][a-z0-9_-]*", re.IGNORECASE | re.ASCII)


def _is_scheme(value: Any) -> bool:
    """Return whether a value is a security scheme. The name of its header field is added to ``Vary``."""
    if not _is_members(value) or type(value.get("type")) is not str:
        return False
    return value.get("in") not in ("header", "cookie") or _is_token(value.get("name"))


def _is_body(value: Any) -> bool:
    """Return whether a body is a text or JSON. It must not be an iterator, because the check would exhaust it."""
    if type(value) is str:
        return is_text(value, 1 << 30)
    try:
        orjson.dumps(value)
    except (TypeError, RecursionError):
        return False
    return True


def _is_endpoint_path(value: Any) -> bool:
    if type(value) is not str or len(value) > MAX_NAME_LENGTH or not PATH.fullmatch(value):
        return False
    variables = re.findall(r"\{(\w+)\}", value)
    return len(set(variables)) == len(variables)


SCOPE = _one_of("read", "write", "download").optional()
STATE = _one_of("orderable", "ordered", "shipping", "succeeded", "failed")
COOKIE_VALUE = _matching(re.compile(r"[!#-+\--:<-\[\]-~]*"), MAX_FIELD_LENGTH)

FIELDS: dict[type, dict[str, Field]] = {
    Decision: {
        "allowed": Field(lambda value: value is True or value is False or value is None, "True, False or None"),
        "reason": TEXT,
        "detail": TEXT.optional(),
        "kind": _one_of("forbidden", "exhausted"),
        "code": WORD.optional(),
        "link": LINK.optional(),
        "retry_after": SECONDS.optional(),
        "headers": DECISION_FIELDS,
        "extra": EXTRA,
        "counted": BOOLEAN,
        "scope": WORD.optional(),
        "by": TEXT,
        "max_bytes": BYTES.optional(),
        "rel": REL,
        "stream": BOOLEAN,
    },
    Principal: {
        "id": NAME,
        "groups": GROUP_NAMES,
        "scheme": LINE,
        "scopes": GROUP_NAMES.optional(),
        "claims": Field(_is_claims, "a mapping by text"),
        "reference": LINE,
        "until": TIME.optional(),
        "added_groups": GROUP_NAMES,
    },
    Location: {
        "store": NAME,
        "path": TEXT,
        "options": Field(_is_claims, "a mapping by text"),
    },
    Redirect: {"url": URL, "lifetime": LIFETIME, "size": BYTES.optional()},
    SignedQueries: {
        "queries": Field(_sequence(_matching(_QUERY, MAX_URL_LENGTH), MAX_QUERIES), "a list of queries (name=value)"),
        "lifetime": LIFETIME,
    },
    Stream: {
        "open": CALLABLE,
        "length": BYTES.optional(),
        "etag": ETAG.optional(),
        "last_modified": TIME.optional(),
        # Values of the store. The download ignores invalid ones.
        **dict.fromkeys(("content_type", "content_encoding", "content_language"), Field(_is_str, "text (str) or None")),
        "ranges": BOOLEAN,
        "changed": BOOLEAN,
    },
    Order: {"status": STATE, "retry_after": SECONDS},
    Challenge: {
        "header": Field(_matching(VALUE, MAX_FIELD_LENGTH), "text (str) in Latin-1 without control characters"),
        "name": Field(_matching(re.compile(r"[A-Za-z0-9._-]+"), 100), "letters, digits and ._-"),
        "scheme": Field(_is_scheme, "an OpenAPI security scheme"),
        "stac": MEMBERS.optional(),
        "instruction": TEXT,
    },
    Endpoint: {
        "method": _one_of("GET", "POST", "PUT", "DELETE"),
        "path": Field(
            _is_endpoint_path, "a path that begins with a slash, such as /terms/{termsId}, with each name only once"
        ),
        "handler": CALLABLE,
        "summary": TEXT,
        "response": MEMBERS,
        "request": MEMBERS.optional(),
        "status": STATUS,
        "statuses": Field(_sequence(STATUS.check, 100), "a list of statuses (int)"),
        "media_type": MEDIA_TYPE,
        "query": Field(_texts, "texts by name"),
        "public": BOOLEAN,
        "scope": SCOPE,
        "forms": BOOLEAN,
        "by": TEXT,
    },
    EndpointResponse: {
        "body": Field(_is_body, "text (str) or JSON"),
        "status": STATUS,
        "headers": ENDPOINT_FIELDS,
        "cookies": Field(_sequence(lambda one: type(one) is Cookie, MAX_HEADERS), "a list of Cookie"),
        "media_type": MEDIA_TYPE,
    },
    Cookie: {
        "name": Field(_is_token, "a token"),
        "value": Field(COOKIE_VALUE, "characters that are allowed in a cookie"),
        "seconds": SECONDS,
        "path": LINK,
        "secure": BOOLEAN,
    },
    Setting: {
        "name": Field(_matching(re.compile(r"[A-Z][A-Z0-9_]*"), 100), "a variable name in upper case"),
        "help": TEXT,
        "default": TEXT,
        "required": BOOLEAN,
        "secret": BOOLEAN,
    },
}


_READ = {kind: attrgetter(*fields) for kind, fields in FIELDS.items()}
_BY = list(FIELDS[Decision]).index("by")


def _default(field: Any, check: Check) -> Any:
    """Return the default of a field, which needs no check, or an object that is identical to no value.

    Without this, a decision takes 32 us instead of 10, and a page has one for each asset.
    """
    default = field.default if field.default_factory is MISSING else field.default_factory()
    return default if default is not MISSING and check(default) else object()


def _checks(kind: type) -> list[tuple[Check, Any]]:
    defaults = {field.name: field for field in fields(kind)}
    return [(field.check, _default(defaults[name], field.check)) for name, field in FIELDS[kind].items()]


_CHECKS = {kind: _checks(kind) for kind in FIELDS}


def problem(value: Any) -> str | None:
    """Return what is wrong with a value of a class in ``FIELDS``, or None."""
    kind = type(value)
    for found, (check, default) in zip(_READ[kind](value), _CHECKS[kind], strict=True):
        if found is not default and not check(found):
            return _field_problem(value)
    return _response_problem(value) if kind is EndpointResponse else None


def _field_problem(value: Any) -> str | None:
    kind = type(value)
    for found, (name, field) in zip(_READ[kind](value), FIELDS[kind].items(), strict=True):
        if not field.check(found):
            return f"expected {name} to be {field.expected}, got {(field.got or describe)(found)}"
    return None


def signed(decision: Decision, by: str) -> Decision:
    """Return a decision with the name of its plugin."""
    fields = list(_READ[Decision](decision))
    fields[_BY] = by
    return Decision(*fields)


def _response_problem(response: EndpointResponse) -> str | None:
    if response.media_type != "application/json" and type(response.body) is not str:
        return f"expected body to be text (str) for {response.media_type}, got {describe(response.body)}"
    return next(filter(None, map(problem, response.cookies)), None)


def describe(given: Any) -> str:
    """Describe a wrong value by its type, because the value itself can be secret."""
    if isinstance(given, type):
        return f"the class {given.__name__}"
    if type(given) in (bool, int, float):
        return f"{type(given).__name__} {str(given)[:20]}" if not _is_huge(given) else "a huge number"
    parts = sorted({type(one).__name__ for one in given}) if isinstance(given, list | tuple) else []
    return f"{type(given).__name__}{' of ' if parts else ''}{', '.join(parts)}"


def _is_huge(number: float) -> bool:
    return isinstance(number, int) and number.bit_length() > 64  # noqa: PLR2004 - those of 64 bits are usual


# --- Conditions ------------------------------------------------------------------------------------------------------


def condition_problem(condition: Any) -> str | None:
    """Return what is wrong with the structure of a condition in CQL2 JSON. The compiler checks its meaning."""
    if type(condition) is bool:
        return None
    if type(condition) is not dict or type(condition.get("op")) is not str:
        return "expected an object with op and args, or True or False"
    level: list[Any] = [condition]
    for _ in range(MAX_DEPTH):
        for part in level:
            problem = None if isinstance(part, dict | list | tuple) else _literal_problem(part)
            if problem is None and isinstance(part, dict) and not _NAMES.issuperset(map(type, part)):
                problem = "expected the names of an object to be text (str)"
            if problem is not None:
                return problem
        level = [part for parts in level for part in _members(parts)]
        if not level:
            return None
    return f"expected at most {MAX_DEPTH} levels"


_LITERALS = frozenset({str, int, bool, type(None)})
_NAMES = frozenset({str})


def _literal_problem(value: Any) -> str | None:
    if type(value) is float:
        return None if abs(value) < float("inf") else f"expected finite numbers, got {value}"
    return None if type(value) in _LITERALS else f"expected JSON, got {describe(value)}"


def _members(value: Any) -> list[Any]:
    """Return the members of a part of a condition that their type alone does not make valid."""
    if isinstance(value, dict):
        return [member for member in value.values() if type(member) not in _LITERALS]
    return [member for member in value if type(member) not in _LITERALS] if isinstance(value, list | tuple) else []


# --- Errors ----------------------------------------------------------------------------------------------------------


def error_problem(error: StacflaskError) -> str | None:
    """Return what is wrong with an error that a plugin raises. Its attributes become part of the response."""
    try:
        return _error_problem(error)
    except BaseException as unreadable:  # noqa: BLE001 - a class of a plugin can raise any exception
        return f"raised {type(error).__name__}, which raises {type(unreadable).__name__}"


def _error_problem(error: StacflaskError) -> str | None:
    if not TEXT.check(error.description):
        return f"expected description to be {TEXT.expected}, got {describe(error.description)}"
    if not WORD.check(error.code):
        return f"expected code to be {WORD.expected}, got {describe(error.code)}"
    if isinstance(error, Unavailable) and not SECONDS.check(error.retry_after):
        return f"expected retry_after to be {SECONDS.expected}, got {describe(error.retry_after)}"
    if isinstance(error, Offline):
        return problem(error.order) if type(error.order) is Order else f"expected Order, got {describe(error.order)}"
    if isinstance(error, Refused):
        return _refusal_problem(error)
    return None


def _refusal_problem(error: Refused) -> str | None:
    decision = error.decision
    if type(decision) is not Decision or decision.allowed is not False:
        return f"expected Refused to have a denial, got {describe(decision)}"
    if error.anonymous is not None and type(error.anonymous) is not bool:
        return f"expected anonymous to be True, False or None, got {describe(error.anonymous)}"
    return problem(decision)
