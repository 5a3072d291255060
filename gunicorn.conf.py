"""Configuration of gunicorn: WEB_CONCURRENCY processes, each with threads for its streams and 16 more."""

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

# A reload reads this file again. It must import the worker again, too.
for module in [name for name in sys.modules if name.startswith("stacflask.server")]:
    del sys.modules[module]
sys.path.insert(0, str(Path(__file__).parent))

from stacflask.server.gunicorn_log import ServerLogger  # noqa: E402
from stacflask.server.refusals import MAX_REQUEST_LINE  # noqa: E402
from stacflask.server.worker import Worker, remove_from_busy  # noqa: E402

PORT = os.environ.get("PORT")
MEMORY_FOLDER = "/dev/shm"  # noqa: S108 - mkdtemp makes a private folder in it
FOLDER_PREFIX = "stacflask-metrics-"
METRICS_FOLDER, FOLDER_IS_OURS = "PROMETHEUS_MULTIPROC_DIR", "STACFLASK_METRICS_FOLDER_IS_OURS"


def positive_setting(name: str, default: int) -> int:
    """Return a whole number above 0 from the environment. Exits with one line that names the setting."""
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or int(text) < 1:
        raise SystemExit(f"error: {name}: expected a whole number above 0, not {text!r}")
    return int(text)


# A platform that sets PORT routes to it from outside. Without PORT, the server is only for this machine.
bind = f"0.0.0.0:{PORT}" if PORT else "127.0.0.1:8000"
workers = positive_setting("WEB_CONCURRENCY", 2)
worker_class = Worker
logger_class = ServerLogger
# A file that is read in pieces is bound by the same timeouts as every other response.
sendfile = False
# A stream occupies its thread for as long as its client reads. The other threads are for short requests.
threads = positive_setting("STACFLASK_THREADS", positive_setting("STACFLASK_MAX_STREAMS", 8) + 16)
# Seconds in which current requests can finish when the server stops or reloads.
graceful_timeout = 30
timeout = 60
keepalive = 15
limit_request_line = MAX_REQUEST_LINE
# Only stacflask/api/http/public_url.py decides which proxies are trusted.
forwarded_allow_ips = ""
# The application logs each request itself, with its decision.
accesslog = None
# Only requests and signals control a server.
control_socket_disable = True


def on_starting(server: object) -> None:  # noqa: ARG001 - gunicorn passes it
    """Refuse a wrong setting before a worker starts, so that one line is printed instead of a traceback per worker."""
    _prepare_metrics_folder()
    if problem := _settings_problem():
        raise SystemExit(problem)


def on_reload(server: Any) -> None:
    """Keep the current workers if new ones could not start. gunicorn would exit, and no request would be served."""
    if problem := _settings_problem():
        server.log.error("Not reloaded; the current workers continue. %s", problem)
        # gunicorn starts no new worker and stops no old one. The next reload reads the number again.
        server.cfg.set("workers", 0)


def _settings_problem() -> str:
    """Return what is wrong with the settings, or an empty string.

    Another process checks them. Modules that the first process imports would stay in all workers of later reloads.
    """
    receiver, sender = Pipe(duplex=False)
    process = get_context("fork").Process(target=_check_settings, args=(sender,))
    process.start()
    process.join()
    return str(receiver.recv()) if receiver.poll() else "plugins cannot be loaded, see above"


def _check_settings(sender: Connection) -> None:
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
        sender.send(f"error: {error}")
    else:
        sender.send("")


def post_worker_init(worker: object) -> None:  # noqa: ARG001 - gunicorn passes it
    """Exclude the objects that a worker starts with from garbage collection. They stay for its whole life."""
    gc.collect()
    gc.freeze()


def child_exit(server: object, worker: Any) -> None:  # noqa: ARG001 - gunicorn passes it
    """Remove a worker that has exited from the counts of running workers."""
    remove_from_busy(worker)
    if METRICS_FOLDER in os.environ:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(server: object) -> None:  # noqa: ARG001 - gunicorn passes it
    """Remove the metrics folder."""
    if os.environ.get(FOLDER_IS_OURS) == "1":
        shutil.rmtree(os.environ[METRICS_FOLDER], ignore_errors=True)


def _prepare_metrics_folder() -> None:
    """Create a metrics folder that the workers share, if the plugin is loaded. Remove files of earlier servers."""
    if "plugins.metrics" not in os.environ.get("STACFLASK_PLUGINS", ""):
        return
    if METRICS_FOLDER not in os.environ:
        # The files are mapped into memory. A process that writes to such a file on a full disk is killed.
        memory = None if os.environ.get("TMPDIR") or not os.access(MEMORY_FOLDER, os.W_OK) else MEMORY_FOLDER
        parent = Path(memory or tempfile.gettempdir())
        _remove_abandoned(parent)
        os.environ[METRICS_FOLDER], os.environ[FOLDER_IS_OURS] = str(_new_folder(parent)), "1"
    for file in Path(os.environ[METRICS_FOLDER]).glob("*.db"):
        file.unlink()


def _remove_abandoned(parent: Path) -> None:
    """Remove the folders of servers that were killed: those that no process has locked."""
    for folder in parent.glob(f"{FOLDER_PREFIX}*"):
        with suppress(OSError):
            file = _lock(folder)
            shutil.rmtree(folder, ignore_errors=True)
            os.close(file)


def _new_folder(parent: Path) -> Path:
    """Create and lock a folder.

    It gets its final name once it is locked, so that another server never takes it for abandoned.
    """
    new = Path(tempfile.mkdtemp(prefix="stacflask-new-", dir=parent))
    with suppress(OSError):  # If folders cannot be locked, no server can lock one, and none is removed.
        _lock(new)
    return new.rename(parent / new.name.replace("stacflask-new-", FOLDER_PREFIX))


def _lock(folder: Path) -> int:
    """Lock a folder of this user until this process and its children have exited. Raises OSError.

    A process id would not do: the system can reuse it, and other containers number their processes themselves.
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
