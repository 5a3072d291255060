"""The cost of each hook: calls of the gate without HTTP, once with few plugins and once with all.

This is a separate program. It prints the microseconds of each hook on standard output. Plugins log to standard error.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from bench.catalogue import Scene
from bench.client import ROOT, BenchError
from bench.servers import GOVERNED, KEYS, OPEN, bearer
from stacflask.app import create_app
from stacflask.current import EXTENSION
from stacflask.model.delivery import ByteRange
from stacflask.model.principal import Request
from stacflask.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stacflask.current import Components

BATCHES, CALLS = 15, 40
SETTINGS = {"open_access": OPEN, "all": GOVERNED}

Costs = dict[str, float]
"""Microseconds by hook."""


def costs(environ: Mapping[str, str]) -> Costs:
    """Measure in another process with this environment. Raises BenchError."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.hooks"],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        raise BenchError("bench.hooks failed. Run python -m bench.hooks in the server's environment to see the reason.")
    return dict(json.loads(done.stdout))


def main() -> None:
    """Measure the hooks and print the microseconds of each as JSON."""
    app = create_app(Settings.from_environ(os.environ))
    with app.app_context():
        print(json.dumps({name: _median(call) for name, call in _calls(app.extensions[EXTENSION]).items()}))


def _calls(components: Components) -> dict[str, Callable[[], object]]:
    """Return a function for each hook of a download, in the order of their calls."""
    gate, scene = components.gate, Scene(0)
    request = Request("GET", scene.path, bearer(KEYS[0]), {}, "127.0.0.1")
    principal = gate.authenticate(request)
    asset = components.catalog.asset(scene.collection, scene.item, "visual", gate.restrict(principal))
    grant = gate.authorize(principal, asset)
    location = gate.resolve(grant)
    return {
        "authenticate": lambda: gate.authenticate(request),
        "restrict": lambda: gate.restrict(principal),
        "authorize": lambda: gate.authorize(principal, asset),
        "resolve": lambda: gate.resolve(grant),
        "deliver": lambda: gate.deliver(grant, location, streamed=False),
        "charge": lambda: gate.charge(grant, ByteRange(0, asset.size), "redirect"),
    }


def _median(call: Callable[[], object]) -> float:
    return statistics.median(_batch(call) for _ in range(BATCHES))


def _batch(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - began) / CALLS * 1e6


if __name__ == "__main__":
    main()
