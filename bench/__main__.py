"""The command: ``python -m bench --help``."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from bench import catalogue, hooks, machine, report, servers
from bench.client import BenchError
from bench.limits import slow_clients
from bench.measures import Site, check, costs, get, measures, mixed, run_rounds
from dev.stack import StackError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HOOKS, MIX, PLUGINS, SLOW = "hooks", "mix", "plugins", "slow"
NAMES = (
    *("row", "constant", "constant-ours", "item", "item-gzip", "search"),
    *("redirect", "redirect-first", "redirect-trusting", "redirect-governed", "store", "stream"),
    *(HOOKS, MIX, PLUGINS, SLOW),
)


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark, print its tables, and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        measure(options)
    except (BenchError, StackError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Compare the server with the limits of the machine, on servers that are deleted afterwards.",
    )
    parser.add_argument("--items", type=_whole, default=2000, help="number of items to create and load (2000)")
    parser.add_argument("--big", type=_whole, default=10**9, metavar="BYTES", help="size of the streamed object (1 GB)")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of each run (1.5)")
    parser.add_argument("--rounds", type=_whole, default=5, help="number of runs of each measure (5)")
    parser.add_argument("--only", action="append", choices=NAMES, help="run only this measure; can be repeated")
    return parser


def _whole(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def measure(options: argparse.Namespace) -> None:
    """Run the chosen measures and print their tables. Raises BenchError and StackError."""
    selected = options.only or NAMES
    _print("starting PostgreSQL and the object store ...")
    with site(options, plugins=PLUGINS in selected) as place:
        check(place)
        chosen = [measure for measure in measures(place) if measure.name in selected]
        kinds = mixed(place) if MIX in selected else []
        pairs = costs(place) if PLUGINS in selected else {}
        began, busy, own = time.perf_counter(), machine.busy(), machine.own_cpu()
        samples = run_rounds(
            [*chosen, *kinds, *(measure for pair in pairs.values() for measure in pair)], options.rounds
        )
        others = (machine.busy() - busy - machine.own_cpu() + own) / (time.perf_counter() - began)
        facts = machine.facts(place.stack.database_url)
        print("\n".join(f"- {name}: {value}" for name, value in facts.items()))
        print(f"- {options.items} items, {options.rounds} rounds of {options.seconds:g} s")
        if chosen:
            print("", report.requests(chosen, samples), "", report.targets(samples, options.big), sep="\n")
        if kinds:
            print("", report.requests(kinds, samples, "search mix"), sep="\n")
        if pairs:
            print("", report.plugins(pairs, samples), sep="\n")
        if samples:
            print("", report.noise(samples, others), sep="\n")
        if SLOW in selected:
            download = f"{catalogue.Scene(0).path}/download/visual"
            print("", *slow_clients.table(place.open.port, download, options.seconds), sep="\n")
        if HOOKS in selected:
            environs = {name: servers.environ_for(place.stack, plugins) for name, plugins in hooks.SETTINGS.items()}
            print("", report.hooks({name: hooks.costs(environ) for name, environ in environs.items()}), sep="\n")


@contextmanager
def site(options: argparse.Namespace, *, plugins: bool) -> Iterator[Site]:
    """Start and fill the measured servers, and delete them afterwards. ``plugins``: start one for each plugin set."""
    with ExitStack() as ends:
        stack, folder = ends.enter_context(servers.stack())
        _print(f"loading {options.items} items and {options.big / 1e6:.0f} MB of objects ...")
        servers.fill(stack, folder, options.items, options.big)
        _print("starting gunicorn ...")
        opened = ends.enter_context(servers.served("open", servers.environ_for(stack, servers.OPEN), folder))
        governed = ends.enter_context(servers.served("governed", servers.environ_for(stack, servers.GOVERNED), folder))
        servers.accept_licence(governed.port)
        size = len(get(opened.port, catalogue.Scene(0).path))
        plain = {**servers.environ_for(stack, servers.OPEN), "BENCH_BYTES": str(size)}
        application = "bench.constant:application"
        constant = ends.enter_context(servers.served("constant", plain, folder, application, "--worker-class=gthread"))
        constant_ours = ends.enter_context(servers.served("constant-ours", plain, folder, application))
        setups = {
            name: ends.enter_context(servers.served(name, servers.environ_for(stack, names), folder))
            for name, names in (servers.SETUPS if plugins else {}).items()
        }
        yield Site(
            stack, constant, constant_ours, opened, governed, options.items, options.big, options.seconds, setups
        )


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
