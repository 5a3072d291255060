"""The worker: one thread reads requests and finishes responses, a pool of threads handles complete requests.

The main thread reads heads and bodies as they arrive, and sends the rest of a response that is complete. A thread of
the pool waits for a client only while it streams.
"""

import math
import mmap
import os
import selectors
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

from gunicorn.http import wsgi
from gunicorn.sock import ssl_wrap_socket
from gunicorn.workers.gthread import ThreadWorker

from stacflask.server.connection import BUFFERED, ClientGone, Connection
from stacflask.server.incoming import Incoming, RequestIncomplete
from stacflask.server.refusals import RequestTooSlow, is_fault_of_request, refusal
from stacflask.server.spool import Spool

STREAM_DRAIN_SECONDS = 5
"""Seconds before a worker is killed in which it aborts its streams and records how many bytes of each were sent."""
KEEPALIVE_AT_EXIT_SECONDS = 2
"""Seconds for which a stopping worker keeps idle connections."""
MAX_PENDING = 128 << 20
"""Bytes of responses held in memory for clients. Beyond it, the connections of the slowest clients are closed."""
SPOOLED_BODIES = 4
"""Number of bodies of the maximum size that can arrive at the same time. It sets the capacity of the spool."""
HEALTH = "/health"

ACCEPT_WAIT_PER_CONNECTION, MAX_ACCEPT_WAIT = 0.005, 0.015
"""Seconds for which a worker leaves a new connection to a less busy worker: for each connection that it has more than
that one, and in total. The first is as long as a main thread can wait for the GIL (`sys.getswitchinterval`)."""
ABSENT = 255
BUSY = mmap.mmap(-1, 256)
"""Number of connections that the threads of each worker handle, in memory that all workers share."""
BUSY[:] = bytes([ABSENT]) * len(BUSY)


def streams_end_after(graceful: float) -> float:
    """Return after how many seconds a stopping worker aborts its streams: after half of ``graceful`` at least."""
    return max(graceful / 2, graceful - STREAM_DRAIN_SECONDS)


def remove_from_busy(worker: Any) -> None:
    """Remove a worker that has exited from ``BUSY``."""
    BUSY[_busy_index(worker)] = ABSENT


def _busy_index(worker: Any) -> int:
    return int(worker.age) % len(BUSY)


def _max_body(text: str) -> int:
    """Return the maximum size of a body in bytes. The application refuses a wrong setting with a message."""
    return int(text) if text.isdecimal() else 64 << 20


def _unload_application() -> None:
    """Unload the application's modules. Those that the parent process has loaded can be older than their files."""
    for name in list(sys.modules):
        if name.partition(".")[0] == "stacflask" and not name.startswith("stacflask.server"):
            del sys.modules[name]


class Response(wsgi.Response):  # type: ignore[misc]
    """A response that releases its thread once all bytes are known. The main thread sends the rest."""

    def _emit_body(self, data: bytes) -> None:
        if self.chunked:
            self.sock.send(b"%X\r\n%b\r\n" % (len(data), data), waits_above=BUFFERED)
        else:
            ends = self.response_length is not None and self.sent >= self.response_length
            self.sock.send(data, waits_above=math.inf if ends else 0)


