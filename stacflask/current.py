"""Access the current request, its principal, and the components of the current application."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from flask import Request as HttpRequest
from flask import current_app, g, has_request_context, request

from stacflask.catalog.reader import Catalog
from stacflask.catalog.writer import Writer
from stacflask.gate import Gate
from stacflask.model.decision import Restriction
from stacflask.model.events import RequestInfo
from stacflask.model.principal import ANONYMOUS, Principal, Request
from stacflask.settings import Settings

EXTENSION = "stacflask"
TOKEN = "stacflask.token"  # noqa: S105 - a key in the WSGI environ
"""Key of the credential in a URL that begins with ``/signed/{token}``."""


@dataclass(frozen=True, slots=True)
class Components:
    """The components of one application that requests use."""

    settings: Settings
    gate: Gate
    catalog: Catalog
    writer: Writer


def components() -> Components:
    """Return the components of the current application."""
    return cast("Components", current_app.extensions[EXTENSION])


def settings() -> Settings:
    """Return the settings of the current application."""
    return components().settings


def gate() -> Gate:
    """Return the gate of the current application."""
    return components().gate


def catalog() -> Catalog:
    """Return the catalog of the current application, for reading."""
    return components().catalog


def writer() -> Writer:
    """Return the writer for the catalog of the current application."""
    return components().writer


class Fields(Mapping[str, str]):
    """Read-only header fields of a request.

    Plugins do not get werkzeug's headers, because these lead to the WSGI environ, which can be changed.
    """

    __slots__ = ("_headers",)

    def __init__(self, headers: Any) -> None:
        self._headers = headers

    def __getitem__(self, name: str) -> str:
        """Return a field's value. Raises KeyError."""
        value: str | None = self._headers.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field's value, or the default."""
        return self._headers.get(name, default)

    def __contains__(self, name: object) -> bool:
        """Return whether the request has a field."""
        return isinstance(name, str) and name in self._headers

    def __iter__(self) -> Iterator[str]:
        """Iterate over the fields' names."""
        return iter([name for name, _ in self._headers])

    def __len__(self) -> int:
        """Return the number of fields."""
        return len(self._headers)


def http_request() -> HttpRequest:
    """Return the current request itself. Reading through Flask's proxy takes several times as long."""
    return cast("HttpRequest", request._get_current_object())  # type: ignore[attr-defined]  # noqa: SLF001


def plugin_request() -> Request:
    """Return the current request in the form that plugins receive."""
    headers = Fields(request.headers)
    address, base_url = g.client, g.get("base_url", "")
    token = request.environ.get(TOKEN, "")
    return Request(request.method, request.path, headers, request.args, address, request.cookies, base_url, token)


def principal() -> Principal:
    """Return the principal of the current request. Plugins authenticate it once per request.

    Raises:
        BadCredentials: The credentials are wrong.
    """
    cached: Principal | None = g.get("principal")
    if cached is not None:
        return cached
    authenticated = ANONYMOUS
    if gate().authenticates or gate().adds_groups or TOKEN in request.environ:
        authenticated = gate().authenticate(plugin_request())
    g.principal = authenticated
    return authenticated


def is_anonymous() -> bool:
    """Return whether the current request has no authenticated principal, also if authentication has failed."""
    cached: Principal | None = g.get("principal")
    return cached is None or cached.anonymous


def restriction() -> Restriction:
    """Return what the principal of the current request can see. Plugins are called once per request."""
    cached: Restriction | None = g.get("restriction")
    if cached is None:
        cached = g.restriction = gate().restrict(principal())
    return cached


def request_info() -> RequestInfo:
    """Return the current request for records. Outside of a request, all fields are empty."""
    if not has_request_context():
        return RequestInfo()
    if "request_info" not in g:
        g.request_info = RequestInfo(g.request_id, request.method, g.client, request.headers.get("User-Agent", ""))
    return cast("RequestInfo", g.request_info)
