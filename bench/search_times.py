"""The time of each kind of search in the database: a mix of requests, sent to the application in this process.

    python -m bench.search_times mix.jsonl [mix.jsonl ...]

Each line of a mix is {"name", "method", "path", "body"}; "chain": N follows the next links to N pages. It reads
DATABASE_URL and changes nothing. The first request of each kind is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.limits.random_searches import Statement, Watch, spread
from stacflask.app import create_app
from stacflask.catalog.reader import Catalog
from stacflask.current import EXTENSION
from stacflask.pluginmanager.loading import manage
from stacflask.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

MixLine = dict[str, Any]


def replay(client: Any, line: MixLine) -> Iterator[Any]:
    """Send a request, and follow its next links if it has a chain. Yield the responses."""
    path, body = line["path"], line["body"]
    for _ in range(line.get("chain", 1)):
        response = client.open(path, method=line["method"], json=body)
        if response.status_code != 200:
            raise SystemExit(f"{path}: expected status 200, got {response.status_code}: {response.text[:200]}")
        yield response
        following = next((link for link in response.json.get("links", ()) if link["rel"] == "next"), None)
        if following is None or "chain" not in line:
            return
        path, body = following["href"], {**(body or {}), **following["body"]} if following.get("body") else None


def measure(mix: list[MixLine]) -> Iterator[tuple[str, list[list[Statement]]]]:
    """Replay a mix by kind. Yield the name of each kind and the statements of each of its responses."""
    settings = Settings.from_environ({**os.environ, "STACFLASK_LOG_LEVEL": "error"})
    app = create_app(settings, manage({}))
    components, client = app.extensions[EXTENSION], app.test_client()
    watch = Watch(components.catalog.database.engine)
    app.extensions[EXTENSION] = replace(components, catalog=Catalog(watch))
    kinds: dict[str, list[MixLine]] = defaultdict(list)
    for line in mix:
        kinds[line["name"]].append(line)
    for name, lines in kinds.items():
        responses: list[list[Statement]] = []
        for line in lines:
            watch.statements = []
            for _ in replay(client, line):
                responses.append(watch.statements)
                watch.statements = []
        yield name, responses


def main() -> None:
    """Replay the mixes and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mixes", nargs="+", type=Path)
    parser.add_argument("--most", type=int, default=200, help="maximum number of requests of each kind")
    options = parser.parse_args()
    texts = [text for mix in options.mixes for text in mix.read_text(encoding="utf-8").splitlines()]
    counts: Counter[str] = Counter()
    print("| kind | responses | statements | median ms | p99 ms | slowest ms | CPU ms: median | p99 | slowest |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    lines = [line for text in texts if count_up_to(options.most, line := json.loads(text), counts)]
    for name, responses in measure(lines):
        counted = responses[1:] or responses
        seconds = spread([sum(statement.seconds for statement in response) for response in counted])
        cpu = spread([sum(statement.cpu for statement in response) for response in counted])
        statements = sum(map(len, counted)) / len(counted)
        figures = " | ".join(f"{figure:.1f}" for figure in (statements, *seconds, *cpu))
        print(f"| {name} | {len(counted)} | {figures} |", flush=True)


def count_up_to(most: int, line: MixLine, counts: Counter[str]) -> bool:
    """Count a line by its kind. Return whether at most ``most`` lines of the kind have been counted."""
    counts[line["name"]] += 1
    return counts[line["name"]] <= most


if __name__ == "__main__":
    main()
