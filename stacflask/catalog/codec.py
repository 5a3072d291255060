"""Bodies at rest: zstd, with a dictionary trained on the collection's own items where there is one.

With a dictionary a body is a tenth of its text and stays in its row. A frame names the dictionary it needs, so any
number of them live side by side; none is ever deleted.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LEVEL = 3
DICTIONARY_SIZE = 16 << 10
FEWEST_SAMPLES = 200
"""Below this many bodies a dictionary learns too little to be worth keeping for good."""


class _Tools(threading.local):
    """One thread's compressors and decompressors, by dictionary: neither may be shared between threads."""

    def __init__(self) -> None:
        self.compressors: dict[int, zstandard.ZstdCompressor] = {}
        self.decompressors: dict[int, zstandard.ZstdDecompressor] = {}


class Codec:
    """Compresses and decompresses bodies. ``fetch(id)`` gives a dictionary, and is asked for each once a process."""

    def __init__(self, fetch: Callable[[int], bytes]) -> None:
        self._fetch = fetch
        self._dictionaries: dict[int, zstandard.ZstdCompressionDict] = {}
        self._tools = _Tools()

    def compress(self, body: bytes, dictionary: int = 0) -> bytes:
        """Compress with the dictionary of this id; 0 is none."""
        tools = self._tools.compressors
        if dictionary not in tools:
            tools[dictionary] = zstandard.ZstdCompressor(level=LEVEL, dict_data=self._dictionary(dictionary))
        return tools[dictionary].compress(body)

    def decompress(self, frame: bytes) -> bytes:
        """Give the body back, with whatever dictionary its frame names."""
        dictionary = zstandard.get_frame_parameters(frame).dict_id
        tools = self._tools.decompressors
        if dictionary not in tools:
            tools[dictionary] = zstandard.ZstdDecompressor(dict_data=self._dictionary(dictionary))
        return tools[dictionary].decompress(frame)

    def learn(self, dictionary: int, data: bytes) -> None:
        """Make a dictionary known without fetching it."""
        self._dictionaries[dictionary] = zstandard.ZstdCompressionDict(data)

    def _dictionary(self, dictionary: int) -> zstandard.ZstdCompressionDict | None:
        if dictionary == 0:
            return None
        if dictionary not in self._dictionaries:
            self.learn(dictionary, self._fetch(dictionary))
        return self._dictionaries[dictionary]


def train(bodies: Sequence[bytes]) -> tuple[int, bytes] | None:
    """Train a dictionary; give its id (32 bits, drawn by zstd) and bytes, or None if there is too little to learn."""
    if len(bodies) < FEWEST_SAMPLES:
        return None
    try:
        trained = zstandard.train_dictionary(DICTIONARY_SIZE, list(bodies), level=LEVEL)
    except zstandard.ZstdError:  # too little to tell apart, as with a few hundred tiny bodies
        return None
    return trained.dict_id(), trained.as_bytes()
