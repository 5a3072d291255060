"""Compression of stored bodies: zstd, with a dictionary trained on items of the collection, if there is one.

With a dictionary, a body has a tenth of the size of its text and is stored in its row. A frame contains the id of its
dictionary, so there can be any number of dictionaries. Dictionaries are never deleted.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import zstandard

from stacflask.errors import StacflaskError

LEVEL = 3
DAMAGED = "DocumentDamaged"
"""Error code for a document that cannot be decompressed."""
DICTIONARY_SIZE = 16 << 10
MIN_SAMPLES = 200
"""Below this number of bodies, a dictionary saves too little to be stored permanently."""


CACHED_DICTIONARIES = 4096
"""Dictionaries whose bytes are cached: 16 KiB each."""

DECOMPRESSOR_POOLS, COMPRESSOR_POOLS = 256, 32
"""Dictionaries for which decompressors and compressors are cached: 45 KiB and up to 1 MiB for each."""

MAX_IDLE = 4
"""Idle decompressors, or compressors, that are kept for one dictionary: about 20 KiB each."""


class _Pool:
    """The idle decompressors, or compressors, of one dictionary. Each is used by one thread at a time."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        # A full deque drops the oldest entry.
        self._idle: deque[Any] = deque(maxlen=MAX_IDLE)

    def take(self) -> Any:
        """Return an idle one, or a new one. Return it with ``put_back``, unless it failed."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._make()

    def put_back(self, coder: Any) -> None:
        """Return one to the pool."""
        self._idle.append(coder)


class Codec:
    """Compresses and decompresses bodies, in any number of threads.

    ``fetch(id)`` returns the bytes of a dictionary. Each cache drops the least recently used entry.
    """

    def __init__(self, fetch: Callable[[int], bytes]) -> None:
        self._fetch = fetch
        self._preloaded: dict[int, bytes] = {}
        self._data = lru_cache(maxsize=CACHED_DICTIONARIES)(self._read)
        self._decompressors = lru_cache(maxsize=DECOMPRESSOR_POOLS)(self._decompressor_pool)
        self._compressors = lru_cache(maxsize=COMPRESSOR_POOLS)(self._compressor_pool)

    def compress(self, body: bytes, dictionary: int = 0) -> bytes:
        """Compress with the dictionary of this id; 0 is no dictionary."""
        pool = self._compressors(dictionary)
        coder = pool.take()
        frame: bytes = coder.compress(body)
        pool.put_back(coder)
        return frame

    def decompress(self, frame: bytes) -> bytes:
        """Return the body of a frame, decompressed with the dictionary of the frame.

        Raises:
            StacflaskError: The frame or the dictionary is damaged.
        """
        try:
            pool = self._decompressors(zstandard.get_frame_parameters(frame).dict_id)
            coder = pool.take()
            body: bytes = coder.decompress(frame)
        except zstandard.ZstdError as error:
            message = f"A stored document, or the dictionary that it was compressed with, is damaged: {error}."
            raise StacflaskError(message, code=DAMAGED) from error
        pool.put_back(coder)
        return body

    def preload(self, dictionary: int, data: bytes) -> None:
        """Cache a dictionary without fetching it."""
        self._preloaded[dictionary] = data
        self._data(dictionary)
        self._preloaded.pop(dictionary, None)

    def _read(self, dictionary: int) -> bytes:
        learnt = self._preloaded.get(dictionary)
        return self._fetch(dictionary) if learnt is None else learnt

    def _dictionary(self, dictionary: int) -> zstandard.ZstdCompressionDict | None:
        return zstandard.ZstdCompressionDict(self._data(dictionary)) if dictionary else None

    def _decompressor_pool(self, dictionary: int) -> _Pool:
        # All decompressors of a dictionary share one prepared dictionary.
        shared = self._dictionary(dictionary)
        return _Pool(lambda: zstandard.ZstdDecompressor(dict_data=shared))

    def _compressor_pool(self, dictionary: int) -> _Pool:
        shared = self._dictionary(dictionary)
        # The checksum detects damaged dictionaries and frames.
        return _Pool(lambda: zstandard.ZstdCompressor(level=LEVEL, dict_data=shared, write_checksum=True))


def train(bodies: Sequence[bytes]) -> tuple[int, bytes] | None:
    """Train a dictionary. Return its id (32 bits, random) and bytes, or None if there are too few bodies."""
    if len(bodies) < MIN_SAMPLES:
        return None
    try:
        trained = zstandard.train_dictionary(DICTIONARY_SIZE, list(bodies), level=LEVEL)
    except zstandard.ZstdError:  # too little data, for example a few hundred tiny bodies
        return None
    return trained.dict_id(), trained.as_bytes()
