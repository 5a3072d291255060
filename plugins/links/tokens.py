"""The text form of links: targets, caveats and signatures. No storage, no HTTP.

A link is ``sfl.<key>.<id>.<caveat>...<signature>``. The signature is a chain, as in macaroons: the key signs the
head, and each signature is the key that signs the next caveat. The holder of a link can therefore add a caveat without
the server, but nobody can remove one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TypeAlias
from urllib.parse import quote, unquote

from stacflask import Asset, BadCredentials, SettingError

Network: TypeAlias = IPv4Network | IPv6Network

PREFIX = "sfl"
MIN_SECRET_CHARACTERS = 32  # characters
MAX_CAVEATS = 16
MAX_LINK_CHARACTERS = 4096  # characters
_KEY = re.compile(r"([A-Za-z0-9_-]{1,32}):([!-+\--~]+)")
_HEAD = 3  # prefix, key and id
_DOWNLOADS = re.compile(r"/collections/([^/]+)(?:/items/([^/]+))?/download(\.zip|/.+)", re.DOTALL)
_TARGET = re.compile(r"/collections/([^/]+)(?:/items/([^/]+)(?:/download\.zip)?)?(?:/download/(.+))?", re.DOTALL)
_SECONDS = re.compile(r"[0-9]{1,11}")


# --- Targets ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """A collection, an item or an asset, with everything below it.

    ``asset`` is the key of an asset, with the path below a directory asset; None: every asset. ``item`` None is the
    collection: with ``asset`` one of its own assets, without it everything, with its items.
    """

    collection: str
    item: str | None = None
    asset: str | None = None

    def __str__(self) -> str:
        """Return the URL path."""
        item = "" if self.item is None else f"/items/{_segment(self.item)}"
        asset = "" if self.asset is None else f"/download/{quote(self.asset)}"
        return f"/collections/{_segment(self.collection)}{item}{asset}"

    def covers(self, asset: Asset) -> bool:
        """Return whether the target includes an asset."""
        if not self._includes(asset.collection, asset.item):
            return False
        if self.asset is None or self.asset == asset.key:
            return True
        full_path = f"{asset.key}/{asset.path}" if asset.path else asset.key
        return self.asset.startswith(f"{asset.key}/") and _below(full_path, self.asset)

    def may_include(self, path: str) -> bool:
        """Return whether a decoded path is a download that the target may include.

        Only the catalogue can resolve the path to an asset.
        """
        match = _DOWNLOADS.fullmatch(path)
        if match is None or not self._includes(match[1], match[2]):
            return False
        return self.asset is None or (match[3] != ".zip" and _below(match[3][1:], self.asset))

    def _includes(self, collection: str, item: str | None) -> bool:
        if collection != self.collection:
            return False
        return item == self.item or (self.item is None and self.asset is None)


@lru_cache(maxsize=4096)
def _segment(name: str) -> str:
    return quote(name, safe="")


def _below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix.rstrip('/')}/")


def parse_target(path: str) -> Target:
    """Parse a percent-encoded URL path. Raises ValueError."""
    match = _TARGET.fullmatch(path)
    if match is None:
        raise ValueError("expected the URL of a collection, an item or a download")
    parts = [None if part is None else unquote(part, errors="strict") for part in match.groups()]
    if any("\0" in part for part in parts if part):
        raise ValueError("expected a URL without NUL")
    return Target(parts[0] or "", parts[1], parts[2])


# --- Caveats ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a link: its target, client networks (empty: all) and expiry."""

    target: Target
    networks: tuple[Network, ...]
    expires: datetime


def caveats(target: Target | None, networks: Sequence[Network], expires: datetime | None) -> list[str]:
    """Return the caveats that narrow a link to these limits."""
    texts = []
    if expires is not None:
        texts.append(f"exp={int(expires.timestamp())}")
    if networks:
        texts.append(f"net={','.join(map(str, networks))}")
    if target is not None:
        texts.append(f"at={target}")
    return texts


def check_caveat(caveat: str, path: str, address: str, now: datetime) -> Target | None:
    """Raise BadCredentials unless a caveat is satisfied; return its target. An unknown caveat is never satisfied."""
    name, _, value = caveat.partition("=")
    match name:
        case "exp" if _SECONDS.fullmatch(value):
            check_expiry(datetime.fromtimestamp(int(value), UTC), now)
            return None
        case "net":
            check_address([ip_network(network) for network in value.split(",")], address)
            return None
        case "at":
            return check_target(parse_target(value), path)
    raise invalid_link()


def check_expiry(expires: datetime, now: datetime) -> None:
    """Raise BadCredentials if the link has expired."""
    if expires <= now:
        raise BadCredentials("The link has expired.", code="LinkExpired")


