"""Parse lines of input to the values of rows: plain items with fast checks, all others with the full checks.

The fast checks test types only, and must never accept an item that ``stac.checks`` refuses. In doubt, the full checks
run, which also return the message.
"""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any

import msgspec
import orjson

from stacflask.catalog.bulk.input_files import BLANK, is_collection
from stacflask.catalog.documents.documents import Managed, Parts, rewritten, split_item, verbatim
from stacflask.catalog.documents.rows import Span, heights, span_of
from stacflask.catalog.documents.stored_hrefs import may_contain_server_hrefs
from stacflask.errors import BadDocument
from stacflask.model.json_types import Document
from stacflask.stac.bbox import MAX_LATITUDE, MAX_LONGITUDE
from stacflask.stac.checks import DOT_SEGMENTS, MAX_ID_LENGTH, check_item
from stacflask.stac.geometry import to_wkb, to_wkb_many
from stacflask.stac.json_checks import describe
from stacflask.stac.schemas import SchemaChecker
from stacflask.stac.storable import check_storable
from stacflask.stac.time_repair import repair


class Prepared(msgspec.Struct, gc=False):
    """An item that is ready to be written.

    ``line`` is its index in the block, ``wkb`` its search geometry as EWKB, ``given`` its parsed properties. ``frame``
    is its compressed body, and ``body`` is then empty; None: it is not compressed yet. ``hrefs`` are the storage
    addresses and the other hrefs of its assets.
    """

    line: int
    collection: str
    id: str
    span: Span
    bbox: list[float] | None
    heights: tuple[float | None, float | None]
    wkb: bytes | None
    properties: bytes
    given: Document
    body: bytes
    frame: bytes | None
    hrefs: tuple[Collection[str], Collection[str]]


@dataclass(frozen=True, slots=True)
class DocumentProblem:
    """The reason why a document was refused. ``pointer`` (RFC 6901) is its location, empty for the document."""

    line: int
    pointer: str
    description: str


class ItemParser:
    """Parses items.

    Args:
        collection: The collection of items that do not have one.
        managed: Decides which hrefs are storage addresses.
        schemas: Validates each item, if it is given.
        compress: Returns the frame of a body of a collection, or None if its dictionary is not chosen yet.
        restore: Restores stored hrefs in place of URLs of a server. Returns whether it changed any.
        repairing: Whether times are repaired (see ``stac.time_repair``). Changes are added to ``repairs``.
    """

    def __init__(
        self,
        collection: str | None,
        managed: Managed,
        schemas: SchemaChecker | None = None,
        compress: Callable[[str, bytes], bytes | None] = lambda _, __: None,
        restore: Callable[[Document], bool] = lambda _: False,
        *,
        repairing: bool = False,
    ) -> None:
        self._collection = collection
        self._managed = managed
        self._schemas = schemas
        self._compress = compress
        self._restore = restore
        self._repair = repairing
        self.repairs: list[DocumentProblem] = []
        self._checked_members: set[bytes] = set()

    def parse(self, text: bytes) -> tuple[list[Prepared], list[DocumentProblem]]:
        """Parse the items of these lines, which count from 0. Blank lines and collections are skipped."""
        prepared, remaining = self._parse_fast(text)
        problems = []
        for number, line in remaining:
            try:
                prepared += self._parse_checked(number, line)
            except BadDocument as error:
                problems.append(DocumentProblem(number, error.pointer, error.problem))
        return sorted(prepared, key=attrgetter("line")), problems

    # --- Fast checks

    def _parse_fast(self, text: bytes) -> tuple[list[Prepared], list[tuple[int, bytes]]]:
        """Return the plain items, and the other lines."""
        fast: list[tuple[Prepared, bytes]] = []
        remaining: list[tuple[int, bytes]] = []
        # One line is processed after the other, so the data stay in the processor's cache.
        for number, given in enumerate(_lines(text)):
            line = given.strip(BLANK)
            parsed = self._parse_plain(number, line)
            if parsed is not None:
                fast.append(parsed)
            elif line:
                remaining.append((number, line))
        plain = []
        for (row, _), wkb in zip(fast, to_wkb_many([geometry for _, geometry in fast]), strict=True):
            if wkb is None:
                remaining.append((row.line, text.split(b"\n")[row.line].strip(BLANK)))
            else:
                row.wkb = wkb if row.bbox else None
                plain.append(row)
        return plain, remaining

    def _parse_plain(self, number: int, line: bytes) -> tuple[Prepared, bytes] | None:
        """Return a plain item without its search geometry, and its geometry as text."""
        if self._schemas is not None or _may_have_control_characters(line):
            return None
        try:
            document = _parsed(line)
            text = check_storable(document)
            self._with_collection(document)
            plain = msgspec.convert(document, _Plain)
            common = _common_members(plain)
            if common not in self._checked_members:
                # Members that many items have in common are checked in the first of them.
                self._check(document)
                self._checked_members.add(common)
            parts = self._split(document, line, text)
            if not _is_plain(parts) or not plain.assets.keys().isdisjoint(DOT_SEGMENTS):
                return None
            # A point replaces a missing geometry, which would count as invalid.
            return (
                self._row(number, parts, span_of(*parts.times), document, plain=True),
                parts.geometry if parts.bbox else _PLACEHOLDER_POINT,
            )
        except (BadDocument, ValueError, msgspec.MsgspecError):
            return None

    def _split(self, document: Document, line: bytes, text: bytes, *, changed: bool = False) -> Parts:
        """Split the item of a line. ``changed``: it differs from its line and equals ``text``."""
        if (may_contain_server_hrefs(text) and self._restore(document)) or changed:
            exact: bytes | None = rewritten(document, line)
        else:
            exact = _exact(line, text)
        return split_item(document, self._managed, document if exact is None else verbatim(exact))

    def _row(self, number: int, parts: Parts, span: Span, document: Document, *, plain: bool) -> Prepared:
        """Return a row. A plain geometry has no heights, and its search geometry is added later."""
        frame = self._compress(parts.collection, parts.body)
        assets, hrefs = document["assets"], parts.hrefs
        return Prepared(
            number,
            parts.collection,
            parts.id,
            span,
            parts.bbox,
            heights(parts.bbox, None if plain else document["geometry"]),
            None if plain else _geometry(document),
            parts.properties,
            parts.given,
            parts.body if frame is None else b"",
            frame,
            (list(hrefs.values()), [assets[key]["href"] for key in assets if key not in hrefs]),
        )

    # --- Full checks

    def _parse_checked(self, number: int, line: bytes) -> list[Prepared]:
        if is_collection(line):
            return []
        document = _parsed(line)
        self._with_collection(document)
        changed = repair(document) if self._repair else []
        self._check(document)
        parts = self._split(document, line, orjson.dumps(document), changed=bool(changed))
        try:
            span = span_of(*parts.times)
        except ValueError as error:
            raise BadDocument("/properties/datetime", str(error)) from error
        row = self._row(number, parts, span, document, plain=False)
        self.repairs += [
            DocumentProblem(number, one.pointer, f"repaired {one.before!r} to {one.after!r}") for one in changed
        ]
        return [row]

    def _with_collection(self, document: Any) -> None:
        if self._collection is not None and isinstance(document, dict):
            document.setdefault("collection", self._collection)

    def _check(self, document: Document) -> None:
        if isinstance(document, dict) and document.get("type", "Feature") != "Feature":
            raise BadDocument("/type", f"expected 'Feature' or 'Collection', got {describe(document['type'])}")
        check_item(document)
        if self._schemas is not None:
            self._schemas.check(document)


