"""The worker: one thread reads requests and finishes responses, a pool of threads handles complete requests.

A client is never waited for by a thread of the pool, except by one that streams: the main thread reads heads and
bodies as they come, and sends what a client has not taken yet of a response that is ready.
"""

from __future__ import annotations

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
"""Seconds before a worker is killed in which it records the streams that it cuts: how much of each has left."""
NEXT_REQUEST_WAIT_MS = 10
"""Milliseconds for which a thread waits for its client's next request."""
KEEPALIVE_AT_EXIT_SECONDS = 2
"""Seconds for which a worker that ends keeps connections that are idle."""
MAX_PENDING = 128 << 20
"""Bytes of responses that wait in memory for their clients. Beyond it the slowest clients lose their connections."""
SPOOLED_BODIES = 4
"""Bodies of the greatest size that may arrive at the same time; smaller ones accordingly."""
HEALTH = "/health"

ACCEPT_WAIT_PER_CONNECTION, MAX_ACCEPT_WAIT = 0.005, 0.015
"""Seconds for which a worker that has more to do than another leaves a new connection to that one: for each connection
that it has more, as long as the other's main thread may wait for its turn (`sys.getswitchinterval`), and in all."""
ABSENT = 255
BUSY = mmap.mmap(-1, 256)
"""How many connections each worker has given to threads, in memory that all of them share."""
BUSY[:] = bytes([ABSENT]) * len(BUSY)


def streams_end_after(graceful: float) -> float:
    """Return for how many of the seconds until a worker is killed its streams go on: for half of them at least."""
    return max(graceful / 2, graceful - STREAM_DRAIN_SECONDS)


def forget(worker: Any) -> None:
    """Take a worker that has ended out of what is counted of those that live."""
    BUSY[_place(worker)] = ABSENT


def _place(worker: Any) -> int:
    return int(worker.age) % len(BUSY)


def _max_body(text: str) -> int:
    """Read the greatest size of a body. The application refuses a wrong setting with a message."""
    return int(text) if text.isdecimal() else 64 << 20


def _forget_application() -> None:
    """Let a worker load one version of the application: what its parent has loaded may be older than the files."""
    for name in list(sys.modules):
        if name.partition(".")[0] == "stacflask" and not name.startswith("stacflask.server"):
            del sys.modules[name]


class Response(wsgi.Response):  # type: ignore[misc]
    """A response that leaves its thread as soon as its last bytes are known, whoever is to read them."""

    def _emit_body(self, data: bytes) -> None:
        if self.chunked:
            self.sock.send(b"%X\r\n%b\r\n" % (len(data), data), waits_above=BUFFERED)
        else:
            ends = self.response_length is not None and self.sent >= self.response_length
            self.sock.send(data, waits_above=math.inf if ends else 0)


