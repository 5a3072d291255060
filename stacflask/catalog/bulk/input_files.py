"""Read inputs of a load as blocks of lines, each with one document. The content determines the form of an input.

An input is newline-delimited JSON or one JSON document (an item, a collection, an item collection, a list of
collections, an array). Both can be compressed with gzip. Single lines are not parsed here.
"""

import gzip
import re
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np
import orjson
from msgspec import Raw

from stacflask.errors import BadDocument

BLOCK_BYTES = 8 << 20
"""Approximate size of a block, which is written in one transaction."""
MAX_DOCUMENT_BYTES = 48 << 20
"""Maximum size of a document."""
MAX_BLOCK_BYTES = BLOCK_BYTES + MAX_DOCUMENT_BYTES + 1
"""Maximum size of a block."""
STDIN = "-"

_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
BLANK = b" \t\r\n\x1e"
"""Characters that can surround a document. The last one begins each line of a text sequence (RFC 8142)."""


@dataclass(frozen=True, slots=True)
class SourceRange:
    """The source of consecutive documents: lines of ``source`` from line ``first``, or elements of its JSON.

    ``pointer`` is None for lines. Otherwise it is the JSON Pointer of the array, or of the one document if ``first`` is
    None. ``problem`` is why the input ends here.
    """

    source: str
    count: int
    first: int | None = None
    pointer: str | None = None
    problem: str | None = None

    def of(self, index: int, pointer: str) -> str:
        """Describe a location for messages: ``pointer`` in the document of this index."""
        if self.pointer is None:
            return f"{self.source}:{(self.first or 0) + index}: {pointer or 'document'}"
        within = self.pointer if self.first is None else f"{self.pointer}/{self.first + index}"
        return f"{self.source}: {within + pointer or 'document'}"


@dataclass(frozen=True, slots=True)
class Block:
    """Complete lines with one document each, and their sources in order. ``read`` is their size in the input."""

    text: bytes
    ranges: tuple[SourceRange, ...]
    read: int

    def where(self, index: int, pointer: str) -> str:
        """Describe a location for messages: ``pointer`` in the document of this index."""
        for source_range in self.ranges:
            if index < source_range.count:
                return source_range.of(index, pointer)
            index -= source_range.count
        raise IndexError(index)

    def collections(self) -> Iterator[tuple[int, bytes]]:
        """Yield the collections among the documents, with their indexes."""
        if _may_hold_collection(self.text):
            yield from ((index, line) for index, line in enumerate(self.text.split(b"\n")) if is_collection(line))


_COLLECTION = b'"Collection"'
_ESCAPED_LETTER = re.compile(rb"\\u00[467]").search


def _may_hold_collection(text: bytes) -> bool:
    """Whether a text contains the type, or can contain it with escaped letters."""
    return _COLLECTION in text or (b"\\u00" in text and _ESCAPED_LETTER(text) is not None)


def is_collection(line: bytes) -> bool:
    """Whether a line is a collection, valid or not. Most other lines are not parsed."""
    return _may_hold_collection(line) and _type(line) == "Collection"


def size_of(names: Iterable[str]) -> int | None:
    """Return the size of all inputs in bytes; None if it is unknown."""
    names = list(names)
    return None if STDIN in names else sum(Path(name).stat().st_size for name in names)


def blocks(names: Iterable[str]) -> Iterator[Block]:
    """Yield the documents of these files, or of standard input for ``-``. Small inputs share a block."""
    pending: list[tuple[bytes, SourceRange, int]] = []
    size = 0
    for name in names:
        for part in _read_ranges(name):
            if pending and size + len(part[0]) > BLOCK_BYTES:
                yield _join(pending)
                pending, size = [], 0
            pending.append(part)
            size += len(part[0])
    if pending:
        yield _join(pending)


def first_blocks(names: Iterable[str]) -> Iterator[Block]:
    """Yield the first block of each file. Standard input is left out, because it can be read only once."""
    for name in names:
        if name != STDIN:
            yield from (_join([part]) for part, _ in zip(_read_ranges(name), range(1), strict=False))


def _join(parts: list[tuple[bytes, SourceRange, int]]) -> Block:
    texts, ranges, read = zip(*parts, strict=True)
    return Block(b"".join(map(_with_newline, texts)), ranges, sum(read))


def _with_newline(text: bytes) -> bytes:
    return text if text.endswith(b"\n") or not text else text + b"\n"


