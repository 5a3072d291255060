"""Links as they travel: what they open, what narrows them, and how they are signed. Pure; no storage, no HTTP.

A link is ``sfl.<key>.<id>.<caveat>...<signature>``. The signature is a chain, as in macaroons: the key signs the
beginning, and each signature is the key that signs the next caveat. So whoever holds a link can narrow it further
without asking anybody, and nobody can take a caveat off.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote, unquote

from stacflask import BadCredentials, SettingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from stacflask import Asset

Network: TypeAlias = IPv4Network | IPv6Network

PREFIX = "sfl"
SHORTEST_SECRET = 32  # characters
MOST_CAVEATS = 16
LONGEST_LINK = 4096  # characters
_KEY = re.compile(r"([A-Za-z0-9_-]{1,32}):([!-+\--~]+)")
_HEAD = 3  # prefix, key and id
_DOWNLOADS = re.compile(r"/collections/([^/]+)(?:/items/([^/]+))?/download(\.zip|/.+)", re.DOTALL)
_PLACE = re.compile(r"/collections/([^/]+)(?:/items/([^/]+)(?:/download\.zip)?)?(?:/download/(.+))?", re.DOTALL)
_SECONDS = re.compile(r"[0-9]{1,11}")


# --- What a link opens -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """A collection, an item or an asset, and all that is below it.

    ``rest`` is an asset's key and, in a directory, the path below it; None: every asset. ``item`` None is the
    collection: with ``rest`` an asset of its own, without it everything, items too.
    """

    collection: str
    item: str | None = None
    rest: str | None = None

    def __str__(self) -> str:
        """Write it as the path of an address."""
        item = "" if self.item is None else f"/items/{_segment(self.item)}"
        rest = "" if self.rest is None else f"/download/{quote(self.rest)}"
        return f"/collections/{_segment(self.collection)}{item}{rest}"

    def covers(self, asset: Asset) -> bool:
        """Whether this very asset lies here."""
        if not self._holds(asset.collection, asset.item):
            return False
        if self.rest is None or self.rest == asset.key:
            return True
        whole = f"{asset.key}/{asset.path}" if asset.path else asset.key
        return self.rest.startswith(f"{asset.key}/") and _below(whole, self.rest)

    def admits(self, path: str) -> bool:
        """Whether a decoded path is a download that may lie here; which asset it is, only the catalogue can tell."""
        form = _DOWNLOADS.fullmatch(path)
        if form is None or not self._holds(form[1], form[2]):
            return False
        return self.rest is None or (form[3] != ".zip" and _below(form[3][1:], self.rest))

    def _holds(self, collection: str, item: str | None) -> bool:
        if collection != self.collection:
            return False
        return item == self.item or (self.item is None and self.rest is None)


@lru_cache(maxsize=4096)
def _segment(name: str) -> str:
    return quote(name, safe="")


def _below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix.rstrip('/')}/")


def place_of(path: str) -> Place:
    """Read a percent-encoded path. Raises ValueError."""
    form = _PLACE.fullmatch(path)
    if form is None:
        raise ValueError("expected the address of a collection, an item or a download")
    parts = [None if part is None else unquote(part, errors="strict") for part in form.groups()]
    if any("\0" in part for part in parts if part):
        raise ValueError("expected an address without NUL")
    return Place(parts[0] or "", parts[1], parts[2])


# --- What narrows it -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Limits:
    """All of them hold: one of these places, one of these networks (empty: any), until then."""

    place: Place
    networks: tuple[Network, ...]
    expires: datetime


def caveats(place: Place | None, networks: Sequence[Network], expires: datetime | None) -> list[str]:
    """Write what narrows a link."""
    written = []
    if expires is not None:
        written.append(f"exp={int(expires.timestamp())}")
    if networks:
        written.append(f"net={','.join(map(str, networks))}")
    if place is not None:
        written.append(f"at={place}")
    return written


def check(caveat: str, path: str, address: str, now: datetime) -> Place | None:
    """Raise BadCredentials unless one caveat holds; give the place that it names. An unknown one never holds."""
    name, _, value = caveat.partition("=")
    match name:
        case "exp" if _SECONDS.fullmatch(value):
            check_time(datetime.fromtimestamp(int(value), UTC), now)
            return None
        case "net":
            check_address([ip_network(network) for network in value.split(",")], address)
            return None
        case "at":
            return check_place(place_of(value), path)
    raise wrong()


def check_time(expires: datetime, now: datetime) -> None:
    """Raise BadCredentials if it is too late."""
    if expires <= now:
        raise BadCredentials("The link has expired.", code="LinkExpired")


def check_address(networks: Sequence[Network], address: str) -> None:
    """Raise BadCredentials if the client is somewhere else."""
    try:
        here = ip_address(address)
    except ValueError:
        here = None
    if networks and not any(here is not None and here in network for network in networks):
        raise BadCredentials("The link is not good for your address.", code="LinkElsewhere")


def check_place(place: Place, path: str) -> Place:
    """Raise BadCredentials unless the path is a download there."""
    if not place.admits(path):
        raise BadCredentials("The link is not good for this address.", code="LinkElsewhere")
    return place


def wrong() -> BadCredentials:
    """Give one error for all that is wrong, so that trying teaches nothing."""
    return BadCredentials("The link is not valid.", code="InvalidLink")


# --- How it is signed ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Link:
    """A link taken apart; whether it is genuine, ``Keys.verify`` says."""

    key: str
    id: str
    caveats: tuple[str, ...]
    signature: str

    @property
    def head(self) -> str:
        """The part that the key signs."""
        return f"{PREFIX}.{self.key}.{self.id}"

    def __str__(self) -> str:
        """Write it as it travels."""
        return ".".join([self.head, *map(_encoded, self.caveats), self.signature])

    def narrowed(self, further: Sequence[str]) -> Link:
        """Give the link with further caveats. Needs no key."""
        signature = _decoded_bytes(self.signature)
        for caveat in further:
            signature = _sign(signature, _encoded(caveat))
        return Link(self.key, self.id, (*self.caveats, *further), _text(signature))

    def narrowed_to(self, places: Iterable[Place]) -> list[str]:
        """Give the link narrowed to each of these places, as it travels: for who asks for thousands."""
        begins, signature = str(self).removesuffix(self.signature), _decoded_bytes(self.signature)
        given = [_encoded(f"at={place}") for place in places]
        return [f"{begins}{caveat}.{_text(_sign(signature, caveat))}" for caveat in given]


def read(text: str) -> Link:
    """Take a link apart. Raises BadCredentials."""
    parts = text.split(".") if len(text) <= LONGEST_LINK and text.isascii() else []
    if not _HEAD < len(parts) <= _HEAD + MOST_CAVEATS + 1 or parts[0] != PREFIX:
        raise wrong()
    try:
        given = tuple(_decoded_bytes(part).decode() for part in parts[_HEAD:-1])
    except (UnicodeDecodeError, binascii.Error):
        raise wrong() from None
    return Link(parts[1], parts[2], given, parts[-1])


class Keys:
    """The secrets by name: the first signs, all of them verify, so that one can be put in another's place."""

    def __init__(self, secrets: Mapping[str, bytes]) -> None:
        self._secrets = dict(secrets)
        self._first = next(iter(secrets))

    def issue(self, link_id: str) -> Link:
        """Sign a new link."""
        bare = Link(self._first, link_id, (), "")
        return Link(self._first, link_id, (), _text(_sign(self._secrets[self._first], bare.head)))

    def verify(self, link: Link) -> None:
        """Raise BadCredentials unless the link and all its caveats are genuine."""
        secret = self._secrets.get(link.key)
        if secret is None:
            raise wrong()
        signature = _sign(secret, link.head)
        for caveat in link.caveats:
            signature = _sign(signature, _encoded(caveat))
        if not hmac.compare_digest(_text(signature), link.signature):
            raise wrong()


def read_keys(variable: str, text: str) -> Keys:
    """Read ``name:secret,name:secret``. Complaints do not repeat a secret. Raises SettingError."""
    secrets: dict[str, bytes] = {}
    for number, pair in enumerate(filter(None, map(str.strip, text.split(","))), start=1):
        form = _KEY.fullmatch(pair)
        if form is None:
            raise SettingError(variable, f"key {number}: expected a name, a colon and a secret")
        if len(form[2]) < SHORTEST_SECRET:
            raise SettingError(variable, f"key {form[1]}: expected a secret of at least {SHORTEST_SECRET} characters")
        if form[1] in secrets:
            raise SettingError(variable, f"key {form[1]}: named twice")
        secrets[form[1]] = form[2].encode()
    if not secrets:
        raise SettingError(variable, "missing. `stacflask links key` makes one.")
    return Keys(secrets)


def _sign(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), hashlib.sha256)


def _encoded(caveat: str) -> str:
    return _text(caveat.encode())


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded_bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