class Worker(ThreadWorker):  # type: ignore[misc]
    """Runs complete requests in threads. A client that sends or reads slowly occupies no thread.

    The least busy worker takes a new connection. All workers wait for connections, and often the same one wakes first.
    It would take all of them, and its clients would wait for each other while another worker's processor is idle.
    """

    def init_process(self) -> None:
        """Prepare the worker and serve until it is stopped."""
        self.busy: set[Connection] = set()
        self.waiting: dict[Connection, int] = {}
        self.streams_end = math.inf
        self.body_limit = _max_body(os.environ.get("STACFLASK_MAX_BODY", "").strip())
        self.spool = Spool(SPOOLED_BODIES * self.body_limit)
        self.health = ThreadPoolExecutor(1, "health")
        _unload_application()
        super().init_process()

    def run(self) -> None:
        """Serve until the worker is stopped."""
        self._publish_busy()
        self.log.info("Worker ready (pid: %s)", self.pid)
        super().run()

    def handle_exit(self, sig: Any, frame: Any) -> None:
        """Begin to stop. Other workers leave no new connection to this one, and its streams get a deadline."""
        super().handle_exit(sig, frame)
        self.streams_end = min(self.streams_end, time.monotonic() + streams_end_after(self.cfg.graceful_timeout))
        self._publish_busy()

    # --- The main thread: connections --------------------------------------------------------------------------------

    def accept(self, listener: Any) -> None:
        """Accept a new connection, unless a less busy worker does."""
        began = time.monotonic()
        while time.monotonic() - began < min(MAX_ACCEPT_WAIT, ACCEPT_WAIT_PER_CONNECTION * self._excess_busy()):
            time.sleep(0.0005)
        try:
            sock, client = listener.accept()
        except BlockingIOError:
            return
        except OSError as error:  # The client has disconnected, or no file descriptor is free.
            self.log.warning("connection not accepted: %s", error)
            self._close_earliest()
            return
        if self.cfg.is_ssl:
            try:
                sock = ssl_wrap_socket(sock, self.cfg)
            except OSError as error:  # The client has disconnected.
                self.log.warning("TLS connection not accepted: %s", error)
                sock.close()
                return
        self.nr_conns += 1
        incoming = Incoming(self.cfg, client, self.spool, self.body_limit)
        conn = Connection(sock, client, listener.getsockname(), incoming)
        if self.nr_conns >= self.worker_connections:
            self._close_earliest()
        if conn.receive() or conn.at_end:
            self._proceed(conn)
        else:
            self._wait(conn, selectors.EVENT_READ)

    def _close_earliest(self) -> None:
        """Close the waiting connection with the earliest deadline."""
        if self.waiting:
            self._drop(min(self.waiting, key=Connection.deadline))

    def _wait(self, conn: Connection, events: int) -> None:
        """Wait until the socket is readable or writable."""
        if self.waiting.get(conn) == events:
            return
        if conn in self.waiting:
            self.poller.modify(conn.sock, events, partial(self._ready, conn))
        else:
            self.poller.register(conn.sock, events, partial(self._ready, conn))
        self.waiting[conn] = events

    def _leave_poller(self, conn: Connection) -> None:
        if self.waiting.pop(conn, None) is not None:
            self.poller.unregister(conn.sock)

    def _ready(self, conn: Connection, _sock: Any) -> None:
        """Continue with a connection whose socket is readable or writable."""
        if conn.lingering:
            if not conn.discard():
                self._drop(conn)
        elif conn.pending:
            self._finish(conn)
        elif conn.receive() or conn.at_end:
            self._proceed(conn)
        elif conn.pending:  # The 100 response could not be sent at once.
            self._wait(conn, selectors.EVENT_WRITE)

    def _proceed(self, conn: Connection) -> None:
        """Handle a complete request, or refuse an invalid one."""
        if conn.at_end and conn.request is None and conn.fault is None:
            if not conn.has_partial_request():
                self._drop(conn)
                return
            conn.fault = RequestIncomplete()
        if conn.fault is not None:
            self._refuse(conn, conn.fault)
        else:
            self._leave_poller(conn)
            self.enqueue_req(conn)

    def _refuse(self, conn: Connection, error: Exception) -> None:
        """Send an error for an invalid request and close the connection. Its bytes can hold a secret: log none."""
        self._log_fault(conn, error)
        conn.begin_response()
        conn.sendall(refusal(error))
        conn.closing = True
        self._finish(conn)

    def _log_fault(self, conn: Connection, error: Exception) -> None:
        client = conn.client[0] if isinstance(conn.client, tuple) else "a socket"
        if is_fault_of_request(error):
            self.log.info("request refused", extra={"client": client, "reason": type(error).__name__})
        else:
            self.log.error("request failed", extra={"client": client}, exc_info=error)

    def _finish(self, conn: Connection) -> None:
        """Send the rest of a response. Then close the connection, or read the next request."""
        try:
            sent = conn.flush()
        except ClientGone:
            self._drop(conn)
            return
        if not sent:
            self._wait(conn, selectors.EVENT_WRITE)
            self._bound_pending()
        elif conn.closing:
            self._linger(conn)
        elif conn.fault or conn.at_end or conn.advance():
            self._proceed(conn)
        else:
            conn.expect_request(self.cfg.keepalive if self.alive else KEEPALIVE_AT_EXIT_SECONDS)
            self._wait(conn, selectors.EVENT_READ)

    def _linger(self, conn: Connection) -> None:
        if conn.at_end:
            self._drop(conn)
            return
        try:
            conn.linger()
        except OSError:
            self._drop(conn)
        else:
            self._wait(conn, selectors.EVENT_READ)

    def _bound_pending(self) -> None:
        """Close the connections of the slowest clients while pending responses exceed ``MAX_PENDING``."""
        slow = sorted((conn for conn in self.waiting if conn.pending), key=Connection.deadline)
        total = sum(len(conn.pending) for conn in slow)
        for conn in slow[:-1]:
            if total <= MAX_PENDING:
                break
            total -= len(conn.pending)
            self._drop(conn)

    def _drop(self, conn: Connection) -> None:
        self._leave_poller(conn)
        self.nr_conns -= 1
        with suppress(OSError):
            conn.close()

    def murder_keepalived(self, force: bool = False) -> None:
        """Close all connections if ``force`` is set. ``murder_pending`` closes the others by their deadlines."""
        if force:
            for conn in list(self.waiting):
                self._drop(conn)

    def murder_pending(self) -> None:
        """Close connections after their deadlines. The main thread calls this every second."""
        now = time.monotonic()
        for conn in list(self.waiting):
            if conn.deadline() < now:
                if conn.has_partial_request():
                    self._refuse(conn, RequestTooSlow())
                else:
                    self._drop(conn)
        if now > self.streams_end:
            for conn in list(self.busy):
                conn.abort()

    def _cap_keepalive(self, deadline: float) -> None:
        for conn in self.waiting:
            conn.keep_at_most(deadline)

    # --- The main thread: requests -----------------------------------------------------------------------------------

    def enqueue_req(self, conn: Connection) -> None:
        """Pass a request to a thread. Health checks have their own thread, so they never wait for another request."""
        pool = self.health if conn.request.path == HEALTH else self.tpool
        self.busy.add(conn)
        self._publish_busy()
        conn.queued_since = time.monotonic()
        future = pool.submit(self.handle, conn)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    def finish_request(self, conn: Connection, fs: Any) -> None:
        """Continue with a connection after its thread is done."""
        self.busy.discard(conn)
        self._publish_busy()
        if fs.cancelled() or fs.exception() is not None:
            self._drop(conn)
        else:
            conn.closing = not fs.result()
            self._finish(conn)

    def _excess_busy(self) -> int:
        """Return by how many connections this worker is busier than the least busy worker."""
        return len(self.busy) - min(BUSY[:])

    def _publish_busy(self) -> None:
        BUSY[_busy_index(self)] = min(len(self.busy), ABSENT - 1) if self.alive else ABSENT

    # --- The other threads -------------------------------------------------------------------------------------------

    def handle(self, conn: Connection) -> bool:
        """Handle one request. Return whether another may follow on the same connection."""
        request, conn.request = conn.request, None
        conn.begin_response()
        try:
            return self.handle_request(request, conn)
        except ClientGone:
            self.log.debug("client disconnected")
            conn.pending.clear()
        except Exception as error:  # noqa: BLE001 - logged, and a response is sent if none has begun
            self._fail(conn, error)
        finally:
            self.spool.release(request.body.reader)
        return False

    def _fail(self, conn: Connection, error: Exception) -> None:
        """Log an error and send a 500 response. A response that has begun stays incomplete."""
        self._log_fault(conn, error)
        if not conn.has_responded:
            conn.sendall(refusal(error))

    def handle_request(self, req: Any, conn: Connection) -> bool:
        """Run the application and send its response. Return whether another request may follow."""
        response, environ = None, {}
        self.cfg.pre_request(self, req)
        began = datetime.now()  # noqa: DTZ005 - gunicorn's log takes the difference
        try:
            response, environ = wsgi.create(req, conn, conn.client, conn.server, self.cfg, Response)
            environ["wsgi.multithread"] = True
            environ["stacflask.queue_seconds"] = conn.seconds_in_queue()
            self._count(response)
            chunks = self.wsgi(environ, response.start_response)
            try:
                for chunk in chunks:
                    response.write(chunk)
                response.close()
                conn.flush()
            finally:
                self.log.access(response, req, environ, datetime.now() - began)  # noqa: DTZ005
                if hasattr(chunks, "close"):
                    chunks.close()
        finally:
            self.cfg.post_request(self, req, environ, response)
        return not response.should_close()

    def _count(self, response: Any) -> None:
        """Count a request. Close the connection after it if the worker stops or has too many."""
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("worker request limit reached", extra={"requests": self.nr})
            self.alive: bool = False
        if not self.alive or not self.cfg.keepalive or self.nr_conns >= self.max_keepalived:
            response.force_close()
