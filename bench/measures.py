"""The measures, and the rounds in which they alternate."""

from __future__ import annotations

import http.client
import json
import math
import random
import sys
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bench import catalogue, machine, mix, rows
from bench.client import BenchError, Plan, load
from bench.servers import KEYS, SETUPS, bearer, store_client
from bench.streams import Source, fetch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.machine import Watch
    from bench.servers import Served
    from dev.stack import Stack

MANY = 8
"""Number of connections of a concurrent run."""
ARCHIVE = f"{catalogue.Scene(0).path}/download/archive"


@dataclass(frozen=True)
class Site:
    """The measured servers, with ``items`` loaded items and an object of ``big`` bytes. A run takes ``seconds``."""

    stack: Stack
    constant: Served
    constant_ours: Served
    open: Served
    governed: Served
    items: int
    big: int
    seconds: float
    setups: Mapping[str, Served]


@dataclass(frozen=True)
class Sample:
    """One run: responses (or megabytes) per second, and if they apply, milliseconds and CPU time per response."""

    rate: float
    p50: float = math.nan
    p99: float = math.nan
    cpu: float = math.nan
    """Microseconds of all servers together, including the database and the store."""
    generator: float = 0.0
    """Share of the machine's processor time that the load generator used."""
    memory: Watch | None = None


@dataclass(frozen=True)
class Measure:
    """One row of the table. ``run(connections)`` performs one run."""

    name: str
    title: str
    run: Callable[[int], Sample]
    connections: Sequence[int] = (1, MANY)
    unit: str = "/s"


Samples = dict[tuple[str, int], list[Sample]]
"""The runs of each measure and number of connections, in the order of the rounds."""


def measures(site: Site) -> list[Measure]:
    """Return all measures, in the order of the table."""
    scenes = [catalogue.Scene(number) for number in range(site.items)]
    stored = scenes[: catalogue.STORED]
    items, searches = [scene.path for scene in scenes], _searches()

    def requested(name: str, title: str, paths: Sequence[str], served: Served = site.open, **more: Any) -> Measure:
        plan = Plan(served.port, paths, 0, site.seconds, **more)
        return Measure(name, title, lambda connections: _run(replace(plan, connections=connections)))

    def redirected(name: str, title: str, asset: str, served: Served = site.open, **more: Any) -> Measure:
        return requested(
            name, title, [f"{scene.path}/download/{asset}" for scene in stored], served, status=307, **more
        )

    return [
        Measure("row", "limit: a row by its key, prepared", lambda _: _rows(site), connections=(rows.CLIENTS,)),
        requested("constant", "limit: a constant response of Flask, gunicorn's worker", ["/"], site.constant),
        requested("constant-ours", "limit: the same, the worker of stacflask", ["/"], site.constant_ours),
        requested("item", "an item by id", items),
        requested("item-gzip", "an item by id, gzipped", items, headers={"Accept-Encoding": "gzip"}),
        requested("search", "a search for ten items in a box", searches),
        redirected("redirect", "a redirect, the object verified recently", "visual"),
        redirected("redirect-first", "a redirect, the object verified each time", "audited"),
        redirected("redirect-trusting", "a redirect, the object not verified", "trusted"),
        redirected("redirect-governed", "a redirect, with all policy plugins", "visual", site.governed, keys=KEYS),
        Measure("store", "limit: the big object from the store", lambda n: _direct(site, n), unit="MB/s"),
        Measure("stream", "the big object, streamed", lambda n: _streamed(site, n), unit="MB/s"),
    ]


def mixed(site: Site) -> list[Measure]:
    """Return the measures of the search mix."""
    kinds = mix.requests_by_kind(site.items)
    kinds |= {kind: mix.deep(kind, lambda path: get(site.open.port, path)) for kind in mix.DEEP}
    return [_kind(site, kind, *mix.paths_and_bodies(requests)) for kind, requests in kinds.items()]


def _kind(site: Site, kind: str, paths: Sequence[str], bodies: Sequence[str]) -> Measure:
    plan = Plan(site.open.port, paths, 0, site.seconds, bodies=bodies)
    return Measure(f"mix: {kind}", kind, lambda connections: _run(replace(plan, connections=connections)))


