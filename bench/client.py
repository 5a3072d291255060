"""The load generator: a process of its own that asks over kept connections, one question at a time on each.

Bare sockets and one epoll: it must cost a fraction of what it measures, and says what it cost. A wrong status or a
broken connection ends it; there are no numbers from failures.
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
HEAD = 8192  # bytes that an answer's head has at most
LARGEST = 1 << 22  # bytes that an answer has at most
SHOWN = 300  # bytes of an answer that was not expected
KEPT = 100
"""Questions on one connection. Processes share connections unevenly; new ones now and then even that out."""


class BenchError(Exception):
    """A measurement could not be made."""


@dataclass(frozen=True)
class Plan:
    """What to ask: paths in turn, over so many connections, for so many seconds, each answered with this status.

    ``keys`` are sent in turn, too. Where ``bodies`` has a text for a path, it is posted there.
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
    """What came of it: answers per second, milliseconds at the median and the 99th percentile, mean bytes of an answer.

    ``answers`` is their number and ``cpu`` the seconds of processor time that the generator itself took, both with the
    warming-up, which counts for nothing else.
    """

    rate: float
    p50: float
    p99: float
    size: float
    answers: int
    cpu: float


def load(plan: Plan) -> Load:
    """Ask as planned, in another process. Raises BenchError."""
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
    """One connection with one question under way. It is in ``crowd`` by its file number, and watched by ``poll``."""

    def __init__(self, plan: Plan, poll: select.epoll, crowd: dict[int, Connection]) -> None:
        self._plan, self._poll, self._crowd = plan, poll, crowd
        self._expected = f"HTTP/1.1 {plan.status} ".encode()
        self._buffer = memoryview(bytearray(LARGEST))
        self._asked = self._size = self._whole = 0
        self._socket: socket.socket
        self.began = 0.0

    def ask(self, request: bytes) -> None:
        """Send one question."""
        if self._asked % KEPT == 0:
            self._connect()
        self._asked += 1
        self._size = self._whole = 0
        self.began = time.perf_counter()
        self._socket.sendall(request)

    def _connect(self) -> None:
        if self._asked:
            del self._crowd[self._socket.fileno()]
            self._socket.close()
        self._socket = socket.create_connection(("127.0.0.1", self._plan.port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._poll.register(self._socket.fileno(), select.EPOLLIN)
        self._crowd[self._socket.fileno()] = self

    def read(self) -> int:
        """Take what has come; give the answer's bytes once it is whole, else 0."""
        # Into one buffer for good: a fresh one of this size for each answer costs more than all the rest here.
        came = self._socket.recv_into(self._buffer[self._size :] if self._size else self._buffer)
        self._size += came
        if not came:
            raise BenchError("the server hung up")
        if not self._whole:
            self._whole = self._begin()
        return self._whole if self._size == self._whole else 0

    def _begin(self) -> int:
        """Say how long the answer will be, or 0 while its head is not complete."""
        head, end, body = bytes(self._buffer[: min(self._size, HEAD)]).partition(b"\r\n\r\n")
        if not end:
            return 0
        if not head.startswith(self._expected):
            # The last line of what this process says is passed on, and the status stands in the first of an answer.
            status = head.splitlines()[0].decode("latin-1")
            raise BenchError(f"{status} {body[:SHOWN]!r}")
        return len(head) + len(end) + _length(head)


def _length(head: bytes) -> int:
    start = head.lower().find(LENGTH)
    if start < 0:
        raise BenchError("an answer without Content-Length")
    return int(head[start + len(LENGTH) :].partition(b"\r\n")[0])


def run(plan: Plan) -> Load:
    """Ask as planned, after a tenth of the time for warming up."""
    requests = cycle(_requests(plan))
    crowd: dict[int, Connection] = {}
    with select.epoll() as poll:
        for _ in range(plan.connections):
            Connection(plan, poll, crowd).ask(next(requests))
        warm, _ = _until(time.perf_counter() + plan.seconds / 10, poll, crowd, requests)
        began = time.perf_counter()
        times, size = _until(began + plan.seconds, poll, crowd, requests)
    ordered = sorted(times)
    return Load(
        rate=len(times) / (time.perf_counter() - began),
        p50=statistics.median(ordered) * 1000,
        p99=ordered[int(len(ordered) * 0.99)] * 1000,
        size=size / len(times),
        answers=len(warm) + len(times),
        cpu=_cpu(),
    )


def _until(
    end: float, poll: select.epoll, crowd: Mapping[int, Connection], requests: Iterator[bytes]
) -> tuple[list[float], int]:
    """Ask until the end comes; give the seconds that each answer took, and their bytes together."""
    times, size, now = [], 0, 0.0
    while now < end:
        for number, _ in poll.poll(30):
            connection = crowd[number]
            if whole := connection.read():
                now = time.perf_counter()
                times.append(now - connection.began)
                size += whole
                connection.ask(next(requests))
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
