r"""The form of a stored body: from a document to its body, and back.

A body is stored ready to be sent, so a page of items is joined without parsing. It is JSON text in two parts, separated
by a NUL. JSON has no raw control characters, so a document cannot contain the separator.

- The public part is the document. Its ``links`` are last and not closed, for the links that the server adds
  (``...,"links":[{"rel":"license",...},``). The href of each managed asset is ``\x01`` and its quoted key.
- The private part has the storage hrefs of managed assets, their alternates, and links to storage addresses.

Storage addresses are therefore only in the private part, which only downloads and exports read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from secrets import token_hex
from typing import Any
from urllib.parse import quote, unquote

import msgspec
import orjson
from msgspec import Raw
from orjson import Fragment

from stacflask.model.json_types import Document

HERE = b"\x01"
"""Stands for the URL below which the record's assets are downloaded, including the slash."""
STAND_IN = token_hex(16).encode()
"""Replaces HERE while a text is parsed, because HERE is not valid in JSON. It is random, so no document contains it."""
SEPARATOR = b"\x00"

_OGC = "http://www.opengis.net/def/rel/ogc/1.0/"
STRUCTURE = frozenset(
    {"self", "root", "parent", "collection", "items", "item", "child", "children"}
    | {"aggregate", "aggregations", f"{_OGC}queryables", f"{_OGC}sortables"}
)
"""Relations of links that the server adds. Such links of a document are not stored."""

_encode = msgspec.json.encode
_members = msgspec.json.Decoder(dict[str, Raw]).decode
_elements = msgspec.json.Decoder(list[Raw]).decode


class _Private(msgspec.Struct, omit_defaults=True, gc=False):
    """The private part: hrefs and alternates by asset key, and complete links."""

    hrefs: dict[str, str] = {}
    alternates: dict[str, Raw] = {}
    links: list[Raw] = []


_private = msgspec.json.Decoder(_Private).decode


@dataclass(frozen=True, slots=True)
class Managed:
    """Decides which hrefs are downloaded through the server.

    These are hrefs that begin with one of ``prefixes``, and storage addresses that do not begin with one of ``public``.
    ``prefixes`` take precedence.
    """

    prefixes: tuple[str, ...] = ()
    public: tuple[str, ...] = ()

    def __call__(self, href: str) -> bool:
        """Whether ``href`` is a storage address that is stored in the private part."""
        # Usual hrefs do not need the patterns. This runs for every link and asset.
        if href.startswith(_S3) and not self.public:
            return True
        if self.prefixes and href.startswith(self.prefixes):
            return True
        if href.startswith(("https://", "http://", *self.public)):
            return False
        return _STORAGE.match(href) is not None and _PUBLIC.match(href) is None


_S3 = "s3://"
# Any scheme, and GDAL's form of a storage address. Without a scheme, an href is relative.
_STORAGE = re.compile(r"[a-z][a-z0-9+.-]*:|/vsi", re.IGNORECASE)
# Addresses that clients resolve without this server: web and FTP (but not with a password), names in public registers,
# data, and persons.
_PUBLIC = re.compile(
    r"https?:|ftps?://(?![^/?#]*@)|(?:data|doi|urn|info|ark|hdl|magnet|ipfs|ipns|mailto|tel):", re.IGNORECASE
)


def is_relative(href: str) -> bool:
    """Whether an href has no scheme and is not a storage address in GDAL's form."""
    return _STORAGE.match(href) is None


def body_of(document: Document, managed: Callable[[str], bool], text: bytes | None = None) -> bytes:
    """Return the body of a checked document. ``text`` is its JSON text, if numbers must keep their digits."""
    return _body(document, managed, _own(document) if text is None else verbatim(text))[0]


def _own(document: Document) -> Document:
    """Copy the parts of a document that ``_body`` changes."""
    written = dict(document)
    if document.get("assets"):
        written["assets"] = {key: dict(asset) for key, asset in document["assets"].items()}
    return written


def _body(document: Document, managed: Callable[[str], bool], written: Document) -> tuple[bytes, dict[str, str]]:
    """Return the body of a checked document, and its storage hrefs by asset key.

    ``written`` is the same document, or fragments of its text (see ``verbatim``) if numbers must keep their digits. It
    is changed to the public part, because copying all assets takes longer than writing them.
    """
    private: dict[str, Any] = {}
    links = _public_links(document.get("links") or (), written.pop("links", None) or (), managed, private)
    if document.get("assets"):
        _hide(document["assets"], written["assets"], managed, private)
    public = b'%b,"links":[%b' % (orjson.dumps(written)[:-1], links)
    return public + SEPARATOR + orjson.dumps(private) if private else public, private.get("hrefs", {})


