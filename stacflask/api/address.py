"""The address that clients use. Every link, Location, OpenAPI server and ``$id`` begins with what this module says.

It is the setting, if there is one; else what a trusted proxy says in Forwarded (RFC 7239) or X-Forwarded-*; else what
the request itself was sent to.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import quote

from flask import g, request

from stacflask import current

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stacflask.settings import Network

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_PAIR = re.compile(r"\s*(proto|host)\s*=\s*(?:\"([^\"]*)\"|([^;,\s]*))\s*", re.IGNORECASE)


def base_url() -> str:
    """Give the public address of the landing page, without a slash at its end."""
    if "base_url" not in g:
        g.base_url = current.settings().public_url or _asked()
    return str(g.base_url)


def _asked() -> str:
    scheme, host, prefix = request.scheme, request.host, request.script_root
    if _trusted(request.environ.get("REMOTE_ADDR", ""), current.settings().trusted_proxies):
        told = _told(request.headers)
        scheme, host = told.get("proto", scheme), told.get("host", host)
        prefix = told.get("prefix", prefix)
    return f"{scheme}://{host}{prefix}".rstrip("/")


@lru_cache(maxsize=1024)
def _trusted(address: str, networks: tuple[Network, ...]) -> bool:
    try:
        return any(ip_address(address) in network for network in networks)
    except ValueError:
        return False


def _told(headers: Mapping[str, str]) -> dict[str, str]:
    """Read what the proxy nearest to the client said; what is not well formed is as if it had not been said."""
    if "Forwarded" in headers:
        first = headers["Forwarded"].split(",")[0]
        told = {m[1].lower(): m[2] or m[3] for part in first.split(";") if (m := _PAIR.fullmatch(part))}
    else:
        names = {"proto": "X-Forwarded-Proto", "host": "X-Forwarded-Host", "port": "X-Forwarded-Port"}
        told = {key: headers[name].split(",")[0].strip() for key, name in names.items() if name in headers}
        if "port" in told and ":" not in told.get("host", ":"):
            told["host"] = _with_port(told["host"], told["port"], told.get("proto"))
    told["prefix"] = headers.get("X-Forwarded-Prefix", "").split(",")[0].strip().rstrip("/")
    return {key: value for key, value in told.items() if _well_formed(key, value)}


def _with_port(host: str, port: str, scheme: str | None) -> str:
    usual = {"http": "80", "https": "443"}
    return host if usual.get(scheme or "") == port else f"{host}:{port}"


def _well_formed(key: str, value: str) -> bool:
    forms = {"proto": value in ("http", "https"), "host": bool(_HOST.fullmatch(value))}
    return forms.get(key, key == "prefix" and bool(value) and bool(_PREFIX.fullmatch(value)))


def asked_url() -> str:
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