class Worker(ThreadWorker):  # type: ignore[misc]
    """Gives complete requests to threads, and never a thread to a client that is slow to send or to read.

    A client that asks again at once is answered by the same thread: handing a connection back to the main thread, and
    to another thread from there, costs as much as a good part of an answer.

    A new connection is for the worker that has the least to do. All of them wait for it, and the one that wakes first,
    which is often the same, would have them all: its clients wait for each other while another's processor is idle.
    """

    def init_process(self) -> None:
        """Prepare, and serve until told to stop."""
        self.busy: set[Connection] = set()
        self.waiting: dict[Connection, int] = {}
        self.streams_end = math.inf
        self.body_limit = _max_body(os.environ.get("STACFLASK_MAX_BODY", "").strip())
        self.spool = Spool(SPOOLED_BODIES * self.body_limit)
        self.health = ThreadPoolExecutor(1, "health")
        _forget_application()
        super().init_process()

    def run(self) -> None:
        """Serve until told to stop."""
        self._publish_busy()
        self.log.info("Worker ready (pid: %s)", self.pid)
        super().run()

    def handle_exit(self, sig: Any, frame: Any) -> None:
        """Begin to stop: no connection is left to this worker any more, and those there are have so much time."""
        super().handle_exit(sig, frame)
        self.streams_end = min(self.streams_end, time.monotonic() + streams_end_after(self.cfg.graceful_timeout))
        self._publish_busy()

    # --- The main thread: connections --------------------------------------------------------------------------------

    def accept(self, listener: Any) -> None:
        """Take a new connection, unless a worker that has less to do takes it."""
        began = time.monotonic()
        while time.monotonic() - began < min(MAX_ACCEPT_WAIT, ACCEPT_WAIT_PER_CONNECTION * self._more_than_another()):
            time.sleep(0.0005)
        try:
            sock, client = listener.accept()
        except BlockingIOError:
            return
        except OSError as error:  # gone already, or no file descriptor is free
            self.log.warning("connection not accepted: %s", error)
            self._make_room()
            return
        if self.cfg.is_ssl:
            try:
                sock = ssl_wrap_socket(sock, self.cfg)
            except OSError as error:  # gone already
                self.log.warning("TLS connection not accepted: %s", error)
                sock.close()
                return
        self.nr_conns += 1
        incoming = Incoming(self.cfg, client, self.spool, self.body_limit)
        conn = Connection(sock, client, listener.getsockname(), incoming)
        if self.nr_conns >= self.worker_connections:
            self._make_room()
        if conn.receive() or conn.at_end:
            self._proceed(conn)
        else:
            self._wait(conn, selectors.EVENT_READ)

    def _make_room(self) -> None:
        """Close the connection whose time is up next."""
        if self.waiting:
            self._drop(min(self.waiting, key=Connection.deadline))

    def _wait(self, conn: Connection, events: int) -> None:
        """Wait until the client sends something, or takes something."""
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
        """Go on with a connection whose client has sent or taken something."""
        if conn.lingering:
            if not conn.discard():
                self._drop(conn)
        elif conn.pending:
            self._finish(conn)
        elif conn.receive() or conn.at_end:
            self._proceed(conn)
        elif conn.pending:  # an interim response that could not be sent at once
            self._wait(conn, selectors.EVENT_WRITE)

    def _proceed(self, conn: Connection) -> None:
        """Handle a complete request, or refuse what is none."""
        if conn.at_end and conn.request is None and conn.fault is None:
            if not conn.owes_request():
                self._drop(conn)
                return
            conn.fault = RequestIncomplete()
        if conn.fault is not None:
            self._refuse(conn, conn.fault)
        else:
            self._leave_poller(conn)
            self.enqueue_req(conn)

    def _refuse(self, conn: Connection, error: Exception) -> None:
        """Answer what is no request, and end the connection. What was asked is not logged: it may hold a secret."""
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
        """Send what is left of a response; then end the connection, or go on to the next request on it."""
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
        """Keep what waits in memory for clients within its bound, at the expense of those that read slowest."""
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
        """Do nothing unless all is to end: ``murder_pending`` looks at every connection."""
        if force:
            for conn in list(self.waiting):
                self._drop(conn)

    def murder_pending(self) -> None:
        """End connections whose time is up. The main thread calls this every second."""
        now = time.monotonic()
        for conn in list(self.waiting):
            if conn.deadline() < now:
                if conn.owes_request():
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
        """Give a request to a thread; what asks whether the worker lives never waits for one of the others."""
        pool = self.health if conn.request.path == HEALTH else self.tpool
        self.busy.add(conn)
        self._publish_busy()
        future = pool.submit(self.handle, conn)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    def finish_request(self, conn: Connection, fs: Any) -> None:
        """Take a connection back from a thread."""
        self.busy.discard(conn)
        self._publish_busy()
        if fs.cancelled() or fs.exception() is not None:
            self._drop(conn)
        else:
            conn.closing = not fs.result()
            self._finish(conn)

    def _more_than_another(self) -> int:
        """Return how many connections more than the worker that has the fewest this one has given to threads."""
        return len(self.busy) - min(BUSY[:])

    def _publish_busy(self) -> None:
        BUSY[_place(self)] = min(len(self.busy), ABSENT - 1) if self.alive else ABSENT

    # --- The other threads -------------------------------------------------------------------------------------------

    def handle(self, conn: Connection) -> bool:
        """Answer a request, and those that follow at once: as long as half of the threads are free for others."""
        kept = self._answer(conn)
        while kept and self.alive and 2 * len(self.busy) <= self.cfg.threads and conn.asks_again(NEXT_REQUEST_WAIT_MS):
            kept = self._answer(conn)
        return kept

    def _answer(self, conn: Connection) -> bool:
        """Answer a request. Return whether another may follow on the same connection."""
        request, conn.request = conn.request, None
        conn.begin_response()
        try:
            return self.handle_request(request, conn)
        except ClientGone:
            self.log.debug("client gone")
            conn.pending.clear()
        except Exception as error:  # noqa: BLE001 - logged, and answered if it can be
            self._break_off(conn, error)
        finally:
            self.spool.release(request.body.reader)
        return False

    def _break_off(self, conn: Connection, error: Exception) -> None:
        """Answer a request that cannot be answered; what has begun to leave is left incomplete."""
        self._log_fault(conn, error)
        if not conn.has_responded:
            conn.sendall(refusal(error))

    def handle_request(self, req: Any, conn: Connection) -> bool:
        """Run the application and send what it answers. Return whether another request may follow."""
        response, environ = None, {}
        self.cfg.pre_request(self, req)
        began = datetime.now()  # noqa: DTZ005 - gunicorn's log takes the difference
        try:
            response, environ = wsgi.create(req, conn, conn.client, conn.server, self.cfg, Response)
            environ["wsgi.multithread"] = True
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
        """Count a request, and let the connection end with it where the worker does."""
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("worker restarts after so many requests")
            self.alive: bool = False
        if not self.alive or not self.cfg.keepalive or self.nr_conns >= self.max_keepalived:
            response.force_close()
