"""Renders records as responses. Items are joined as text without parsing them, with the server's links inserted."""

import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache

import orjson
from flask import Response

from stacflask import current
from stacflask.api.documents import authentication_extension, signed_hrefs
from stacflask.api.documents.stac_links import Link, description_links, link
from stacflask.api.http import public_url
from stacflask.api.http.media_types import GEOJSON, JSON
from stacflask.api.http.responses import conditional, reply, tagged
from stacflask.api.parameters.fields import Fields
from stacflask.catalog.documents import documents
from stacflask.catalog.documents.large_pages import turn
from stacflask.model.page import Count, Page, Record

ALTERNATE_ASSETS = "https://stac-extensions.github.io/alternate-assets/v1.2.0/schema.json"

ITEM_TYPE = b'"itemType"'
"""A member of collections in OGC API Features. The server adds it to documents that do not have it."""


def item(record: Record, signed: Mapping[signed_hrefs.AssetId, signed_hrefs.Signed] = signed_hrefs.NONE) -> bytes:
    """Render an item, with signed hrefs for the assets that have one."""
    return items([record], signed)[0]


def items(
    records: Sequence[Record], signed: Mapping[signed_hrefs.AssetId, signed_hrefs.Signed] = signed_hrefs.NONE
) -> list[bytes]:
    """Render items, with signed hrefs for the assets that have one."""
    base, with_storage = public_url.base_url(), current.settings().show_storage
    schemes = _schemes(records, of_item=True)
    with turn(len(records)):
        return [_item(record, signed, base, schemes, with_storage=with_storage) for record in records]


def _schemes(records: Sequence[Record], *, of_item: bool) -> authentication_extension.Authentication | None:
    assets_of = current.catalog().assets
    return authentication_extension.for_assets(
        lambda: [asset for record in records for asset in assets_of(record, of_item=of_item)]
    )


def _item(
    record: Record,
    signed: Mapping[signed_hrefs.AssetId, signed_hrefs.Signed],
    base: str,
    schemes: authentication_extension.Authentication | None,
    *,
    with_storage: bool,
) -> bytes:
    url, links = _item_links(base, record.collection)
    name = public_url.segment(record.id)
    text = _with_links(record.body, b'%b%b","type":"%b"}' % (links, name.encode(), GEOJSON.encode()), with_storage)
    if signed:
        text = documents.with_hrefs(text, lambda key: signed.get((record.collection, record.id, key)))
    return _with_download_hrefs(text if schemes is None else schemes.in_item(text, record), url + name)


@lru_cache(maxsize=4096)
def _item_links(base: str, collection: str) -> tuple[str, bytes]:
    """Return the beginnings of an item's URL and of its links, the last of which is its self link."""
    of = f"{base}/collections/{public_url.segment(collection)}"
    links = (
        f'{{"rel":"root","href":"{base}","type":"{JSON}"}},{{"rel":"parent","href":"{of}","type":"{JSON}"}},'
        f'{{"rel":"collection","href":"{of}","type":"{JSON}"}},{{"rel":"self","href":"{of}/items/'
    )
    return f"{of}/items/", links.encode()


def signed_of(
    records: Sequence[Record], fields: Fields | None = None
) -> Mapping[signed_hrefs.AssetId, signed_hrefs.Signed]:
    """Sign the hrefs of items' assets, if the request has hrefs=signed. Raises BadQuery.

    Assets that ``fields`` exclude are not signed, because signing charges the user and is recorded as a download.
    """
    if not signed_hrefs.requested():
        return signed_hrefs.NONE
    assets_of = current.catalog().assets
    assets = [asset for record in records for asset in assets_of(record)]
    if fields is not None:
        included = {key: fields.show("assets", key, "href") for key in {asset.key for asset in assets}}
        assets = [asset for asset in assets if included[asset.key]]
    return signed_hrefs.signed(assets)


def never_cached(response: Response) -> Response:
    """Forbid caching of a response with signed hrefs, which give access and expire."""
    response.headers["Cache-Control"] = "no-store"
    return response


def collection(record: Record) -> bytes:
    """Render a collection, in the same form as in a list."""
    return collections([record])[0]


def collections(records: Sequence[Record]) -> list[bytes]:
    """Render collections."""
    base, with_storage = public_url.base_url(), current.settings().show_storage
    schemes = _schemes(records, of_item=False)
    return [_collection(record, base, schemes, with_storage=with_storage) for record in records]


