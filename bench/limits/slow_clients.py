"""Response times while many other clients slowly send a head or a body, or slowly read a response.

    python -m bench.limits.slow_clients http://127.0.0.1:8000 --download /collections/.../download/visual

This measures a running server; `make bench ARGS="--only slow"` starts one.
"""

from __future__ import annotations

import argparse
import math
import socket
import statistics
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CLIENTS = 100
_POST = b"POST /search HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
SLOW: dict[str, tuple[bytes, bytes]] = {
    "none": (b"", b""),
    "silent": (b"", b""),
    "head": (b"GET /search HTTP/1.1\r\nX-Slow: ", b"a"),
    "body": (_POST + b"Content-Length: 67000000\r\n\r\n{", b" "),
    "chunked": (_POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", b"1\r\n \r\n"),
    "reading": (b"GET /search?limit=1000 HTTP/1.1\r\nHost: x\r\n\r\n", b""),
}
"""The bytes that each kind of slow client sends first, and then every second."""


@contextmanager
def slow(kind: str, port: int, clients: int) -> Iterator[None]:
    """Run ``clients`` slow clients until the block ends. A client that is disconnected connects again."""
    stopped = threading.Event()
    with ExitStack() as ends:
        if kind != "none":
            thread = threading.Thread(target=_run_clients, args=(SLOW[kind], port, clients, stopped))
            ends.callback(thread.join)
            ends.callback(stopped.set)
            thread.start()
            # The responses of slow readers are computed first. That load must not count.
            time.sleep(15 if kind == "reading" else 2)
        yield


def _run_clients(sent: tuple[bytes, bytes], port: int, clients: int, stopped: threading.Event) -> None:
    first, then = sent
    held: list[socket.socket] = []
    while not stopped.wait(1):
        held = [client for client in held if _sends(client, then)]
        for _ in range(clients - len(held)):
            client = socket.socket()
            # With a small buffer, the kernel does not receive megabytes for a client that reads nothing.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", port))
            client.setblocking(False)
            held.append(client)
            _sends(client, first)
    for client in held:
        client.close()


def _sends(client: socket.socket, data: bytes) -> bool:
    """Send bytes, and return whether the connection is still open."""
    try:
        if data:
            client.send(data)
        return bool(client.recv(1, socket.MSG_PEEK)) or data == b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def times(port: int, method: str, path: str, status: int, seconds: float) -> list[float]:
    """Send requests, each on a new connection. Return their milliseconds, infinity for a failure."""
    found, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.perf_counter()
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            body = b'{"limit": 10}' if method == "POST" else None
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            response = connection.getresponse()
            response.read()
            found.append(1000 * (time.perf_counter() - began) if response.status == status else math.inf)
        except (OSError, HTTPException):
            found.append(math.inf)
        finally:
            connection.close()
    return found


def table(port: int, download: str, seconds: float, clients: int = CLIENTS) -> Iterator[str]:
    """Yield the lines of a table: milliseconds at the median and the 99th percentile; inf is a failure."""
    probes = (("GET", "/health", 200), ("POST", "/search", 200), ("GET", download, 307))
    yield f"| {clients} slow clients | health p50 | p99 | search p50 | p99 | download p50 | p99 |"
    yield "|---|---|---|---|---|---|---|"
    for kind in SLOW:
        with slow(kind, port, clients):
            cells = [cell for probe in probes for cell in _cells(times(port, *probe, seconds))]
        yield f"| {kind} | {' | '.join(cells)} |"


def _cells(found: Sequence[float]) -> tuple[str, str]:
    ordered = sorted(found)
    return f"{statistics.median(ordered):.1f}", f"{ordered[math.ceil(0.99 * len(ordered)) - 1]:.1f}"


def main(arguments: Sequence[str]) -> None:
    """Measure a running server."""
    parser = argparse.ArgumentParser(prog="python -m bench.limits.slow_clients", description=__doc__.partition("\n")[0])
    parser.add_argument("url", help="URL of the server, such as http://127.0.0.1:8000")
    parser.add_argument("--download", required=True, help="path of a download that is redirected")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each measure (5)")
    parser.add_argument("--clients", type=int, default=CLIENTS, help=f"number of slow clients ({CLIENTS})")
    options = parser.parse_args(arguments)
    for line in table(urlsplit(options.url).port or 80, options.download, options.seconds, options.clients):
        print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
