"""Bodies of the link endpoints: parsing of requests, and JSON schemas. No storage, no secrets."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import Any
from urllib.parse import urlsplit

from stacflask import BadDocument

from .tokens import Network, Target, caveats, parse_target

DEFAULT_LIFETIME = timedelta(days=1)
MAX_NETWORKS = 64
MAX_NOTE_CHARACTERS = 500
_has_control_characters = re.compile("[\x00-\x1f\x7f-\x9f]").search
"""Control characters could control the terminal in which an operator lists links."""


@dataclass(frozen=True, slots=True)
class LinkRequest:
    """The properties of a link to create. ``downloads`` None: not counted."""

    target: Target
    href: str
    networks: tuple[Network, ...]
    lifetime: timedelta
    downloads: int | None
    note: str | None


def read_link_request(body: Any, base_url: str, longest: timedelta) -> LinkRequest:
    """Parse the body of ``POST /links``. Raises BadDocument."""
    members = _members(body, {"href", "lifetime", "addresses", "downloads", "note"})
    href = members.get("href")
    if href is None:
        raise BadDocument("/href", "missing; expected the URL that the link opens")
    target, url = _target(href, base_url)
    lifetime = timedelta(seconds=_number(members, "lifetime", int(min(DEFAULT_LIFETIME, longest).total_seconds())))
    downloads = _number(members, "downloads", 0) or None
    note = members.get("note")
    if note is not None and not _is_note(note):
        raise BadDocument("/note", "expected one line of up to 500 characters")
    return LinkRequest(target, url, _networks(members), min(lifetime, longest), downloads, note)


def _is_note(note: Any) -> bool:
    return isinstance(note, str) and len(note) <= MAX_NOTE_CHARACTERS and not _has_control_characters(note)


def read_narrowing(body: Any, base_url: str, now: datetime) -> tuple[str, str | None, list[str]]:
    """Parse the body of ``POST /links/narrowed``: the link, a URL or None, and the caveats. Raises BadDocument."""
    members = _members(body, {"link", "href", "lifetime", "addresses"})
    link = members.get("link")
    if not isinstance(link, str):
        raise BadDocument("/link", "expected a link: the text after link= in its URL")
    target, href = (None, None) if "href" not in members else _target(members["href"], base_url)
    seconds = _number(members, "lifetime", 0)
    expires = now + timedelta(seconds=seconds) if seconds else None
    further = caveats(target, _networks(members), expires)
    if not further:
        raise BadDocument("", "expected href, lifetime or addresses, which narrow the link")
    return link, href, further


def _members(body: Any, known: set[str]) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise BadDocument("", "expected a JSON object")
    for name in body.keys() - known:
        raise BadDocument(f"/{name}", f"unknown member; expected one of {', '.join(sorted(known))}")
    return {name: value for name, value in body.items() if value is not None}


def _target(href: Any, base_url: str) -> tuple[Target, str]:
    """Parse the URL that a link opens: a URL of this API, or its path."""
    if not isinstance(href, str):
        raise BadDocument("/href", "expected a string: a URL of this API")
    if not href.startswith((f"{base_url}/collections/", "/collections/")):
        raise BadDocument("/href", f"expected a URL that begins with {base_url}/collections/")
    try:
        path = urlsplit(href.removeprefix(base_url)).path
        target = parse_target(path)
    except ValueError as error:
        raise BadDocument("/href", str(error)) from error
    return target, base_url + path


def _number(members: Mapping[str, Any], name: str, default: int) -> int:
    value = members.get(name, default)
    # In JSON, 60.0 is the number 60.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not (0 < value < 10**10 or value is default):
        raise BadDocument(f"/{name}", "expected an integer greater than 0")
    return value


def _networks(members: Mapping[str, Any]) -> tuple[Network, ...]:
    given = members.get("addresses", [])
    if not isinstance(given, list) or len(given) > MAX_NETWORKS or not all(isinstance(one, str) for one in given):
        raise BadDocument("/addresses", f"expected an array of up to {MAX_NETWORKS} addresses or networks")
    try:
        return tuple(ip_network(one, strict=False) for one in given)
    except ValueError as error:
        raise BadDocument("/addresses", str(error)) from error


# --- Schemas ---------------------------------------------------------------------------------------------------------

_TEXT = {"type": "string"}
_MOMENT = {"type": "string", "format": "date-time"}
_COUNT = {"type": "integer", "minimum": 1}
_HREF = {
    **_TEXT,
    "description": "URL or path of a collection, an item or a download. The link opens everything below it.",
}
_LIFETIME = {**_COUNT, "nullable": True, "description": "Seconds. A longer time than the server allows is shortened."}
_ADDRESSES = {
    "type": "array",
    "nullable": True,
    "items": _TEXT,
    "maxItems": MAX_NETWORKS,
    "description": "Client addresses or networks (CIDR) that can use the link; none: all.",
}
LINK_REQUEST = {
    "type": "object",
    "required": ["href"],
    "additionalProperties": False,
    "properties": {
        "href": _HREF,
        "lifetime": _LIFETIME,
        "addresses": _ADDRESSES,
        "downloads": {**_COUNT, "nullable": True, "description": "Maximum number of downloads; none: unlimited."},
        "note": {**_TEXT, "nullable": True, "maxLength": 500, "description": "A note for the list of links."},
    },
}
NARROWING = {
    "type": "object",
    "required": ["link"],
    "additionalProperties": False,
    "properties": {"link": _TEXT, "href": _HREF, "lifetime": _LIFETIME, "addresses": _ADDRESSES},
}
_BASE = {**_TEXT, "description": "The URL with the link in its path, for programs that append paths (Zarr, GDAL)."}
NARROWED = {"type": "object", "required": ["link"], "properties": {"link": _TEXT, "href": _TEXT, "base": _BASE}}
_PROPERTIES = {
    "id": _TEXT,
    "path": {**_TEXT, "description": "Path that the link opens, with everything below it."},
    "state": {**_TEXT, "enum": ["valid", "expired", "revoked", "used up"]},
    "created": _MOMENT,
    "expires": _MOMENT,
    "addresses": {"type": "array", "items": _TEXT},
    "downloads": {"type": "integer", "nullable": True},
    "used": {"type": "integer", "nullable": True, "description": "Number of downloads; null if they are not counted."},
    "note": {**_TEXT, "nullable": True},
}
LINK = {
    "type": "object",
    "required": [*_PROPERTIES, "link", "href", "base"],
    "properties": {
        **_PROPERTIES,
        "link": {**_TEXT, "description": "The link itself. It is shown only once."},
        "href": {**_TEXT, "description": "The URL that needs no headers."},
        "base": _BASE,
    },
}
LINKS = {
    "type": "object",
    "required": ["links"],
    "properties": {"links": {"type": "array", "items": {"type": "object", "properties": _PROPERTIES}}},
}
REVOKED = {"type": "object", "required": ["revoked"], "properties": {"revoked": {"type": "array", "items": _TEXT}}}
