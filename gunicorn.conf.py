"""How gunicorn serves: WEB_CONCURRENCY processes, each with threads enough for its streams and some besides."""

import fcntl
import gc
import json
import math
import mmap
import os
import select
import shutil
import socket
import sys
import tempfile
import threading
import time
from contextlib import suppress
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from gunicorn.http.errors import (
    InvalidResponseHeader,
    InvalidResponseHeaderName,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
)
from gunicorn.util import write_nonblock
from gunicorn.workers.gthread import ThreadWorker

PORT = os.environ.get("PORT")
MEMORY = "/dev/shm"  # noqa: S108 - the folder made in it is one's own
METRICS = "stacflask-metrics-"
SHARED, OWN = "PROMETHEUS_MULTIPROC_DIR", "STACFLASK_METRICS_FOLDER_IS_OURS"


def number(name: str, default: int) -> int:
    """Read a setting, or end with one line that names it."""
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or int(text) < 1:
        raise SystemExit(f"error: {name}: expected a whole number above 0, not {text!r}")
    return int(text)


HEAD = 10
"""Seconds in which a request's head must be here."""
SLOWEST = 16 << 10
"""Bytes a second that a body must come with; one of unknown length has ten minutes."""


FAREWELL = 5
"""Seconds before a worker is killed in which it tells of the streams that it cuts: how much of each has left."""

PAUSE = 10
"""Milliseconds for which a thread waits for its client's next request."""

LOOKS, MOST = 10, 30
"""How often a worker that has more to do than another looks whether that one took a new connection, half a millisecond
apart, before it takes it itself: so often for each connection that it has more, as long as the other's main thread may
wait for its turn (`sys.getswitchinterval`), and never more than that."""

ABSENT = 255
ENGAGED = mmap.mmap(-1, 256)
"""How many connections each worker has engaged threads with, in memory that all of them share."""
ENGAGED[:] = bytes([ABSENT]) * len(ENGAGED)


LONGEST = 8190
"""Characters of a request's first line: a search by GET may name a long list of ids. No more can be set."""
TOO_LARGE = {
    LimitRequestLine: (
        "414 URI Too Long",
        "AddressTooLong",
        f"Expected at most {LONGEST} characters: send it by POST.",
    ),
    LimitRequestHeaders: ("431 Request Header Fields Too Large", "HeadersTooLarge", "Expected shorter header fields."),
}
NO_REQUEST = ("400 Bad Request", "BadRequest", "Expected a request in HTTP/1.1.")
BROKEN = ("500 Internal Server Error", "ServerError", "Something broke here. The log has it.")