def check_address(networks: Sequence[Network], address: str) -> None:
    """Raise BadCredentials unless the client's address is in one of the networks."""
    try:
        client = ip_address(address)
    except ValueError:
        client = None
    if networks and not any(client is not None and client in network for network in networks):
        raise BadCredentials("The link is not valid for your client address.", code="LinkElsewhere")


def check_target(target: Target, path: str) -> Target:
    """Raise BadCredentials unless the path is a download that the target may include."""
    if not target.may_include(path):
        raise BadCredentials("The link is not valid for this URL.", code="LinkElsewhere")
    return target


def invalid_link() -> BadCredentials:
    """Return the same error for every invalid link, so that an attacker learns nothing from it."""
    return BadCredentials("The link is not valid.", code="InvalidLink")


# --- Signatures ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Link:
    """The parts of a link, not verified. ``SigningKeys.verify`` verifies them."""

    key: str
    id: str
    caveats: tuple[str, ...]
    signature: str

    @property
    def head(self) -> str:
        """The part that the key signs."""
        return f"{PREFIX}.{self.key}.{self.id}"

    def __str__(self) -> str:
        """Return the text of the link."""
        return ".".join([self.head, *map(_encoded, self.caveats), self.signature])

    def narrowed(self, further: Sequence[str]) -> Link:
        """Return the link with further caveats. This needs no key."""
        signature = _decoded_bytes(self.signature)
        for caveat in further:
            signature = _sign(signature, _encoded(caveat))
        return Link(self.key, self.id, (*self.caveats, *further), _text(signature))

    def narrowed_to(self, targets: Iterable[Target]) -> list[str]:
        """Return the text of the link narrowed to each target; fast for thousands of them."""
        start, signature = str(self).removesuffix(self.signature), _decoded_bytes(self.signature)
        encoded = [_encoded(f"at={target}") for target in targets]
        return [f"{start}{caveat}.{_text(_sign(signature, caveat))}" for caveat in encoded]


def parse_link(text: str) -> Link:
    """Parse a link. Raises BadCredentials."""
    parts = text.split(".") if len(text) <= MAX_LINK_CHARACTERS and text.isascii() else []
    if not _HEAD < len(parts) <= _HEAD + MAX_CAVEATS + 1 or parts[0] != PREFIX:
        raise invalid_link()
    try:
        given = tuple(_decoded_bytes(part).decode() for part in parts[_HEAD:-1])
    except (UnicodeDecodeError, binascii.Error):
        raise invalid_link() from None
    return Link(parts[1], parts[2], given, parts[-1])


class SigningKeys:
    """Secrets by name: the first signs and all verify, so that keys can be rotated."""

    def __init__(self, secrets: Mapping[str, bytes]) -> None:
        self._secrets = dict(secrets)
        self._first = next(iter(secrets))

    def issue(self, link_id: str) -> Link:
        """Sign a new link."""
        bare = Link(self._first, link_id, (), "")
        return Link(self._first, link_id, (), _text(_sign(self._secrets[self._first], bare.head)))

    def verify(self, link: Link) -> None:
        """Raise BadCredentials unless the signature of the link and its caveats is right."""
        secret = self._secrets.get(link.key)
        if secret is None:
            raise invalid_link()
        signature = _sign(secret, link.head)
        for caveat in link.caveats:
            signature = _sign(signature, _encoded(caveat))
        if not hmac.compare_digest(_text(signature), link.signature):
            raise invalid_link()


def read_keys(variable: str, text: str) -> SigningKeys:
    """Parse ``name:secret,name:secret``. Raises SettingError, with no secret in its message."""
    secrets: dict[str, bytes] = {}
    for number, pair in enumerate(filter(None, map(str.strip, text.split(","))), start=1):
        match = _KEY.fullmatch(pair)
        if match is None:
            raise SettingError(variable, f"key {number}: expected a name, a colon and a secret")
        if len(match[2]) < MIN_SECRET_CHARACTERS:
            expected = f"expected a secret of at least {MIN_SECRET_CHARACTERS} characters"
            raise SettingError(variable, f"key {match[1]}: {expected}")
        if match[1] in secrets:
            raise SettingError(variable, f"key {match[1]}: the name is repeated; names must differ")
        secrets[match[1]] = match[2].encode()
    if not secrets:
        raise SettingError(variable, "missing. Create a key with `stacflask links key`.")
    return SigningKeys(secrets)


def _sign(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), hashlib.sha256)


def _encoded(caveat: str) -> str:
    return _text(caveat.encode())


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded_bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
