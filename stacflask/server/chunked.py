"""Incremental decoding of a chunked request body (RFC 9112, section 7.1)."""

import re

from gunicorn.http.body import CHUNK_EXT_RE
from gunicorn.http.errors import ParseException

MAX_SIZE_LINE = 256
"""Bytes of a chunk-size line, extensions included."""
MAX_OVERHEAD = 256 << 10
"""Bytes by which the framing of a body may exceed its content."""
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")


class InvalidChunk(ParseException):  # type: ignore[misc]
    """The body is not a sequence of chunks."""


class ChunkedDecoder:
    """Removes chunks from a growing buffer and returns their content. ``done`` is set after the last chunk."""

    def __init__(self) -> None:
        self.done = False
        self.left = 0
        """Bytes of the current chunk that have not arrived yet."""
        self._ends_chunk = False
        self._content = 0
        self._framing = 0

    def decode(self, buffer: bytearray) -> bytes:
        """Remove the bytes that can be decoded from the buffer. Return their content. Raises InvalidChunk."""
        content = []
        while not self.done:
            if self.left:
                if not buffer:
                    break
                content.append(bytes(buffer[: self.left]))
                del buffer[: self.left]
                self.left -= len(content[-1])
                self._content += len(content[-1])
            elif not self._next_size(buffer):
                break
        return b"".join(content)

    def _next_size(self, buffer: bytearray) -> bool:
        """Read a chunk-size line, and the line end of the previous chunk. Return False if it is incomplete."""
        start = 2 if self._ends_chunk else 0
        if start and not b"\r\n".startswith(buffer[:2]):
            raise InvalidChunk("a chunk is longer than its size")
        end = buffer.find(b"\r\n", start, start + MAX_SIZE_LINE)
        if end < 0:
            if len(buffer) >= start + MAX_SIZE_LINE:
                raise InvalidChunk(f"a chunk-size line is longer than {MAX_SIZE_LINE} bytes")
            _check_incomplete(bytes(buffer[start:]))
            return False
        size = _size_in(bytes(buffer[start:end]))
        if size == 0:
            return self._finish(buffer, end + 2)
        del buffer[: end + 2]
        self._framing += end + 2
        if self._framing > MAX_OVERHEAD + self._content:
            raise InvalidChunk("the chunks are too small")
        self.left, self._ends_chunk = size, True
        return True

    def _finish(self, buffer: bytearray, position: int) -> bool:
        """Read the line end after the last chunk. Trailer fields are refused, because the application uses none."""
        line_end = buffer[position : position + 2]
        if not b"\r\n".startswith(line_end):
            raise InvalidChunk("trailer fields are not supported")
        if len(line_end) < len(b"\r\n"):
            return False
        del buffer[: position + 2]
        self.done = True
        return True


def _size_in(line: bytes) -> int:
    digits, semicolon, extension = line.partition(b";")
    if semicolon:
        digits = digits.rstrip(b" \t")
        if not CHUNK_EXT_RE.fullmatch(semicolon + extension):
            raise InvalidChunk("a chunk's extension is malformed")
    if not _SIZE.fullmatch(digits):
        raise InvalidChunk("a chunk's size is not a hexadecimal number")
    return int(digits, 16)


def _check_incomplete(line: bytes) -> None:
    """Refuse an incomplete line that cannot become a chunk size."""
    digits = line.partition(b";")[0].rstrip(b" \t\r")
    if (digits and not _SIZE.fullmatch(digits)) or b"\n" in line:
        raise InvalidChunk("a chunk's size is not a hexadecimal number")
