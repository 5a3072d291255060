"""The measured servers: the database and the store with a catalogue, and several servers with different settings.

Servers without requests cost nothing, so rounds can alternate between them.
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
from dev.stack import delete, running, scratch_folder
from stacflask.cli import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from dev.stack import Stack

WORKERS = 2
GROUP = "measurers"
KEYS = tuple(f"sfk_be7c000{number}_MeasuringOnlyThisServerEndsWithTheRun" for number in range(8))
"""Keys of different principals. Concurrent downloads of one principal would wait for each other to update the quota."""
LICENCE = "merlin-terms"
OPEN = ("open_access", "s3")
GOVERNED = ("api_keys", "collection_groups", "licence", "quota", "s3")
"""All policy plugins of the distribution, as in `make run`."""
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
"""Sets of plugins that are compared to find the cost of each plugin."""


@contextmanager
def stack() -> Iterator[tuple[Stack, Path]]:
    """Run the database and the store with durable settings, and delete their data at the end. Yield also the folder."""
    folder = scratch_folder(ROOT / ".run")
    try:
        with running(folder, keep=True) as servers:
            yield servers, folder
    finally:
        delete(folder)


# --- The data --------------------------------------------------------------------------------------------------------


def fill(servers: Stack, folder: Path, items: int, big: int) -> None:
    """Migrate, load ``items`` items, upload objects, one of them of ``big`` bytes, and create a policy."""
    environ = environ_for(servers, GOVERNED)
    collections, scenes = catalogue.write(folder, items, servers.bucket)
    terms = folder / "terms.txt"
    terms.write_text("For measuring only.", "utf-8")
    everything = dict.fromkeys(name for names in SETUPS.values() for name in names)
    _migrate({**environ, "STACFLASK_PLUGINS": ",".join(everything)})
    _stacflask(environ, "load", "--quiet", str(collections), str(scenes))
    for number, key in enumerate(KEYS):
        _stacflask(environ, "keys", "create", f"measurer-{number}", f"--group={GROUP}", "--key", key)
    _stacflask(environ, "licence", "add", LICENCE, "1.0", "--title", "Terms", "--text-file", str(terms))
    _stacflask(environ, "quota", "set", GROUP, "--downloads", str(10**12), "--bytes", "900PB")
    for collection in catalogue.COLLECTIONS:
        _stacflask(environ, "access", "grant", collection, "see", GROUP)
        _stacflask(environ, "access", "grant", collection, "download", GROUP)
        _stacflask(environ, "licence", "require", collection, LICENCE)
    _upload(servers, big)


def _migrate(environ: Mapping[str, str]) -> None:
    # Migrations read the environment of their process, so they need another one.
    command = [sys.executable, "-m", "stacflask", "migrate"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"stacflask migrate: {done.stderr.strip()}")


def _stacflask(environ: Mapping[str, str], *arguments: str) -> None:
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()) as errors:
        code = run(arguments, environ)
    if code:
        raise BenchError(f"stacflask {' '.join(arguments)}: {errors.getvalue().strip()}")


def store_client(servers: Stack) -> Minio:
    """Return a client of the store."""
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
    """A file of ``size`` bytes that do not compress well: a repeated random megabyte."""

    _pattern = os.urandom(1 << 20)

    def __init__(self, size: int) -> None:
        self._left = size

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        length = self._left if size < 0 else min(size, self._left)
        self._left -= length
        whole, rest = divmod(length, len(self._pattern))
        return self._pattern * whole + self._pattern[:rest]


# --- The servers of the application ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Served:
    """A running gunicorn. Only the command lines of its processes contain ``mark``."""

    port: int
    server: Server

    @property
    def mark(self) -> str:
        """The text by which its processes are recognised."""
        return f"--bind=127.0.0.1:{self.port}"


@contextmanager
def served(
    name: str, environ: Mapping[str, str], folder: Path, application: str = "wsgi:application", *more: str
) -> Iterator[Served]:
    """Run gunicorn with gunicorn.conf.py and ``more`` arguments until the block ends. Its log is in the folder."""
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
    """Return the environment of a server with these plugins, without STACFLASK_* variables of the caller."""
    return plain_environ(
        ROOT,
        DATABASE_URL=servers.database_url,
        STACFLASK_PLUGINS=",".join(plugins),
        STACFLASK_S3_STORES=json.dumps(_stores(servers)),
        STACFLASK_METRICS_NETWORKS="127.0.0.0/8",
    )


def _stores(servers: Stack) -> dict[str, Any]:
    """Return the settings of one store as three stores, which differ in how often they verify objects."""
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
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            raise BenchError(f"The licence was not accepted: {response.status} {response.read()!r}")
        connection.close()


def bearer(key: str) -> dict[str, str]:
    """Return the header with a key."""
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
