"""The rate at which one client downloads a big object, through the server and from the store."""

from __future__ import annotations

import http.client
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from bench.client import BenchError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MEGABYTE = 1e6


@dataclass(frozen=True)
class Source:
    """The URL of an object on this machine, and the headers to send."""

    port: int
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)


def fetch(source: Source, size: int, connections: int) -> float:
    """Download an object of ``size`` bytes, a part on each connection. Return MB/s. Raises BenchError."""
    began = time.perf_counter()
    with ThreadPoolExecutor(connections) as pool:
        received = sum(pool.map(lambda part: _part(source, part, size), _parts(size, connections)))
    if received != size:
        raise BenchError(f"{source.path}: expected {size} bytes, got {received}")
    return size / MEGABYTE / (time.perf_counter() - began)


def _parts(size: int, number: int) -> Sequence[tuple[int, int]]:
    """Return the first and the last byte of each of ``number`` parts."""
    bounds = [size * index // number for index in range(number + 1)]
    return [(first, after - 1) for first, after in pairwise(bounds)]


def _part(source: Source, part: tuple[int, int], size: int) -> int:
    whole = part == (0, size - 1)
    ranged = {} if whole else {"Range": f"bytes={part[0]}-{part[1]}"}
    connection = http.client.HTTPConnection("127.0.0.1", source.port, timeout=60)
    connection.request("GET", source.path, headers={**source.headers, **ranged})
    response = connection.getresponse()
    if response.status != (http.HTTPStatus.OK if whole else http.HTTPStatus.PARTIAL_CONTENT):
        raise BenchError(f"{source.path}: {response.status} {response.read(300)!r}")
    buffer, received = bytearray(1 << 20), 0
    while number := response.readinto(buffer):
        received += number
    connection.close()
    return received
