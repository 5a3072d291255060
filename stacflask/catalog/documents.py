r"""From a document to what is kept of it, and back. The one place that knows the form of a body.

A body is kept ready to be sent, so that a page of items is joined and never parsed. It is JSON text in two parts with a
NUL between them (raw control characters cannot stand in JSON, so nothing a document holds can be mistaken for them):

- the public part: the document as given, its ``links`` moved last and left open for those that the server adds
  (``...,"links":[{"rel":"license",...},``); the href of each managed asset is ``\x01`` and its quoted key;
- the private part: the hrefs that managed assets were given, their alternates, and links to storage addresses.

Where the bytes are is thus in the private part only, and is read for downloads and exports alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
import orjson
from msgspec import Raw

from stacflask.errors import BadDocument
from stacflask.values import Asset, Document

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = b"\x01"
"""Stands for the address below which the record's assets are downloaded, slash included."""
SEPARATOR = b"\x00"

STRUCTURE = frozenset({"self", "root", "parent", "collection", "items", "item", "child"})
"""Relations that the server makes itself; those of a given document are dropped."""

_HREF = b'"href":"'

_encode = msgspec.json.encode
_members = msgspec.json.Decoder(dict[str, Raw]).decode
_elements = msgspec.json.Decoder(list[Raw]).decode
_text = msgspec.json.Decoder(str).decode


class _AssetHead(msgspec.Struct, gc=False):
    href: str
    alternate: Raw | None = None


class _LinkHead(msgspec.Struct):
    rel: str
    href: str


class _Private(msgspec.Struct, omit_defaults=True):
    """The private part: hrefs and alternates by asset key, and links withheld whole."""

    hrefs: dict[str, str] = {}
    alternates: dict[str, Raw] = {}
    links: list[Raw] = []


_head = msgspec.json.Decoder(_AssetHead).decode
_heads = msgspec.json.Decoder(dict[str, _AssetHead]).decode
_link_head = msgspec.json.Decoder(_LinkHead).decode
_private = msgspec.json.Decoder(_Private).decode


@dataclass(frozen=True, slots=True)
class Managed:
    """Tells which hrefs are downloaded through the server: all but http(s), and of those the ones with these beginnings."""

    prefixes: tuple[str, ...] = ()

    def __call__(self, href: str) -> bool:
        """Whether ``href`` is a storage address, to be kept private."""
        if href.startswith(("https://", "http://")):
            return bool(self.prefixes) and href.startswith(self.prefixes)
        return _SCHEME.match(href) is not None


_SCHEME = re.compile(r"(?!https?:)[a-z][a-z0-9+.-]*:/", re.IGNORECASE)


def body_of(members: dict[str, Raw], managed: Callable[[str], bool]) -> bytes:
    """Build the body of a document from its members, each still raw JSON. Raises msgspec errors on a wrong form."""
    private = _Private({}, {}, [])
    parts = [b"%b:%b" % (_encode(name), raw) for name, raw in members.items() if name not in ("links", "assets")]
    if "assets" in members:
        parts.append(b'"assets":' + _public_assets(members["assets"], managed, private))
    links = _public_links(members.get("links"), managed, private)
    public = b'{%b,"links":[%b' % (b",".join(parts), b"".join(bytes(link) + b"," for link in links))
    if private == _Private():
        return public
    return public + SEPARATOR + _encode(private)


def _public_assets(assets: Raw, managed: Callable[[str], bool], private: _Private) -> bytes:
    text = bytes(assets)
    heads = _heads(text)
    pieces = text.split(_HREF)
    # With no escapes, and with as many tokens "href" as assets, each of which has one, every token is an asset's own.
    # Almost every item is so, and then its assets need not be taken apart.
    plain = b"\\" not in text and len(pieces) == len(heads) + 1 and text.count(b'"href"') == len(heads)
    if not plain or any(head.alternate is not None for head in heads.values()):
        return _careful_assets(text, managed, private)
    for number, (key, head) in enumerate(heads.items(), start=1):
        if managed(head.href):
            private.hrefs[key] = head.href
            pieces[number] = _marked(key) + pieces[number][len(head.href.encode()) :]
    return _HREF.join(pieces)


def _careful_assets(text: bytes, managed: Callable[[str], bool], private: _Private) -> bytes:
    shown = []
    for key, raw in _members(text).items():
        head = _head(raw)
        asset = bytes(raw)
        if head.alternate is not None and _names_storage(head.alternate, managed):
            private.alternates[key] = head.alternate
            asset = _replaced(asset, "alternate", _public_alternate(head.alternate, managed))
        if managed(head.href):
            private.hrefs[key] = head.href
            asset = _replaced(asset, "href", b'"%b"' % _marked(key))
        shown.append(b"%b:%b" % (_encode(key), asset))
    return b"{%b}" % b",".join(shown)


@lru_cache(maxsize=4096)
def _marked(key: str) -> bytes:
    return HERE + quote(key, safe="").encode()


def _replaced(raw: bytes, member: str, value: bytes | None) -> bytes:
    """Give the object with one member replaced, or left out for None; the rest stays as it is, to the byte."""
    members: dict[str, Raw | bytes] = dict(_members(raw))
    if value is None:
        del members[member]
    else:
        members[member] = value
    return b"{%b}" % b",".join(b"%b:%b" % (_encode(name), part) for name, part in members.items())


def _names_storage(alternate: Raw, managed: Callable[[str], bool]) -> bool:
    return any(managed(_head(entry).href) for entry in _members(alternate).values())


