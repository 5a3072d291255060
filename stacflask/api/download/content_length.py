"""The length of what is sent: exactly as many bytes as were announced, or a transfer that is visibly cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stacflask.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MOST_EMPTY = 1000
"""Empty pieces in a row, at most. They are skipped, but without a bound they would keep a thread forever."""


def exactly(pieces: Iterable[bytes], length: int) -> Iterator[bytes]:
    """Yield the pieces of a stream, which must have ``length`` bytes together.

    The piece that completes the length is held back until the stream has ended. A client of a longer stream thus
    receives fewer bytes than were announced: it sees a cut transfer, and not a complete one.

    Raises:
        Unavailable: There are more bytes, or fewer.
        TypeError: A piece is not bytes.
    """
    filled = _filled(pieces)
    left = length
    last = b""
    while left and (piece := next(filled, b"")):
        left -= len(piece)
        if left > 0:
            yield piece
        last = piece
    if left > 0:
        raise Unavailable("The store gave less than it was asked for.")
    if left or next(filled, b""):
        raise Unavailable("The store gave more than it was asked for.")
    if last:
        yield last


def _filled(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces that are not empty."""
    empty = 0
    for piece in pieces:
        data = piece if isinstance(piece, bytes) else bytes(memoryview(piece))
        empty = 0 if data else empty + 1
        if empty > MOST_EMPTY:
            raise Unavailable("The store gave too many empty pieces.")
        if data:
            yield data
