"""Bodies at rest: zstd, with a dictionary trained on the collection's own items where there is one.

With a dictionary a body is a tenth of its text and stays in its row. A frame names the dictionary it needs, so any
number of them live side by side; none is ever deleted.
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import zstandard

from stacflask.errors import StacflaskError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LEVEL = 3
DAMAGED = "DocumentDamaged"
"""The error's code if a document cannot be decompressed."""
DICTIONARY_SIZE = 16 << 10
FEWEST_SAMPLES = 200
"""Below this many bodies a dictionary learns too little to be worth keeping for good."""


DICTIONARIES = 4096
"""Dictionaries of which the bytes are kept: 16 KiB each."""

READERS, WRITERS = 256, 32
"""Dictionaries for which decompressors and compressors are kept ready: of one, 45 KiB and up to 1 MiB."""

IDLE = 4
"""Decompressors, or compressors, that are kept for one dictionary while no thread uses them: some 20 KiB each."""


class _Tools:
    """The decompressors, or compressors, of one dictionary that are idle. One is used by one thread at a time."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        # At its length, what is put back pushes another out.
        self._idle: deque[Any] = deque(maxlen=IDLE)

    def take(self) -> Any:
        """Return an idle one, or a new one. It is put back by ``give``, unless it failed."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._make()

    def give(self, tool: Any) -> None:
        """Put one back."""
        self._idle.append(tool)


class Codec:
    """Compresses and decompresses bodies, in any number of threads.

    ``fetch(id)`` returns the bytes of a dictionary. Each of the caches drops what was not used for longest.
    """

    def __init__(self, fetch: Callable[[int], bytes]) -> None:
        self._fetch = fetch
        self._learnt: dict[int, bytes] = {}
        self._data = lru_cache(maxsize=DICTIONARIES)(self._read)
        self._readers = lru_cache(maxsize=READERS)(self._reading)
        self._writers = lru_cache(maxsize=WRITERS)(self._writing)

    def compress(self, body: bytes, dictionary: int = 0) -> bytes:
        """Compress with the dictionary of this id; 0 is none."""
        tools = self._writers(dictionary)
        tool = tools.take()
        frame: bytes = tool.compress(body)
        tools.give(tool)
        return frame

    def decompress(self, frame: bytes) -> bytes:
        """Return the body, decompressed with the dictionary that its frame names.

        Raises StacflaskError: the frame or the dictionary is damaged.
        """
        try:
            tools = self._readers(zstandard.get_frame_parameters(frame).dict_id)
            tool = tools.take()
            body: bytes = tool.decompress(frame)
        except zstandard.ZstdError as error:
            told = f"A stored document, or the dictionary that it was compressed with, is damaged: {error}."
            raise StacflaskError(told, code=DAMAGED) from error
        tools.give(tool)
        return body

    def learn(self, dictionary: int, data: bytes) -> None:
        """Make a dictionary known without fetching it."""
        self._learnt[dictionary] = data
        self._data(dictionary)
        self._learnt.pop(dictionary, None)

    def _read(self, dictionary: int) -> bytes:
        learnt = self._learnt.get(dictionary)
        return self._fetch(dictionary) if learnt is None else learnt

    def _dictionary(self, dictionary: int) -> zstandard.ZstdCompressionDict | None:
        return zstandard.ZstdCompressionDict(self._data(dictionary)) if dictionary else None

    def _reading(self, dictionary: int) -> _Tools:
        # All decompressors of a dictionary share the one that is prepared here.
        shared = self._dictionary(dictionary)
        return _Tools(lambda: zstandard.ZstdDecompressor(dict_data=shared))

    def _writing(self, dictionary: int) -> _Tools:
        shared = self._dictionary(dictionary)
        # With the checksum, no other text can come out of a damaged dictionary or frame.
        return _Tools(lambda: zstandard.ZstdCompressor(level=LEVEL, dict_data=shared, write_checksum=True))


def train(bodies: Sequence[bytes]) -> tuple[int, bytes] | None:
    """Train a dictionary; give its id (32 bits, drawn by zstd) and bytes, or None if there is too little to learn."""
    if len(bodies) < FEWEST_SAMPLES:
        return None
    try:
        trained = zstandard.train_dictionary(DICTIONARY_SIZE, list(bodies), level=LEVEL)
    except zstandard.ZstdError:  # too little to tell apart, as with a few hundred tiny bodies
        return None
    return trained.dict_id(), trained.as_bytes()