def _public_alternate(alternate: Raw, managed: Callable[[str], bool]) -> bytes | None:
    shown = [
        b"%b:%b" % (_encode(name), entry)
        for name, entry in _members(alternate).items()
        if not managed(_head(entry).href)
    ]
    return b"{%b}" % b",".join(shown) if shown else None


def _public_links(links: Raw | None, managed: Callable[[str], bool], private: _Private) -> list[Raw]:
    shown = []
    for raw in _elements(links) if links is not None else ():
        head = _link_head(raw)
        if head.rel in STRUCTURE:
            continue
        (private.links if managed(head.href) else shown).append(raw)
    return shown


# --- and back --------------------------------------------------------------------------------------------------------


def public(body: bytes) -> bytes:
    """Give the public part: JSON text up to the place where the server's own links follow."""
    return body.partition(SEPARATOR)[0]


def original(body: bytes) -> Document:
    """Give the document as it was given, but for the links that the server makes itself."""
    document, private = _opened(body)
    for key, href in private.hrefs.items():
        document["assets"][key]["href"] = href
    for key, alternate in private.alternates.items():
        document["assets"][key]["alternate"] = orjson.loads(alternate)
    document["links"].extend(orjson.loads(link) for link in private.links)
    return document


def storage_hrefs(body: bytes) -> dict[str, str]:
    """Give the storage addresses of the managed assets, by key."""
    private = body.partition(SEPARATOR)[2]
    return _private(private).hrefs if private else {}


def _opened(body: bytes) -> tuple[Document, _Private]:
    text, _, private = body.partition(SEPARATOR)
    document: Document = orjson.loads(closed(text.replace(HERE, b"")))
    return document, _private(private) if private else _Private()


def closed(text: bytes, links: bytes = b"") -> bytes:
    """End a public part: with these further links (comma-separated objects), or with none."""
    return (text + links if links else text.removesuffix(b",")) + b"]}"


def asset_of(body: bytes, collection: str, item: str | None, key: str) -> Asset | None:
    """Give one managed asset, or None if there is none of that key or its href is an ordinary one."""
    href = storage_hrefs(body).get(key)
    if href is None:
        return None
    document = orjson.loads(closed(public(body).replace(HERE, b"")))
    asset: dict[str, Any] = document["assets"][key]
    properties = document["properties"] if item is not None else _own(document)
    return Asset(
        collection,
        item,
        key,
        href,
        media_type=_if_type(asset.get("type"), str),
        size=_if_type(asset.get("file:size"), int),
        roles=tuple(role for role in asset.get("roles") or () if isinstance(role, str)),
        properties={**properties, **{name: value for name, value in asset.items() if name != "href"}},
    )


def _own(collection: Document) -> Document:
    return {name: value for name, value in collection.items() if name not in ("assets", "links", "item_assets")}


def _if_type(value: Any, kind: type[Any]) -> Any:
    return value if isinstance(value, kind) and not isinstance(value, bool) else None


# --- What a row needs ------------------------------------------------------------------------------------------------


class _Times(msgspec.Struct):
    datetime: str | None
    start_datetime: str | None = None
    end_datetime: str | None = None


_times = msgspec.json.Decoder(_Times).decode


@dataclass(frozen=True, slots=True)
class Parts:
    """An item taken apart without being parsed whole. ``geometry`` and ``properties`` are raw JSON."""

    collection: str
    id: str
    times: tuple[str | None, str | None, str | None]
    bbox: list[float] | None
    geometry: bytes
    properties: bytes
    body: bytes


def split_item(raw: bytes, collection: str | None, managed: Callable[[str], bool]) -> Parts:
    """Take an item apart. ``collection`` is put in where the document names none.

    Raises BadDocument for a form that cannot be kept; what is wrong with it in detail, ``stac.checks`` can say.
    """
    try:
        members = _members(raw)
        name = _text(members["collection"]) if "collection" in members else collection
        if name is None:
            raise BadDocument("/collection", "missing: which collection does the item belong to?")
        members.setdefault("collection", Raw(_encode(name)))
        times = _times(members["properties"])
        return Parts(
            name,
            _text(members["id"]),
            (times.datetime, times.start_datetime, times.end_datetime),
            msgspec.json.decode(members["bbox"], type=list[float] | None) if "bbox" in members else None,
            bytes(members["geometry"]),
            bytes(members["properties"]),
            body_of(members, managed),
        )
    except KeyError as error:
        raise BadDocument(f"/{error.args[0]}", "missing") from error
    except msgspec.MsgspecError as error:
        raise BadDocument("", str(error)) from error


def collection_body(document: Document, managed: Callable[[str], bool]) -> bytes:
    """Build the body of a collection's document."""
    return body_of(_members(orjson.dumps(document)), managed)


def with_member(body: bytes, name: str, value: bytes) -> bytes:
    """Give the body with one public member of the document replaced; the rest stays as it is, to the byte."""
    text, separator, private = body.partition(SEPARATOR)
    start = end = 0
    # Where a member stands follows from how ``body_of`` writes them. HERE would not be JSON.
    for member, raw in _members(closed(text.replace(HERE, b"."))).items():
        start = end + 1 + len(_encode(member)) + 1
        end = start + len(bytes(raw))
        if member == name:
            return text[:start] + value + text[end:] + separator + private
    raise KeyError(name)


def searchable(document: Document) -> Document:
    """Give what of a collection can be searched: all but links and assets."""
    return {name: value for name, value in document.items() if name not in ("links", "assets", "item_assets")}
