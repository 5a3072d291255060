"""The load generator: a separate process with persistent connections, each with one request at a time.

It uses bare sockets and one epoll, so that it costs a fraction of what it measures, and it reports its own cost. A
wrong status or a broken connection stops it: failures produce no numbers.
"""

from __future__ import annotations

import json
import resource
import select
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent
LENGTH = b"\r\ncontent-length:"
MAX_HEAD = 8192
"""Bytes of the head of a response."""
MAX_RESPONSE = 1 << 22
"""Bytes of a response."""
EXCERPT = 300
"""Bytes of an unexpected response in an error message."""
REQUESTS_PER_CONNECTION = 100
"""Connections are distributed unevenly to processes. New connections from time to time balance them."""


class BenchError(Exception):
    """A measurement could not be made."""


@dataclass(frozen=True)
class Plan:
    """The requests of a run: ``paths`` in turn, on several connections, for some seconds, with the expected status.

    ``keys`` are sent in turn, too. If ``bodies`` has a text for a path, the request is a POST with it.
    """

    port: int
    paths: Sequence[str]
    connections: int
    seconds: float
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    keys: Sequence[str] = ()
    bodies: Sequence[str] = ()


@dataclass(frozen=True)
class Load:
    """The result of a run: responses per second, milliseconds (median and 99th percentile), mean bytes of a response.

    ``responses`` is their number, and ``cpu`` is the processor time of the generator in seconds. Both include the
    warm-up, which the other values exclude.
    """

    rate: float
    p50: float
    p99: float
    size: float
    responses: int
    cpu: float


def load(plan: Plan) -> Load:
    """Run a plan in another process. Raises BenchError."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.client"],
        cwd=ROOT,
        input=json.dumps(asdict(plan)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"{plan.paths[0]}: {done.stderr.strip().splitlines()[-1]}")
    return Load(**json.loads(done.stdout))


class Connection:
    """One connection with one current request. ``connections`` has it by its file number, and ``poll`` watches it."""

    def __init__(self, plan: Plan, poll: select.epoll, connections: dict[int, Connection]) -> None:
        self._plan, self._poll, self._connections = plan, poll, connections
        self._expected = f"HTTP/1.1 {plan.status} ".encode()
        self._buffer = memoryview(bytearray(MAX_RESPONSE))
        self._sent = self._received = self._size = 0
        self._socket: socket.socket
        self.began = 0.0

    def send(self, request: bytes) -> None:
        """Send one request."""
        if self._sent % REQUESTS_PER_CONNECTION == 0:
            self._connect()
        self._sent += 1
        self._received = self._size = 0
        self.began = time.perf_counter()
        self._socket.sendall(request)

    def _connect(self) -> None:
        if self._sent:
            del self._connections[self._socket.fileno()]
            self._socket.close()
        self._socket = socket.create_connection(("127.0.0.1", self._plan.port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._poll.register(self._socket.fileno(), select.EPOLLIN)
        self._connections[self._socket.fileno()] = self

    def read(self) -> int:
        """Receive bytes. Return the size of the response once it is complete, else 0."""
        # The buffer is reused: a new one for each response costs more than everything else here.
        count = self._socket.recv_into(self._buffer[self._received :] if self._received else self._buffer)
        self._received += count
        if not count:
            raise BenchError("the server closed the connection")
        if not self._size:
            self._size = self._parse_size()
        return self._size if self._received == self._size else 0

    def _parse_size(self) -> int:
        """Return the size of the response, or 0 while its head is not complete."""
        head, end, body = bytes(self._buffer[: min(self._received, MAX_HEAD)]).partition(b"\r\n\r\n")
        if not end:
            return 0
        if not head.startswith(self._expected):
            # The parent process reports only the last line of errors, so the message must be one line.
            status = head.splitlines()[0].decode("latin-1")
            raise BenchError(f"{status} {body[:EXCERPT]!r}")
        return len(head) + len(end) + _length(head)


def _length(head: bytes) -> int:
    start = head.lower().find(LENGTH)
    if start < 0:
        raise BenchError("a response has no Content-Length")
    return int(head[start + len(LENGTH) :].partition(b"\r\n")[0])


def run(plan: Plan) -> Load:
    """Run a plan, after a warm-up of a tenth of its time."""
    requests = cycle(_requests(plan))
    connections: dict[int, Connection] = {}
    with select.epoll() as poll:
        for _ in range(plan.connections):
            Connection(plan, poll, connections).send(next(requests))
        warm, _ = _run_until(time.perf_counter() + plan.seconds / 10, poll, connections, requests)
        began = time.perf_counter()
        times, size = _run_until(began + plan.seconds, poll, connections, requests)
    ordered = sorted(times)
    return Load(
        rate=len(times) / (time.perf_counter() - began),
        p50=statistics.median(ordered) * 1000,
        p99=ordered[int(len(ordered) * 0.99)] * 1000,
        size=size / len(times),
        responses=len(warm) + len(times),
        cpu=_cpu(),
    )


def _run_until(
    end: float, poll: select.epoll, connections: Mapping[int, Connection], requests: Iterator[bytes]
) -> tuple[list[float], int]:
    """Send requests until ``end``. Return the seconds of each response, and the sum of their bytes."""
    times, size, now = [], 0, 0.0
    while now < end:
        for number, _ in poll.poll(30):
            connection = connections[number]
            if received := connection.read():
                now = time.perf_counter()
                times.append(now - connection.began)
                size += received
                connection.send(next(requests))
    return times, size


def _requests(plan: Plan) -> list[bytes]:
    headers = {"Host": f"127.0.0.1:{plan.port}", "Accept": "*/*", **plan.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    keys = [f"Authorization: Bearer {key}\r\n" for key in plan.keys] or [""]
    turns = zip(plan.paths, cycle(keys), plan.bodies or cycle([""]), strict=False)
    return [_request(path, f"{lines}{key}", body) for path, key, body in turns]


def _request(path: str, lines: str, body: str) -> bytes:
    if not body:
        return f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode()
    lines += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n{body}".encode()


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    json.dump(asdict(run(Plan(**json.load(sys.stdin)))), sys.stdout)
