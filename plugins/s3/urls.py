"""URLs and keys of objects: their normal form, and the configured endpoints."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from stacflask import SettingError

from .settings import OWN_FOLDER, VARIABLE, Part, StoreSettings
from .store import Store

MAX_KEY_BYTES = 1024
CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
PORTS = {"http": 80, "https": 443}


class Address(NamedTuple):
    """The scheme, host and port of an endpoint in URLs."""

    scheme: str
    host: str
    port: int


def parts_by_bucket(stores: Sequence[Store]) -> Mapping[str, Sequence[tuple[Part, Store]]]:
    """Return the parts of each bucket with their stores, the longest prefix first. Raises SettingError."""
    found: dict[str, dict[str, tuple[Part, Store]]] = {}
    for store in stores:
        for part in store.settings.buckets:
            same, other = found.setdefault(part.bucket, {}).setdefault(part.prefix, (part, store))
            if other is store and same != part:
                text = f"{part.bucket}/{part.prefix} is listed with and without {OWN_FOLDER}; expected one of them"
                raise SettingError(VARIABLE, f"/{store.settings.name}/buckets: {text}")
            if other is not store:
                names = f"{other.settings.name} and {store.settings.name}"
                raise SettingError(VARIABLE, f"{part.bucket}/{part.prefix} belongs to two stores, {names}")
    return {bucket: sorted(of.values(), key=lambda pair: -len(pair[0].prefix)) for bucket, of in found.items()}


def stores_by_address(stores: Sequence[Store]) -> Mapping[Address, Sequence[Store]]:
    """Return the endpoints that URLs of objects in the catalogue can have, with their stores."""
    found: dict[Address, list[Store]] = {}
    for store in stores:
        for endpoint in _endpoints(store.settings):
            parts = urlsplit(endpoint)
            address = Address(parts.scheme, parts.hostname or "", parts.port or PORTS[parts.scheme])
            found.setdefault(address, []).append(store)
    return found


def _endpoints(settings: StoreSettings) -> set[str]:
    endpoints = {settings.endpoint, settings.public_endpoint}
    # Amazon's buckets also have URLs without a region, which many catalogues use.
    if settings.endpoint.endswith(".amazonaws.com"):
        endpoints.add("https://s3.amazonaws.com")
    return endpoints


def split_url(host: str, path: str, endpoint: str) -> tuple[str, str]:
    """Return bucket and key of a URL at an endpoint, with the bucket in its path or host; empty for another host."""
    if host == endpoint:
        bucket, _, key = path.partition("/")
        return bucket, key
    return (host.removesuffix(f".{endpoint}"), path) if host.endswith(f".{endpoint}") else ("", "")


def normal_host(parts: SplitResult) -> str:
    """Return host and port in normal form, without user information. Raises ValueError."""
    host = (parts.hostname or "").rstrip(".")
    port = "" if parts.port is None else f":{parts.port}"
    return f"[{host}]{port}" if ":" in host else f"{host}{port}"


def normal_path(path: str) -> str:
    """Return a path with one leading slash and without dot segments (RFC 3986, section 5.2.4)."""
    segments: list[str] = []
    for segment in path.lstrip("/").split("/"):
        decoded = segment.replace("%2e", ".").replace("%2E", ".")
        if decoded == "..":
            segments = segments[:-1]
        elif decoded != ".":
            segments.append(segment)
    return "/" + "/".join(segments)


def is_key(key: str) -> bool:
    """Return whether a text is a valid key that no client or store rewrites."""
    if not key or key.isspace():
        return False
    # Few keys have a segment that begins with a dot; only those are split.
    if (key[0] == "." or "/." in key) and {".", ".."}.intersection(key.split("/")):
        return False
    if key.isascii() and key.isprintable():
        return len(key) <= MAX_KEY_BYTES
    try:
        return len(key.encode()) <= MAX_KEY_BYTES and not CONTROL_CHARACTERS.search(key)
    except UnicodeEncodeError:
        return False
