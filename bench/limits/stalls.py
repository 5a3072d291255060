"""The effect of a stalled dependency on requests that do not need it: ``python -m bench.limits.stalls [seconds]``.

It starts PostGIS, an S3 store, a small identity provider, and the server. The server reaches the database, one of two
stores and the provider through proxies that can be slow, hang, refuse or flap. While clients send requests that need
the stalled dependency, ``/health``, a search and a download from the other store are measured.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from minio import Minio

from dev.ports import free_port
from dev.run import environ_for
from dev.server import plain_environ
from dev.stack import running, scratch_folder
from stacflask.testing import a_collection, an_item

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dev.stack import Stack

ROOT = Path(__file__).parents[2]
MODES = ("slow", "hanging", "refusing", "flapping")
DELAY_SECONDS = 1.0
"""Delay of each piece of data in a slow proxy."""
VICTIMS = 30
"""Number of threads that send requests that need the stalled dependency."""
OBJECTS = 500
"""Number of objects in the store that stalls."""
PROBES = {"health": "/health", "search": "/search?limit=10", "download": "/collections/near/items/0/download/data"}


class Proxy:
    """Forwards TCP connections, with the faults of its mode."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.mode = "quiet"
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def set(self, mode: str) -> None:
        """Change the mode. ``refusing`` closes all connections."""
        self.mode = mode
        if mode == "refusing":
            for one in list(self._open):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    @property
    def _current_mode(self) -> str:
        if self.mode != "flapping":
            return self.mode
        return "hanging" if int(time.monotonic() / 2) % 2 else "quiet"

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if self._current_mode == "refusing":
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self.target))
            self._open |= {client, server}
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                if self._current_mode == "slow":
                    time.sleep(DELAY_SECONDS)
                while self._current_mode == "hanging":
                    time.sleep(0.05)
                sink.sendall(piece)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._open -= {source, sink}


class Provider(BaseHTTPRequestHandler):
    """An identity provider that reports every opaque token as inactive."""

    issuer: ClassVar[str] = ""

    def do_GET(self) -> None:
        """Return the metadata of the provider."""
        self._respond({"issuer": self.issuer, "introspection_endpoint": f"{self.issuer}/introspect", "jwks_uri": "x"})

    def do_POST(self) -> None:
        """Return the introspection of a token."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._respond({"active": False})

    def _respond(self, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is that of the base class
        """Log nothing."""


@contextmanager
def site(stack: Stack) -> Iterator[tuple[int, dict[str, Proxy]]]:
    """Run the server with its dependencies behind proxies. Yield its port, and the proxies by name."""
    provider = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=provider.serve_forever, daemon=True).start()
    store_port = int(stack.s3_endpoint.rpartition(":")[2])
    proxies = {
        "database": Proxy(int(stack.database_url.rpartition(":")[2].partition("/")[0])),
        "store": Proxy(store_port),
        "identity provider": Proxy(provider.server_port),
    }
    Provider.issuer = f"http://127.0.0.1:{proxies['identity provider'].port}"
    port = free_port()
    environ = _environ(stack, port, proxies)
    load(stack, {**environ, "DATABASE_URL": stack.database_url})
    with tempfile.TemporaryFile() as log:
        command = [sys.executable, "-m", "gunicorn", f"--bind=127.0.0.1:{port}", "wsgi:application"]
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=log, stderr=log)
        try:
            while status(port, "/health/ready") != "200":
                time.sleep(0.1)
            yield port, proxies
        finally:
            process.terminate()
            process.wait(60)
            provider.shutdown()


def _environ(stack: Stack, port: int, proxies: Mapping[str, Proxy]) -> dict[str, str]:
    keys = {"region": stack.s3_region, "access_key": stack.s3_access_key, "secret_key": stack.s3_secret_key}
    far = f"http://127.0.0.1:{proxies['store'].port}"
    stores = {
        "near": {"endpoint": f"http://{stack.s3_endpoint}", "buckets": [f"{stack.bucket}/near/"], **keys},
        "far": {"endpoint": far, "buckets": [f"{stack.bucket}/far/"], "collections": ["far"], **keys},
    }
    introspection = {"client_id": "stacflask", "client_secret": "secret"}
    issuer = {"issuer": Provider.issuer, "audience": "stacflask", "introspection": introspection}
    web = {name: value for name, value in environ_for(stack, port).items() if name.startswith("WEB_")}
    host, _, rest = stack.database_url.rpartition(":")
    return {
        **plain_environ(ROOT),
        **web,
        "PORT": str(port),
        "DATABASE_URL": f"{host}:{proxies['database'].port}/{rest.partition('/')[2]}",
        "STACFLASK_PLUGINS": "oidc,open_access,s3",
        "STACFLASK_S3_STORES": json.dumps(stores),
        "STACFLASK_OIDC_ISSUERS": json.dumps({"idp": issuer}),
    }


def load(stack: Stack, environ: Mapping[str, str]) -> None:
    """Create the objects and their items."""
    client = Minio(stack.s3_endpoint, stack.s3_access_key, stack.s3_secret_key, secure=False, region=stack.s3_region)
    documents = [a_collection("near"), a_collection("far")]
    for collection, number in (("near", 20), ("far", OBJECTS)):
        for index in range(number):
            key = f"{collection}/{index}.bin"
            client.put_object(stack.bucket, key, BytesIO(b"x" * 1000), 1000)
            assets = {"data": {"href": f"s3://{stack.bucket}/{key}"}}
            documents.append(an_item(str(index), collection, assets=assets))
    run = [sys.executable, "-m", "stacflask"]
    subprocess.run([*run, "migrate"], cwd=ROOT, env=dict(environ), check=True)
    lines = "\n".join(map(json.dumps, documents)).encode()
    subprocess.run([*run, "load", "-"], cwd=ROOT, env=dict(environ), input=lines, check=True)


def status(port: int, path: str, headers: Mapping[str, str] | None = None) -> str:
    """Request a path. Return the status, or the name of the exception."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        response = connection.getresponse()
        response.read()
        return str(response.status)
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()


