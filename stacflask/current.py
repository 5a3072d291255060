"""What belongs to the request at hand: who asks, and the rooms that answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from flask import current_app, g, has_request_context, request

from stacflask.model.events import RequestInfo
from stacflask.model.principal import ANONYMOUS, Principal, Request

if TYPE_CHECKING:
    from flask import Request as HttpRequest

    from stacflask.catalog.reader import Catalog
    from stacflask.catalog.writer import Writer
    from stacflask.gate import Gate
    from stacflask.model.decision import Restriction
    from stacflask.settings import Settings

EXTENSION = "stacflask"
TOKEN = "stacflask.token"  # noqa: S105 - a name in the environ
"""The credential of an address that begins with /signed/{token}."""


@dataclass(frozen=True, slots=True)
class House:
    """The rooms of one application."""

    settings: Settings
    gate: Gate
    catalog: Catalog
    writer: Writer


def house() -> House:
    """Give the rooms of the application at hand."""
    return cast("House", current_app.extensions[EXTENSION])


def settings() -> Settings:
    """Give the application's settings."""
    return house().settings


def gate() -> Gate:
    """Give the gate."""
    return house().gate


def catalog() -> Catalog:
    """Give the catalogue."""
    return house().catalog


def writer() -> Writer:
    """Give the catalogue's writing side."""
    return house().writer


class Fields(Mapping[str, str]):
    """A request's header fields, read-only: those of werkzeug lead to the environment, which can be changed."""

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
        """Whether a field came with the request."""
        return isinstance(name, str) and name in self._headers

    def __iter__(self) -> Iterator[str]:
        """Iterate over the fields' names."""
        return iter([name for name, _ in self._headers])

    def __len__(self) -> int:
        """Return the number of fields."""
        return len(self._headers)


def http() -> HttpRequest:
    """Return the request at hand itself: what is read through Flask's proxy costs several times as much."""
    return cast("HttpRequest", request._get_current_object())  # type: ignore[attr-defined]  # noqa: SLF001


def asked() -> Request:
    """Give what plugins may see of the request."""
    headers = Fields(request.headers)
    address, base_url = g.client, g.get("base_url", "")
    token = request.environ.get(TOKEN, "")
    return Request(request.method, request.path, headers, request.args, address, request.cookies, base_url, token)


def principal() -> Principal:
    """Say who asks, once per request. Raises BadCredentials."""
    known: Principal | None = g.get("principal")
    if known is None:
        door = gate()
        known = g.principal = door.authenticate(asked()) if door.recognises or TOKEN in request.environ else ANONYMOUS
    return known


def restriction() -> Restriction:
    """Say what may be seen by who asks, once per request."""
    known: Restriction | None = g.get("restriction")
    if known is None:
        known = g.restriction = gate().restrict(principal())
    return known


def request_info() -> RequestInfo:
    """Tell the request at hand for the record; nothing, where there is none."""
    if not has_request_context():
        return RequestInfo()
    if "request_info" not in g:
        g.request_info = RequestInfo(g.request_id, request.method, g.client, request.headers.get("User-Agent", ""))
    return cast("RequestInfo", g.request_info)
