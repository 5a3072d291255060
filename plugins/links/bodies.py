"""What is asked of links and what is answered: bodies read and described. Nothing here knows of storage or secrets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from plugins.links.tokens import Network, Place, caveats, place_of
from stacflask import BadDocument

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

USUAL = timedelta(days=1)
"""How long a link is good unless its maker says."""
MOST_NETWORKS = 64
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]").search
"""What a terminal would obey in which an operator lists links."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A link as its maker wants it. ``downloads`` None: not counted."""

    place: Place
    href: str
    networks: tuple[Network, ...]
    lifetime: timedelta
    downloads: int | None
    note: str | None


def wish(body: Any, base_url: str, longest: timedelta) -> Wish:
    """Read the body of ``POST /links``. Raises BadDocument."""
    members = _members(body, {"href", "lifetime", "addresses", "downloads", "note"})
    href = members.get("href")
    if href is None:
        raise BadDocument("/href", "missing: what is the link to open?")
    place, address = _address(href, base_url)
    lifetime = timedelta(seconds=_number(members, "lifetime", int(min(USUAL, longest).total_seconds())))
    downloads = _number(members, "downloads", 0) or None
    note = members.get("note")
    if note is not None and not (isinstance(note, str) and len(note) <= 500 and not _CONTROL(note)):  # noqa: PLR2004
        raise BadDocument("/note", "expected one line of up to 500 characters")
    return Wish(place, address, _networks(members), min(lifetime, longest), downloads, note)


def narrowing(body: Any, base_url: str, now: datetime) -> tuple[str, str | None, list[str]]:
    """Read the body of ``POST /links/narrowed``: the link, an address or none, and the caveats. Raises BadDocument."""
    members = _members(body, {"link", "href", "lifetime", "addresses"})
    link = members.get("link")
    if not isinstance(link, str):
        raise BadDocument("/link", "expected a link: what stands after link= in its address")
    place, href = (None, None) if "href" not in members else _address(members["href"], base_url)
    seconds = _number(members, "lifetime", 0)
    expires = now + timedelta(seconds=seconds) if seconds else None
    further = caveats(place, _networks(members), expires)
    if not further:
        raise BadDocument("", "expected href, lifetime or addresses: what narrows the link?")
    return link, href, further


def _members(body: Any, known: set[str]) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise BadDocument("", "expected a JSON object")
    for name in body.keys() - known:
        raise BadDocument(f"/{name}", f"unknown here; there are {', '.join(sorted(known))}")
    return {name: value for name, value in body.items() if value is not None}


def _address(href: Any, base_url: str) -> tuple[Place, str]:
    """Read the address of what a link is to open: of this API, whole or as a path."""
    if not isinstance(href, str):
        raise BadDocument("/href", "expected a text: an address of this API")
    if not href.startswith((f"{base_url}/collections/", "/collections/")):
        raise BadDocument("/href", f"expected an address that begins with {base_url}/collections/")
    try:
        path = urlsplit(href.removeprefix(base_url)).path
        place = place_of(path)
    except ValueError as error:
        raise BadDocument("/href", str(error)) from error
    return place, base_url + path


def _number(members: Mapping[str, Any], name: str, default: int) -> int:
    value = members.get(name, default)
    # In JSON, 60.0 is the number 60.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not (0 < value < 10**10 or value is default):
        raise BadDocument(f"/{name}", "expected a whole number above 0")
    return value


def _networks(members: Mapping[str, Any]) -> tuple[Network, ...]:
    given = members.get("addresses", [])
    if not isinstance(given, list) or len(given) > MOST_NETWORKS or not all(isinstance(one, str) for one in given):
        raise BadDocument("/addresses", f"expected an array of up to {MOST_NETWORKS} addresses or networks")
    try:
        return tuple(ip_network(one, strict=False) for one in given)
    except ValueError as error:
        raise BadDocument("/addresses", str(error)) from error


# --- Their description -----------------------------------------------------------------------------------------------

_TEXT = {"type": "string"}
_MOMENT = {"type": "string", "format": "date-time"}
_COUNT = {"type": "integer", "minimum": 1}
_HREF = {
    **_TEXT,
    "description": "Address of a collection, an item or a download, whole or as a path; all below it is meant.",
}
_LIFETIME = {**_COUNT, "nullable": True, "description": "Seconds; more than the deployment allows is clamped."}
_ADDRESSES = {
    "type": "array",
    "nullable": True,
    "items": _TEXT,
    "maxItems": MOST_NETWORKS,
    "description": "Addresses or networks (CIDR) from which it may be used; none: from everywhere.",
}
WISH = {
    "type": "object",
    "required": ["href"],
    "additionalProperties": False,
    "properties": {
        "href": _HREF,
        "lifetime": _LIFETIME,
        "addresses": _ADDRESSES,
        "downloads": {**_COUNT, "nullable": True, "description": "How many downloads at most; none: not counted."},
        "note": {**_TEXT, "nullable": True, "maxLength": 500, "description": "What it is for."},
    },
}
NARROWING = {
    "type": "object",
    "required": ["link"],
    "additionalProperties": False,
    "properties": {"link": _TEXT, "href": _HREF, "lifetime": _LIFETIME, "addresses": _ADDRESSES},
}
_BASE = {**_TEXT, "description": "The same with the link in the path, for readers that append paths (Zarr, GDAL)."}
NARROWED = {"type": "object", "required": ["link"], "properties": {"link": _TEXT, "href": _TEXT, "base": _BASE}}
_KEPT = {
    "id": _TEXT,
    "path": {**_TEXT, "description": "What it opens, and all below."},
    "state": {**_TEXT, "enum": ["valid", "expired", "revoked", "used up"]},
    "made": _MOMENT,
    "expires": _MOMENT,
    "addresses": {"type": "array", "items": _TEXT},
    "downloads": {"type": "integer", "nullable": True},
    "used": {"type": "integer", "nullable": True, "description": "How often; null where it is not counted."},
    "note": {**_TEXT, "nullable": True},
}
LINK = {
    "type": "object",
    "required": [*_KEPT, "link", "href", "base"],
    "properties": {
        **_KEPT,
        "link": {**_TEXT, "description": "The link itself; it is shown this once."},
        "href": {**_TEXT, "description": "The address that needs no headers."},
        "base": _BASE,
    },
}
LINKS = {
    "type": "object",
    "required": ["links"],
    "properties": {"links": {"type": "array", "items": {"type": "object", "properties": _KEPT}}},
}
REVOKED = {"type": "object", "required": ["revoked"], "properties": {"revoked": {"type": "array", "items": _TEXT}}}
