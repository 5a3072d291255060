"""Random searches in a catalogue, to find the slow ones.

    python -m bench.limits.random_searches --searches 2000 --seed 1

The searches have a bbox of 0.1 to 180 degrees anywhere on Earth and an interval of an hour to ten years, in one
collection, in three or in all. Every other one has a condition on a property. The time of a search is the time of its
statements: planning, execution and transfer of the rows. If the database is on this machine, the CPU time of its
process is reported, too, because other programs do not influence it. It reads DATABASE_URL and changes nothing.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from psycopg.rows import namedtuple_row

from stacflask.catalog.database.engine import Database, create_engine
from stacflask.catalog.database.tables import collections, items
from stacflask.catalog.reader import Catalog
from stacflask.errors import Unavailable
from stacflask.model.decision import UNRESTRICTED
from stacflask.model.query import ItemQuery, QueryInterval
from stacflask.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from stacflask.catalog.database.engine import Lookup

LIMITS = (1, 10, 100)
SAMPLE = 2000


@dataclass(frozen=True)
class World:
    """The properties of a catalogue that searches are drawn from."""

    collections: list[str]
    first: datetime
    last: datetime
    name: str
    values: list[float]
    """A sample of the property's values, sorted."""


def survey(database: Database, name: str) -> World:
    """Read the properties of a catalogue."""
    value = items.c.properties[name]
    sample = sa.select(sa.cast(value, sa.Float)).where(sa.func.jsonb_typeof(value) == "number").limit(SAMPLE)
    ends = sa.select(sa.func.min(items.c.datetime), sa.func.max(items.c.datetime))
    names = sa.select(collections.c.id).order_by(collections.c.id)
    first, last = database.read(lambda connection: connection.execute(ends).one())
    return World(
        list(database.read(lambda connection: connection.execute(names).scalars().all())),
        first,
        last,
        name,
        sorted(database.read(lambda connection: connection.execute(sample).scalars().all())),
    )


@dataclass(frozen=True)
class Statement:
    """One statement with its time and the CPU time of the database, in seconds."""

    text: str
    parameters: Any
    seconds: float
    cpu: float


@dataclass
class Search:
    """One search with its kind, its statements and the number of its results."""

    query: ItemQuery
    where: str
    size: float
    length: timedelta
    statements: list[Statement] = field(default_factory=list)
    found: int = 0

    @property
    def seconds(self) -> float:
        """The time of its statements, in seconds."""
        return sum(statement.seconds for statement in self.statements)

    @property
    def cpu(self) -> float:
        """The CPU time of the database, in seconds."""
        return sum(statement.cpu for statement in self.statements)


def searches(world: World, number: int, seed: int) -> Iterator[Search]:
    """Yield random searches, the same for the same seed and catalogue."""
    chance = random.Random(seed)
    for index in range(number):
        count = min((1, 3, len(world.collections))[index % 3], len(world.collections))
        names = None if index % 3 == 2 else tuple(chance.sample(world.collections, count))
        size, length = _between(chance, 0.1, 180), timedelta(hours=_between(chance, 1, 10 * 365 * 24))
        start = world.first - length + chance.random() * (world.last - world.first + length)
        query = ItemQuery(
            chance.choice(LIMITS),
            collections=names,
            bbox=_box(chance, size),
            interval=QueryInterval(start, start + length),
            filter=_condition(chance, world) if index // 3 % 2 else None,
        )
        where = ("one collection", "three collections", "all collections")[index % 3]
        yield Search(query, f"{where}{', a property' if query.filter else ''}", size, length)


def _between(chance: random.Random, least: float, most: float) -> float:
    return float(least * (most / least) ** chance.random())


def _box(chance: random.Random, size: float) -> tuple[float, ...]:
    width, height = min(size, 360), min(size, 180)
    west, south = -180 + chance.random() * (360 - width), -90 + chance.random() * (180 - height)
    return west, south, west + width, south + height


def _condition(chance: random.Random, world: World) -> Any:
    rank = _between(chance, 1, len(world.values)) - 1
    operator, index = chance.choice((("<", int(rank)), (">", -1 - int(rank))))
    return {"op": operator, "args": [{"property": world.name}, world.values[index]]}


# --- Measuring --------------------------------------------------------------------------------------------------------