def verbatim(text: bytes) -> Document:
    """Split a document into its members, the members of its assets, and its links. Values are fragments of its text.

    orjson writes fragments unchanged, so numbers keep their digits. Raises errors of msgspec if the form is wrong.
    """
    raw = _members(msgspec.json.format(text, indent=-1))
    written: Document = _fragments(raw)
    if bytes(raw.get("assets", b"null")) != b"null":
        written["assets"] = {key: _fragments(_members(asset)) for key, asset in _members(raw["assets"]).items()}
    if "links" in raw:
        written["links"] = [Fragment(bytes(link)) for link in _elements(raw["links"])]
    return written


def rewritten(document: Any, text: bytes) -> bytes:
    """Return a changed document as JSON text. Parts that equal those in the old ``text`` keep their digits."""
    return orjson.dumps(_rewritten(document, text))


def _rewritten(value: Any, text: bytes) -> Any:
    before = orjson.loads(text)
    if value == before:
        return Fragment(text)
    if isinstance(value, dict) and isinstance(before, dict):
        raw = _members(text)
        return {name: _rewritten(one, bytes(raw[name])) if name in raw else one for name, one in value.items()}
    if isinstance(value, list) and isinstance(before, list) and len(value) == len(before):
        return [_rewritten(one, bytes(raw)) for one, raw in zip(value, _elements(text), strict=True)]
    return value


def _fragments(members: Mapping[str, Raw]) -> Document:
    return {name: Fragment(bytes(raw)) for name, raw in members.items()}


def _hide(assets: Document, written: Document, managed: Callable[[str], bool], private: dict[str, Any]) -> None:
    """Move storage addresses of assets from ``written`` to the private part."""
    hrefs: dict[str, str] = {}
    for key, asset in assets.items():
        if asset.get("alternate"):
            _hide_alternates(key, asset["alternate"], written[key], managed, private)
        if managed(href := asset["href"]):
            hrefs[key] = href
            written[key]["href"] = marked(key)
    if hrefs:
        private["hrefs"] = hrefs


def _hide_alternates(
    key: str, alternate: Document, written: Document, managed: Callable[[str], bool], private: dict[str, Any]
) -> None:
    public = {name: entry for name, entry in alternate.items() if not managed(entry["href"])}
    if len(public) == len(alternate):
        return
    private.setdefault("alternates", {})[key] = written["alternate"]
    if public:
        written["alternate"] = public
    else:
        del written["alternate"]


@lru_cache(maxsize=4096)
def marked(key: str) -> Fragment:
    """Return the href of a managed asset in the public part."""
    return Fragment(b'"%b%b"' % (HERE, quote(key, safe="").encode()))


_MARK = re.compile(HERE + rb"([^\"]*)")


def _public_links(
    links: Sequence[Document], written: Sequence[Any], managed: Callable[[str], bool], private: dict[str, Any]
) -> bytes:
    shown = []
    for link, text in zip(links, written, strict=True):
        if link["rel"] in STRUCTURE:
            continue
        if managed(link["href"]):
            private.setdefault("links", []).append(text)
        else:
            shown.append(text)
    return orjson.dumps(shown)[1:-1] + b"," if shown else b""


# --- From a body to a document ---------------------------------------------------------------------------------------


def public(body: bytes) -> bytes:
    """Return the public part: JSON text up to the links that the server adds."""
    return body.partition(SEPARATOR)[0]


def original(body: bytes) -> Document:
    """Return the original document, without the links that the server adds."""
    document: Document = orjson.loads(original_text(body))
    return document


def original_text(body: bytes) -> bytes:
    """Return the original document as JSON text, in which numbers keep their digits."""
    text, _, private = body.partition(SEPARATOR)
    kept = _private(private) if private else _Private()
    text = closed(_MARK.sub(lambda mark: _encode(kept.hrefs[unquote(mark[1].decode())])[1:-1], text))
    if not kept.alternates and not kept.links:
        return text
    written = verbatim(text)
    for key, alternate in kept.alternates.items():
        written["assets"][key]["alternate"] = Fragment(bytes(alternate))
    written["links"] += [Fragment(bytes(link)) for link in kept.links]
    return orjson.dumps(written)


