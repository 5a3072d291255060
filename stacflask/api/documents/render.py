"""From records to answers. Items are joined as text and never parsed; the server's own links are put in on the way."""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import TYPE_CHECKING

import orjson

from stacflask import current
from stacflask.api.documents import authentication, signed_hrefs
from stacflask.api.documents.stac_links import Link, describing, link
from stacflask.api.http import public_url
from stacflask.api.http.media_types import GEOJSON, JSON
from stacflask.api.http.responses import conditional, reply, tagged
from stacflask.catalog.documents import documents
from stacflask.large_pages import turn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flask import Response

    from stacflask.api.parameters.fields import Fields
    from stacflask.model.page import Count, Page, Record
ALTERNATE_ASSETS = "https://stac-extensions.github.io/alternate-assets/v1.2.0/schema.json"

ITEM_TYPE = b'"itemType"'
"""OGC API Features' member of a collection, which the server adds unless the document has it."""


def item(record: Record, signed: Mapping[signed_hrefs.Place, signed_hrefs.Signed] = signed_hrefs.NONE) -> bytes:
    """Render an item, with these hrefs for those of its assets that have one."""
    return items([record], signed)[0]


def items(
    records: Sequence[Record], signed: Mapping[signed_hrefs.Place, signed_hrefs.Signed] = signed_hrefs.NONE
) -> list[bytes]:
    """Render items. What the request at hand and the settings say of all of them is asked for once."""
    base, told, with_storage = public_url.base_url(), _told_of(records, of_item=True), current.settings().show_storage
    with turn(len(records)):
        return [_item(record, signed, base, told, with_storage=with_storage) for record in records]


def _told_of(records: Sequence[Record], *, of_item: bool) -> authentication.Authentication | None:
    assets_of = current.catalog().assets
    return authentication.told_of(lambda: [asset for record in records for asset in assets_of(record, of_item=of_item)])


def _item(
    record: Record,
    signed: Mapping[signed_hrefs.Place, signed_hrefs.Signed],
    base: str,
    told: authentication.Authentication | None,
    *,
    with_storage: bool,
) -> bytes:
    url, links = _item_links(base, record.collection)
    name = public_url.segment(record.id)
    text = _opened(record.body, b'%b%b","type":"%b"}' % (links, name.encode(), GEOJSON.encode()), with_storage)
    if signed:
        text = documents.with_hrefs(text, lambda key: signed.get((record.collection, record.id, key)))
    return _finished(text if told is None else told.in_item(text, record), url + name)


@lru_cache(maxsize=4096)
def _item_links(base: str, collection: str) -> tuple[str, bytes]:
    """Give the beginnings of an item's own address and of its links, the last of which is to itself."""
    of = f"{base}/collections/{public_url.segment(collection)}"
    links = (
        f'{{"rel":"root","href":"{base}","type":"{JSON}"}},{{"rel":"parent","href":"{of}","type":"{JSON}"}},'
        f'{{"rel":"collection","href":"{of}","type":"{JSON}"}},{{"rel":"self","href":"{of}/items/'
    )
    return f"{of}/items/", links.encode()


def signed_of(
    records: Sequence[Record], fields: Fields | None = None
) -> Mapping[signed_hrefs.Place, signed_hrefs.Signed]:
    """Sign the hrefs of items' assets, if the request at hand asks for it. Raises BadQuery.

    What ``fields`` leave out is not signed: nobody gets it, so nobody is charged for it, nor said to have taken it.
    """
    if not signed_hrefs.requested():
        return signed_hrefs.NONE
    assets_of = current.catalog().assets
    assets = [asset for record in records for asset in assets_of(record)]
    if fields is not None:
        shown = {key: fields.show("assets", key, "href") for key in {asset.key for asset in assets}}
        assets = [asset for asset in assets if shown[asset.key]]
    return signed_hrefs.signed(assets)


def never_cached(response: Response) -> Response:
    """Keep an answer with signed hrefs out of every cache: it is worth something, and not for long."""
    response.headers["Cache-Control"] = "no-store"
    return response


def collection(record: Record) -> bytes:
    """Render a collection. It says the same alone and in a list."""
    return collections([record])[0]


def collections(records: Sequence[Record]) -> list[bytes]:
    """Render collections. What the request at hand and the settings say of all of them is asked for once."""
    base, told, with_storage = public_url.base_url(), _told_of(records, of_item=False), current.settings().show_storage
    return [_collection(record, base, told, with_storage=with_storage) for record in records]


