"""How gunicorn serves: WEB_CONCURRENCY processes, each with threads enough for its streams and some besides."""

import fcntl
import gc
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

# A reload imports the worker again, as it reads this file again.
for module in [name for name in sys.modules if name.startswith("stacflask.server")]:
    del sys.modules[module]
sys.path.insert(0, str(Path(__file__).parent))

from stacflask.server.gunicorn_log import ServerLogger  # noqa: E402
from stacflask.server.refusals import LONGEST  # noqa: E402
from stacflask.server.worker import Worker, forget  # noqa: E402

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


# A platform that gives a PORT routes to it from outside; without one, this is somebody's own machine.
bind = f"0.0.0.0:{PORT}" if PORT else "127.0.0.1:8000"
workers = number("WEB_CONCURRENCY", 2)
worker_class = Worker
logger_class = ServerLogger
# Read piece by piece, a file is bounded by the same clocks as all else.
sendfile = False
# A stream holds its thread for as long as its client reads: the rest is for those who ask something short.
threads = number("STACFLASK_THREADS", number("STACFLASK_MAX_STREAMS", 8) + 16)
# Seconds that requests under way are given when the server is told to stop or to reload.
graceful_timeout = 30
timeout = 60
keepalive = 15
limit_request_line = LONGEST
# Who may speak for clients is decided in one place, stacflask/api/http/public_url.py.
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
    from stacflask.catalog.database.connection_settings import arguments
    from stacflask.errors import SettingError
    from stacflask.pluginmanager.loading import load_plugins
    from stacflask.settings import Settings

    try:
        settings = Settings.from_environ(os.environ)
        arguments(settings.database_url, "DATABASE_URL")
        if settings.replica_url:
            arguments(settings.replica_url, "STACFLASK_REPLICA_URL")
        load_plugins(settings.plugins, os.environ)
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
    forget(worker)
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
