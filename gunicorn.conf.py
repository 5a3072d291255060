"""How gunicorn serves: WEB_CONCURRENCY processes, each with threads enough for its streams and some besides."""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

PORT = os.environ.get("PORT")
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
worker_class = "gthread"
# A stream holds its thread for as long as its client reads: the rest is for those who ask something short.
threads = number("STACFLASK_THREADS", number("STACFLASK_MAX_STREAMS", 8) + 8)
# Seconds that requests under way are given when the server is told to stop or to reload.
graceful_timeout = 30
timeout = 60
keepalive = 15
# A search by GET may name a long list of ids.
limit_request_line = 8190
# Who may speak for clients is decided in one place, stacflask/api/address.py.
forwarded_allow_ips = ""
# The application logs each request itself, with its decision.
accesslog = None
# Nothing but requests and signals steers a server.
control_socket_disable = True


def on_starting(server: object) -> None:  # noqa: ARG001 - gunicorn calls it so
    """Refuse a wrong setting before any worker starts: one line, instead of a traceback from each."""
    sys.path.insert(0, str(Path(__file__).parent))
    from stacflask.errors import SettingError
    from stacflask.loader import load_plugins
    from stacflask.settings import Settings

    _share_metrics()
    try:
        load_plugins(Settings.from_environ(os.environ).plugins, os.environ)
    except SettingError as error:
        raise SystemExit(f"error: {error}") from None


def child_exit(server: object, worker: Any) -> None:  # noqa: ARG001 - gunicorn calls it so
    """Take a worker that has ended out of what is counted of those that live."""
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
        os.environ[SHARED], os.environ[OWN] = tempfile.mkdtemp(prefix="stacflask-metrics-"), "1"
    for left in Path(os.environ[SHARED]).glob("*.db"):
        left.unlink()
