"""Inputs of a load as blocks of lines, each line one document; what form an input has is seen by its content.

An input is newline-delimited JSON, or one JSON document (an item, a collection, an item collection, a list of
collections, an array), and either may be compressed with gzip. Lines are not looked at one by one here.
"""

from __future__ import annotations

import gzip
import re
import sys
import zlib
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec
import numpy as np
import orjson
from msgspec import Raw

from stacflask.errors import BadDocument

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BLOCK = 8 << 20
"""Bytes in a block, about: what is written in one transaction."""
LONGEST = 48 << 20
"""Bytes in one document, at most."""
CAPACITY = BLOCK + LONGEST + 1
"""Bytes in a block, at most."""
STDIN = "-"

_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
BLANK = b" \t\r\n\x1e"
"""What may surround a document; the last begins each line of an RFC 8142 text sequence."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run of documents comes from: lines of ``source`` from line ``first``, or else elements of its JSON.

    ``pointer`` is None for lines; else it says where the array stands, or, with ``first`` None, the one document.
    ``problem`` says why the input gives no more than this.
    """

    source: str
    count: int
    first: int | None = None
    pointer: str | None = None
    problem: str | None = None

    def of(self, index: int, pointer: str) -> str:
        """Tell where a problem is, for people: ``pointer`` in the document of this index."""
        if self.pointer is None:
            return f"{self.source}:{(self.first or 0) + index}: {pointer or 'document'}"
        within = self.pointer if self.first is None else f"{self.pointer}/{self.first + index}"
        return f"{self.source}: {within + pointer or 'document'}"


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines, one document each, and where they come from in their order; ``read``: bytes of input they took."""

    text: bytes
    places: tuple[Place, ...]
    read: int

    def where(self, index: int, pointer: str) -> str:
        """Tell where a problem is, for people: ``pointer`` in the document of this index."""
        for place in self.places:
            if index < place.count:
                return place.of(index, pointer)
            index -= place.count
        raise IndexError(index)

    def collections(self) -> Iterator[tuple[int, bytes]]:
        """Give the collections among the documents, by index."""
        if _may_hold_collection(self.text):
            yield from ((index, line) for index, line in enumerate(self.text.split(b"\n")) if is_collection(line))


_COLLECTION = b'"Collection"'
_ESCAPED_LETTER = re.compile(rb"\\u00[467]").search


def _may_hold_collection(text: bytes) -> bool:
    """Whether the word stands in a text, or may stand there with some of its letters escaped."""
    return _COLLECTION in text or (b"\\u00" in text and _ESCAPED_LETTER(text) is not None)


def is_collection(line: bytes) -> bool:
    """Whether a line holds a collection, right or wrong; most others are told by a glance."""
    return _may_hold_collection(line) and _type(line) == "Collection"


def size_of(names: Iterable[str]) -> int | None:
    """Give the bytes in all inputs together; None if that cannot be known."""
    names = list(names)
    return None if STDIN in names else sum(Path(name).stat().st_size for name in names)


def blocks(names: Iterable[str]) -> Iterator[Block]:
    """Give the documents of these files, or of standard input for ``-``. Small inputs share a block."""
    held: list[tuple[bytes, Place, int]] = []
    size = 0
    for name in names:
        for run in _runs(name):
            if held and size + len(run[0]) > BLOCK:
                yield _joined(held)
                held, size = [], 0
            held.append(run)
            size += len(run[0])
    if held:
        yield _joined(held)


def first_blocks(names: Iterable[str]) -> Iterator[Block]:
    """Give the first block of each file; standard input, which can be read but once, is passed over."""
    for name in names:
        if name != STDIN:
            yield from (_joined([run]) for run, _ in zip(_runs(name), range(1), strict=False))


def _joined(runs: list[tuple[bytes, Place, int]]) -> Block:
    texts, places, read = zip(*runs, strict=True)
    return Block(b"".join(map(_ended, texts)), places, sum(read))


def _ended(text: bytes) -> bytes:
    return text if text.endswith(b"\n") or not text else text + b"\n"


# --- One input --------------------------------------------------------------------------------------------------------


def _runs(name: str) -> Iterator[tuple[bytes, Place, int]]:
    """Give runs of lines, their place, and the bytes they took."""
    source = "standard input" if name == STDIN else name
    taken = 0
    with _opened(name) as (raw, stream):
        try:
            for text, place in _taken_apart(source, stream):
                yield text, place, raw.tell() - taken if raw.seekable() else len(text)
                taken = raw.tell() if raw.seekable() else 0
        except BadDocument as error:
            yield b"", Place(source, 0, problem=error.description.removeprefix("document: ")), 0
        except (OSError, EOFError, zlib.error) as error:
            yield b"", Place(source, 0, problem=f"cannot be read further: {error}"), 0


@contextmanager
def _opened(name: str) -> Iterator[tuple[Any, Any]]:
    raw: Any
    with nullcontext(sys.stdin.buffer) if name == STDIN else Path(name).open("rb") as raw:
        if raw.peek(len(_GZIP))[: len(_GZIP)] != _GZIP:
            yield raw, raw
            return
        with gzip.open(raw) as stream:
            yield raw, stream


def _taken_apart(source: str, stream: IO[bytes]) -> Iterator[tuple[bytes, Place]]:
    text = _whole_lines(stream).removeprefix(_BOM)
    if not _is_lines(text):
        yield from _document(source, text + stream.read())
        return
    first = 1
    while text:
        too_long = len(text) > BLOCK + LONGEST
        if too_long:
            text = text[: text.rfind(b"\n", 0, BLOCK) + 1]
        # A newline at the end ends a line and begins none.
        count = _newlines(text) + (not text.endswith(b"\n"))
        yield text, Place(source, count, first)
        first += count
        if too_long:
            raise BadDocument("", f"line {first} is longer than {LONGEST} bytes")
        text = _whole_lines(stream)


def _newlines(text: bytes) -> int:
    # A quarter of the time that bytes.count takes.
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == _NEWLINE))


_NEWLINE = ord("\n")


def _whole_lines(stream: IO[bytes]) -> bytes:
    return stream.read(BLOCK) + stream.readline(LONGEST + 1)


def _is_lines(text: bytes) -> bool:
    """Tell newline-delimited JSON from one JSON document, by how the text begins; a first line may be broken.

    A document can have a whole object on its second line (GDAL writes features so), but not on its third as well
    without a comma after the second.
    """
    lines = [line.strip(BLANK) for line in text.split(b"\n", 8)[:8]]
    one, two, three = [*filter(None, lines), b"", b"", b""][:3]
    if _is_object(one):
        return bool(two)
    return _is_object(two) and (not three or _is_object(three))


def _is_object(text: bytes) -> bool:
    try:
        _members(text)
    except msgspec.MsgspecError:
        return False
    except RecursionError:  # which of its lines is nested too deep is found later
        return text.startswith(b"{")
    return True


# --- One JSON document ------------------------------------------------------------------------------------------------

_members = msgspec.json.Decoder(dict[str, Raw]).decode
_elements = msgspec.json.Decoder(list[Raw]).decode


class _Typed(msgspec.Struct):
    type: str | None = None


_typed = msgspec.json.Decoder(_Typed).decode


def _type(line: bytes) -> str | None:
    try:
        return _typed(line.strip(BLANK)).type
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _document(source: str, text: bytes) -> Iterator[tuple[bytes, Place]]:
    if not text.strip(BLANK):
        return
    pointer, elements = _array_in(text)
    if elements is None:
        yield _one_line(text, ""), Place(source, 1, pointer="")
        return
    held: list[bytes] = []
    for index, element in enumerate(elements):
        line = _one_line(bytes(element), f"{pointer}/{index}")
        if held and sum(map(len, held)) + len(line) > BLOCK:
            yield b"\n".join(held), Place(source, len(held), index - len(held), pointer)
            held = []
        held.append(line)
    yield b"\n".join(held), Place(source, len(held), len(elements) - len(held), pointer)


def _array_in(text: bytes) -> tuple[str, list[Raw] | None]:
    """Find the array of items or collections, and where it stands; None: the document is a single thing."""
    try:
        if text.lstrip(BLANK).startswith(b"["):
            return "", _elements(text)
        members = _members(text)
        for name in ("features", "collections"):
            if name in members:
                return f"/{name}", _elements(members[name])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadDocument("", _what_is_wrong(text)) from None
    return "", None


def _what_is_wrong(text: bytes) -> str:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:  # it tells line and column, msgspec only bytes
        return f"not JSON: {error}"
    return "expected a JSON object, or an array of them"


def _one_line(text: bytes, pointer: str) -> bytes:
    if len(text) > LONGEST:
        raise BadDocument(pointer, f"expected documents of at most {LONGEST} bytes")
    # Within JSON's texts there are no raw newlines, so each is a space between tokens.
    return text.replace(b"\n", b" ")
