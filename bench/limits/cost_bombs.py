"""The cost, in CPU seconds, of the most expensive known request of each kind within all limits.

    python -m bench.limits.cost_bombs

It searches the catalogue at DATABASE_URL and does not change it. The seconds of Python are those of this process, the
seconds of the database are those of its backends on this machine.
"""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import sqlalchemy as sa

from stacflask.app import create_app
from stacflask.current import EXTENSION
from stacflask.pluginmanager.loading import manage
from stacflask.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]


def star(number: int) -> Json:
    """Return a valid ring whose spikes meet in the middle."""
    turns = [(2 * math.pi * n / number, 80 if n % 2 else 0.001) for n in range(number)]
    ring = [[reach * math.cos(turn), reach * math.sin(turn)] for turn, reach in turns]
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}


def zigzag(number: int) -> Json:
    """Return a ring with self-intersections: a quarter of the square of the number of its positions."""
    half = number // 2
    ring = [[-80 if n % 2 else 80, -80 + 160 * n / half] for n in range(half)]
    ring += [[-80 + 160 * n / half, -80 if n % 2 else 80] for n in range(half)]
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}


def comb(number: int) -> Json:
    """Return a valid ring with long teeth."""
    teeth = [[-80 + 160 * n / number, -80 if n % 2 else 80] for n in range(number)]
    return {"type": "Polygon", "coordinates": [[*teeth, [80, -85], [-80, -85], teeth[0]]]}


def points(number: int) -> Json:
    """Return scattered points."""
    return {"type": "MultiPoint", "coordinates": [[180 * math.sin(n), 90 * math.cos(n * n)] for n in range(number)]}


def op(name: str, *args: Any) -> Json:
    """Return a CQL2 expression."""
    return {"op": name, "args": list(args)}


def nested(name: str, depth: int) -> Json:
    """Return a CQL2 expression nested in itself."""
    inner: Json = op("=", {"property": "title"}, "x")
    for _ in range(depth):
        inner = op(name, inner) if name == "not" else op(name, inner, inner if depth < 8 else True)
    return inner


TITLE, PLACE = {"property": "title"}, {"property": "geometry"}
BODIES: dict[str, Json] = {
    "intersects: star of 1,999": {"intersects": star(1999)},
    "intersects: comb of 9,990": {"intersects": comb(9990)},
    "intersects: 10,000 points": {"intersects": points(10_000)},
    "intersects: zigzag of 88, repaired": {"intersects": zigzag(88)},
    "intersects: zigzag of 9,998, refused": {"intersects": zigzag(9998)},
    "filter: disjoint from a comb": {"filter": op("s_disjoint", PLACE, comb(9990))},
    "filter: not within a star": {"filter": op("not", op("s_within", PLACE, star(1999)))},
    "filter: five stars": {"filter": op("or", *(op("s_touches", PLACE, star(1990)) for _ in range(5)))},
    "filter: 300 small geometries": {"filter": op("or", *(op("s_crosses", PLACE, star(30)) for _ in range(300)))},
    "filter: 1,000 boxes": {
        "filter": op("or", *(op("s_intersects", PLACE, {"bbox": [-n / 9, -9, n / 9, 9]}) for n in range(999)))
    },
    "filter: 990 likes": {"filter": op("or", *(op("like", TITLE, f"%{n}%_%a%b%") for n in range(990)))},
    "filter: one long like": {"filter": op("like", TITLE, "%a_" * 30_000)},
    "filter: casei of a long text": {"filter": op("=", op("casei", TITLE), op("casei", "é" * 500_000))},
    "filter: accenti of a long text": {"filter": op("=", op("accenti", TITLE), op("accenti", "é" * 500_000))},
    "filter: 19,000 values": {"filter": op("in", TITLE, [f"value {n}" for n in range(19_000)])},
    "filter: nested not": {"filter": nested("not", 28)},
    "filter: arithmetic": {
        "filter": op("and", *(op("<", op("^", {"property": "eo:cloud_cover"}, 99), n) for n in range(330)))
    },
    "filter: 900 properties": {"filter": op("or", *(op("=", {"property": f"p{n}"}, n) for n in range(900)))},
    "filter: arrays": {"filter": op("a_overlaps", {"property": "keywords"}, [f"keyword {n}" for n in range(18_000)])},
    "query: 900 comparisons": {"query": {f"p{n}": {"contains": "a"} for n in range(900)}},
    "ids: 10,000": {"ids": [f"none-{n}" for n in range(10_000)]},
    "collections: 10,000": {"collections": [f"none-{n}" for n in range(10_000)]},
    "sortby: the maximum number of keys": {"sortby": [{"field": f"properties.p{n}"} for n in range(20)]},
    "fields: 1,000 of 1,000 items": {"fields": {"include": [f"properties.p{n}" for n in range(999)]}, "limit": 1000},
    "q: 100 words": {"q": " ".join(f"word{n}" for n in range(100))},
    "limit of 10,000": {"limit": 10_000},
}


