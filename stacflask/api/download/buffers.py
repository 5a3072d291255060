"""Read streams of unknown length before the first byte is sent, so that the length and each error are known before."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from tempfile import SpooledTemporaryFile

from stacflask import current
from stacflask.api.download.stream_limits import StreamSlot
from stacflask.disposition import with_type
from stacflask.errors import NotStreamable
from stacflask.model.asset import Asset
from stacflask.model.delivery import Stream

MEMORY_BYTES = 1 << 20
"""Bytes of a response that are kept in memory. More are in a temporary file."""
CHUNK_BYTES = 512 * 1024

log = logging.getLogger(__name__)


class Buffer:
    """The bytes of the streams of one response whose length is unknown, up to ``STACFLASK_MAX_BUFFERED_BYTES``."""

    def __init__(self, stores: Iterable[str]) -> None:
        self._stores = frozenset(stores)
        self._file = SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115 - it is closed when the response is
        self._length = 0

    def __del__(self) -> None:
        self._file.close()

    def with_length(self, asset: Asset, stream: Stream) -> Stream:
        """Return a stream of an asset's bytes with its length. Raises NotStreamable, Unavailable."""
        if stream.length is not None:
            return stream
        slot = StreamSlot(self._stores, current.settings().max_streams)
        chunks = stream.open(0, 0)
        start = self._length
        try:
            for chunk in slot.timed(iter(chunks)):
                self._add(asset, chunk)
        finally:
            slot.release()
            close(chunks)
        return replace(stream, open=partial(self._read, start), length=self._length - start)

    def _add(self, asset: Asset, chunk: bytes) -> None:
        self._length += len(chunk)
        limit = current.settings().max_buffered_bytes
        if self._length > limit:
            fields = current.gate().transform_fields(asset)
            setting = "STACFLASK_MAX_BUFFERED_BYTES"
            log.error("stream of unknown length too long", extra={"setting": setting, "limit": limit, **fields})
            text = f"The bytes must be prepared before they are sent, and are more than {limit} bytes."
            raise NotStreamable(text, code="ResultTooLarge")
        self._file.write(chunk)

    def _read(self, start: int, first: int, length: int) -> Iterator[bytes]:
        self._file.seek(start + first)
        while length and (chunk := self._file.read(min(CHUNK_BYTES, length))):
            length -= len(chunk)
            yield chunk


def as_sent(asset: Asset, stream: Stream) -> Asset:
    """Return an asset as its stream describes it, for its file name: a transformation can change the media type."""
    if not stream.changed or stream.content_type in (None, asset.media_type):
        return asset
    return with_type(asset, str(stream.content_type))


def close(chunks: object) -> None:
    """Close an iterator, if it can be closed."""
    function = getattr(chunks, "close", None)
    if function is not None:
        function()
