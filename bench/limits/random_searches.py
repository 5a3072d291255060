"""Random searches against a catalogue, to find the ones that fall off a cliff.

    python -m bench.limits.random_searches --searches 2000 --seed 1

Boxes from 0.1 to 180 degrees anywhere on Earth, intervals from an hour to ten years, in one collection, in three or in
all, every other one with a condition on a property. Only the time that statements take is counted: planning, execution
and transfer of the rows. Where the database runs on this machine, the time its process spent computing is told as well:
other programs do not disturb that one. Reads DATABASE_URL; changes nothing.
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
from stacflask.model.query import Interval, ItemQuery
from stacflask.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from stacflask.catalog.database.engine import Lookup

LIMITS = (1, 10, 100)
SAMPLE = 2000


@dataclass(frozen=True)
class World:
    """What there is to be asked for."""

    collections: list[str]
    first: datetime
    last: datetime
    name: str
    values: list[float]
    """Some of the property's values, in order."""


def learn(database: Database, name: str) -> World:
    """Look at a catalogue."""
    value = items.c.properties[name]
    some = sa.select(sa.cast(value, sa.Float)).where(sa.func.jsonb_typeof(value) == "number").limit(SAMPLE)
    ends = sa.select(sa.func.min(items.c.datetime), sa.func.max(items.c.datetime))
    names = sa.select(collections.c.id).order_by(collections.c.id)
    first, last = database.read(lambda connection: connection.execute(ends).one())
    return World(
        list(database.read(lambda connection: connection.execute(names).scalars().all())),
        first,
        last,
        name,
        sorted(database.read(lambda connection: connection.execute(some).scalars().all())),
    )


@dataclass(frozen=True)
class Statement:
    """One statement, as it was sent, and what it took."""

    text: str
    parameters: Any
    taken: float
    computed: float


@dataclass
class Search:
    """One search: what it is like, and what became of it."""

    query: ItemQuery
    where: str
    size: float
    length: timedelta
    statements: list[Statement] = field(default_factory=list)
    found: int = 0

    @property
    def seconds(self) -> float:
        """How long its statements took."""
        return sum(statement.taken for statement in self.statements)

    @property
    def computed(self) -> float:
        """How long the database's process computed."""
        return sum(statement.computed for statement in self.statements)


