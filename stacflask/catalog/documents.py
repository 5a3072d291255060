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
from itertools import chain
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote, unquote

import msgspec
import orjson
from msgspec import Meta, Raw

from stacflask.errors import BadDocument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from stacflask.values import Document

HERE = b"\x01"
"""Stands for the address below which the record's assets are downloaded, slash included."""
SEPARATOR = b"\x00"

_OGC = "http://www.opengis.net/def/rel/ogc/1.0/"
STRUCTURE = frozenset(
    {"self", "root", "parent", "collection", "items", "item", "child", "children"}
    | {"aggregate", "aggregations", f"{_OGC}queryables", f"{_OGC}sortables"}
)
"""Relations that the server makes itself; those of a given document are dropped."""

_HREF = b'"href":"'
_LINKS = b'"links":['


_Line = Annotated[str, Meta(min_length=1)]

_encode = msgspec.json.encode
_members = msgspec.json.Decoder(dict[str, Raw]).decode
_elements = msgspec.json.Decoder(list[Raw]).decode
_text = msgspec.json.Decoder(str).decode


_Size = Annotated[int, Meta(ge=0, le=2**63 - 1)] | Annotated[float, Meta(ge=0, lt=2.0**63, multiple_of=1)]
"""In JSON, 12.0 is the number 12."""

# Not None: msgspec takes "Raw or null" for null alone.
_ABSENT = Raw()


class _AssetHead(msgspec.Struct, gc=False):
    """What is read of an asset, and members that are only checked, as ``stac.checks`` does."""

    href: _Line
    alternate: Raw = _ABSENT
    title: str | None = None
    description: str | None = None
    type: _Line | None = None
    roles: list[str] | None = None
    size: _Size = msgspec.field(name="file:size", default=0)


class _PlainAssetHead(_AssetHead, gc=False):
    """The same of an asset that stands in one place only."""

    alternate: None = None  # type: ignore[assignment]


class _AlternateHead(msgspec.Struct, gc=False):
    href: str


class _LinkHead(msgspec.Struct, gc=False):
    rel: _Line
    href: _Line
    type: _Line | None = None
    title: str | None = None


class _Private(msgspec.Struct, omit_defaults=True, gc=False):
    """The private part: hrefs and alternates by asset key, and links withheld whole."""

    hrefs: dict[str, str] = {}
    alternates: dict[str, Raw] = {}
    links: list[Raw] = []


_head = msgspec.json.Decoder(_AssetHead).decode
_heads = msgspec.json.Decoder(dict[_Line, _AssetHead]).decode
_alternate_head = msgspec.json.Decoder(_AlternateHead).decode
_link_heads = msgspec.json.Decoder(list[_LinkHead]).decode
_private = msgspec.json.Decoder(_Private).decode


@dataclass(frozen=True, slots=True)
class Managed:
    """Tells which hrefs are downloaded through the server.

    These are storage addresses but for those that begin with one of ``public``, and all that begin with one of
    ``prefixes``, which precede.
    """

    prefixes: tuple[str, ...] = ()
    public: tuple[str, ...] = ()

    def __call__(self, href: str) -> bool:
        """Whether ``href`` is a storage address, to be kept private."""
        # The usual ones without the patterns: this is asked for every link and asset.
        if href.startswith(_S3) and not self.public:
            return True
        if self.prefixes and href.startswith(self.prefixes):
            return True
        if href.startswith(("https://", "http://", *self.public)):
            return False
        return _STORAGE.match(href) is not None and _PUBLIC.match(href) is None


_S3 = "s3://"
# Every scheme, and GDAL's own way to write a storage address. Without a scheme, an href is relative.
_STORAGE = re.compile(r"[a-z][a-z0-9+.-]*:|/vsi", re.IGNORECASE)
# What anybody resolves without this server: addresses of the web and of FTP (but not with a password in them), names in
# public registers, the data themselves, and people.
_PUBLIC = re.compile(
    r"https?:|ftps?://(?![^/?#]*@)|(?:data|doi|urn|info|ark|hdl|magnet|ipfs|ipns|mailto|tel):", re.IGNORECASE
)


def is_relative(href: str) -> bool:
    """Whether an href has no scheme, and is no storage address in GDAL's form."""
    return _STORAGE.match(href) is None


