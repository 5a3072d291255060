"""Check the length of a stream, so that a client can detect a wrong one."""

from collections.abc import Iterable, Iterator

from stacflask.errors import Unavailable

MAX_EMPTY_CHUNKS = 1000
"""Maximum number of successive empty chunks. Without a limit, skipping them could occupy a thread forever."""


def exactly(chunks: Iterable[bytes], length: int) -> Iterator[bytes]:
    """Yield the chunks of a stream, which must have ``length`` bytes in total.

    The chunk that completes the length is held back until the stream has ended. A client of a longer stream receives
    fewer bytes than announced, so that it does not accept the download as complete.

    Raises:
        Unavailable: There are more or fewer bytes.
        TypeError: A chunk is not bytes.
    """
    nonempty = _nonempty(chunks)
    remaining = length
    last = b""
    while remaining and (chunk := next(nonempty, b"")):
        remaining -= len(chunk)
        if remaining > 0:
            yield chunk
        last = chunk
    if remaining > 0:
        raise Unavailable("The store returned fewer bytes than requested.")
    if remaining or next(nonempty, b""):
        raise Unavailable("The store returned more bytes than requested.")
    if last:
        yield last


def _nonempty(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the chunks that are not empty."""
    empty = 0
    for chunk in chunks:
        data = chunk if isinstance(chunk, bytes) else bytes(memoryview(chunk))
        empty = 0 if data else empty + 1
        if empty > MAX_EMPTY_CHUNKS:
            raise Unavailable("The store returned too many empty chunks.")
        if data:
            yield data