def searches(world: World, number: int, seed: int) -> Iterator[Search]:
    """Make up searches: the same for the same seed and catalogue."""
    chance = random.Random(seed)
    for index in range(number):
        many = min((1, 3, len(world.collections))[index % 3], len(world.collections))
        named = None if index % 3 == 2 else tuple(chance.sample(world.collections, many))
        size, length = _between(chance, 0.1, 180), timedelta(hours=_between(chance, 1, 10 * 365 * 24))
        start = world.first - length + chance.random() * (world.last - world.first + length)
        query = ItemQuery(
            chance.choice(LIMITS),
            collections=named,
            bbox=_box(chance, size),
            interval=Interval(start, start + length),
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
    operator, place = chance.choice((("<", int(rank)), (">", -1 - int(rank))))
    return {"op": operator, "args": [{"property": world.name}, world.values[place]]}


# --- Measuring --------------------------------------------------------------------------------------------------------


class Watch(Database):
    """A database that notes what each statement takes, whether SQLAlchemy runs it or the driver."""

    def __init__(self, engine: sa.Engine) -> None:
        super().__init__(engine)
        self.statements: list[Statement] = []
        self._began = self._computed = 0.0
        sa.event.listen(engine, "before_cursor_execute", self._before)
        sa.event.listen(engine, "after_cursor_execute", self._after)

    def records(self, lookup: Lookup, values: Mapping[str, Any], *, long: bool = False) -> list[Any]:  # noqa: ARG002
        """Give the rows that a lookup finds, and note what it took."""

        def ask(driver: Any) -> list[Any]:
            with driver.cursor() as cursor:
                self._before(None, cursor)
                found: list[Any] = lookup.run(driver, values, namedtuple_row).fetchall()
                self._after(None, cursor, lookup.sql, lookup.arguments(values))
            return found

        return self._asked(ask)

    def _before(self, _: Any, cursor: Any, *_rest: Any) -> None:
        self._computed = computed(cursor)
        self._began = time.perf_counter()

    def _after(self, _: Any, cursor: Any, text: str, parameters: Any, *_rest: Any) -> None:
        taken = time.perf_counter() - self._began
        self.statements.append(Statement(text, parameters, taken, computed(cursor) - self._computed))


def computed(cursor: Any) -> float:
    """Give the seconds that the process behind a cursor has computed; 0 if it is not on this machine."""
    try:
        told = Path(f"/proc/{cursor.connection.info.backend_pid}/schedstat").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return int(told.split()[0]) / 1e9


def measure(catalog: Catalog, asked: Iterator[Search], watch: Watch) -> list[Search]:
    """Search, one after the other."""
    done = []
    for search in asked:
        watch.statements = search.statements
        try:
            search.found = len(catalog.search(search.query, UNRESTRICTED).records)
        except Unavailable as error:
            print(f"gave up: {error.description} {search.query}", file=sys.stderr)
            search.statements.append(Statement("SELECT 1", (), 1e3, 1e3))
        done.append(search)
    return done


def explain(database: Database, search: Search) -> Iterator[str]:
    """Say how a search was answered, statement by statement."""
    for statement in search.statements:
        yield f"-- {statement.taken * 1000:.1f} ms, computing {statement.computed * 1000:.1f} ms"
        with database.engine.connect() as connection:
            asked = f"EXPLAIN (ANALYZE, BUFFERS) {statement.text}"
            yield from connection.exec_driver_sql(asked, statement.parameters).scalars()


# --- Telling ----------------------------------------------------------------------------------------------------------


def table(title: str, rows: dict[str, list[Search]]) -> Iterator[str]:
    """Write a table in Markdown."""
    columns = "searches | empty | statements | median ms | p99 ms | slowest ms | computing: median | p99 | slowest"
    yield f"| {title} | {columns} |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    for name, found in rows.items():
        empty = sum(not search.found for search in found)
        steps = sum(len(search.statements) for search in found) / len(found)
        figures = (*spread([search.seconds for search in found]), *spread([search.computed for search in found]))
        yield f"| {name} | {len(found)} | {empty} | {steps:.1f} | {' | '.join(f'{figure:.1f}' for figure in figures)} |"


def spread(seconds: list[float]) -> tuple[float, float, float]:
    """Give median, 99th percentile and the most, in milliseconds."""
    taken = sorted(value * 1000 for value in seconds)
    return median(taken), taken[min(len(taken) - 1, int(len(taken) * 0.99))], taken[-1]


def grouped(done: list[Search], name: Any) -> dict[str, list[Search]]:
    """Sort searches into kinds."""
    kinds: dict[str, list[Search]] = {}
    for search in sorted(done, key=lambda search: name(search)[0]):
        kinds.setdefault(name(search)[1], []).append(search)
    return kinds


def size_of(search: Search) -> tuple[int, str]:
    """Name the size of the box."""
    most = next(most for most in (1, 10, 60, 180) if search.size <= most)
    return most, f"box up to {most}°"


def length_of(search: Search) -> tuple[int, str]:
    """Name the length of the interval."""
    kinds = {1: "a day", 31: "a month", 366: "a year", 3661: "ten years"}
    most = next(most for most in kinds if search.length <= timedelta(days=most))
    return most, f"interval up to {kinds[most]}"


def main() -> None:
    """Search, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--property", default="eo:cloud_cover", help="a property of numbers")
    parser.add_argument("--explain", type=int, default=1, help="of how many of the slowest the plans are shown")
    asked = parser.parse_args()
    url = Settings.from_environ(os.environ).database_url
    database = Watch(create_engine(url, pool_size=1, statement_timeout=60))
    world = learn(database, asked.property)
    done = measure(Catalog(database), searches(world, asked.searches, asked.seed), database)
    kinds = (("shape", lambda search: (search.where, search.where)), ("size", size_of), ("length", length_of))
    for title, name in (*kinds, ("", lambda _: (0, "all"))):
        print("\n".join(table(title, grouped(done, name))), end="\n\n")
    for search in sorted(done, key=lambda search: -search.computed or -search.seconds)[: asked.explain]:
        print(f"\n{search.seconds * 1000:.1f} ms, {search.found} found: {search.query}\n")
        print("\n".join(explain(database, search)))


if __name__ == "__main__":
    main()
