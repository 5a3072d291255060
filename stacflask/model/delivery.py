"""Locations of data, deliveries and orders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal, TypeAlias
from zlib import decompressobj

from stacflask.model.json_types import _empty_mapping, _protect
from stacflask.model.readonly import ReadOnlyDict

CHUNK_BYTES = 512 * 1024
GZIP_WINDOW_BITS = 31
"""Value of zlib for streams with a gzip header."""


@dataclass(frozen=True, slots=True)
class Location:
    """The location of the bytes of an asset in a store.

    Attributes:
        store: Kind of store (``s3``, ``file``), by which ``deliver`` recognizes its own locations.
        path: Path in the store.
        options: Further values that ``resolve`` passes to ``deliver`` and ``presign``.
    """

    store: str
    path: str
    options: Mapping[str, Any] = field(default_factory=_empty_mapping)

    def __post_init__(self) -> None:
        """Make the options read-only."""
        if type(self.options) is not ReadOnlyDict:
            _protect(self, "options")


@dataclass(frozen=True, slots=True)
class Redirect:
    """A temporary URL from which the client downloads an asset.

    Attributes:
        url: URL that is valid for GET without credentials.
        lifetime: Time for which the URL is valid.
        size: Size of the object in bytes, if the store reported it. It is charged instead of ``file:size``, and is the
            Content-Length of HEAD if the store only redirects.
    """

    url: str
    lifetime: timedelta
    size: int | None = None


@dataclass(frozen=True, slots=True)
class SignedQueries:
    """Queries that make download URLs of this server work without headers.

    Attributes:
        queries: One query (``name=value``) for each asset, in the order of the assets.
        lifetime: Time for which the queries are valid.
    """

    queries: Sequence[str]
    lifetime: timedelta


@dataclass(frozen=True, slots=True)
class Stream:
    """An object to be sent through this server. stacflask handles ranges, conditions, status and headers.

    Attributes:
        open: Function ``open(first, length)`` that yields ``length`` bytes from offset ``first``. It is called once,
            and only if bytes are sent.
        length: Size of the whole object in bytes. None if it is not known: ``open(0, 0)`` then yields all bytes, and
            stacflask reads them completely before it sends the first.
        etag: Strong validator with its quotes (RFC 9110, 8.8.3).
        last_modified: When the object was last modified.
        content_type: Media type of the bytes. The response has the asset's ``type``, else this one. If ``changed``, it
            has this one, else the asset's ``type``.
        content_encoding: Value of Content-Encoding for the stored bytes (RFC 9110, 8.4).
        content_language: Value of Content-Language for the stored bytes (RFC 9110, 8.5).
        ranges: False if ``open`` can only yield the whole object, so that Range is ignored.
        changed: True if the bytes are not those of the store, so that ``file:checksum`` and the asset's ``type`` do not
            describe them. Set by ``transformed``.
    """

    open: Callable[[int, int], Iterator[bytes]]
    length: int | None
    etag: str | None = None
    last_modified: datetime | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    content_language: str | None = None
    ranges: bool = True
    changed: bool = False

    def transformed(
        self,
        function: Callable[[Iterator[bytes]], Iterator[bytes]],
        *,
        length: int | None = None,
        etag: str | None = None,
        content_type: str | None = None,
    ) -> Stream:
        """Return a stream of what a function makes of all bytes. It has no ranges and no validators of the store.

        The bytes are read when the result is sent, and the source is closed when it ends.

        Args:
            function: Function that gets the bytes in chunks, and yields other bytes in chunks.
            length: Size of the result in bytes; None if it is not known.
            etag: Strong validator of the result with its quotes. It must depend on all that changes the bytes.
            content_type: Media type of the result; None if it is the asset's ``type``. The type of the stored bytes is
                not kept: pass ``stream.content_type`` for an asset without ``type``.
        """
        return Stream(
            partial(_transform, self, function),
            length,
            etag,
            content_type=content_type,
            content_encoding=self.content_encoding,
            content_language=self.content_language,
            ranges=False,
            changed=True,
        )

    def decoded(self) -> Stream:
        """Return a stream of the bytes without their content coding (RFC 9110, 8.4.1).

        It is this stream if it has no coding. Otherwise its length is not known.

        Raises:
            ValueError: The coding is not gzip.
        """
        coding = (self.content_encoding or "identity").strip().lower()
        if coding == "identity":
            return self
        if coding not in ("gzip", "x-gzip"):
            raise ValueError(f"expected the content coding gzip or none, got {coding!r}")
        return replace(self.transformed(_gunzipped, content_type=self.content_type), content_encoding=None)


def _gunzipped(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield decompressed chunks of at most ``CHUNK_BYTES``. A truncated stream is an error."""
    decoder = decompressobj(GZIP_WINDOW_BITS)
    for chunk in chunks:
        rest = chunk
        while rest:
            if decoder.eof:  # Several gzip members can follow each other (RFC 1952, 2.2).
                decoder = decompressobj(GZIP_WINDOW_BITS)
            yield from filter(None, [decoder.decompress(rest, CHUNK_BYTES)])
            rest = decoder.unused_data or decoder.unconsumed_tail
    yield from filter(None, [decoder.flush()])
    if not decoder.eof:
        raise EOFError("expected a complete gzip stream")


def _transform(
    source: Stream, function: Callable[[Iterator[bytes]], Iterator[bytes]], _first: int, _length: int
) -> Iterator[bytes]:
    chunks = source.open(0, source.length or 0)
    try:
        yield from function(chunks)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()


Delivery: TypeAlias = Redirect | Stream


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The part of an asset that is about to be sent.

    Attributes:
        first: Offset of the first byte.
        length: Number of bytes; None if it is not known, as in a redirect.
        size: Size of the whole object in bytes; None if it is not known.
    """

    first: int = 0
    length: int | None = None
    size: int | None = None

    @property
    def opening(self) -> bool:
        """True if the range begins at the first byte, so that it is a download and not a further part of one."""
        return self.first == 0


@dataclass(frozen=True, slots=True)
class Order:
    """The state of an order for data that are not online, as in the STAC order extension.

    Attributes:
        status: ``orderable`` (not ordered yet), ``ordered``, ``shipping`` (in progress), ``succeeded`` (online) or
            ``failed``.
        retry_after: Seconds after which a client should request the state again.
    """

    status: Literal["orderable", "ordered", "shipping", "succeeded", "failed"]
    retry_after: int = 300