def _collection(record: Record, base: str, told: authentication.Authentication | None, *, with_storage: bool) -> bytes:
    url, links = _collection_links(base, record.id)
    text = _opened(record.body, links, with_storage)
    if ITEM_TYPE not in record.body:
        text = b'%b,%b:"feature"}' % (text[:-1], ITEM_TYPE)
    return _finished(text if told is None else told.in_collection(text, record), url)


@lru_cache(maxsize=4096)
def _collection_links(base: str, collection: str) -> tuple[str, bytes]:
    """Give a collection's own address, and its links."""
    url = f"{base}/collections/{public_url.segment(collection)}"
    links = [
        link("root", base),
        link("parent", base),
        link("self", url),
        link("items", f"{url}/items", GEOJSON),
        link("child", f"{url}/by-time", title="Items by time"),
        *describing(url),
    ]
    return url, orjson.dumps(links)[1:-1]


def _opened(body: bytes, links: bytes, with_storage: bool) -> bytes:
    text = documents.closed(documents.public(body), links)
    return _with_storage(text, documents.storage_hrefs(body)) if with_storage else text


def _finished(text: bytes, url: str) -> bytes:
    return text.replace(documents.HERE, f"{url}/download/".encode())


def _with_storage(text: bytes, hrefs: Mapping[str, str]) -> bytes:
    """Show the storage addresses under ``alternate`` (alternate-assets extension), named by their scheme."""
    if not hrefs:
        return text
    # The mark is no JSON; it is put back behind.
    document = orjson.loads(text.replace(documents.HERE, b""))
    for key, href in hrefs.items():
        asset = document["assets"][key]
        asset["href"] = documents.marked(key)
        asset["alternate"] = {**(asset.get("alternate") or {}), href.partition(":")[0]: {"href": href}}
    extensions = document.setdefault("stac_extensions", [])
    if not any("/alternate-assets/" in extension for extension in extensions):
        extensions.append(ALTERNATE_ASSETS)
    return orjson.dumps(document)


def record(rendered: bytes, kept: Record, media_type: str, status: int = 200) -> Response:
    """Answer with one record, its state as ETag."""
    response = reply(rendered, media_type, status)
    response.set_etag(tag_of(kept, rendered))
    return conditional(response)


def tag_of(kept: Record, rendered: bytes) -> str:
    """Return a record's ETag: its state, and a checksum of all that is shown with it, as links and schemes are."""
    return f"{kept.etag}-{zlib.crc32(rendered):08x}"


def state_of(tag: str) -> str:
    """Give the state in an ETag that was sent back, whatever address or content coding it was made for."""
    return tag.partition("-")[0]


def item_collection(
    page: Page, links: Sequence[Link], fields: Fields | None = None, count: Count | None = None
) -> Response:
    """Answer with a page of items (a GeoJSON FeatureCollection), or with those fields of them."""
    rendered = items(page.records, signed_of(page.records, fields))
    features = b",".join(rendered if fields is None else map(fields.of, rendered))
    body = b'{"type":"FeatureCollection","features":[%b],"links":%b,%b"numberReturned":%d}' % (
        features,
        orjson.dumps(links),
        _counted(count),
        len(page.records),
    )
    return never_cached(reply(body, GEOJSON)) if signed_hrefs.requested() else reply(body, GEOJSON)


def _counted(count: Count | None) -> bytes:
    """Tell a number as what it is: OGC wants numberMatched exact or not at all."""
    if count is None:
        return b""
    if count.matched is not None:
        return b'"numberMatched":%d,' % count.matched
    return b'"numberMatchedEstimate":%d,' % count.estimate if count.estimate is not None else b""


def collection_list(page: Page, links: Sequence[Link], fields: Fields | None = None) -> Response:
    """Answer with a page of collections, or with those fields of them."""
    rendered = collections(page.records)
    listed = b",".join(rendered if fields is None else map(fields.of, rendered))
    body = b'{"collections":[%b],"links":%b,"numberReturned":%d}' % (listed, orjson.dumps(links), len(page.records))
    return tagged(reply(body))


def child_list(page: Page, links: Sequence[Link]) -> Response:
    """Answer with a page of collections, as children."""
    listed = b",".join(collections(page.records))
    return tagged(reply(b'{"children":[%b],"links":%b}' % (listed, orjson.dumps(links))))
