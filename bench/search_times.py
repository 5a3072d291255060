"""What each kind of search takes in the database: a mix of requests, replayed against the application in this process.

    python -m bench.search_times mix.jsonl [mix.jsonl ...]

Each line of a mix is {"name", "method", "path", "body"}; "chain": N follows the next links to N pages. Reads
DATABASE_URL; changes nothing. The first request of each kind is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.limits.random_searches import Statement, Watch, spread
from stacflask.app import create_app
from stacflask.current import EXTENSION
from stacflask.pluginmanager.loading import manage
from stacflask.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

Asked = dict[str, Any]


def replay(client: Any, asked: Asked) -> Iterator[Any]:
    """Ask, and go on to the next pages where the mix says so."""
    path, body = asked["path"], asked["body"]
    for _ in range(asked.get("chain", 1)):
        answer = client.open(path, method=asked["method"], json=body)
        if answer.status_code != 200:
            raise SystemExit(f"{answer.status_code} for {path}: {answer.text[:200]}")
        yield answer
        there = next((link for link in answer.json.get("links", ()) if link["rel"] == "next"), None)
        if there is None or "chain" not in asked:
            return
        path, body = there["href"], {**(body or {}), **there["body"]} if there.get("body") else None


def measure(mix: list[Asked]) -> Iterator[tuple[str, list[list[Statement]]]]:
    """Replay a mix, kind by kind; give each kind's name and the statements of each of its answers."""
    settings = Settings.from_environ({**os.environ, "STACFLASK_LOG_LEVEL": "error"})
    app = create_app(settings, manage({}))
    catalog, client = app.extensions[EXTENSION].catalog, app.test_client()
    watch = catalog.database = Watch(catalog.database.engine)
    kinds: dict[str, list[Asked]] = defaultdict(list)
    for asked in mix:
        kinds[asked["name"]].append(asked)
    for name, several in kinds.items():
        answers: list[list[Statement]] = []
        for asked in several:
            watch.statements = []
            for _ in replay(client, asked):
                answers.append(watch.statements)
                watch.statements = []
        yield name, answers


def main() -> None:
    """Replay, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mixes", nargs="+", type=Path)
    parser.add_argument("--most", type=int, default=200, help="requests of each kind")
    given = parser.parse_args()
    lines = [line for mix in given.mixes for line in mix.read_text(encoding="utf-8").splitlines()]
    counts: Counter[str] = Counter()
    print("| kind | answers | statements | median ms | p99 ms | slowest ms | computing: median | p99 | slowest |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for name, answers in measure([asked for line in lines if few(asked := json.loads(line), counts, given.most)]):
        counted = answers[1:] or answers
        taken = spread([sum(each.taken for each in answer) for answer in counted])
        computed = spread([sum(each.computed for each in answer) for answer in counted])
        many = sum(map(len, counted)) / len(counted)
        figures = " | ".join(f"{figure:.1f}" for figure in (many, *taken, *computed))
        print(f"| {name} | {len(counted)} | {figures} |", flush=True)


def few(asked: Asked, counts: Counter[str], most: int) -> bool:
    """Whether there are not yet so many of a kind; this one is counted."""
    counts[asked["name"]] += 1
    return counts[asked["name"]] <= most


if __name__ == "__main__":
    main()