class Worker(ThreadWorker):  # type: ignore[misc]
    """Hangs up on clients that send too slowly: each holds a thread, and with a few dozen of them nobody is served.

    Who asks again at once is answered by the same thread: handing a connection back to the main thread, and to another
    thread from there, costs as much as a good part of an answer.

    A new connection is for the worker that has the least to do. All of them wait for it, and whoever wakes first, which
    is often the same, would have them all: its clients wait for each other while another's processor is idle.
    """

    def init_process(self) -> None:
        """Begin to watch, and work."""
        self.reading: dict[Any, float] = {}
        self.busy: set[Any] = set()
        self.last = math.inf
        threading.Thread(target=self._watch, name="patience", daemon=True).start()
        super().init_process()

    def run(self) -> None:
        """Serve until told to stop."""
        self._tell()
        self.log.info("Worker ready (pid: %s)", self.pid)
        super().run()

    def handle_exit(self, sig: Any, frame: Any) -> None:
        """Begin to stop: no connection is left to this worker any more, and those there are have so much time."""
        super().handle_exit(sig, frame)
        self.last = min(self.last, time.monotonic() + given(self.cfg.graceful_timeout))
        self._tell()

    def accept(self, listener: Any) -> None:
        """Take a new connection, unless a worker that has less to do takes it."""
        for look in range(MOST):
            if look >= LOOKS * (len(self.busy) - min(ENGAGED[:])):
                break
            time.sleep(0.0005)
        super().accept(listener)

    def enqueue_req(self, conn: Any) -> None:
        """Give a connection to a thread, or let it wait for one. The main thread alone does this, and the next."""
        self.busy.add(conn)
        self._tell()
        super().enqueue_req(conn)

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Take a connection back."""
        self.busy.discard(conn)
        self._tell()
        super().finish_request(conn, fs)

    def _tell(self) -> None:
        ENGAGED[_place(self)] = min(len(self.busy), ABSENT - 1) if self.alive else ABSENT

    def handle(self, conn: Any) -> Any:
        """Answer a request, and those that follow at once: as long as half of the threads are free for others."""
        kept = self._answer(conn)
        while kept is True and self.alive and 2 * len(self.busy) <= self.cfg.threads and _asks_again(conn):
            kept = self._answer(conn)
        return kept

    def _answer(self, conn: Any) -> Any:
        """Read a request and answer it; until the head is here, the clock runs."""
        self.reading[conn] = time.monotonic() + HEAD
        try:
            return super().handle(conn)
        finally:
            self.reading.pop(conn, None)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer a request; the clock runs on for its body, if it has one."""
        fields = dict(req.headers)
        length = int(fields.get("CONTENT-LENGTH", 0))
        if length or "TRANSFER-ENCODING" in fields:
            self.reading[conn] = time.monotonic() + HEAD + (length / SLOWEST or 600)
        else:
            self.reading.pop(conn, None)
        return super().handle_request(req, conn)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Any) -> None:  # noqa: ARG002 - gunicorn calls it so
        """Refuse what is no request in JSON, as all else is. No address is logged: its query may be a secret."""
        if isinstance(exc, ParseException) and not isinstance(exc, InvalidResponseHeader | InvalidResponseHeaderName):
            status, code, description = TOO_LARGE.get(type(exc), NO_REQUEST)
            self.log.warning("No request, from %s: %s", addr[0] if addr else "a socket", type(exc).__name__)
        else:
            status, code, description = BROKEN
            self.log.error("A request could not be answered", exc_info=exc)
        body = json.dumps({"code": code, "description": description})
        fields = ("Connection: close", "Content-Type: application/json", f"Content-Length: {len(body)}")
        try:
            write_nonblock(client, "\r\n".join([f"HTTP/1.1 {status}", *fields, "", body]).encode())
        except OSError:
            self.log.debug("The client has gone.")

    def _watch(self) -> None:
        while True:
            time.sleep(1)
            now = time.monotonic()
            for conn, until in list(self.reading.items()):
                if until < now and self.reading.pop(conn, 0.0):
                    _stop(conn.sock, socket.SHUT_RD)  # what is being sent to the client goes on
            if now > self.last:
                for conn in list(self.busy):
                    _stop(conn.sock, socket.SHUT_RDWR)


def given(graceful: float) -> float:
    """Say for how many of the seconds until a worker is killed its streams go on: for half of them at least."""
    return max(graceful / 2, graceful - FAREWELL)


def _place(worker: Any) -> int:
    return int(worker.age) % len(ENGAGED)


def _asks_again(conn: Any) -> bool:
    if conn.parser.unreader.buf.getvalue():  # read already, and nothing to wait for: the main thread knows what to do
        return False
    poll = select.poll()
    poll.register(conn.sock, select.POLLIN)
    return bool(poll.poll(PAUSE))


def _stop(sock: socket.socket, what: int) -> None:
    try:
        sock.shutdown(what)
    except OSError:
        return


# A platform that gives a PORT routes to it from outside; without one, this is somebody's own machine.
bind = f"0.0.0.0:{PORT}" if PORT else "127.0.0.1:8000"
workers = number("WEB_CONCURRENCY", 2)
worker_class = Worker
# A stream holds its thread for as long as its client reads: the rest is for those who ask something short.
threads = number("STACFLASK_THREADS", number("STACFLASK_MAX_STREAMS", 8) + 8)
# Seconds that requests under way are given when the server is told to stop or to reload.
graceful_timeout = 30
timeout = 60
keepalive = 15
limit_request_line = LONGEST
# Who may speak for clients is decided in one place, stacflask/api/address.py.
forwarded_allow_ips = ""
# The application logs each request itself, with its decision.
accesslog = None
# Nothing but requests and signals steers a server.
control_socket_disable = True


