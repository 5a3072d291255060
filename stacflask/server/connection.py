"""A client's connection: what it sends, what it is still to be sent, and until when it must make progress."""

from __future__ import annotations

import select
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stacflask.server.incoming import Incoming

HEAD_SECONDS = 10
"""Seconds in which a request's head must be complete; for its body, seconds without any progress."""
BODY_RATE = 16 << 10
"""Bytes per second with which a body must come, on average, after the first seconds."""
STALL_SECONDS = 60
"""Seconds in which a client must take something of its response."""
READ_RATE = 1 << 10
"""Bytes per second with which a response must be read, on average, after the first minute."""
LINGER_SECONDS = 5
"""Seconds in which a closed connection's client can still send: what it sends is discarded, so that it reads its
response before it learns that the connection is gone (RFC 9112, section 9.6)."""
LINGER_BYTES = 64 << 20
READ_SIZE = 64 << 10
BUFFERED = 4 << 20
"""Bytes of a response of unknown length that wait in memory before its thread waits for the client."""
_BLOCKED = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class ClientGone(ConnectionAbortedError):
    """The client has closed the connection, or has not taken enough of its response in time."""


class Connection:
    """One connection. It belongs to the main thread, or to the thread that handles its request, never to both.

    Stands in for the socket where gunicorn writes a response (``sendall``).
    """

    def __init__(self, sock: Any, client: Any, server: Any, incoming: Incoming) -> None:
        self.sock, self.client, self.server, self.incoming = sock, client, server, incoming
        self.request: Any = None
        """A complete request that waits to be handled."""
        self.fault: Exception | None = None
        """Why what the client sent is no request."""
        self.at_end = False
        """Whether the client has closed its side."""
        self.pending = bytearray()
        """What is still to be sent."""
        self.closing = False
        """Whether the connection ends once ``pending`` is sent."""
        self.lingering = False
        self._discarded = 0
        self._began = self._progress = time.monotonic()
        self._taken = 0
        self._kept_until = self._began + HEAD_SECONDS
        self._state = "nothing"
        sock.setblocking(False)

    # --- Reading -----------------------------------------------------------------------------------------------------

    def receive(self) -> bool:
        """Read what has arrived. Return whether a request is complete, or can never be: see ``fault``."""
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
        """Look for a request in what was read. Return as ``receive`` does."""
        try:
            self.request = self.incoming.next()
        except Exception as error:  # noqa: BLE001 - whatever it is, the main thread answers it
            self.fault = error
        state = self.incoming.state
        if state != self._state:
            self._state, self._began = state, time.monotonic()
        if interim := self.incoming.take_continue():
            self.pending += interim
            self.flush()
        return self.request is not None or self.fault is not None

    def asks_again(self, milliseconds: int) -> bool:
        """Wait a moment for the next request, and return whether it is complete."""
        if self.pending or self.fault or self.at_end:
            return False
        if not self.incoming.buffer:
            poll = select.poll()
            poll.register(self.sock, select.POLLIN)
            if not poll.poll(milliseconds):
                return False
            return self.receive() and self.request is not None
        return self.advance() and self.request is not None

    def discard(self) -> bool:
        """Read and drop what still comes on a connection that ends. Return whether there may be more."""
        data = self._recv()
        self._discarded += len(data or b"")
        return data is None or (bool(data) and self._discarded < LINGER_BYTES)

    def _recv(self) -> bytes | None:
        """Read some bytes: none if the client has closed its side, None if there are none yet."""
        try:
            return bytes(self.sock.recv(READ_SIZE))
        except _BLOCKED:
            return None
        except OSError:
            return b""

    # --- Writing -----------------------------------------------------------------------------------------------------

    def begin_response(self) -> None:
        """Start the clock for what is sent next."""
        self._began = self._progress = time.monotonic()
        self._taken = 0

    @property
    def has_responded(self) -> bool:
        """Whether anything of the present response is on its way."""
        return bool(self._taken or self.pending)

    def sendall(self, data: bytes) -> None:
        """Put bytes behind what is still to be sent; they leave with the next ``send`` or ``flush``."""
        self.pending += data

    def send(self, data: bytes, *, waits_above: float) -> None:
        """Send bytes. Waits for the client while more than so many bytes are still to be sent. Raises ClientGone."""
        if not self.pending:
            data = data[self._send(data) :]
        self.pending += data
        self.flush()
        while len(self.pending) > waits_above:
            self._wait_until_writable()
            self.flush()

    def flush(self) -> bool:
        """Send what can be sent without waiting. Return whether all has been sent. Raises ClientGone."""
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
        """Wait so long for the next request to begin."""
        self._state, self._began = self.incoming.state, time.monotonic()
        self._kept_until = self._began + seconds

    def keep_at_most(self, until: float) -> None:
        """Wait no longer than this for the next request."""
        self._kept_until = min(self._kept_until, until)

    def linger(self) -> None:
        """Close this side of the connection."""
        self.lingering = True
        self._began = time.monotonic()
        self.sock.shutdown(socket.SHUT_WR)

    def deadline(self) -> float:
        """Return the time by which the client must do what it is waited for, as it has done so far."""
        if self.lingering:
            return self._began + LINGER_SECONDS
        if self.pending:
            return min(self._progress, self._began + self._taken / READ_RATE) + STALL_SECONDS
        if self._state == "nothing":
            return self._kept_until
        if self._state == "head":
            return self._began + HEAD_SECONDS
        return min(self._progress, self._began + self.incoming.received / BODY_RATE) + HEAD_SECONDS

    def owes_request(self) -> bool:
        """Whether the client has begun a request that is not complete."""
        return self._state != "nothing" and not self.pending and not self.lingering

    def abort(self) -> None:
        """Cut the connection, whichever thread is using it."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        """Close the socket, and give up the request that is being read."""
        self.incoming.discard()
        self.sock.close()