# --- One input --------------------------------------------------------------------------------------------------------


def _read_ranges(name: str) -> Iterator[tuple[bytes, SourceRange, int]]:
    """Yield lines, their source, and their size in the input in bytes."""
    source = "standard input" if name == STDIN else name
    taken = 0
    with _open(name) as (raw, stream):
        try:
            for text, source_range in _split(source, stream):
                yield text, source_range, raw.tell() - taken if raw.seekable() else len(text)
                taken = raw.tell() if raw.seekable() else 0
        except BadDocument as error:
            yield b"", SourceRange(source, 0, problem=error.description.removeprefix("document: ")), 0
        except (OSError, EOFError, zlib.error) as error:
            yield b"", SourceRange(source, 0, problem=f"cannot be read further: {error}"), 0


@contextmanager
def _open(name: str) -> Iterator[tuple[Any, Any]]:
    raw: Any
    with nullcontext(sys.stdin.buffer) if name == STDIN else Path(name).open("rb") as raw:
        if raw.peek(len(_GZIP))[: len(_GZIP)] != _GZIP:
            yield raw, raw
            return
        with gzip.open(raw) as stream:
            yield raw, stream


def _split(source: str, stream: IO[bytes]) -> Iterator[tuple[bytes, SourceRange]]:
    text = _whole_lines(stream).removeprefix(_BOM)
    if not _is_lines(text):
        yield from _document(source, text + stream.read())
        return
    first = 1
    while text:
        too_long = len(text) > BLOCK_BYTES + MAX_DOCUMENT_BYTES
        if too_long:
            text = text[: text.rfind(b"\n", 0, BLOCK_BYTES) + 1]
        # A newline at the end does not begin another line.
        count = _newlines(text) + (not text.endswith(b"\n"))
        yield text, SourceRange(source, count, first)
        first += count
        if too_long:
            raise BadDocument("", f"line {first} is longer than {MAX_DOCUMENT_BYTES} bytes")
        text = _whole_lines(stream)


def _newlines(text: bytes) -> int:
    # This takes a quarter of the time of bytes.count.
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == _NEWLINE))


_NEWLINE = ord("\n")


def _whole_lines(stream: IO[bytes]) -> bytes:
    return stream.read(BLOCK_BYTES) + stream.readline(MAX_DOCUMENT_BYTES + 1)


def _is_lines(text: bytes) -> bool:
    """Whether an input is newline-delimited JSON, by its first lines, of which the first can be invalid.

    One JSON document can have a complete object on its second line, as GDAL writes features, but a third line with one
    only after a comma.
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
    except RecursionError:  # the line that is nested too deep is found later
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


def _document(source: str, text: bytes) -> Iterator[tuple[bytes, SourceRange]]:
    if not text.strip(BLANK):
        return
    pointer, elements = _array_in(text)
    if elements is None:
        yield _one_line(text, ""), SourceRange(source, 1, pointer="")
        return
    pending: list[bytes] = []
    for index, element in enumerate(elements):
        line = _one_line(bytes(element), f"{pointer}/{index}")
        if pending and sum(map(len, pending)) + len(line) > BLOCK_BYTES:
            yield b"\n".join(pending), SourceRange(source, len(pending), index - len(pending), pointer)
            pending = []
        pending.append(line)
    yield b"\n".join(pending), SourceRange(source, len(pending), len(elements) - len(pending), pointer)


def _array_in(text: bytes) -> tuple[str, list[Raw] | None]:
    """Return the array of items or collections and its pointer; None if the document is not a list."""
    try:
        if text.lstrip(BLANK).startswith(b"["):
            return "", _elements(text)
        members = _members(text)
        for name in ("features", "collections"):
            if name in members:
                return f"/{name}", _elements(members[name])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadDocument("", _json_error(text)) from None
    return "", None


def _json_error(text: bytes) -> str:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:  # orjson reports line and column, msgspec only bytes
        return f"not JSON: {error}"
    return "expected a JSON object, or an array of them"


def _one_line(text: bytes, pointer: str) -> bytes:
    if len(text) > MAX_DOCUMENT_BYTES:
        raise BadDocument(pointer, f"expected documents of at most {MAX_DOCUMENT_BYTES} bytes")
    # JSON strings cannot contain raw newlines, so each newline is between tokens.
    return text.replace(b"\n", b" ")
