"""Configuration of gunicorn: WEB_CONCURRENCY processes, each with threads for its streams and 16 more."""

import gc
import os
import sys
from pathlib import Path
from typing import Any

# A reload reads this file again. It must import the worker again, too.
for module in [name for name in sys.modules if name.startswith("stacflask.server")]:
    del sys.modules[module]
if (Path(__file__).parent / "stacflask").exists():  # a clone that is not installed
    sys.path.insert(0, str(Path(__file__).parent))

from stacflask.server import metrics_folder  # noqa: E402
from stacflask.server.gunicorn_log import ServerLogger  # noqa: E402
from stacflask.server.refusals import MAX_REQUEST_LINE  # noqa: E402
from stacflask.server.settings_check import settings_problem  # noqa: E402
from stacflask.server.worker import Worker, remove_from_busy  # noqa: E402

PORT = os.environ.get("PORT")


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
    metrics_folder.prepare()
    if problem := settings_problem():
        raise SystemExit(problem)


def on_reload(server: Any) -> None:
    """Keep the current workers if new ones could not start. gunicorn would exit, and no request would be served."""
    if problem := settings_problem():
        server.log.error("Not reloaded; the current workers continue. %s", problem)
        # gunicorn starts no new worker and stops no old one. The next reload reads the number again.
        server.cfg.set("workers", 0)


def post_worker_init(worker: object) -> None:  # noqa: ARG001 - gunicorn passes it
    """Exclude the objects that a worker starts with from garbage collection. They stay for its whole life."""
    gc.collect()
    gc.freeze()


def worker_exit(server: object, worker: Any) -> None:  # noqa: ARG001 - gunicorn passes it
    """Call the hook ``shutdown`` of the plugins, in the worker that ends."""
    if getattr(worker, "wsgi", None) is not None:  # The application could be loaded.
        from stacflask.app import close_app

        close_app(worker.wsgi)


def child_exit(server: object, worker: Any) -> None:  # noqa: ARG001 - gunicorn passes it
    """Remove a worker that has exited from the counts of running workers."""
    remove_from_busy(worker)
    metrics_folder.mark_exited(worker.pid)


def on_exit(server: object) -> None:  # noqa: ARG001 - gunicorn passes it
    """Remove the metrics folder."""
    metrics_folder.remove()
