"""A client's connection: received bytes, bytes to send, and the time by which the client must make progress."""

import select
import socket
import ssl
import time
from typing import Any

from stacflask.server.incoming import Incoming

HEAD_SECONDS = 10
"""Seconds in which the head of a request must be complete. Also the longest pause, in seconds, within a body."""
BODY_RATE = 16 << 10
"""Bytes per second at which a body must arrive on average, after the first ``HEAD_SECONDS``."""
STALL_SECONDS = 60
"""Seconds in which a client must read at least one byte of its response."""
READ_RATE = 1 << 10
"""Bytes per second at which a client must read a response on average, after the first ``STALL_SECONDS``."""
LINGER_SECONDS = 5
"""Seconds for which the server reads and discards bytes after it has closed its side. The client can then read its
response before it learns that the connection is closed (RFC 9112, section 9.6)."""
LINGER_BYTES = 64 << 20
READ_SIZE = 64 << 10
BUFFERED = 4 << 20
"""Bytes of a response of unknown length that are held in memory. Beyond it, the thread waits for the client."""
_BLOCKED = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class ClientGone(ConnectionAbortedError):
    """The client has closed the connection, or has read its response too slowly."""


class Connection:
    """One connection. Either the main thread or the thread that handles its request uses it, never both.

    gunicorn writes responses to it as to a socket (``sendall``).
    """

    def __init__(self, sock: Any, client: Any, server: Any, incoming: Incoming) -> None:
        self.sock, self.client, self.server, self.incoming = sock, client, server, incoming
        self.request: Any = None
        """A complete request that has not been handled yet."""
        self.fault: Exception | None = None
        """The error in the bytes that the client sent, if they are no valid request."""
        self.at_end = False
        """Whether the client has closed its side."""
        self.pending = bytearray()
        """Bytes that are not sent yet."""
        self.closing = False
        """Whether to close the connection once ``pending`` is sent."""
        self.lingering = False
        self.queued_since: float | None = None
        """When the request began to wait for a thread."""
        self._discarded = 0
        self._began = self._progress = time.monotonic()
        self._taken = 0
        self._kept_until = self._began + HEAD_SECONDS
        self._state = "nothing"
        sock.setblocking(False)

    def seconds_in_queue(self) -> float:
        """Return how long the request waited for a thread. Further requests of the same thread did not wait."""
        since, self.queued_since = self.queued_since, None
        return 0.0 if since is None else time.monotonic() - since

    # --- Reading -----------------------------------------------------------------------------------------------------

    def receive(self) -> bool:
        """Read bytes from the client. Return whether a request is complete or invalid (see ``fault``)."""
        data = self._recv()
        if data is None:
            return False
        if data:
            self._progress = time.monotonic()
            self.incoming.feed(data)
        else:
            self.at_end = True
        return self.advance()

    def advance(self) -> bool:
        """Parse the bytes read so far. Return whether a request is complete or invalid (see ``fault``)."""
        try:
            self.request = self.incoming.next()
        except Exception as error:  # noqa: BLE001 - the main thread sends a response for each kind of error
            self.fault = error
        state = self.incoming.state
        if state != self._state:
            self._state, self._began = state, time.monotonic()
        if interim := self.incoming.take_continue():
            self.pending += interim
            self.flush()
        return self.request is not None or self.fault is not None

    def discard(self) -> bool:
        """Read and discard bytes on a connection that is closing. Return whether more can come."""
        data = self._recv()
        self._discarded += len(data or b"")
        return data is None or (bool(data) and self._discarded < LINGER_BYTES)

    def _recv(self) -> bytes | None:
        """Return bytes from the socket: empty if the client has closed its side, None if there are none yet."""
        try:
            return bytes(self.sock.recv(READ_SIZE))
        except _BLOCKED:
            return None
        except OSError:
            return b""

    # --- Writing -----------------------------------------------------------------------------------------------------

    def begin_response(self) -> None:
        """Restart the timeouts for a new response."""
        self._began = self._progress = time.monotonic()
        self._taken = 0

    @property
    def has_responded(self) -> bool:
        """Whether any byte of the current response has been sent or is pending."""
        return bool(self._taken or self.pending)

    def sendall(self, data: bytes) -> None:
        """Append bytes to ``pending``. The next ``send`` or ``flush`` sends them."""
        self.pending += data

    def send(self, data: bytes, *, waits_above: float) -> None:
        """Send bytes. Wait for the client while more than ``waits_above`` bytes are pending. Raises ClientGone."""
        if not self.pending:
            data = data[self._send(data) :]
        self.pending += data
        self.flush()
        while len(self.pending) > waits_above:
            self._wait_until_writable()
            self.flush()

    def flush(self) -> bool:
        """Send pending bytes without waiting. Return whether all have been sent. Raises ClientGone."""
        while self.pending:
            sent = self._send(bytes(self.pending[:READ_SIZE]))
            if not sent:
                return False
            del self.pending[:sent]
        return True

    def _send(self, data: bytes) -> int:
        try:
            sent = int(self.sock.send(data)) if data else 0
        except _BLOCKED:
            return 0
        except OSError as error:
            raise ClientGone from error
        self._taken += sent
        self._progress = time.monotonic()
        return sent

    def _wait_until_writable(self) -> None:
        poll = select.poll()
        poll.register(self.sock, select.POLLOUT)
        while not poll.poll(1000):
            if self.deadline() < time.monotonic():
                raise ClientGone

    # --- Time --------------------------------------------------------------------------------------------------------

    def expect_request(self, seconds: float) -> None:
        """Set the time, in seconds from now, in which the next request must begin."""
        self._state, self._began = self.incoming.state, time.monotonic()
        self._kept_until = self._began + seconds

    def keep_at_most(self, until: float) -> None:
        """Bound the time at which the next request must have begun (monotonic clock, seconds)."""
        self._kept_until = min(self._kept_until, until)

    def linger(self) -> None:
        """Close this side of the connection."""
        self.lingering = True
        self._began = time.monotonic()
        self.sock.shutdown(socket.SHUT_WR)

    def deadline(self) -> float:
        """Return the time by which the client must send or read its next bytes (monotonic clock, seconds)."""
        if self.lingering:
            return self._began + LINGER_SECONDS
        if self.pending:
            return min(self._progress, self._began + self._taken / READ_RATE) + STALL_SECONDS
        if self._state == "nothing":
            return self._kept_until
        if self._state == "head":
            return self._began + HEAD_SECONDS
        return min(self._progress, self._began + self.incoming.received / BODY_RATE) + HEAD_SECONDS

    def has_partial_request(self) -> bool:
        """Return whether the client has begun a request that is not complete."""
        return self._state != "nothing" and not self.pending and not self.lingering

    def abort(self) -> None:
        """Shut the socket down. Any thread may call this while another uses the connection."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        """Close the socket and discard an incomplete request."""
        self.incoming.discard()
        self.sock.close()
