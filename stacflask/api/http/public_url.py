"""The address that clients use. Every link, Location, OpenAPI server and ``$id`` begins with what this module says.

It is the setting, if there is one; else what a trusted proxy says in Forwarded (RFC 7239) or X-Forwarded-*; else what
the request itself was sent to.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address
from itertools import takewhile
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from flask import g, request

from stacflask import current

if TYPE_CHECKING:
    from collections.abc import Sequence

    from werkzeug.datastructures import Headers

    from stacflask.settings import Network

T = TypeVar("T")

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_PAIR = re.compile(r"\s*(for|proto|host)\s*=\s*(?:\"([^\"]*)\"|([^;,\s]*))\s*", re.IGNORECASE)
_NODE = re.compile(r"\[([^\]]*)\](?::\w+)?|([^:]*)(?::\w+)?")
_USUAL_PORTS = {"http": "80", "https": "443"}


def base_url() -> str:
    """Give the public address of the landing page, without a slash at its end."""
    known: str | None = g.get("base_url")
    if known is None:
        known = g.base_url = current.settings().public_url or _asked()
    return known


def _asked() -> str:
    scheme, host, prefix = request.scheme, request.host, quote(request.script_root)
    if _trusted(request.environ.get("REMOTE_ADDR", "")):
        told = _told(request.headers)
        scheme, host = told.get("proto", scheme), told.get("host", host)
        prefix = told.get("prefix", prefix)
        if "port" in told and not _has_port(host):
            host = _with_port(host, told["port"], scheme)
    return f"{scheme}://{host}{prefix}".rstrip("/")


def own_bases() -> tuple[str, ...]:
    """Return the base URLs by which this server is known to be reached: the public one and that of the request."""
    host = f"{request.scheme}://{request.host}{quote(request.script_root)}"
    return tuple(dict.fromkeys((base_url(), host.rstrip("/"))))


def client() -> str:
    """Give the client's address: the one that the outermost trusted proxy tells, else the connection's own."""
    remote = str(request.environ.get("REMOTE_ADDR", ""))
    if not _trusted(remote):
        return remote
    if "Forwarded" in request.headers:
        clients = [_pairs(element).get("for", "") for element in request.headers["Forwarded"].split(",")]
    else:
        clients = _list(request.headers, "X-Forwarded-For")
    node = _NODE.fullmatch(_outermost(clients, _believed(clients)))
    told = (node[1] or node[2]) if node else ""
    return told if _is_address(told) else remote


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _trusted(address: str) -> bool:
    return _within(address, current.settings().trusted_proxies)


@lru_cache(maxsize=1024)
def _within(address: str, networks: tuple[Network, ...]) -> bool:
    try:
        return any(ip_address(address) in network for network in networks)
    except ValueError:
        return False


def _told(headers: Headers) -> dict[str, str]:
    """Read what the outermost trusted proxy said; what is not well formed is as if it had not been said.

    Each proxy adds its words at the end. What stands before those of the trusted ones, anybody may have written.
    """
    if "Forwarded" in headers:
        elements = [_pairs(element) for element in headers["Forwarded"].split(",")]
        believed = _believed([element.get("for", "") for element in elements])
        told = {name: value for name, value in _outermost(elements, believed).items() if name != "for"}
    else:
        believed = _believed(_list(headers, "X-Forwarded-For"))
        names = {"proto": "X-Forwarded-Proto", "host": "X-Forwarded-Host", "port": "X-Forwarded-Port"}
        told = {key: _outermost(_list(headers, name), believed) for key, name in names.items() if name in headers}
    if "X-Forwarded-Prefix" in headers:
        told["prefix"] = _outermost(_list(headers, "X-Forwarded-Prefix"), believed).rstrip("/")
    return {key: value for key, value in told.items() if _well_formed(key, value)}


def _pairs(element: str) -> dict[str, str]:
    return {m[1].lower(): m[2] or m[3] or "" for part in element.split(";") if (m := _PAIR.fullmatch(part))}


def _list(headers: Headers, name: str) -> list[str]:
    return [value.strip() for value in headers.get(name, "").split(",")]


def _believed(clients: Sequence[str]) -> int:
    """Count the proxies to be believed: ours, and further ones as long as each says that a trusted one asked it."""
    asked_by = [_NODE.fullmatch(client) for client in reversed(clients)]
    hops = takewhile(lambda node: node is not None and _trusted(node[1] or node[2]), asked_by)
    return 1 + sum(1 for _ in hops)


def _outermost(words: Sequence[T], believed: int) -> T:
    return words[-min(believed, len(words))]


def _has_port(host: str) -> bool:
    return ":" in host.rpartition("]")[2]


def _with_port(host: str, port: str, scheme: str) -> str:
    return host if _USUAL_PORTS.get(scheme) == port else f"{host}:{port}"


def _well_formed(key: str, value: str) -> bool:
    match key:
        case "proto":
            return value in _USUAL_PORTS
        case "port":
            return value.isascii() and value.isdigit() and len(value) <= len("65535")
        case "prefix":
            return bool(_PREFIX.fullmatch(value))
    return bool(_HOST.fullmatch(value))


def request_url() -> str:
    """Give the URL that was asked for, as clients see it, character for character."""
    query = request.query_string.decode("latin-1")
    return f"{base_url()}{_asked_path()}" + (f"?{query}" if query else "")


def _asked_path() -> str:
    raw = str(request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI") or "").partition("?")[0]
    if not raw.startswith("/"):
        raw = quote(request.path)
    raw = raw.removeprefix(request.script_root)
    return "" if raw == "/" else raw


@lru_cache(maxsize=65536)
def segment(name: str) -> str:
    """Percent-encode an id or key so that it is one segment of a path."""
    return quote(name, safe="")


def collection_url(collection: str) -> str:
    """Give the address of a collection."""
    return f"{base_url()}/collections/{segment(collection)}"


def item_url(collection: str, item: str) -> str:
    """Give the address of an item."""
    return f"{base_url()}/collections/{segment(collection)}/items/{segment(item)}"
