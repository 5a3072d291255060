"""Where bodies lie while they arrive: in memory if small, else in a file without a name; all together bounded."""

from __future__ import annotations

import tempfile
import threading

IN_MEMORY = 64 << 10
"""Bytes of a body that are held in memory."""


class SpoolFull(Exception):
    """Other requests' bodies take all the room there is."""


class Spool:
    """Room for bodies that are arriving or being read. Its methods may be called from any thread."""

    def __init__(self, room: int) -> None:
        self._free = room
        self._sizes: dict[tempfile.SpooledTemporaryFile[bytes], int] = {}
        self._lock = threading.Lock()

    def open(self) -> tempfile.SpooledTemporaryFile[bytes]:
        """Begin a body."""
        body = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - closed by ``release``
        with self._lock:
            self._sizes[body] = 0
        return body

    def write(self, body: tempfile.SpooledTemporaryFile[bytes], data: bytes) -> None:
        """Add to a body. Raises SpoolFull, also if the disk has no room."""
        with self._lock:
            # Small bodies are never refused: the number of connections bounds them.
            if self._sizes[body] + len(data) > IN_MEMORY and len(data) > self._free:
                raise SpoolFull
            self._sizes[body] += len(data)
            self._free -= len(data)
        try:
            body.write(data)
        except OSError:
            raise SpoolFull from None

    def release(self, body: object) -> None:
        """Give back what a body takes, if it was begun here."""
        if isinstance(body, tempfile.SpooledTemporaryFile):
            with self._lock:
                self._free += self._sizes.pop(body, 0)
            body.close()
