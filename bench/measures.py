"""The measures, and the rounds in which they take turns."""

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
"""Connections, where there is more than one."""
ARCHIVE = f"{catalogue.Scene(0).path}/download/archive"


@dataclass(frozen=True)
class Site:
    """What is there to be measured: ``items`` loaded, ``big`` bytes in the object. A run takes so many ``seconds``."""

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
    """One run: answers (or megabytes) per second, and where it applies milliseconds and the servers' CPU per answer."""

    rate: float
    p50: float = math.nan
    p99: float = math.nan
    cpu: float = math.nan
    """Microseconds of all servers together, the database and the store included."""
    generator: float = 0.0
    """Share of the machine's processor time that the load generator took."""
    memory: Watch | None = None


@dataclass(frozen=True)
class Measure:
    """One row of the table; ``take(connections)`` makes one run."""

    name: str
    title: str
    take: Callable[[int], Sample]
    connections: Sequence[int] = (1, MANY)
    unit: str = "/s"


Samples = dict[tuple[str, int], list[Sample]]
"""The runs in their order, by the measure's name and the number of connections."""


def measures(site: Site) -> list[Measure]:
    """Give all measures, in the order of the table."""
    scenes = [catalogue.Scene(number) for number in range(site.items)]
    stored = scenes[: catalogue.STORED]
    items, searches = [scene.path for scene in scenes], _searches()

    def asked(name: str, title: str, paths: Sequence[str], served: Served = site.open, **more: Any) -> Measure:
        plan = Plan(served.port, paths, 0, site.seconds, **more)
        return Measure(name, title, lambda connections: _asked(replace(plan, connections=connections)))

    def redirected(name: str, title: str, asset: str, served: Served = site.open, **more: Any) -> Measure:
        return asked(name, title, [f"{scene.path}/download/{asset}" for scene in stored], served, status=307, **more)

    return [
        Measure("row", "limit: a row by its key, prepared", lambda _: _rows(site), connections=(rows.CLIENTS,)),
        asked("constant", "limit: a constant answer of Flask's, gunicorn as it comes", ["/"], site.constant),
        asked("constant-ours", "limit: the same, by the server's own worker", ["/"], site.constant_ours),
        asked("item", "an item by id", items),
        asked("item-gzip", "an item by id, gzipped", items, headers={"Accept-Encoding": "gzip"}),
        asked("search", "a search for ten items in a box", searches),
        redirected("redirect", "a redirect, the object seen lately", "visual"),
        redirected("redirect-first", "a redirect, the object looked for", "audited"),
        redirected("redirect-trusting", "a redirect, the object not looked for", "trusted"),
        redirected("redirect-governed", "a redirect, by all policy plugins", "visual", site.governed, keys=KEYS),
        Measure("store", "limit: the big object from the store", lambda n: _direct(site, n), unit="MB/s"),
        Measure("stream", "the big object, streamed", lambda n: _streamed(site, n), unit="MB/s"),
    ]


def mixed(site: Site) -> list[Measure]:
    """Give the measures of the search mix."""
    asked = mix.questions(site.items)
    asked |= {kind: mix.deep(kind, lambda path: get(site.open.port, path)) for kind in mix.DEEP}
    return [_kind(site, kind, *mix.shown(questions)) for kind, questions in asked.items()]


def _kind(site: Site, kind: str, paths: Sequence[str], bodies: Sequence[str]) -> Measure:
    plan = Plan(site.open.port, paths, 0, site.seconds, bodies=bodies)
    return Measure(f"mix: {kind}", kind, lambda connections: _asked(replace(plan, connections=connections)))


def costs(site: Site) -> dict[str, tuple[Measure, Measure]]:
    """Give a redirect and a search as measures, by the plugins at work."""
    stored = [f"{catalogue.Scene(number).path}/download/visual" for number in range(catalogue.STORED)]
    return {
        name: (_cost(site, name, "redirect", stored, 307), _cost(site, name, "search", _searches(), 200))
        for name in site.setups
    }


def _cost(site: Site, name: str, act: str, paths: Sequence[str], status: int) -> Measure:
    keys = KEYS if "api_keys" in SETUPS[name] else ()
    plan = Plan(site.setups[name].port, paths, MANY, site.seconds, status, keys=keys)
    return Measure(f"{act}: {name}", name, lambda _: _asked(plan), connections=(MANY,))


def _searches() -> list[str]:
    draw = random.Random(1)
    corners = [(round(draw.uniform(-180, 120), 2), round(draw.uniform(-50, 10), 2)) for _ in range(200)]
    return [f"/search?limit=10&bbox={west},{south},{west + 60:.2f},{south + 40:.2f}" for west, south in corners]


# --- One run ---------------------------------------------------------------------------------------------------------


def _asked(plan: Plan) -> Sample:
    began, before = time.perf_counter(), machine.cpu_of_servers()
    found = load(plan)
    cpu = (machine.cpu_of_servers() - before) / found.answers * 1e6
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
    """See that the answers are right before it matters how fast they are. Raises BenchError."""
    scene = catalogue.Scene(0)
    if json.loads(get(site.open.port, scene.path))["id"] != scene.item:
        raise BenchError("the wrong item came")
    if len(json.loads(get(site.open.port, _searches()[0]))["features"]) != 10:
        raise BenchError("not ten items were found: load more of them")
    for port, headers in ((site.open.port, {}), (site.governed.port, bearer(KEYS[0]))):
        where = urlsplit(get(port, f"{scene.path}/download/visual", 307, headers).decode())
        if not get(where.port or 80, f"{where.path}?{where.query}").startswith(b"II*"):
            raise BenchError("the redirect led to other bytes")


def get(port: int, path: str, status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    """Give the body; of a redirect, where it leads."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path, headers=dict(headers or {}))
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != status:
        raise BenchError(f"{path}: {answer.status} {body[:300]!r}")
    return (answer.getheader("Location") or "").encode() if 300 <= status < 400 else body


def take(chosen: Sequence[Measure], rounds: int) -> Samples:
    """Let the measures take turns for so many rounds, every second one backward."""
    runs = [(measure, connections) for measure in chosen for connections in measure.connections]
    samples: Samples = {(measure.name, connections): [] for measure, connections in runs}
    for number in range(rounds):
        for measure, connections in runs if number % 2 == 0 else reversed(runs):
            _say(f"round {number + 1} of {rounds}: {measure.name}, {connections} at once")
            samples[measure.name, connections].append(measure.take(connections))
    _say("")
    return samples


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)
