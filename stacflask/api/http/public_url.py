"""The public base URL. Every link, Location, OpenAPI server and ``$id`` begins with it.

It is the setting, if there is one. Otherwise it comes from Forwarded (RFC 7239) or X-Forwarded-* of a trusted proxy,
or else from the request itself.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address
from itertools import takewhile
from typing import TypeVar
from urllib.parse import quote

from flask import g, request
from werkzeug.datastructures import Headers

from stacflask import current
from stacflask.settings import Network

T = TypeVar("T")

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_PAIR = re.compile(r"\s*(for|proto|host)\s*=\s*(?:\"([^\"]*)\"|([^;,\s]*))\s*", re.IGNORECASE)
_NODE = re.compile(r"\[([^\]]*)\](?::\w+)?|([^:]*)(?::\w+)?")
_USUAL_PORTS = {"http": "80", "https": "443"}


def base_url() -> str:
    """Return the public URL of the landing page, without a trailing slash."""
    cached: str | None = g.get("base_url")
    if cached is None:
        cached = g.base_url = current.settings().public_url or _base_url_of_request()
    return cached


def _base_url_of_request() -> str:
    scheme, host, prefix = request.scheme, request.host, quote(request.script_root)
    if _trusted(request.environ.get("REMOTE_ADDR", "")):
        forwarded = _forwarded(request.headers)
        scheme, host = forwarded.get("proto", scheme), forwarded.get("host", host)
        prefix = forwarded.get("prefix", prefix)
        if "port" in forwarded and not _has_port(host):
            host = _with_port(host, forwarded["port"], scheme)
    return f"{scheme}://{host}{prefix}".rstrip("/")


def own_bases() -> tuple[str, ...]:
    """Return the base URLs of this server: the public one, and the one that the request was sent to."""
    host = f"{request.scheme}://{request.host}{quote(request.script_root)}"
    return tuple(dict.fromkeys((base_url(), host.rstrip("/"))))


def client() -> str:
    """Return the client's IP address: from the outermost trusted proxy, or else of the connection."""
    remote = str(request.environ.get("REMOTE_ADDR", ""))
    if not _trusted(remote):
        return remote
    if "Forwarded" in request.headers:
        clients = [_pairs(element).get("for", "") for element in request.headers["Forwarded"].split(",")]
    else:
        clients = _list(request.headers, "X-Forwarded-For")
    node = _NODE.fullmatch(_outermost(clients, _trusted_hops(clients)))
    address = (node[1] or node[2]) if node else ""
    return address if _is_address(address) else remote


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


def _forwarded(headers: Headers) -> dict[str, str]:
    """Return the values of the outermost trusted proxy, without malformed ones.

    Each proxy appends its values. Any client can have written the values before those of the trusted proxies.
    """
    if "Forwarded" in headers:
        elements = [_pairs(element) for element in headers["Forwarded"].split(",")]
        hops = _trusted_hops([element.get("for", "") for element in elements])
        found = {name: value for name, value in _outermost(elements, hops).items() if name != "for"}
    else:
        hops = _trusted_hops(_list(headers, "X-Forwarded-For"))
        names = {"proto": "X-Forwarded-Proto", "host": "X-Forwarded-Host", "port": "X-Forwarded-Port"}
        found = {key: _outermost(_list(headers, name), hops) for key, name in names.items() if name in headers}
    if "X-Forwarded-Prefix" in headers:
        found["prefix"] = _outermost(_list(headers, "X-Forwarded-Prefix"), hops).rstrip("/")
    return {key: value for key, value in found.items() if _well_formed(key, value)}


def _pairs(element: str) -> dict[str, str]:
    return {m[1].lower(): m[2] or m[3] or "" for part in element.split(";") if (m := _PAIR.fullmatch(part))}


def _list(headers: Headers, name: str) -> list[str]:
    return [value.strip() for value in headers.get(name, "").split(",")]


def _trusted_hops(clients: Sequence[str]) -> int:
    """Count the trusted proxies: the nearest one, and further ones as long as each names a trusted client."""
    nodes = [_NODE.fullmatch(client) for client in reversed(clients)]
    trusted = takewhile(lambda node: node is not None and _trusted(node[1] or node[2]), nodes)
    return 1 + sum(1 for _ in trusted)


def _outermost(values: Sequence[T], hops: int) -> T:
    return values[-min(hops, len(values))]


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
    """Return the public URL of the request, character for character."""
    query = request.query_string.decode("latin-1")
    return f"{base_url()}{_request_path()}" + (f"?{query}" if query else "")


def _request_path() -> str:
    raw = str(request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI") or "").partition("?")[0]
    if not raw.startswith("/"):
        raw = quote(request.path)
    raw = raw.removeprefix(request.script_root)
    return "" if raw == "/" else raw


@lru_cache(maxsize=65536)
def segment(name: str) -> str:
    """Percent-encode an id or key as one segment of a path."""
    return quote(name, safe="")


def collection_url(collection: str) -> str:
    """Return the URL of a collection."""
    return f"{base_url()}/collections/{segment(collection)}"


def item_url(collection: str, item: str) -> str:
    """Return the URL of an item."""
    return f"{base_url()}/collections/{segment(collection)}/items/{segment(item)}"
