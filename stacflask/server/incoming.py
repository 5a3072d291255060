"""Incremental parsing of the requests of one connection. It never waits for the client."""

import re
import tempfile
from typing import Any

from gunicorn.http.body import Body, ChunkedReader, LengthReader
from gunicorn.http.errors import InvalidRequestLine, LimitRequestHeaders, LimitRequestLine, ParseException
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader

from stacflask.server.chunked import ChunkedDecoder
from stacflask.server.spool import Spool

MAX_HEAD = 64 << 10
"""Bytes of the head of a request."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_BARE_LF = re.compile(rb"(?<!\r)\n")
_NOT_ENCODED = re.compile(rb"[A-Z]+ [!-~]*[\x80-\xff]")
_END = b"\r\n\r\n"


class HostRequired(ParseException):  # type: ignore[misc]
    """An HTTP/1.1 request has no Host field (RFC 9112, section 3.2)."""


class TargetNotEncoded(ParseException):  # type: ignore[misc]
    """The request line holds bytes that must be percent-encoded (RFC 9112, section 3.2)."""


class BodyTooLarge(ParseException):  # type: ignore[misc]
    """The body, or its Content-Length, is larger than STACFLASK_MAX_BODY."""


class RequestIncomplete(ParseException):  # type: ignore[misc]
    """The client closed its side before the request was complete."""


class Incoming:
    """Splits the bytes from a client into requests.

    Call ``next`` after each ``feed``. A request that it returns includes its whole body, so the thread that handles it
    never waits for the client.
    """

    def __init__(self, cfg: Any, peer: Any, spool: Spool, body_limit: int) -> None:
        self.buffer = bytearray()
        self.received = 0
        """Bytes of the current request's body that have arrived."""
        self._cfg, self._peer = cfg, peer
        self._spool, self._limit = spool, body_limit
        self._requests = 0
        self._searched = 0
        self._request: Any = None
        self._missing = 0
        self._chunks: ChunkedDecoder | None = None
        self._body: tempfile.SpooledTemporaryFile[bytes] | None = None
        self._expects_continue = False

    @property
    def state(self) -> str:
        """The part of a request that is arriving: ``nothing``, its ``head``, or its ``body``."""
        if self._request is not None:
            return "body"
        return "head" if self.buffer else "nothing"

    def take_continue(self) -> bytes:
        """Return the 100 response, once, if the client waits for it before it sends a body (RFC 9110, 10.1.1)."""
        expected, self._expects_continue = self._expects_continue, False
        return CONTINUE if expected else b""

    def feed(self, data: bytes) -> None:
        """Add bytes from the client."""
        self.buffer += data

    def next(self) -> Any:
        """Return the next request if it is complete, else None. Raises ParseException and SpoolFull."""
        if self._request is None and not self._read_head():
            return None
        return self._read_body()

    def discard(self) -> None:
        """Discard the incomplete request."""
        self._spool.release(self._body)
        self._request = self._body = None
        self.buffer.clear()

    def _read_head(self) -> bool:
        end = self._end_of_head()
        if end < 0:
            return False
        head = bytes(self.buffer[:end])
        del self.buffer[:end]
        self._searched = 0
        self._requests += 1
        try:
            request = Request(self._cfg, IterUnreader([head]), self._peer, self._requests)
        except InvalidRequestLine:
            line = head.lstrip(b"\r\n").partition(b"\r\n")[0]
            raise TargetNotEncoded if _NOT_ENCODED.match(line) else InvalidRequestLine("") from None
        if request.version >= (1, 1) and not any(name == "HOST" for name, _ in request.headers):
            raise HostRequired
        self._begin_body(request)
        return True

    def _end_of_head(self) -> int:
        """Return the index after the head, or -1 if more bytes are needed. Raises ParseException."""
        if not self.buffer:
            return -1
        found = self.buffer.find(_END, max(0, self._searched - len(_END)))
        end = found + len(_END) if found >= 0 else len(self.buffer)
        if self._cfg.proxy_protocol == "off" and _BARE_LF.search(self.buffer, self._searched, end):
            raise InvalidRequestLine("")
        line = self._cfg.limit_request_line
        if self.buffer.find(b"\r\n", 2, min(end, line + 4)) < 0 and end > line:
            raise LimitRequestLine(end, line)
        if end > MAX_HEAD:
            raise LimitRequestHeaders("head")
        self._searched = end
        return end if found >= 0 else -1

    def _begin_body(self, request: Any) -> None:
        self._request, self.received = request, 0
        self._missing, self._chunks = 0, None
        reader = request.body.reader
        if isinstance(reader, ChunkedReader):
            self._chunks = ChunkedDecoder()
        elif isinstance(reader, LengthReader):
            self._missing = reader.length
        if self._size_so_far() > self._limit:
            raise BodyTooLarge
        expected = request._expected_100_continue  # noqa: SLF001
        self._expects_continue = expected and self._is_incomplete() and not self.buffer
        request._expected_100_continue = False  # noqa: SLF001 - gunicorn would send it with the response

    def _is_incomplete(self) -> bool:
        return bool(self._missing or self._chunks)

    def _size_so_far(self) -> int:
        """Return the least size of the body, in bytes: received, announced, and the rest of the current chunk."""
        return self.received + self._missing + (self._chunks.left if self._chunks else 0)

    def _read_body(self) -> Any:
        if self._chunks is not None:
            self._store(self._chunks.decode(self.buffer))
            if self._chunks.done:
                self._chunks = None
        elif self._missing and self.buffer:
            piece = bytes(self.buffer[: self._missing])
            del self.buffer[: len(piece)]
            self._missing -= len(piece)
            self._store(piece)
        if self._size_so_far() > self._limit:
            raise BodyTooLarge
        return None if self._is_incomplete() else self._complete()

    def _store(self, data: bytes) -> None:
        if not data:
            return
        if self._body is None:
            self._body = self._spool.open()
        self._spool.write(self._body, data)
        self.received += len(data)

    def _complete(self) -> Any:
        request, self._request = self._request, None
        body, self._body = self._body, None
        if body is None:
            request.body = Body(LengthReader(IterUnreader([]), 0))
        else:
            body.seek(0)
            request.body = Body(body)
        self.received = 0
        return request