class Watch(Database):
    """A database that records the time of each statement, whether SQLAlchemy or the driver runs it."""

    def __init__(self, engine: sa.Engine) -> None:
        super().__init__(engine)
        self.statements: list[Statement] = []
        self._began = self._cpu = 0.0
        sa.event.listen(engine, "before_cursor_execute", self._before)
        sa.event.listen(engine, "after_cursor_execute", self._after)

    def records(self, lookup: Lookup, values: Mapping[str, Any], *, long: bool = False) -> list[Any]:  # noqa: ARG002
        """Return the rows of a lookup, and record its time."""

        def run(driver: Any) -> list[Any]:
            with driver.cursor() as cursor:
                self._before(None, cursor)
                found: list[Any] = lookup.run(driver, values, namedtuple_row).fetchall()
                self._after(None, cursor, lookup.sql, lookup.arguments(values))
            return found

        return self._run(run)

    def _before(self, _: Any, cursor: Any, *_rest: Any) -> None:
        self._cpu = cpu_seconds(cursor)
        self._began = time.perf_counter()

    def _after(self, _: Any, cursor: Any, text: str, parameters: Any, *_rest: Any) -> None:
        seconds = time.perf_counter() - self._began
        self.statements.append(Statement(text, parameters, seconds, cpu_seconds(cursor) - self._cpu))


def cpu_seconds(cursor: Any) -> float:
    """Return the CPU seconds of the database process of a cursor, or 0 if it is not on this machine."""
    try:
        schedstat = Path(f"/proc/{cursor.connection.info.backend_pid}/schedstat").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return int(schedstat.split()[0]) / 1e9


def measure(catalog: Catalog, drawn: Iterator[Search], watch: Watch) -> list[Search]:
    """Run the searches one after the other."""
    done = []
    for search in drawn:
        watch.statements = search.statements
        try:
            search.found = len(catalog.search(search.query, UNRESTRICTED).records)
        except Unavailable as error:
            print(f"search failed: {error.description} {search.query}", file=sys.stderr)
            search.statements.append(Statement("SELECT 1", (), 1e3, 1e3))
        done.append(search)
    return done


def explain(database: Database, search: Search) -> Iterator[str]:
    """Yield the lines of the plan of each statement of a search."""
    for statement in search.statements:
        yield f"-- {statement.seconds * 1000:.1f} ms, CPU {statement.cpu * 1000:.1f} ms"
        with database.engine.connect() as connection:
            explained = f"EXPLAIN (ANALYZE, BUFFERS) {statement.text}"
            yield from connection.exec_driver_sql(explained, statement.parameters).scalars()


# --- The report -------------------------------------------------------------------------------------------------------


def table(title: str, rows: dict[str, list[Search]]) -> Iterator[str]:
    """Yield the lines of a table in Markdown."""
    columns = "searches | empty | statements | median ms | p99 ms | slowest ms | CPU ms: median | p99 | slowest"
    yield f"| {title} | {columns} |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    for name, found in rows.items():
        empty = sum(not search.found for search in found)
        steps = sum(len(search.statements) for search in found) / len(found)
        figures = (*spread([search.seconds for search in found]), *spread([search.cpu for search in found]))
        yield f"| {name} | {len(found)} | {empty} | {steps:.1f} | {' | '.join(f'{figure:.1f}' for figure in figures)} |"


def spread(seconds: list[float]) -> tuple[float, float, float]:
    """Return median, 99th percentile and maximum, in milliseconds."""
    ordered = sorted(value * 1000 for value in seconds)
    return median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], ordered[-1]


def grouped(done: list[Search], name: Any) -> dict[str, list[Search]]:
    """Group searches by kind. ``name`` returns a sort key and the name of a search's kind."""
    kinds: dict[str, list[Search]] = {}
    for search in sorted(done, key=lambda search: name(search)[0]):
        kinds.setdefault(name(search)[1], []).append(search)
    return kinds


def size_of(search: Search) -> tuple[int, str]:
    """Return the sort key and the name of the size of the bbox."""
    most = next(most for most in (1, 10, 60, 180) if search.size <= most)
    return most, f"box up to {most}°"


def length_of(search: Search) -> tuple[int, str]:
    """Return the sort key and the name of the length of the interval."""
    kinds = {1: "a day", 31: "a month", 366: "a year", 3661: "ten years"}
    most = next(most for most in kinds if search.length <= timedelta(days=most))
    return most, f"interval up to {kinds[most]}"


def main() -> None:
    """Run the searches and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--property", default="eo:cloud_cover", help="a property with numbers")
    parser.add_argument("--explain", type=int, default=1, help="number of slow searches to print the plans of")
    options = parser.parse_args()
    url = Settings.from_environ(os.environ).database_url
    database = Watch(create_engine(url, pool_size=1, statement_timeout=60))
    world = survey(database, options.property)
    done = measure(Catalog(database), searches(world, options.searches, options.seed), database)
    kinds = (("shape", lambda search: (search.where, search.where)), ("size", size_of), ("length", length_of))
    for title, name in (*kinds, ("", lambda _: (0, "all"))):
        print("\n".join(table(title, grouped(done, name))), end="\n\n")
    for search in sorted(done, key=lambda search: -search.cpu or -search.seconds)[: options.explain]:
        print(f"\n{search.seconds * 1000:.1f} ms, {search.found} found: {search.query}\n")
        print("\n".join(explain(database, search)))


if __name__ == "__main__":
    main()
