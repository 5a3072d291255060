"""Assets of a document that are downloaded through the server: managed assets, and files in directory assets."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from mimetypes import guess_type
from typing import Any

from stacflask.catalog.documents.documents import parse_public, storage_hrefs
from stacflask.catalog.documents.rows import TIMES
from stacflask.model.asset import Asset, Interval
from stacflask.model.json_types import Document
from stacflask.model.readonly import read_only
from stacflask.stac.times import parse_instant


@dataclass(frozen=True, slots=True)
class Directories:
    """Decides which assets are directories: those with a slash at the end of the href, or one of these media types."""

    types: tuple[str, ...] = ()

    def __call__(self, href: str, media_type: str | None) -> bool:
        """Whether files below ``href`` can be downloaded by their path."""
        return href.endswith("/") or (media_type or "").partition(";")[0].strip().lower() in self.types


def asset_of(
    body: bytes, collection: str, item: str | None, key: str, directories: Callable[[str, str | None], bool]
) -> Asset | None:
    """Return one managed asset, or None if there is no asset of that key or it is not managed.

    A key that continues the key of a directory asset is a file in it; of several directories, the innermost.
    """
    hrefs = storage_hrefs(body)
    below = [directory for directory in hrefs if key.startswith(f"{directory}/")]
    if key not in hrefs and not below:
        return None
    document = parse_public(body)
    shared, extent, assets = _shared(document, item), _extent(document, item), document["assets"]
    if key in hrefs:
        return _asset(assets[key], shared, extent, collection, item, key, hrefs[key])
    for directory in sorted(below, key=len, reverse=True):
        asset = _asset(assets[directory], shared, extent, collection, item, directory, hrefs[directory])
        if directories(asset.href, asset.media_type):
            path = key[len(directory) + 1 :]
            return _file_in(asset, path) if path else asset
    return None


def _file_in(directory: Asset, path: str) -> Asset:
    """Return a file in a directory. Properties of the bytes of the directory do not apply to it."""
    properties = {
        name: value
        for name, value in directory.properties.items()
        if name != "type" and not name.startswith(("file:size", "file:checksum", "file:header_size", "file:local_path"))
    }
    media_type, coding = guess_type(path)
    # For "x.json.gz", guess_type returns the type of the uncompressed bytes.
    return replace(directory, path=path, size=None, media_type=None if coding else media_type, properties=properties)


def assets_of(body: bytes, collection: str, item: str | None) -> list[Asset]:
    """Return all managed assets, in the order of the document."""
    hrefs = storage_hrefs(body)
    if not hrefs:
        return []
    document = parse_public(body)
    shared, extent, assets = _shared(document, item), _extent(document, item), document["assets"]
    return [_asset(assets[key], shared, extent, collection, item, key, hrefs[key]) for key in assets if key in hrefs]


def _shared(document: Document, item: str | None) -> dict[str, Any]:
    """Return the properties that each asset inherits."""
    return document["properties"] if item is not None else _own(document)


def _extent(document: Document, item: str | None) -> tuple[Any, tuple[float, ...] | None, Interval | None]:
    """Return the geometry, bbox and interval of an item. They are the same objects for all of its assets."""
    if item is None:
        return None, None, None
    bbox, properties = document.get("bbox"), document["properties"]
    times = [parse_instant(properties[name]) for name in TIMES if properties.get(name) is not None]
    return read_only(document["geometry"]), bbox and tuple(bbox), Interval(min(times), max(times))


def _asset(
    asset: dict[str, Any],
    shared: dict[str, Any],
    extent: tuple[Any, tuple[float, ...] | None, Interval | None],
    collection: str,
    item: str | None,
    key: str,
    href: str,
) -> Asset:
    """Return an asset for its part of a document. The part is changed."""
    # It is the mark of the download URL. The storage address is ``href``.
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
        "",
        *extent,
    )


def _own(collection: Document) -> Document:
    return {name: value for name, value in collection.items() if name not in ("assets", "links", "item_assets")}
