"""Limit the number of streams in a process, and of those that read a slow store."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable, Iterator
from typing import ClassVar

from stacflask.errors import Unavailable
from stacflask.model.services import ShareState

SLOW_SECONDS = 2.0
"""Maximum time that a stream may wait for its store, in addition to its bytes / ``SLOW_BYTES_PER_SECOND``."""
SLOW_BYTES_PER_SECOND = 64 << 10
"""A store that sends fewer bytes per second in a stream is slow."""


class StreamSlot:
    """One of the streams of this process. A store that is slow in one stream can have at most half of all streams.

    Args:
        stores: The stores that the stream reads.
        limit: Maximum number of streams in this process.

    Raises:
        Unavailable: The limit is reached, or that for a slow store.
    """

    # Garbage collection during ``__init__`` can release another slot in the same thread, so the lock is reentrant.
    _lock = threading.RLock()
    _taken: ClassVar[set[StreamSlot]] = set()
    _refused: ClassVar[int] = 0

    def __init__(self, stores: Iterable[str], limit: int) -> None:
        self.stores = frozenset(stores)
        self._received = 0
        self._waited, self._waits_since = 0.0, math.inf
        with StreamSlot._lock:
            taken = list(StreamSlot._taken)
            if len(taken) >= limit:
                StreamSlot._refused += 1
                raise Unavailable("Too many downloads are streamed at present. Try again later.", code="TooManyStreams")
            for store in self.stores:
                same = [slot for slot in taken if store in slot.stores]
                if len(same) >= max(1, limit // 2) and any(slot.is_slow() for slot in same):
                    StreamSlot._refused += 1
                    raise Unavailable("The store of this asset is too slow at present. Try again later.")
            StreamSlot._taken.add(self)

    @classmethod
    def state(cls, limit: int) -> ShareState:
        """Return the current number of streams in this process, of which there can be ``limit``."""
        return ShareState("streams", len(cls._taken), limit, refused=cls._refused)

    def is_slow(self) -> bool:
        """Return whether the store has sent too few bytes for the time that the stream has waited."""
        waited = self._waited + max(0.0, time.monotonic() - self._waits_since)
        return waited > SLOW_SECONDS + self._received / SLOW_BYTES_PER_SECOND

    def timed(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the chunks of a store, and measure the time that the stream waits for them."""
        while True:
            began = self._waits_since = time.monotonic()
            chunk = next(chunks, None)
            self._waits_since = math.inf
            self._waited += time.monotonic() - began
            if chunk is None:
                return
            self._received += len(chunk)
            yield chunk

    def release(self) -> None:
        """Release the slot. Further calls have no effect."""
        with StreamSlot._lock:
            StreamSlot._taken.discard(self)