def body_of(members: dict[str, Raw], managed: Callable[[str], bool]) -> bytes:
    """Build the body of a document from its members, each still raw JSON. Raises msgspec errors on a wrong form."""
    private = _Private({}, {}, [])
    parts = [_named(name) + bytes(raw) for name, raw in members.items() if name not in ("links", "assets")]
    if "assets" in members:
        parts.append(b'"assets":' + _public_assets(bytes(members["assets"]), managed, private))
    parts.append(_LINKS + _public_links(members.get("links"), managed, private))
    return _with_private((b"{", b",".join(parts)), private)


def _with_private(public: Iterable[bytes], private: _Private) -> bytes:
    if private.hrefs or private.alternates or private.links:
        return b"".join((*public, SEPARATOR, _encode(private)))
    return b"".join(public)


@lru_cache(maxsize=4096)
def _named(name: str) -> bytes:
    return _encode(name) + b":"


def _public_assets(text: bytes, managed: Callable[[str], bool], private: _Private) -> bytes:
    heads = _heads(text)
    plain = all(head.alternate is _ABSENT for head in heads.values())
    public = _marked_assets((text,), heads, managed, private) if plain else None
    return _careful_assets(text, managed, private) if public is None else b"".join(public)


def _marked_assets(
    texts: tuple[bytes, ...], heads: Mapping[str, _AssetHead], managed: Callable[[str], bool], private: _Private
) -> Iterable[bytes] | None:
    """Mark the hrefs of managed assets in texts that hold them one behind the other; give the pieces to be joined.

    None: it is not clear which hrefs they are.
    """
    # A JSON text without escapes has no quotes within its texts. With as many hrefs as assets, each of which has one,
    # every href is an asset's own member. Almost every item is so, and then its assets need not be taken apart.
    pieces = [b""]
    for text in texts:
        if b"\\" in text:
            return None
        first, *others = text.split(_HREF)
        pieces[-1] += first
        pieces += others
    if len(pieces) != len(heads) + 1:
        return None
    # This is done for every asset of a load, so it is done in few steps.
    hrefs = {key: head.href for key, head in heads.items()}
    private.hrefs = {key: href for key, href in hrefs.items() if managed(href)}
    marks = [_marked(key) if key in private.hrefs else _HREF + href.encode() for key, href in hrefs.items()]
    ascii_only = "".join(hrefs.values()).isascii()
    sizes = map(len, hrefs.values() if ascii_only else map(str.encode, hrefs.values()))
    tails = [piece[size:] for piece, size in zip(pieces[1:], sizes, strict=True)]
    return chain(pieces[:1], chain.from_iterable(zip(marks, tails, strict=True)))


def _careful_assets(text: bytes, managed: Callable[[str], bool], private: _Private) -> bytes:
    shown = []
    for key, raw in _members(text).items():
        head = _head(raw)
        asset = bytes(raw)
        if bytes(head.alternate) not in (b"", b"null") and _names_storage(head.alternate, managed):
            private.alternates[key] = head.alternate
            asset = _replaced(asset, "alternate", _public_alternate(head.alternate, managed))
        if managed(head.href):
            private.hrefs[key] = head.href
            asset = _replaced(asset, "href", _marked(key).removeprefix(_HREF[:-1]) + b'"')
        shown.append(b"%b:%b" % (_encode(key), asset))
    return b"{%b}" % b",".join(shown)


@lru_cache(maxsize=4096)
def _marked(key: str) -> bytes:
    """Give an asset's href as it is kept, but for the quotation mark at its end."""
    return _HREF + HERE + quote(key, safe="").encode()


_MARK = re.compile(HERE + rb"([^\"]*)")


def _replaced(raw: bytes, member: str, value: bytes | None) -> bytes:
    """Give the object with one member replaced, or left out for None; the rest stays as it is, to the byte."""
    members: dict[str, Raw | bytes] = dict(_members(raw))
    if value is None:
        del members[member]
    else:
        members[member] = value
    return b"{%b}" % b",".join(_named(name) + bytes(part) for name, part in members.items())


def _names_storage(alternate: Raw, managed: Callable[[str], bool]) -> bool:
    return any(managed(_alternate_head(entry).href) for entry in _members(alternate).values())


def _public_alternate(alternate: Raw, managed: Callable[[str], bool]) -> bytes | None:
    shown = [
        b"%b:%b" % (_encode(name), entry)
        for name, entry in _members(alternate).items()
        if not managed(_alternate_head(entry).href)
    ]
    return b"{%b}" % b",".join(shown) if shown else None


