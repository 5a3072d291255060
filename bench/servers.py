"""What is measured: the servers behind, a catalogue in them, and the server itself in several settings side by side.

Those that are not being asked something cost nothing, so rounds can alternate between them.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import BytesIO, RawIOBase, StringIO
from typing import TYPE_CHECKING, Any

from minio import Minio

from bench import catalogue
from bench.client import ROOT, BenchError
from dev.server import Program, Server, plain_environ
from dev.stack import forget, running, scratch_folder
from stacflask.cli import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from dev.stack import Stack

WORKERS = 2
GROUP = "measurers"
KEYS = tuple(f"sfk_be7c000{number}_MeasuringOnlyThisServerEndsWithTheRun" for number in range(8))
"""Of as many people: one who downloads many things at once waits for himself, since his quota is booked in turn."""
LICENCE = "merlin-terms"
OPEN = ("open_access", "s3")
GOVERNED = ("api_keys", "collection_groups", "licence", "quota", "s3")
"""All that is shipped for policy, as `make run` has it."""
SETUPS = {
    "none": OPEN,
    "api_keys": ("api_keys", *OPEN),
    "api_keys, collection_groups": ("api_keys", "collection_groups", "s3"),
    "api_keys, licence": ("api_keys", "licence", *OPEN),
    "api_keys, quota": ("api_keys", "quota", *OPEN),
    "audit": ("audit", *OPEN),
    "metrics": ("metrics", *OPEN),
    "all policy": GOVERNED,
    "all policy, audit, metrics": ("api_keys", "collection_groups", "licence", "quota", "audit", "metrics", "s3"),
}
"""What is set beside each other to see what each plugin costs."""


@contextmanager
def stack() -> Iterator[tuple[Stack, Path]]:
    """Run the servers behind as for data that matter, and remove them with their data; give their folder too."""
    folder = scratch_folder(ROOT / ".run")
    try:
        with running(folder, keep=True) as servers:
            yield servers, folder
    finally:
        forget(folder)


# --- What is in it ---------------------------------------------------------------------------------------------------


def furnish(servers: Stack, folder: Path, items: int, big: int) -> None:
    """Migrate, load so many items, put objects into the bucket, one of them of ``big`` bytes, and make a policy."""
    environ = environ_for(servers, GOVERNED)
    collections, scenes = catalogue.write(folder, items, servers.bucket)
    terms = folder / "terms.txt"
    terms.write_text("For measuring only.", "utf-8")
    _migrate(environ)
    _house(environ, "load", "--quiet", str(collections), str(scenes))
    for number, key in enumerate(KEYS):
        _house(environ, "keys", "create", f"measurer-{number}", f"--group={GROUP}", "--key", key)
    _house(environ, "licence", "add", LICENCE, "1.0", "--title", "Terms", "--text-file", str(terms))
    _house(environ, "quota", "set", GROUP, "--downloads", str(10**12), "--bytes", "900PB")
    for collection in catalogue.COLLECTIONS:
        _house(environ, "access", "grant", collection, "see", GROUP)
        _house(environ, "access", "grant", collection, "download", GROUP)
        _house(environ, "licence", "require", collection, LICENCE)
    _upload(servers, big)


def _migrate(environ: Mapping[str, str]) -> None:
    # In a process of its own, since migrations read their process's environment.
    command = [sys.executable, "-m", "stacflask", "migrate"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"stacflask migrate: {done.stderr.strip()}")


def _house(environ: Mapping[str, str], *arguments: str) -> None:
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()) as said:
        code = run(arguments, environ)
    if code:
        raise BenchError(f"stacflask {' '.join(arguments)}: {said.getvalue().strip()}")


def store_client(servers: Stack) -> Minio:
    """Give a client of the store."""
    return Minio(
        servers.s3_endpoint, servers.s3_access_key, servers.s3_secret_key, secure=False, region=servers.s3_region
    )


def _upload(servers: Stack, big: int) -> None:
    client = store_client(servers)
    for number in range(catalogue.STORED):
        for prefix in (catalogue.CHECKED, catalogue.EACH_TIME):
            client.put_object(servers.bucket, catalogue.Scene(number).key(prefix), BytesIO(b"II*\0" * 250), 1000)
    client.put_object(servers.bucket, catalogue.BIG, Noise(big), big, part_size=64 << 20)  # type: ignore[arg-type]


class Noise(RawIOBase):
    """A file of so many bytes that do not compress: the same random megabyte again and again."""

    _pattern = os.urandom(1 << 20)

    def __init__(self, size: int) -> None:
        self._left = size

    def read(self, size: int = -1) -> bytes:
        """Give the next bytes."""
        wanted = self._left if size < 0 else min(size, self._left)
        self._left -= wanted
        whole, rest = divmod(wanted, len(self._pattern))
        return self._pattern * whole + self._pattern[:rest]


# --- Who serves it ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Served:
    """A running gunicorn. ``mark`` stands in its processes' command lines and in no other's."""

    port: int
    server: Server

    @property
    def mark(self) -> str:
        """What tells its processes from others."""
        return f"--bind=127.0.0.1:{self.port}"


@contextmanager
def served(
    name: str, environ: Mapping[str, str], folder: Path, application: str = "wsgi:application", *more: str
) -> Iterator[Served]:
    """Run gunicorn as gunicorn.conf.py and ``more`` arguments have it, its log in the folder, until the block ends."""
    port = _free_port()
    program = Program(
        name=f"gunicorn ({name})",
        command=(sys.executable, "-m", "gunicorn", f"--bind=127.0.0.1:{port}", *more, application),
        folder=ROOT,
        log=folder / f"{name}.log",
        environ={**environ, "WEB_CONCURRENCY": str(WORKERS)},
        ready=lambda: _is_ready(port),
    )
    server = Server(program)
    try:
        server.start()
        yield Served(port, server)
    finally:
        server.stop()


def environ_for(servers: Stack, plugins: tuple[str, ...]) -> dict[str, str]:
    """Give the environment of a server with these plugins; nothing of the caller's STACFLASK_* counts."""
    return plain_environ(
        ROOT,
        DATABASE_URL=servers.database_url,
        STACFLASK_PLUGINS=",".join(f"plugins.{name}" for name in plugins),
        STACFLASK_S3_STORES=json.dumps(_stores(servers)),
        STACFLASK_METRICS_NETWORKS="127.0.0.0/8",
    )


