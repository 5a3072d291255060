"""Storage for request bodies: in memory if small, else in unnamed temporary files. Their total size is bounded."""

import tempfile
import threading

IN_MEMORY = 64 << 10
"""Bytes of a body that stay in memory."""


class SpoolFull(Exception):
    """The bodies of other requests occupy all of the storage."""


class Spool:
    """Storage for bodies that are arriving or being read. Any thread may call its methods."""

    def __init__(self, capacity: int) -> None:
        self._free = capacity
        self._sizes: dict[tempfile.SpooledTemporaryFile[bytes], int] = {}
        self._lock = threading.Lock()

    def open(self) -> tempfile.SpooledTemporaryFile[bytes]:
        """Return a file for a new body."""
        body = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - closed by ``release``
        with self._lock:
            self._sizes[body] = 0
        return body

    def write(self, body: tempfile.SpooledTemporaryFile[bytes], data: bytes) -> None:
        """Append to a body. Raises SpoolFull, also if the disk is full."""
        with self._lock:
            # Small bodies are never refused, because the number of connections bounds them.
            if self._sizes[body] + len(data) > IN_MEMORY and len(data) > self._free:
                raise SpoolFull
            self._sizes[body] += len(data)
            self._free -= len(data)
        try:
            body.write(data)
        except OSError:
            raise SpoolFull from None

    def release(self, body: object) -> None:
        """Close the file of a body and free its bytes. Ignore readers that ``open`` did not return."""
        if isinstance(body, tempfile.SpooledTemporaryFile):
            with self._lock:
                self._free += self._sizes.pop(body, 0)
            body.close()