def _public_links(links: Raw | bytes | None, managed: Callable[[str], bool], private: _Private) -> bytes:
    shown = b""
    if links is not None:
        for raw, head in zip(_elements(links), _link_heads(links), strict=True):
            if head.rel in STRUCTURE:
                continue
            if managed(head.href):
                private.links.append(raw)
            else:
                shown += bytes(raw) + b","
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
        document["assets"][key]["alternate"] = orjson.loads(bytes(alternate))
    document["links"].extend(orjson.loads(bytes(link)) for link in private.links)
    return document


def original_text(body: bytes) -> bytes:
    """Give what ``original`` gives as JSON text. Where only hrefs were put away, numbers keep their very digits."""
    text, _, private = body.partition(SEPARATOR)
    kept = _private(private) if private else _Private()
    if kept.alternates or kept.links:
        return orjson.dumps(original(body))
    return closed(_MARK.sub(lambda mark: _encode(kept.hrefs[unquote(mark[1].decode())])[1:-1], text))


def with_hrefs(text: bytes, hrefs: Callable[[str], tuple[str, str] | None]) -> bytes:
    """Put in an href, and when it ends, for the marks of those asset keys that have one; the other marks stay."""

    def put(mark: re.Match[bytes]) -> bytes:
        found = hrefs(unquote(mark[1].decode()))
        if found is None:
            return mark[0]
        href, expires = found
        return b'%b","href:expires":"%b' % (_encode(href)[1:-1], expires.encode())

    return _MARK.sub(put, text)


def storage_hrefs(body: bytes) -> dict[str, str]:
    """Give the storage addresses of the managed assets, by key."""
    private = body.partition(SEPARATOR)[2]
    return _private(private).hrefs if private else {}


def opened(body: bytes) -> Document:
    """Read the public part. Where an asset's address belongs, its key stands."""
    document: Document = orjson.loads(closed(public(body).replace(HERE, b"")))
    return document


def _opened(body: bytes) -> tuple[Document, _Private]:
    private = body.partition(SEPARATOR)[2]
    return opened(body), _private(private) if private else _Private()


def closed(text: bytes, links: bytes = b"") -> bytes:
    """End a public part: with these further links (comma-separated objects), or with none."""
    return (text + links if links else text.removesuffix(b",")) + b"]}"


# --- What a row needs ------------------------------------------------------------------------------------------------


_bbox = msgspec.json.Decoder(list[float]).decode


class Parts(msgspec.Struct, frozen=True, gc=False):
    """An item taken apart without being parsed whole. ``geometry`` and ``properties`` are raw JSON.

    ``given`` are the properties parsed. ``head`` is the text of what all items of one make have in
    common: type, version, extensions, whether it has assets.
    """

    head: tuple[bytes, ...]
    collection: str
    id: str
    times: tuple[str | None, str | None, str | None]
    bbox: list[float] | None
    geometry: bytes
    properties: bytes
    given: Document
    body: bytes


class _ItemHead(msgspec.Struct, gc=False):
    type: Raw
    stac_version: Raw
    id: str
    collection: str
    geometry: Raw
    properties: Raw
    links: Raw
    assets: dict[_Line, _PlainAssetHead]
    bbox: list[float] | msgspec.UnsetType = msgspec.UNSET
    stac_extensions: Raw = _ABSENT


_item_head = msgspec.json.Decoder(_ItemHead).decode


def split_item(raw: bytes, collection: str | None, managed: Callable[[str], bool]) -> Parts:
    """Take an item apart. ``collection`` is put in where the document names none.

    Raises BadDocument for a form that cannot be kept; what is wrong with it in detail, ``stac.checks`` can say.
    """
    try:
        return _split_plain(raw, managed) or _split(raw, collection, managed)
    except KeyError as error:
        raise BadDocument(f"/{error.args[0]}", "missing") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadDocument("", str(error)) from error