def _collection(
    record: Record, base: str, schemes: authentication_extension.Authentication | None, *, with_storage: bool
) -> bytes:
    url, links = _collection_links(base, record.id)
    text = _with_links(record.body, links, with_storage)
    if ITEM_TYPE not in record.body:
        text = b'%b,%b:"feature"}' % (text[:-1], ITEM_TYPE)
    return _with_download_hrefs(text if schemes is None else schemes.in_collection(text, record), url)


@lru_cache(maxsize=4096)
def _collection_links(base: str, collection: str) -> tuple[str, bytes]:
    """Return a collection's URL and its links."""
    url = f"{base}/collections/{public_url.segment(collection)}"
    links = [
        link("root", base),
        link("parent", base),
        link("self", url),
        link("items", f"{url}/items", GEOJSON),
        link("child", f"{url}/by-time", title="Items by time"),
        *description_links(url),
    ]
    return url, orjson.dumps(links)[1:-1]


def _with_links(body: bytes, links: bytes, with_storage: bool) -> bytes:
    text = documents.closed(documents.public(body), links)
    return _with_storage(text, documents.storage_hrefs(body)) if with_storage else text


def _with_download_hrefs(text: bytes, url: str) -> bytes:
    return text.replace(documents.HERE, f"{url}/download/".encode())


def _with_storage(text: bytes, hrefs: Mapping[str, str]) -> bytes:
    """Add the storage hrefs to ``alternate`` (alternate-assets extension), named by their URL scheme."""
    if not hrefs:
        return text
    # The mark is not valid JSON; documents.marked puts it back.
    document = orjson.loads(text.replace(documents.HERE, b""))
    for key, href in hrefs.items():
        asset = document["assets"][key]
        asset["href"] = documents.marked(key)
        asset["alternate"] = {**(asset.get("alternate") or {}), href.partition(":")[0]: {"href": href}}
    extensions = document.setdefault("stac_extensions", [])
    if not any("/alternate-assets/" in extension for extension in extensions):
        extensions.append(ALTERNATE_ASSETS)
    return orjson.dumps(document)


def record(rendered: bytes, stored: Record, media_type: str, status: int = 200) -> Response:
    """Return a response with one record and its ETag."""
    response = reply(rendered, media_type, status)
    response.set_etag(tag_of(stored, rendered))
    return conditional(response)


def tag_of(stored: Record, rendered: bytes) -> str:
    """Return a record's ETag: its stored state, and a checksum of the rendered record with links and schemes."""
    return f"{stored.etag}-{zlib.crc32(rendered):08x}"


def state_of(tag: str) -> str:
    """Return the stored state in an ETag that a client sent back."""
    return tag.partition("-")[0]


def item_collection(
    page: Page, links: Sequence[Link], fields: Fields | None = None, count: Count | None = None
) -> Response:
    """Return a page of items (a GeoJSON FeatureCollection), with these fields of them."""
    rendered = items(page.records, signed_of(page.records, fields))
    features = b",".join(rendered if fields is None else map(fields.of, rendered))
    body = b'{"type":"FeatureCollection","features":[%b],"links":%b,%b"numberReturned":%d}' % (
        features,
        orjson.dumps(links),
        _count_member(count),
        len(page.records),
    )
    return never_cached(reply(body, GEOJSON)) if signed_hrefs.requested() else reply(body, GEOJSON)


def _count_member(count: Count | None) -> bytes:
    """Return the member with the count. In OGC API Features, numberMatched must be exact or absent."""
    if count is None:
        return b""
    if count.matched is not None:
        return b'"numberMatched":%d,' % count.matched
    return b'"numberMatchedEstimate":%d,' % count.estimate if count.estimate is not None else b""


def collection_list(page: Page, links: Sequence[Link], fields: Fields | None = None) -> Response:
    """Return a page of collections, with these fields of them."""
    rendered = collections(page.records)
    listed = b",".join(rendered if fields is None else map(fields.of, rendered))
    body = b'{"collections":[%b],"links":%b,"numberReturned":%d}' % (listed, orjson.dumps(links), len(page.records))
    return tagged(reply(body))


def child_list(page: Page, links: Sequence[Link]) -> Response:
    """Return a page of collections as children."""
    listed = b",".join(collections(page.records))
    return tagged(reply(b'{"children":[%b],"links":%b}' % (listed, orjson.dumps(links))))
