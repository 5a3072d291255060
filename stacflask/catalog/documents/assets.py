"""What of a document is downloaded through the server: its managed assets, and the files in directories of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from mimetypes import guess_type
from typing import TYPE_CHECKING, Any

from stacflask.catalog.documents.documents import opened, storage_hrefs
from stacflask.model.asset import Asset

if TYPE_CHECKING:
    from collections.abc import Callable

    from stacflask.model.json_types import Document


@dataclass(frozen=True, slots=True)
class Directories:
    """Tells which assets are directories: by the slash at the href's end, or by one of these media types."""

    types: tuple[str, ...] = ()

    def __call__(self, href: str, media_type: str | None) -> bool:
        """Whether what lies below ``href`` is asked for by its path."""
        return href.endswith("/") or (media_type or "").partition(";")[0].strip().lower() in self.types


def asset_of(
    body: bytes, collection: str, item: str | None, key: str, directories: Callable[[str, str | None], bool]
) -> Asset | None:
    """Give one managed asset, or None if there is none of that key or its href is an ordinary one.

    A key that is none, but leads from a directory's on, is a file in it: of several directories, the innermost.
    """
    hrefs = storage_hrefs(body)
    below = [known for known in hrefs if key.startswith(f"{known}/")]
    if key not in hrefs and not below:
        return None
    document = opened(body)
    shared, assets = _shared(document, item), document["assets"]
    if key in hrefs:
        return _asset(assets[key], shared, collection, item, key, hrefs[key])
    for known in sorted(below, key=len, reverse=True):
        asset = _asset(assets[known], shared, collection, item, known, hrefs[known])
        if directories(asset.href, asset.media_type):
            path = key[len(known) + 1 :]
            return _file_in(asset, path) if path else asset
    return None


def _file_in(directory: Asset, path: str) -> Asset:
    """Give a file in a directory. What is said of the directory's bytes does not hold for it."""
    properties = {
        name: value
        for name, value in directory.properties.items()
        if name != "type" and not name.startswith(("file:size", "file:checksum", "file:header_size", "file:local_path"))
    }
    media_type, coding = guess_type(path)
    # Of "x.json.gz", the type is that of what is compressed, and not of these bytes.
    return replace(directory, path=path, size=None, media_type=None if coding else media_type, properties=properties)


def assets_of(body: bytes, collection: str, item: str | None) -> list[Asset]:
    """Give all managed assets, in the order of the document."""
    hrefs = storage_hrefs(body)
    if not hrefs:
        return []
    document = opened(body)
    shared, assets = _shared(document, item), document["assets"]
    return [_asset(assets[key], shared, collection, item, key, hrefs[key]) for key in assets if key in hrefs]


def _shared(document: Document, item: str | None) -> dict[str, Any]:
    """Give what holds for each asset unless it says otherwise."""
    return document["properties"] if item is not None else _own(document)


def _asset(
    asset: dict[str, Any], shared: dict[str, Any], collection: str, item: str | None, key: str, href: str
) -> Asset:
    """Make an asset out of its part of a document, which is used up by that."""
    # What stands there is the mark of the address, which is told apart.
    del asset["href"]
    media_type, size = asset.get("type"), asset.get("file:size")
    return Asset(
        collection,
        item,
        key,
        href,
        media_type if type(media_type) is str else None,
        int(size) if type(size) is int or type(size) is float else None,
        tuple([role for role in asset.get("roles") or () if type(role) is str]),
        shared | asset,
    )


def _own(collection: Document) -> Document:
    return {name: value for name, value in collection.items() if name not in ("assets", "links", "item_assets")}