EXPIRES = "href:expires"
"""The member that is added to an asset with a temporary href."""
_EXPIRES_MEMBER = b'"href:expires":'


def with_hrefs(text: bytes, hrefs: Callable[[str], tuple[str, str] | None]) -> bytes:
    """Replace the marks of asset keys that have a temporary href by the href and its expiry. Other marks stay."""
    if _EXPIRES_MEMBER in text:
        text = _without_expires(text, lambda key: hrefs(key) is not None)

    def put(mark: re.Match[bytes]) -> bytes:
        found = hrefs(unquote(mark[1].decode()))
        if found is None:
            return mark[0]
        href, expires = found
        return b'%b","href:expires":"%b' % (_encode(href)[1:-1], expires.encode())

    return _MARK.sub(put, text)


def _without_expires(text: bytes, of: Callable[[str], bool]) -> bytes:
    """Remove stored ``href:expires`` members of assets. The rest keeps its digits."""
    raw = _members(text.replace(HERE, STAND_IN))
    members: dict[str, Any] = _fragments(raw)
    assets = {key: _fragments(_members(asset)) for key, asset in _members(raw["assets"]).items()}
    members["assets"] = {
        key: {name: value for name, value in asset.items() if name != EXPIRES or not of(key)}
        for key, asset in assets.items()
    }
    return orjson.dumps(members).replace(STAND_IN, HERE)


def storage_hrefs(body: bytes) -> dict[str, str]:
    """Return the storage addresses of the managed assets by key."""
    private = body.partition(SEPARATOR)[2]
    return _private(private).hrefs if private else {}


def parse_public(body: bytes) -> Document:
    """Parse the public part. The href of a managed asset is its quoted key."""
    document: Document = orjson.loads(closed(public(body).replace(HERE, b"")))
    return document


def closed(text: bytes, links: bytes = b"") -> bytes:
    """Close a public part, with further links (comma-separated objects) or without."""
    return (text + links if links else text.removesuffix(b",")) + b"]}"


# --- Parts for a row -------------------------------------------------------------------------------------------------


class Parts(msgspec.Struct, frozen=True, gc=False):
    """The parts of an item for its row. ``geometry`` and ``properties`` are JSON text, ``given`` are parsed properties.

    ``hrefs`` are its storage hrefs by asset key.
    """

    collection: str
    id: str
    times: tuple[str | None, str | None, str | None]
    bbox: list[float] | None
    geometry: bytes
    properties: bytes
    given: Document
    body: bytes
    hrefs: dict[str, str]


def split_item(document: Document, managed: Callable[[str], bool], written: Document | None = None) -> Parts:
    """Split a checked item that has a ``collection``.

    ``written`` is changed to the public part. It is either fragments of the text (see ``verbatim``), so that numbers
    keep their digits, or the document, if it is not needed later. The default is a copy of the document.
    """
    written = _own(document) if written is None else written
    written.setdefault("collection", document["collection"])
    given = document["properties"]
    body, hrefs = _body(document, managed, written)
    return Parts(
        document["collection"],
        document["id"],
        (given["datetime"], given.get("start_datetime"), given.get("end_datetime")),
        [float(degrees) for degrees in document["bbox"]] if "bbox" in document else None,
        orjson.dumps(written["geometry"]),
        orjson.dumps(written["properties"]),
        given,
        body,
        hrefs,
    )


def with_members(body: bytes, values: Mapping[str, bytes | None]) -> bytes:
    """Return the body with some public members replaced or removed. Other bytes do not change.

    ``links`` cannot be removed.

    Raises:
        KeyError: A member that is replaced does not exist.
    """
    text, separator, private = body.partition(SEPARATOR)
    pieces, start, end = [], 0, 0
    missing = {name for name, value in values.items() if value is not None}
    # The offset of a member follows from the form in which ``body_of`` writes it. HERE is not valid in JSON.
    for member, raw in _members(closed(text.replace(HERE, b"."))).items():
        begin = end + 1
        name = orjson.dumps(member) + b":"
        end = begin + len(name) + len(bytes(raw))
        if member in values:
            value = values[member]
            pieces.append(text[start:begin] + (b"" if value is None else name + value))
            start = end + 1 if value is None else end
            missing.discard(member)
    if missing:
        raise KeyError(*missing)
    return b"".join(pieces) + text[start:] + separator + private


def searchable(document: Document) -> Document:
    """Return the searchable part of a collection: all members but links and assets."""
    return {name: value for name, value in document.items() if name not in ("links", "assets", "item_assets")}