def requests() -> Iterator[tuple[str, str, str, Any]]:
    """Yield the name, method, path and body of each request."""
    yield from ((name, "POST", "/search", body) for name, body in BODIES.items())
    names = ["total_count", "datetime_frequency", "grid_geohash_frequency", "grid_geotile_frequency"]
    for name, body in (("all items", {}), ("in a comb", BODIES["intersects: comb of 9,990"])):
        yield f"aggregate: {name}", "POST", "/aggregate", {"aggregations": names, **body}
    yield "search: counted", "GET", "/search?count=true&filter=title%20LIKE%20%27%25z%25%27", None
    yield "JSON: nested 100,000 deep", "POST", "/search", "[" * 100_000
    yield "JSON: 200,000 members", "POST", "/search", json.dumps({f"member {n}": n for n in range(50_000)})
    text = " OR ".join(f"title LIKE '%{n}%'" for n in range(900))
    yield "collections: 900 likes", "GET", f"/collections?{urlencode({'filter': text})}", None
    yield "items: as text", "GET", f"/search?{urlencode({'filter': text[:7000].rpartition(' OR ')[0]})}", None


def measure() -> Iterator[tuple[str, int, float, float, float]]:
    """Send each request twice. Yield its name, status, least CPU seconds of Python and of the database, and bytes."""
    app = create_app(Settings.from_environ({**os.environ, "STACFLASK_LOG_LEVEL": "error"}), manage({}))
    database = app.extensions[EXTENSION].catalog.database
    client = app.test_client()
    client.get("/search")
    for name, method, path, body in requests():
        arguments = {"data": body} if isinstance(body, str) else {"json": body} if body is not None else {}
        runs = []
        for _ in range(2):
            began, before = time.process_time(), _backends(database)
            response = client.open(path, method=method, content_type="application/json", **arguments)
            size = len(response.data)
            python = time.process_time() - began
            runs.append((python, _backends(database) - before))
        yield name, response.status_code, min(run[0] for run in runs), min(run[1] for run in runs), size


def _backends(database: Any) -> float:
    """Return the CPU seconds of the backends of the database."""
    pids = database.read(
        lambda connection: (
            connection.execute(sa.text("SELECT pid FROM pg_stat_activity WHERE datname = current_database()"))
            .scalars()
            .all()
        )
    )
    return sum(_seconds(Path(f"/proc/{pid}/schedstat")) for pid in pids)


def _seconds(schedstat: Path) -> float:
    try:
        return int(schedstat.read_text().split()[0]) / 1e9
    except OSError:
        return 0.0


def main() -> None:
    """Measure the requests and print a table."""
    print("| request | status | Python, CPU s | database, CPU s | bytes |", "|---|---|---|---|---|", sep="\n")
    for name, status, python, database, size in measure():
        print(f"| {name} | {status} | {python:.2f} | {database:.2f} | {size} |", flush=True)


if __name__ == "__main__":
    main()
