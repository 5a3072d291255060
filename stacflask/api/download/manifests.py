"""Write manifests of downloads: JSON, Metalink 4 (RFC 5854), a list of URLs, or an input file for aria2."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from stacflask.api.documents.stac_links import Link
from stacflask.api.http import public_url
from stacflask.disposition import local_path
from stacflask.model.asset import Asset
from stacflask.model.decision import Decision

METALINK = "application/metalink4+xml"
PLAIN = "text/plain"
JSON = "application/json"

# Prefixes of multihashes, with the names of the functions in Metalink and aria2.
_HASHES = {"1114": "sha-1", "1220": "sha-256", "1340": "sha-512", "d50110": "md5"}
_DIGITS = {"sha-1": 40, "sha-256": 64, "sha-512": 128, "md5": 32}


@dataclass(frozen=True, slots=True)
class Entry:
    """An asset that can be downloaded: its URL, the expiry of the URL, and its file name."""

    asset: Asset
    href: str
    expires: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Missing:
    """An asset that cannot be downloaded, and the reason. For a missing item, ``asset`` is None."""

    collection: str
    item: str | None
    asset: str | None
    code: str
    description: str
    link: str | None = None
    rel: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The assets that can and cannot be downloaded, and links to further pages."""

    entries: Sequence[Entry]
    missing: Sequence[Missing]
    links: Sequence[Link]


def names(assets: Iterable[Asset], codings: Iterable[str] = repeat("")) -> list[str]:
    """Return a unique relative path for each asset: collection, item, and the path of the file.

    Paths that are equal in a case-insensitive file system get the keys of their assets, or numbers.

    Args:
        assets: The assets.
        codings: An extension for each asset, which is appended unless the path has it.
    """
    taken: set[str] = set()
    return [_unique(asset, taken, coding) for asset, coding in zip(assets, codings, strict=False)]


def _unique(asset: Asset, taken: set[str], coding: str) -> str:
    path = local_path(asset)
    path += "" if path.lower().endswith(coding.lower()) else coding
    folder, _, name = path.rpartition("/")
    stem, dot, extension = name.partition(".")
    key = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in asset.key)
    candidates = [path, f"{folder}/{stem}-{key}{dot}{extension}"]
    number = 1
    while candidates[0].casefold() in taken:
        number += 1
        candidates = [*candidates[1:], f"{folder}/{stem}-{key}-{number}{dot}{extension}"]
    taken.add(candidates[0].casefold())
    return candidates[0]


def refused(asset: Asset, decision: Decision, *, anonymous: bool) -> Missing:
    """Return an asset that was denied, with the code and text that the response to a download would have."""
    code = "Unauthorized" if anonymous else decision.code or "Forbidden"
    detail = decision.detail or ("Authentication required." if anonymous else "Access denied.")
    return Missing(asset.collection, asset.item, asset.key, code, detail, decision.link, decision.rel)


# --- Formats ---------------------------------------------------------------------------------------------------------


def as_json(manifest: Manifest) -> dict[str, Any]:
    """Return a manifest as JSON, with the assets that cannot be downloaded."""
    return {
        "downloads": [_entry(entry) for entry in manifest.entries],
        "refused": [_missing(missing) for missing in manifest.missing],
        "numberReturned": len(manifest.entries),
        "size": sum(entry.asset.size or 0 for entry in manifest.entries),
        "links": list(manifest.links),
    }


def _entry(entry: Entry) -> dict[str, Any]:
    asset = entry.asset
    members = {
        "collection": asset.collection,
        "item": asset.item,
        "asset": asset.key,
        "href": entry.href,
        "expires": entry.expires,
        "name": entry.name,
        "type": asset.media_type,
        "size": asset.size,
        "checksum": asset.properties.get("file:checksum"),
    }
    return {name: value for name, value in members.items() if value is not None}


def _missing(missing: Missing) -> dict[str, Any]:
    members: dict[str, Any] = {
        "collection": missing.collection,
        "item": missing.item,
        "asset": missing.asset,
        "code": missing.code,
        "description": missing.description,
    }
    if missing.link is not None:
        members["links"] = [{"rel": missing.rel, "href": public_url.base_url() + missing.link, "type": JSON}]
    return {name: value for name, value in members.items() if value is not None}


def as_metalink(manifest: Manifest) -> str:
    """Return a manifest as Metalink: files with their URLs, sizes and checksums."""
    files = "".join(map(_file, manifest.entries))
    return f"{_XML}\n{files}</metalink>\n"


_XML = '<?xml version="1.0" encoding="UTF-8"?>\n<metalink xmlns="urn:ietf:params:xml:ns:metalink">'


def _file(entry: Entry) -> str:
    size = "" if entry.asset.size is None else f"    <size>{entry.asset.size}</size>\n"
    found = checksum(entry.asset)
    digest = f'    <hash type="{found[0]}">{found[1]}</hash>\n' if found else ""
    url = f"    <url>{escape(entry.href)}</url>\n"
    return f"  <file name={quoteattr(entry.name)}>\n{size}{digest}{url}  </file>\n"


def as_list(manifest: Manifest) -> str:
    """Return a manifest as a list of URLs, one per line."""
    return "".join(f"{entry.href}\n" for entry in manifest.entries)


def as_aria2(manifest: Manifest) -> str:
    """Return a manifest as an input file for aria2: URLs with file names and checksums."""
    return "".join(map(_lines, manifest.entries))


def _lines(entry: Entry) -> str:
    found = checksum(entry.asset)
    digest = f"  checksum={found[0]}={found[1]}\n" if found else ""
    return f"{entry.href}\n  out={entry.name}\n{digest}"


FORMATS: dict[str, tuple[str, Callable[[Manifest], str]]] = {
    "metalink": (METALINK, as_metalink),
    "list": (PLAIN, as_list),
    "aria2": (PLAIN, as_aria2),
}


def checksum(asset: Asset) -> tuple[str, str] | None:
    """Return the hash function and hexadecimal digits of ``file:checksum``, or None for an unknown function."""
    text = str(asset.properties.get("file:checksum", "")).lower()
    for prefix, name in _HASHES.items():
        digits = text.removeprefix(prefix)
        if text.startswith(prefix) and len(digits) == _DIGITS[name] and set(digits) <= set("0123456789abcdef"):
            return name, digits
    return None
