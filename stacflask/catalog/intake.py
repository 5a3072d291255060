"""From lines of input to what rows need: at a glance for what is plain, carefully for all else.

The glance parses no item whole and must never pass what ``stac.checks`` would refuse; where it has any doubt, the item
is looked at carefully, which also finds the words for what is wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

import msgspec
import orjson

from stacflask.catalog.documents import split_item
from stacflask.catalog.lines import BLANK, is_collection
from stacflask.catalog.rows import Span, span_of
from stacflask.errors import BadDocument
from stacflask.stac.bbox import HALF, POLE
from stacflask.stac.checks import LONGEST_ID, STEPS, check_item
from stacflask.stac.geometry import to_wkb, to_wkb_many
from stacflask.stac.grammar import kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stacflask.catalog.documents import Managed, Parts
    from stacflask.stac.schemas import SchemaChecker
    from stacflask.values import Document


class Prepared(msgspec.Struct, gc=False):
    """An item ready to be written.

    ``line`` is its place in the block, ``wkb`` its search geometry as EWKB, ``given`` its properties parsed. ``frame``
    is its body compressed, and then ``body`` is empty; None: that is still to be done.
    """

    line: int
    collection: str
    id: str
    span: Span
    bbox: list[float] | None
    wkb: bytes | None
    properties: bytes
    given: Document
    body: bytes
    frame: bytes | None


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a document was refused; ``pointer`` (RFC 6901) says where in it, and is empty for the whole."""

    line: int
    pointer: str
    description: str


class Intake:
    """Prepares items.

    ``collection`` is for those that name none; with ``schemas``, each must be valid against them. ``compress`` gives
    the frame of a body of this collection, or None if it cannot be told yet.
    """

    def __init__(
        self,
        collection: str | None,
        managed: Managed,
        schemas: SchemaChecker | None = None,
        compress: Callable[[str, bytes], bytes | None] = lambda _, __: None,
    ) -> None:
        self._collection = collection
        self._managed = managed
        self._schemas = schemas
        self._compress = compress
        self._passed: set[tuple[str, tuple[bytes, ...]]] = set()

    def take(self, text: bytes) -> tuple[list[Prepared], list[Problem]]:
        """Prepare the items of these lines, which count from 0. Blank lines and collections are passed over."""
        prepared, doubtful = self._glance_at(text)
        problems = []
        for number, line in doubtful:
            try:
                prepared += self._look_at(number, line)
            except BadDocument as error:
                problems.append(Problem(number, error.pointer, error.problem))
        return sorted(prepared, key=attrgetter("line")), problems

    # --- At a glance

    def _glance_at(self, text: bytes) -> tuple[list[Prepared], list[tuple[int, bytes]]]:
        """Give what is plain, and the lines that are not."""
        glances: list[tuple[Prepared, bytes]] = []
        doubtful: list[tuple[int, bytes]] = []
        # One line after the other, and nothing large of it is held on to: so it stays in the processor's cache.
        for number, given in enumerate(_lines(text)):
            line = given.strip(BLANK)
            glance = self._glance(number, line)
            if glance is not None:
                glances.append(glance)
            elif line:
                doubtful.append((number, line))
        plain = []
        for (row, _), wkb in zip(glances, to_wkb_many([geometry for _, geometry in glances]), strict=True):
            if wkb is None:
                doubtful.append((row.line, text.split(b"\n")[row.line].strip(BLANK)))
            else:
                row.wkb = wkb if row.bbox else None
                plain.append(row)
        return plain, doubtful

    def _glance(self, number: int, line: bytes) -> tuple[Prepared, bytes] | None:
        """Give a plain item but for its search geometry, and its geometry as it came."""
        if self._schemas is not None or _suspicious(line):
            return None
        try:
            parts = split_item(_compact(line), self._collection, self._managed)
            make = (parts.collection, parts.head)
            if make not in self._passed:
                # What items of one make have in common is looked at in the first of them.
                self._check(_parsed(line))
                self._passed.add(make)
            if not _is_plain(parts):
                return None
            # A point stands in for no geometry, which would look like a wrong one.
            return self._row(number, parts, span_of(*parts.times), None), parts.geometry if parts.bbox else _NOWHERE
        except (BadDocument, ValueError, msgspec.MsgspecError):
            return None

    def _row(self, number: int, parts: Parts, span: Span, wkb: bytes | None) -> Prepared:
        frame = self._compress(parts.collection, parts.body)
        body = parts.body if frame is None else b""
        properties, given = parts.properties, parts.given
        return Prepared(number, parts.collection, parts.id, span, parts.bbox, wkb, properties, given, body, frame)

    # --- Carefully

    def _look_at(self, number: int, line: bytes) -> list[Prepared]:
        if is_collection(line):
            return []
        document = _parsed(line)
        self._check(document)
        parts = split_item(_compact(line), self._collection, self._managed)
        try:
            span = span_of(*parts.times)
        except ValueError as error:
            raise BadDocument("/properties/datetime", str(error)) from error
        return [self._row(number, parts, span, _geometry(document))]

    def _check(self, document: Document) -> None:
        if isinstance(document, dict):
            if document.get("type", "Feature") != "Feature":
                raise BadDocument("/type", f"expected 'Feature' or 'Collection', got {kind(document['type'])}")
            if self._collection is not None:
                document.setdefault("collection", self._collection)
        check_item(document)
        if self._schemas is not None:
            self._schemas.check(document)


_NOWHERE = b'{"type":"Point","coordinates":[0,0]}'
# Escapes of control characters and halves of surrogate pairs; raw, only DEL and the C1 controls can stand in JSON.
_ESCAPED = re.compile(rb"\\(?:[bfnrt]|u00[0189]|u007[fF]|u[dD][89a-fA-F])").search
_C1 = re.compile(rb"\xc2[\x80-\x9f]").search


def _lines(text: bytes) -> Iterator[bytes]:
    start = 0
    while (end := text.find(b"\n", start)) >= 0:
        yield text[start:end]
        start = end + 1
    yield text[start:]


def _suspicious(line: bytes) -> bool:
    if b"\x7f" in line or b'"."' in line or b'".."' in line or (b"\\" in line and _ESCAPED(line)):
        return True
    return not line.isascii() and (_C1(line) is not None or not _is_utf8(line))


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _compact(line: bytes) -> bytes:
    """Give the line without spaces between its tokens, all else as it is; how it begins tells whether it has any."""
    start = line[:256]
    spaced = start[1:2] != b'"' or b'": ' in start or b'" :' in start
    return msgspec.json.format(line, indent=-1) if spaced else line


def _is_plain(parts: Parts) -> bool:
    _, start, end = parts.times
    named = 0 < len(parts.id) <= LONGEST_ID and "/" not in parts.id and parts.id not in STEPS
    return named and (start is None) == (end is None) and _is_plain_place(parts)


def _is_plain_place(parts: Parts) -> bool:
    match parts.bbox:
        case None:
            return parts.geometry == b"null"
        case [west, south, east, north]:
            return -HALF <= west <= east <= HALF and -POLE <= south <= north <= POLE
        case [west, south, low, east, north, high]:
            return -HALF <= west <= east <= HALF and -POLE <= south <= north <= POLE and low <= high
    return False


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