def _stores(servers: Stack) -> dict[str, Any]:
    """Describe one store as three, which differ in when they see whether an object is there."""
    common = {
        "endpoint": f"http://{servers.s3_endpoint}",
        "region": servers.s3_region,
        "access_key": servers.s3_access_key,
        "secret_key": servers.s3_secret_key,
        "collections": "*",
    }
    return {
        "checked": {**common, "buckets": [f"{servers.bucket}/{catalogue.CHECKED}"], "verify_ttl": 3600},
        "each-time": {**common, "buckets": [f"{servers.bucket}/{catalogue.EACH_TIME}"], "verify_ttl": 0},
        "unchecked": {**common, "buckets": [f"{servers.bucket}/{catalogue.UNCHECKED}"], "verify": False},
    }


def accept_licence(port: int) -> None:
    """Accept the terms with each key, once for all servers on the database."""
    body, kind = json.dumps({"version": "1.0"}), {"Content-Type": "application/json"}
    for key in KEYS:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", f"/licences/{LICENCE}/acceptance", body, {**kind, **bearer(key)})
        answer = connection.getresponse()
        if answer.status != http.HTTPStatus.OK:
            raise BenchError(f"accepting the licence: {answer.status} {answer.read()!r}")
        connection.close()


def bearer(key: str) -> dict[str, str]:
    """Give the header field that shows a key."""
    return {"Authorization": f"Bearer {key}"}


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
