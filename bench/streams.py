"""How fast a big object comes: through the server, and from the store itself, by one client for both."""

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
    """Where the object is to be had: at a port of this machine, under a path, with these header fields."""

    port: int
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)


def fetch(source: Source, size: int, connections: int) -> float:
    """Fetch the object's ``size`` bytes, each connection a part of them; give MB/s. Raises BenchError."""
    began = time.perf_counter()
    with ThreadPoolExecutor(connections) as pool:
        came = sum(pool.map(lambda part: _part(source, part, size), _parts(size, connections)))
    if came != size:
        raise BenchError(f"{source.path}: {came} bytes instead of {size}")
    return size / MEGABYTE / (time.perf_counter() - began)


def _parts(size: int, number: int) -> Sequence[tuple[int, int]]:
    """Divide so many bytes; give the first and the last of each part."""
    bounds = [size * place // number for place in range(number + 1)]
    return [(first, after - 1) for first, after in pairwise(bounds)]


def _part(source: Source, part: tuple[int, int], size: int) -> int:
    whole = part == (0, size - 1)
    ranged = {} if whole else {"Range": f"bytes={part[0]}-{part[1]}"}
    connection = http.client.HTTPConnection("127.0.0.1", source.port, timeout=60)
    connection.request("GET", source.path, headers={**source.headers, **ranged})
    answer = connection.getresponse()
    if answer.status != (http.HTTPStatus.OK if whole else http.HTTPStatus.PARTIAL_CONTENT):
        raise BenchError(f"{source.path}: {answer.status} {answer.read(300)!r}")
    buffer, came = bytearray(1 << 20), 0
    while number := answer.readinto(buffer):
        came += number
    connection.close()
    return came
