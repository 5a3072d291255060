"""Places among the streams of a process: how many there are, and how many the streams of one slow store can have."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, ClassVar

from stacflask.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SLOW_SECONDS = 2.0
"""Seconds for which a stream may wait for its store, beyond those that its bytes need at ``SLOW_RATE``."""
SLOW_RATE = 64 << 10
"""Bytes per second. A store that sends less in a stream is slow."""


class Place:
    """One place. A store that is slow in one of its streams gets no further place once it has half of them.

    Args:
        stores: The stores that the stream reads.
        places: How many places there are.

    Raises:
        Unavailable: No place is free, or none for a slow store.
    """

    # Garbage that is collected while a place is taken can give back another one in the same thread.
    _lock = threading.RLock()
    _taken: ClassVar[set[Place]] = set()

    def __init__(self, stores: Iterable[str], places: int) -> None:
        self.stores = frozenset(stores)
        self._received = 0
        self._waited, self._waits_since = 0.0, math.inf
        with Place._lock:
            taken = list(Place._taken)
            if len(taken) >= places:
                raise Unavailable("Too many downloads are being streamed just now.", code="TooManyStreams")
            for store in self.stores:
                same = [place for place in taken if store in place.stores]
                if len(same) >= max(1, places // 2) and any(place.is_slow() for place in same):
                    raise Unavailable("The store of this asset sends too slowly just now.")
            Place._taken.add(self)

    def is_slow(self) -> bool:
        """Whether the store has sent too little for the time for which the stream has waited for it."""
        waited = self._waited + max(0.0, time.monotonic() - self._waits_since)
        return waited > SLOW_SECONDS + self._received / SLOW_RATE

    def timed(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the chunks of a store, and add up the time for which they are waited for."""
        while True:
            began = self._waits_since = time.monotonic()
            chunk = next(chunks, None)
            self._waits_since = math.inf
            self._waited += time.monotonic() - began
            if chunk is None:
                return
            self._received += len(chunk)
            yield chunk

    def give_back(self) -> None:
        """Give the place back, once or several times."""
        with Place._lock:
            Place._taken.discard(self)