def request_for(name: str, port: int) -> Callable[[], str]:
    """Return a function that sends a request that needs a dependency, and returns its status."""
    requests: dict[str, Callable[[], str]] = {
        "database": lambda: status(port, "/search"),
        "store": lambda: status(port, f"/collections/far/items/{random.randrange(OBJECTS)}/download/data"),
        "identity provider": lambda: status(port, "/search", {"Authorization": f"Bearer {random.random()}"}),
    }
    return requests[name]


@contextmanager
def victims(send: Callable[[], str]) -> Iterator[Counter[str]]:
    """Send requests from many threads, each some times a second, until the block ends. Yield the counts by status."""
    stopped, statuses = threading.Event(), Counter[str]()

    def run() -> None:
        while not stopped.wait(0.2):
            statuses[send()] += 1

    threads = [threading.Thread(target=run, daemon=True) for _ in range(VICTIMS)]
    for thread in threads:
        thread.start()
    yield statuses
    stopped.set()
    for thread in threads:
        thread.join(90)


def timed(port: int, seconds: float) -> dict[str, tuple[float, float, Counter[str]]]:
    """Request each probe twenty times a second. Return median and p99 in milliseconds, and the counts by status."""
    found: dict[str, tuple[float, float, Counter[str]]] = {}

    def probe(name: str, path: str) -> None:
        times: list[float] = []
        statuses = Counter[str]()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.perf_counter()
            statuses[status(port, path)] += 1
            times.append((time.perf_counter() - began) * 1000)
            time.sleep(0.05)
        times.sort()
        found[name] = times[len(times) // 2], times[int(len(times) * 0.99)], statuses

    threads = [threading.Thread(target=probe, args=item) for item in PROBES.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def timed_apart(port: int, seconds: float) -> dict[str, tuple[float, float, Counter[str]]]:
    """Do the same in another process, which the threads of the proxies and victims do not delay."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(timed, port, seconds).result()


def row(name: str, found: Mapping[str, tuple[float, float, Counter[str]]], affected: Counter[str]) -> str:
    """Return one row of the table."""
    cells = [name]
    for probe in PROBES:
        median, worst, statuses = found[probe]
        cells += [f"{median:.0f}", f"{worst:.0f}", _counted(statuses)]
    return f"| {' | '.join([*cells, _counted(affected)])} |"


def _counted(statuses: Counter[str]) -> str:
    return ", ".join(f"{number} of {name}" for name, number in statuses.most_common())


def main(seconds: float) -> None:
    """Print the table."""
    folder = scratch_folder(ROOT / ".run")
    heads = [cell for probe in PROBES for cell in (f"{probe} p50 ms", "p99", "responses")]
    with running(folder, keep=False) as stack, site(stack) as (port, proxies):
        timed(port, 3)  # The first requests include work that a server does once.
        print(f"| dependency | {' | '.join(heads)} | responses to requests that need it |")
        print(f"|---|{'---|' * (len(heads) + 1)}")
        for name, proxy in proxies.items():
            for mode in ("quiet", *MODES):
                proxy.set(mode)
                with victims(request_for(name, port)) as affected:
                    time.sleep(1)
                    found = timed_apart(port, seconds)
                    print(row(f"{name}, {mode}", found, affected), flush=True)
                    proxy.set("quiet")
                time.sleep(6)  # The server pauses before it uses a failed dependency again.


if __name__ == "__main__":
    os.environ.setdefault("WEB_CONCURRENCY", "2")
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 10)