def on_starting(server: object) -> None:  # noqa: ARG001 - gunicorn calls it so
    """Refuse a wrong setting before any worker starts: one line, instead of a traceback from each."""
    _share_metrics()
    if wrong := _wrong():
        raise SystemExit(wrong)


def on_reload(server: Any) -> None:
    """Keep the workers there are, if new ones could not start: gunicorn would end, and nobody be served."""
    if wrong := _wrong():
        server.log.error("Not reloaded; the workers there are go on. %s", wrong)
        server.cfg.set("workers", 0)  # so many are started, and none ends for them; the next reload reads it anew


def _wrong() -> str:
    """Say what is wrong with the settings, or nothing.

    Another process looks: what the first has imported, every worker of a later reload would have, however old.
    """
    hear, tell = Pipe(duplex=False)
    process = get_context("fork").Process(target=_look, args=(tell,))
    process.start()
    process.join()
    return str(hear.recv()) if hear.poll() else "plugins cannot be loaded, see above"


def _look(tell: Connection) -> None:
    sys.path.insert(0, str(Path(__file__).parent))
    from stacflask.errors import SettingError
    from stacflask.loader import load_plugins
    from stacflask.settings import Settings

    try:
        load_plugins(Settings.from_environ(os.environ).plugins, os.environ)
    except SettingError as error:
        tell.send(f"error: {error}")
    else:
        tell.send("")


def post_worker_init(worker: object) -> None:  # noqa: ARG001 - gunicorn calls it so
    """Look for circles among what requests leave, and no more among what a worker begins with, which stays."""
    gc.collect()
    gc.freeze()


def child_exit(server: object, worker: Any) -> None:  # noqa: ARG001 - gunicorn calls it so
    """Take a worker that has ended out of what is counted of those that live."""
    ENGAGED[_place(worker)] = ABSENT
    if SHARED in os.environ:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(server: object) -> None:  # noqa: ARG001 - gunicorn calls it so
    """Remove the folder of the metrics."""
    if os.environ.get(OWN) == "1":
        shutil.rmtree(os.environ[SHARED], ignore_errors=True)


def _share_metrics() -> None:
    """Give the workers a folder in which to count together, if they count; what an earlier server left goes."""
    if "plugins.metrics" not in os.environ.get("STACFLASK_PLUGINS", ""):
        return
    if SHARED not in os.environ:
        # Counted in memory, by way of a file: whoever writes where its disk has no room left is killed for it.
        memory = None if os.environ.get("TMPDIR") or not os.access(MEMORY, os.W_OK) else MEMORY
        place = Path(memory or tempfile.gettempdir())
        _clear(place)
        os.environ[SHARED], os.environ[OWN] = str(_folder(place)), "1"
    for left in Path(os.environ[SHARED]).glob("*.db"):
        left.unlink()


def _clear(place: Path) -> None:
    """Remove what servers left that were killed: the folders that no process holds any more."""
    for left in place.glob(f"{METRICS}*"):
        with suppress(OSError):
            file = _hold(left)
            shutil.rmtree(left, ignore_errors=True)
            os.close(file)


def _folder(place: Path) -> Path:
    """Make a folder that this process holds. Others look for its last name only: it is never seen without its lock."""
    new = Path(tempfile.mkdtemp(prefix="stacflask-new-", dir=place))
    with suppress(OSError):  # where folders cannot be locked, nobody else can either, and none is removed
        _hold(new)
    return new.rename(place / new.name.replace("stacflask-new-", METRICS))


def _hold(folder: Path) -> int:
    """Lock a folder of one's own user, while this process lives or one that it starts. Raises OSError.

    A lock, and no process's number: that may be another's by now, or be counted apart in another container.
    """
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(file).st_uid != os.geteuid():
            raise PermissionError(folder)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise
    return file
