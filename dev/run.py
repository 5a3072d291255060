"""`make run`: the private servers, the demo catalogue and gunicorn, until Ctrl-C. `make reset`: forget their data."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from dev import postgres
from dev.demo import names
from dev.greeting import greeting
from dev.ports import is_free
from dev.server import Program, Server
from dev.stack import InUse, StackError, forget, running

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dev.stack import Stack

USAGE = """usage: python -m dev.run [--forget | --help]
Runs the private servers, the demo and gunicorn until Ctrl-C. PORT says where; STACFLASK_* of the environment count."""
DEFAULT_PORT = 8000
CLONE = Path(__file__).resolve().parent.parent
PLUGINS = ",".join(f"plugins.{name}" for name in ("api_keys", "links", "collection_groups", "licence", "quota", "s3"))


def main(arguments: list[str]) -> int:
    """Run the command; return its exit code."""
    try:
        port = _port(os.environ)
        folder = CLONE / ".run" / str(port)
        if arguments == ["--forget"]:
            _forget(folder)
        elif arguments == ["--help"]:
            _say(USAGE)
        elif arguments:
            return _complain(USAGE)
        else:
            serve(folder, port)
    except StackError as error:
        return _complain(str(error))
    except PermissionError as error:
        return _complain(f"{error.filename} belongs to another user: was `make run` started as root before?")
    except KeyboardInterrupt:
        _say("Stopped.")
    return 0


def serve(folder: Path, port: int) -> None:
    """Run all there is until the process is told to end, or gunicorn ends by itself (StackError)."""
    if not is_free(port):
        other = max(port, DEFAULT_PORT) + 1
        raise StackError(f"Port {port} of 127.0.0.1 is taken, or not yours to take. Another one: PORT={other} make run")
    _say("Starting PostgreSQL and the object store ...")
    with running(folder, keep=True) as stack:
        environ = environ_for(stack, port)
        _write_environment(folder / "env", environ)
        _step("migrate", environ)
        # Its keys and rights are given out by these plugins' commands, whichever serve it.
        _publish_once(postgres.home_for(folder) / "demo-published", stack, {**environ, "STACFLASK_PLUGINS": PLUGINS})
        web = _gunicorn(port, environ)
        try:
            _say("Starting gunicorn ...")
            web.start()
            _say(greeting(f"http://127.0.0.1:{port}", f".run/{port}/env", _reset(port)))
            while not (ended := [*web.deaths(), *stack.deaths()]):
                time.sleep(0.3)
        finally:
            web.stop()
        raise StackError(" ".join(ended))


def _reset(port: int) -> str:
    return "make reset" if port == DEFAULT_PORT else f"PORT={port} make reset"


def _write_environment(path: Path, environ: Mapping[str, str]) -> None:
    """Keep what the house's own commands need in a file for a shell; it holds secrets: only its owner may read it."""
    ours = ("DATABASE_URL", "STACFLASK_")
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in environ.items() if name.startswith(ours)]
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text("".join(lines), "utf-8")


def environ_for(stack: Stack, port: int) -> dict[str, str]:
    """Return the environment in which the application uses this stack. STACFLASK_* of the caller's count, too."""
    stores = {
        "demo": {
            "endpoint": f"http://{stack.s3_endpoint}",
            "region": stack.s3_region,
            # Each collection has a folder of its own, so an author of one cannot publish the objects of another.
            "buckets": [f"{stack.bucket}/{{collection}}/"],
            "access_key": stack.s3_access_key,
            "secret_key": stack.s3_secret_key,
        }
    }
    own = {"DATABASE_URL": stack.database_url, "PORT": str(port), "STACFLASK_S3_STORES": json.dumps(stores)}
    defaults = {
        "WEB_CONCURRENCY": "2",
        "STACFLASK_PLUGINS": PLUGINS,
        "STACFLASK_COLLECTION_GROUPS_ADMINS": names.OPERATORS_GROUP,
        "STACFLASK_LICENCE_FREE_ROLES": "thumbnail,overview,metadata",
        # Different for each clone, and the same at its next start.
        "STACFLASK_LINKS_KEYS": f"demo:{hashlib.sha256(stack.s3_secret_key.encode()).hexdigest()}",
        "STACFLASK_LOG_FORMAT": "text",
    }
    return {**defaults, **os.environ, **own}


def _port(environ: Mapping[str, str]) -> int:
    text = environ.get("PORT", "").strip() or str(DEFAULT_PORT)
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise StackError(f"PORT: expected a number from 1 to 65535, not {text!r}.")
    return int(text)


def _forget(folder: Path) -> None:
    try:
        forget(folder)
    except InUse as error:
        raise StackError(f"{error} Stop it first (Ctrl-C where it runs).") from None
    _say(f"Forgotten: the data in {folder}.")


def _step(command: str, environ: Mapping[str, str]) -> None:
    done = subprocess.run([sys.executable, "-m", "stacflask", command], cwd=CLONE, env=environ, check=False)
    if done.returncode:
        raise StackError(f"stacflask {command} failed; what it said stands above.")


def _publish_once(marker: Path, stack: Stack, environ: dict[str, str]) -> None:
    # The marker lies beside the database, and goes with it.
    if marker.exists():
        return
    from dev import demo

    _say("Making and loading the demo catalogue, this once ...")
    demo.publish(stack, environ)
    marker.touch()


def _gunicorn(port: int, environ: Mapping[str, str]) -> Server:
    return Server(
        Program(
            name="gunicorn",
            command=(sys.executable, "-m", "gunicorn", f"--bind=127.0.0.1:{port}", "wsgi:application"),
            folder=CLONE,
            log=None,
            environ=environ,
            ready=lambda: _is_ready(port),
        )
    )


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _say(text: str) -> None:
    print(text, flush=True)


def _complain(text: str) -> int:
    print(text, file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
