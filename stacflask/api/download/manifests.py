"""Many downloads as a list: JSON, Metalink 4 (RFC 5854), addresses alone, or input for aria2."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

from stacflask.api.http import public_url
from stacflask.disposition import local_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from stacflask.api.documents.stac_links import Link
    from stacflask.model.asset import Asset
    from stacflask.model.decision import Decision

METALINK = "application/metalink4+xml"
PLAIN = "text/plain"
JSON = "application/json"

# Prefixes of multihashes, and what Metalink and aria2 call the function.
_HASHES = {"1114": "sha-1", "1220": "sha-256", "1340": "sha-512", "d50110": "md5"}
_DIGITS = {"sha-1": 40, "sha-256": 64, "sha-512": 128, "md5": 32}


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that may be taken: under which address, until when, and the name to save it under."""

    asset: Asset
    href: str
    expires: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that may not be taken, and why; an item that is not there has no asset."""

    collection: str
    item: str | None
    asset: str | None
    code: str
    description: str
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What may be taken, what may not, and links to the pages beside it."""

    entries: Sequence[Entry]
    missing: Sequence[Missing]
    links: Sequence[Link]


def names(assets: Iterable[Asset], codings: Iterable[str] = repeat("")) -> list[str]:
    """Give each asset a path of its own to be saved under: collection, item, and the file's path.

    Two that would be the same for a file system without regard to case are told apart by their keys, or by numbers.
    ``codings`` are endings, one for each asset, that are appended to paths which do not end so.
    """
    taken: set[str] = set()
    return [_free(asset, taken, coding) for asset, coding in zip(assets, codings, strict=False)]


def _free(asset: Asset, taken: set[str], coding: str) -> str:
    path = local_path(asset)
    path += "" if path.lower().endswith(coding.lower()) else coding
    folder, _, name = path.rpartition("/")
    stem, dot, ending = name.partition(".")
    key = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in asset.key)
    tried = [path, f"{folder}/{stem}-{key}{dot}{ending}"]
    number = 1
    while tried[0].casefold() in taken:
        number += 1
        tried = [*tried[1:], f"{folder}/{stem}-{key}-{number}{dot}{ending}"]
    taken.add(tried[0].casefold())
    return tried[0]


def refused(asset: Asset, decision: Decision, *, anonymous: bool) -> Missing:
    """Tell why an asset may not be taken: what its refusal would tell, and no more."""
    code = "Unauthorized" if anonymous else decision.code or "Forbidden"
    detail = decision.detail or ("Say who you are." if anonymous else "You may not do this.")
    return Missing(asset.collection, asset.item, asset.key, code, detail, decision.link)


# --- Forms -----------------------------------------------------------------------------------------------------------


def as_json(manifest: Manifest) -> dict[str, Any]:
    """Tell everything."""
    return {
        "downloads": [_entry(entry) for entry in manifest.entries],
        "refused": [_missing(missing) for missing in manifest.missing],
        "numberReturned": len(manifest.entries),
        "size": sum(entry.asset.size or 0 for entry in manifest.entries),
        "links": list(manifest.links),
    }


def _entry(entry: Entry) -> dict[str, Any]:
    asset = entry.asset
    told = {
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
    return {name: value for name, value in told.items() if value is not None}


def _missing(missing: Missing) -> dict[str, Any]:
    told: dict[str, Any] = {
        "collection": missing.collection,
        "item": missing.item,
        "asset": missing.asset,
        "code": missing.code,
        "description": missing.description,
    }
    if missing.link is not None:
        told["links"] = [{"rel": "license", "href": public_url.base_url() + missing.link, "type": JSON}]
    return {name: value for name, value in told.items() if value is not None}


def as_metalink(manifest: Manifest) -> str:
    """List files with their addresses, sizes and checksums."""
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
    """List addresses, one a line."""
    return "".join(f"{entry.href}\n" for entry in manifest.entries)


def as_aria2(manifest: Manifest) -> str:
    """List addresses with the names and checksums that aria2 reads beside them."""
    return "".join(map(_lines, manifest.entries))


def _lines(entry: Entry) -> str:
    found = checksum(entry.asset)
    digest = f"  checksum={found[0]}={found[1]}\n" if found else ""
    return f"{entry.href}\n  out={entry.name}\n{digest}"


FORMS: dict[str, tuple[str, Callable[[Manifest], str]]] = {
    "metalink": (METALINK, as_metalink),
    "list": (PLAIN, as_list),
    "aria2": (PLAIN, as_aria2),
}


def checksum(asset: Asset) -> tuple[str, str] | None:
    """Give function and hexadecimal digits of ``file:checksum``, where they are of a usual kind."""
    text = str(asset.properties.get("file:checksum", "")).lower()
    for prefix, name in _HASHES.items():
        digits = text.removeprefix(prefix)
        if text.startswith(prefix) and len(digits) == _DIGITS[name] and set(digits) <= set("0123456789abcdef"):
            return name, digits
    return None