def _split_plain(raw: bytes, managed: Callable[[str], bool]) -> Parts | None:
    """Take a usual item apart in one go; None if anything about it is unusual, or wrong."""
    try:
        head = _item_head(raw)
        private = _Private({}, {}, [])
        links = bytes(head.links)
        shown = _public_links(links, managed, private)
    except msgspec.MsgspecError:
        return None
    rest = _without_links(raw, links)
    public = _marked_assets(rest, head.assets, managed, private) if rest is not None else None
    if public is None:
        return None
    properties = bytes(head.properties)
    given = _given(properties)
    return Parts(
        (bytes(head.type), bytes(head.stac_version), bytes(head.stac_extensions), b"assets"),
        head.collection,
        head.id,
        _times(given),
        None if head.bbox is msgspec.UNSET else head.bbox,
        bytes(head.geometry),
        properties,
        given,
        _with_private((*public, b",", _LINKS, shown), private),
    )


def _without_links(raw: bytes, links: bytes) -> tuple[bytes, bytes] | None:
    """Give what stands before the links in a compact document, and what behind them but for its closing brace.

    None: it is not clear where they stand.
    """
    start = raw.find(_LINKS)
    end = start + len(_LINKS) - 1 + len(links)
    # Others that begin like these would bring an href along, which is counted; but others may be as empty.
    if start < 0 or raw[end - len(links) : end] != links or (links == b"[]" and raw.find(_LINKS, end) >= 0):
        return None
    if raw[end : end + 1] == b",":
        return raw[:start], raw[end + 1 : -1]
    return (raw[: start - 1], raw[end:-1]) if raw[start - 1 : start] == b"," else None


def _split(raw: bytes, collection: str | None, managed: Callable[[str], bool]) -> Parts:
    members = _members(raw)
    name = _text(members["collection"]) if "collection" in members else collection
    if name is None:
        raise BadDocument("/collection", "missing: which collection does the item belong to?")
    members.setdefault("collection", Raw(_encode(name)))
    properties = bytes(members["properties"])
    given = _given(properties)
    return Parts(
        tuple(bytes(members.get(member, b"")) for member in _HEAD) + (b"assets",) * ("assets" in members),
        name,
        _text(members["id"]),
        _times(given),
        _bbox(members["bbox"]) if "bbox" in members else None,
        bytes(members["geometry"]),
        properties,
        given,
        body_of(members, managed),
    )


_HEAD = ("type", "stac_version", "stac_extensions")


def _given(properties: bytes) -> Document:
    # Whole, because a number that is out of range would upset every later search that looks at it.
    try:
        given = orjson.loads(properties)
    except orjson.JSONDecodeError as error:
        raise BadDocument("/properties", str(error)) from error
    if type(given) is not dict:
        raise BadDocument("/properties", "expected an object")
    return given


def _times(given: Document) -> tuple[str | None, str | None, str | None]:
    if "datetime" not in given:
        raise BadDocument("/properties/datetime", "missing")
    times = given["datetime"], given.get("start_datetime"), given.get("end_datetime")
    for time in times:
        if time is not None and type(time) is not str:
            raise BadDocument("/properties", f"expected texts for times, got {time!r}")
    return times


def collection_body(document: Document, managed: Callable[[str], bool]) -> bytes:
    """Build the body of a collection's document."""
    return body_of(_members(orjson.dumps(document)), managed)


def with_member(body: bytes, name: str, value: bytes) -> bytes:
    """Give the body with one public member of the document replaced; the rest stays as it is, to the byte."""
    return with_members(body, {name: value})


def with_members(body: bytes, values: Mapping[str, bytes | None]) -> bytes:
    """Give the body with some public members replaced, or left out; the rest stays as it is, to the byte.

    Links come last, and cannot be left out. Raises KeyError: one that is to be replaced is not there.
    """
    text, separator, private = body.partition(SEPARATOR)
    pieces, start, end = [], 0, 0
    wanted = {name for name, value in values.items() if value is not None}
    # Where a member stands follows from how ``body_of`` writes them. HERE would not be JSON.
    for member, raw in _members(closed(text.replace(HERE, b"."))).items():
        begin = end + 1
        end = begin + len(_named(member)) + len(bytes(raw))
        if member in values:
            value = values[member]
            pieces.append(text[start:begin] + (b"" if value is None else _named(member) + value))
            start = end + 1 if value is None else end
            wanted.discard(member)
    if wanted:
        raise KeyError(*wanted)
    return b"".join(pieces) + text[start:] + separator + private


def searchable(document: Document) -> Document:
    """Give what of a collection can be searched: all but links and assets."""
    return {name: value for name, value in document.items() if name not in ("links", "assets", "item_assets")}