def costs(site: Site) -> dict[str, tuple[Measure, Measure]]:
    """Return the measures of a redirect and a search for each set of plugins."""
    stored = [f"{catalogue.Scene(number).path}/download/visual" for number in range(catalogue.STORED)]
    return {
        name: (_cost(site, name, "redirect", stored, 307), _cost(site, name, "search", _searches(), 200))
        for name in site.setups
    }


def _cost(site: Site, name: str, act: str, paths: Sequence[str], status: int) -> Measure:
    keys = KEYS if "api_keys" in SETUPS[name] else ()
    plan = Plan(site.setups[name].port, paths, MANY, site.seconds, status, keys=keys)
    return Measure(f"{act}: {name}", name, lambda _: _run(plan), connections=(MANY,))


def _searches() -> list[str]:
    draw = random.Random(1)
    corners = [(round(draw.uniform(-180, 120), 2), round(draw.uniform(-50, 10), 2)) for _ in range(200)]
    return [f"/search?limit=10&bbox={west},{south},{west + 60:.2f},{south + 40:.2f}" for west, south in corners]


# --- One run ---------------------------------------------------------------------------------------------------------


def _run(plan: Plan) -> Sample:
    began, before = time.perf_counter(), machine.cpu_of_servers()
    found = load(plan)
    cpu = (machine.cpu_of_servers() - before) / found.responses * 1e6
    share = found.cpu / (time.perf_counter() - began) / machine.CORES
    return Sample(found.rate, found.p50, found.p99, cpu, share)


def _rows(site: Site) -> Sample:
    return Sample(rows.rate(site.stack.database_url, site.items, site.seconds))


def _streamed(site: Site, connections: int) -> Sample:
    source = Source(site.open.port, f"{ARCHIVE}?delivery=stream")
    with machine.watched(site.open.mark) as memory:
        rate = fetch(source, site.big, connections)
    return Sample(rate, memory=memory)


def _direct(site: Site, connections: int) -> Sample:
    client = store_client(site.stack)
    parts = urlsplit(client.presigned_get_object(site.stack.bucket, catalogue.BIG, timedelta(hours=1)))
    return Sample(fetch(Source(parts.port or 80, f"{parts.path}?{parts.query}"), site.big, connections))


# --- All of them -----------------------------------------------------------------------------------------------------


def check(site: Site) -> None:
    """Check that responses are correct before their times are measured. Raises BenchError."""
    scene = catalogue.Scene(0)
    if json.loads(get(site.open.port, scene.path))["id"] != scene.item:
        raise BenchError(f"{scene.path}: expected the item {scene.item}.")
    if len(json.loads(get(site.open.port, _searches()[0]))["features"]) != 10:
        raise BenchError("A search found less than ten items. Use a larger value of --items.")
    for port, headers in ((site.open.port, {}), (site.governed.port, bearer(KEYS[0]))):
        target = urlsplit(get(port, f"{scene.path}/download/visual", 307, headers).decode())
        if not get(target.port or 80, f"{target.path}?{target.query}").startswith(b"II*"):
            raise BenchError("The redirect leads to wrong bytes.")


def get(port: int, path: str, status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    """Return the body of a response, or the Location of a redirect. Raises BenchError for another status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path, headers=dict(headers or {}))
    response = connection.getresponse()
    body = response.read()
    connection.close()
    if response.status != status:
        raise BenchError(f"{path}: expected status {status}, got {response.status} {body[:300]!r}")
    return (response.getheader("Location") or "").encode() if 300 <= status < 400 else body


def run_rounds(chosen: Sequence[Measure], rounds: int) -> Samples:
    """Run each measure once per round. Every second round has the reverse order."""
    runs = [(measure, connections) for measure in chosen for connections in measure.connections]
    samples: Samples = {(measure.name, connections): [] for measure, connections in runs}
    for number in range(rounds):
        for measure, connections in runs if number % 2 == 0 else reversed(runs):
            _print(f"round {number + 1} of {rounds}: {measure.name}, {connections} connections")
            samples[measure.name, connections].append(measure.run(connections))
    _print("")
    return samples


def _print(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)