_PLACEHOLDER_POINT = b'{"type":"Point","coordinates":[0,0]}'
# Escapes of control characters. JSON can contain only DEL and the C1 controls without an escape.
_ESCAPED = re.compile(rb"\\(?:[bfnrt]|u00[0189]|u007[fF])").search
_C1 = re.compile(rb"\xc2[\x80-\x9f]").search

_Line = Annotated[str, msgspec.Meta(min_length=1)]
_Size = (
    Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | Annotated[float, msgspec.Meta(ge=0, lt=2.0**63, multiple_of=1)]
)
"""In JSON, 12.0 is the number 12."""


class _Alternate(msgspec.Struct, gc=False):
    href: str


class _Asset(msgspec.Struct, gc=False):
    """The members of an asset that ``stac.checks`` checks."""

    href: _Line
    alternate: dict[str, _Alternate] | None = None
    title: str | None = None
    description: str | None = None
    type: _Line | None = None
    roles: list[str] | None = None
    size: _Size = msgspec.field(name="file:size", default=0)


class _Link(msgspec.Struct, gc=False):
    rel: _Line
    href: _Line
    type: _Line | None = None
    title: str | None = None


class _Times(msgspec.Struct, gc=False):
    datetime: str | None
    start_datetime: str | None = None
    end_datetime: str | None = None


class _Plain(msgspec.Struct, gc=False):
    """The members of an item that ``stac.checks`` checks, without those of ``_common_members``."""

    type: Any
    stac_version: Any
    id: str
    collection: str
    geometry: Any
    properties: _Times
    assets: dict[_Line, _Asset]
    links: list[_Link] = []
    bbox: list[float] | msgspec.UnsetType = msgspec.UNSET
    stac_extensions: Any = None


def _common_members(plain: _Plain) -> bytes:
    """Return the members that many items have in common, as text."""
    return orjson.dumps([plain.collection, plain.type, plain.stac_version, plain.stac_extensions])


def _exact(line: bytes, text: bytes) -> bytes | None:
    """Return the line if its document, written as ``text``, differs in more than spaces between tokens."""
    return None if line == text or msgspec.json.format(line, indent=-1) == text else line


def _lines(text: bytes) -> Iterator[bytes]:
    start = 0
    while (end := text.find(b"\n", start)) >= 0:
        yield text[start:end]
        start = end + 1
    yield text[start:]


def _may_have_control_characters(line: bytes) -> bool:
    if b"\x7f" in line or (b"\\" in line and _ESCAPED(line)):
        return True
    return not line.isascii() and _C1(line) is not None


def _is_plain(parts: Parts) -> bool:
    _, start, end = parts.times
    named = 0 < len(parts.id) <= MAX_ID_LENGTH and "/" not in parts.id and parts.id not in DOT_SEGMENTS
    return named and (start is None) == (end is None) and _is_plain_extent(parts)


def _is_plain_extent(parts: Parts) -> bool:
    match parts.bbox:
        case None:
            return parts.geometry == b"null"
        case [west, south, east, north]:
            pass
        case [west, south, low, east, north, high] if low <= high:
            pass
        case _:
            return False
    return -MAX_LONGITUDE <= west <= east <= MAX_LONGITUDE and -MAX_LATITUDE <= south <= north <= MAX_LATITUDE


def _parsed(line: bytes) -> Document:
    try:
        document: Document = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BadDocument("", f"not JSON: {error}") from error
    return document


def _geometry(document: Document) -> bytes | None:
    if document["geometry"] is None:
        return None
    try:
        return to_wkb(document["geometry"], document.get("bbox"))
    except BadDocument as error:
        raise error.below("/geometry") from None
