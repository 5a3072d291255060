"""`make run`: the private servers, the demo catalogue and gunicorn, until Ctrl-C. `make reset`: delete their data."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shlex
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dev import postgres
from dev.demo import names
from dev.instructions import instructions
from dev.ports import is_free
from dev.server import Program, Server
from dev.stack import InUse, StackError, delete, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dev.stack import Stack

USAGE = """usage: python -m dev.run [--forget | --help]
Runs the private servers, the demo and gunicorn until Ctrl-C. PORT is the port of gunicorn; STACFLASK_* variables apply.
--forget deletes the data."""
DEFAULT_PORT = 8000
CLONE = Path(__file__).resolve().parent.parent
PLUGINS = "api_keys,links,collection_groups,licence,quota,s3"


def main(arguments: list[str]) -> int:
    """Run the command and return its exit code."""
    try:
        port = _port(os.environ)
        folder = CLONE / ".run" / str(port)
        if arguments == ["--forget"]:
            _delete(folder)
        elif arguments == ["--help"]:
            _print(USAGE)
        elif arguments:
            return _fail(USAGE)
        else:
            serve(folder, port)
    except StackError as error:
        return _fail(str(error))
    except PermissionError as error:
        return _fail(f"{error.filename} belongs to another user. Was make run started as root before?")
    except KeyboardInterrupt:
        _print("Stopped.")
    return 0


def serve(folder: Path, port: int) -> None:
    """Run all servers until the process is stopped. Raises StackError if a server exits by itself."""
    if not is_free(port):
        other = max(port, DEFAULT_PORT) + 1
        raise StackError(f"Port {port} of 127.0.0.1 is in use or not permitted. Use another: PORT={other} make run")
    with ExitStack() as ends:
        with _step("Starting PostgreSQL and the object store"):
            stack = ends.enter_context(running(folder, keep=True))
        environ = environ_for(stack, port)
        _write_environment(folder / "env", environ)
        with _step("Migrating the database"):
            # The demo needs the tables of its plugins, whatever plugins the server has.
            names = dict.fromkeys([*PLUGINS.split(","), *environ["STACFLASK_PLUGINS"].split(",")])
            _migrate({**environ, "STACFLASK_PLUGINS": ",".join(filter(None, names))})
        # Commands of these plugins create the demo's keys and rights, whatever plugins the server has.
        _publish_once(postgres.home_for(folder) / "demo-published", stack, {**environ, "STACFLASK_PLUGINS": PLUGINS})
        web = _gunicorn(port, environ)
        ends.callback(web.stop)
        web.start()
        _print(instructions(f"http://127.0.0.1:{port}", f".run/{port}/env", _reset(port)))
        while not (exits := [*web.unexpected_exits(), *stack.unexpected_exits()]):
            time.sleep(0.3)
    raise StackError(" ".join(exits))


@contextmanager
def _step(what: str) -> Iterator[None]:
    """Print one line for a step, with its duration."""
    began = time.monotonic()
    print(f"{what} ... ", end="", flush=True)
    try:
        yield
    except BaseException:
        _print("failed")
        raise
    _print(f"{time.monotonic() - began:.0f} s")


def _reset(port: int) -> str:
    return "make reset" if port == DEFAULT_PORT else f"PORT={port} make reset"


def _write_environment(path: Path, environ: Mapping[str, str]) -> None:
    """Write the environment of stacflask commands to a file for a shell. Only its owner can read it: it has secrets."""
    ours = ("DATABASE_URL", "STACFLASK_")
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in environ.items() if name.startswith(ours)]
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text("".join(lines), "utf-8")


def environ_for(stack: Stack, port: int) -> dict[str, str]:
    """Return the environment with which the application uses a stack. STACFLASK_* variables of the caller are kept."""
    stores = {
        "demo": {
            "endpoint": f"http://{stack.s3_endpoint}",
            "region": stack.s3_region,
            # Each collection has its own folder, so an author of one cannot publish the objects of another.
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
        # Each clone has its own key, which stays the same at the next start.
        "STACFLASK_LINKS_KEYS": f"demo:{hashlib.sha256(stack.s3_secret_key.encode()).hexdigest()}",
        "STACFLASK_LOG_FORMAT": "text",
    }
    return {**defaults, **os.environ, **own}


def _port(environ: Mapping[str, str]) -> int:
    text = environ.get("PORT", "").strip() or str(DEFAULT_PORT)
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise StackError(f"PORT: expected a number from 1 to 65535, not {text!r}.")
    return int(text)


def _delete(folder: Path) -> None:
    try:
        delete(folder)
    except InUse as error:
        raise StackError(f"{error} Stop it first with Ctrl-C.") from None
    _print(f"Deleted the data in {folder}.")


def _migrate(environ: Mapping[str, str]) -> None:
    command = [sys.executable, "-m", "stacflask", "migrate"]
    done = subprocess.run(command, cwd=CLONE, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StackError(f"stacflask migrate failed:\n{done.stderr.strip()}")


def _publish_once(marker: Path, stack: Stack, environ: dict[str, str]) -> None:
    # The marker is beside the database, so it is deleted with the database.
    if marker.exists():
        return
    from dev import demo

    with _step("Creating the demo catalogue, only at the first start"):
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


def _print(text: str) -> None:
    print(text, flush=True)


def _fail(text: str) -> int:
    print(text, file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
