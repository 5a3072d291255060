"""Indexes on properties of items: made, listed and dropped by command while everything else goes on.

Their expressions are the very ones that filters, orders and positions are made of: PostgreSQL uses an index on an
expression only for the same expression. Within equal values items are in the usual order, so that one index serves a
filter on a value with the newest first, a list sorted by the property, and every page of either.

The database itself keeps the list: an index is named after its property, and its comment says what it is for.
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from itertools import takewhile
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateIndex, DropIndex, ExecutableDDLElement

from stacflask.catalog.cql2 import Fields
from stacflask.catalog.cql2.values.problems import Problem
from stacflask.catalog.database.database_errors import translated
from stacflask.catalog.database.tables import PROPERTY_INDEX_PREFIX, items
from stacflask.catalog.search.ordering import ORDERED_TYPES, TIE_BREAKERS
from stacflask.errors import BadQuery, Conflict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy.engine import Connection

    from stacflask.catalog.cql2.values.sql import Sql
    from stacflask.catalog.cql2.values.types import Stored
    from stacflask.catalog.database.engine import Database

INDEXED: Mapping[str, Callable[[Stored], Sql]] = {**ORDERED_TYPES, "time": attrgetter("moment")}
"""What an index can hold of a property. Nothing is sorted by times: strings that spell them are in their own order."""

ADVISORY_LOCK = 0x57AD
"""Whoever makes or drops indexes holds this: two at once would wait for each other."""
SAMPLE_ITEMS = 20_000
"""Of about so many items, spread over the table, the types of values are looked at before all are."""


@dataclass(frozen=True, slots=True)
class PropertyIndex:
    """One index: on the values of ``name`` that are of the type ``form``."""

    name: str
    form: str
    valid: bool = True
    size: int = 0
    rows: int = 0
    scans: int = 0

    @property
    def label(self) -> str:
        """Its name in the database. PostgreSQL's names are short, so part of a hash stands for the rest."""
        digest = blake2b(self.name.encode(), digest_size=6).hexdigest()
        plain = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in self.name.lower())
        return f"{PROPERTY_INDEX_PREFIX}{self.form}_{plain[:20]}_{digest}"


# --- What there is ----------------------------------------------------------------------------------------------------

_LIST = sa.text("""
    SELECT obj_description(c.oid, 'pg_class') AS said, i.indisvalid AS valid, pg_relation_size(c.oid) AS size,
           greatest(c.reltuples, 0)::bigint AS rows, coalesce(s.idx_scan, 0) AS scans
    FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
    LEFT JOIN pg_stat_all_indexes AS s ON s.indexrelid = c.oid
    WHERE i.indrelid = to_regclass('items') AND starts_with(c.relname, :prefix) ORDER BY c.relname
""").bindparams(prefix=PROPERTY_INDEX_PREFIX)


def listed(connection: Connection) -> list[PropertyIndex]:
    """Give the indexes on properties, those of an interrupted run among them."""
    return [found for row in connection.execute(_LIST) if (found := _described(row)) is not None]


def _described(row: Any) -> PropertyIndex | None:
    try:
        comment = json.loads(row.said or "null")
        # Before keys with dots could be reached, a name with dots was indexed as another expression.
        valid = row.valid and ("." not in comment["property"] or "keys" in comment)
        return PropertyIndex(comment["property"], comment["form"], valid, row.size, row.rows, row.scans)
    except (ValueError, TypeError, KeyError):
        return None  # interrupted before it was described, or somebody else's


class IndexCache:
    """What a process knows of the indexes there are; it is asked anew after a while."""

    LIFETIME_SECONDS = 5.0

    def __init__(self, database: Database) -> None:
        self._database = database
        self._since = 0.0
        self._forms: frozenset[tuple[str, str]] = frozenset()

    def indexed_types(self, name: str) -> tuple[str, ...]:
        """Name the types of a property's values that an index can give in order, up to the first that none can."""
        if time.monotonic() - self._since > self.LIFETIME_SECONDS or not self._since:
            found = self._database.read(listed)
            self._forms = frozenset((index.name, index.form) for index in found if index.valid)
            self._since = time.monotonic()
        return tuple(takewhile(lambda form: (name, form) in self._forms, ORDERED_TYPES))


# --- Making and dropping ----------------------------------------------------------------------------------------------


def add(database: Database, name: str, forms: Sequence[str] = ()) -> Iterator[PropertyIndex]:
    """Index a property's values of these types, or else of those that the items hold; give each index that was made.

    What is there already is left, unless an interrupted run left it unfinished. Raises BadQuery: no item has it.
    """
    with exclusive_connection(database) as connection:
        types = forms or _types_to_index(connection, name)
        existing = {(index.name, index.form): index.valid for index in listed(connection)}
        for form in types:
            if not existing.get((name, form)):
                yield _create_index(connection, PropertyIndex(name, form))


def drop(database: Database, name: str, forms: Sequence[str] = ()) -> list[PropertyIndex]:
    """Drop a property's indexes, of these types or all; give those that were there."""
    with exclusive_connection(database) as connection:
        dropped = [index for index in listed(connection) if index.name == name and (not forms or index.form in forms)]
        for index in dropped:
            _drop_index(connection, index)
    return dropped


@contextmanager
def exclusive_connection(database: Database) -> Iterator[Connection]:
    """Lend a connection without a transaction, as building an index beside all else asks for."""
    with translated(), database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        if not connection.execute(sa.select(sa.func.pg_try_advisory_lock(ADVISORY_LOCK))).scalar_one():
            raise Conflict("Another command is making or dropping indexes.")
        try:
            yield connection
        finally:
            connection.execute(sa.select(sa.func.pg_advisory_unlock(ADVISORY_LOCK)))


def _create_index(connection: Connection, index: PropertyIndex) -> PropertyIndex:
    _drop_index(connection, index)  # what an interrupted run left is of no use, and in the way
    connection.execute(CreateIndex(_definition(index)))
    comment = sql.Literal(json.dumps({"property": index.name, "form": index.form, "keys": "first"}))
    driver: Any = connection.connection.driver_connection
    driver.execute(sql.SQL("COMMENT ON INDEX {} IS {}").format(sql.Identifier(index.label), comment))
    connection.execute(_CreateStatistics(index))
    connection.execute(sa.text("ANALYZE items"))  # which is when it looks how the values are spread
    return next(found for found in listed(connection) if found.label == index.label)


def _drop_index(connection: Connection, index: PropertyIndex) -> None:
    connection.execute(DropIndex(_definition(index), if_exists=True))
    connection.execute(_DropStatistics(index))


class _Statistics(ExecutableDDLElement):
    """Has the planner know how the values are spread: it learns nothing from an index that leaves rows out."""

    def __init__(self, index: PropertyIndex) -> None:
        self.index = index


class _CreateStatistics(_Statistics):
    pass


class _DropStatistics(_Statistics):
    pass


@compiles(_CreateStatistics)
def _compile_create(element: _Statistics, compiler: Any, **_: Any) -> str:
    value = compiler.sql_compiler.process(_value(items, element.index), include_table=False, literal_binds=True)
    return f"CREATE STATISTICS {compiler.preparer.quote(element.index.label)} ON ({value}) FROM items"


@compiles(_DropStatistics)
def _compile_drop(element: _Statistics, compiler: Any, **_: Any) -> str:
    return f"DROP STATISTICS IF EXISTS {compiler.preparer.quote(element.index.label)}"


def _value(table: Any, index: PropertyIndex) -> Sql:
    return INDEXED[index.form](Fields({}, table.c.properties).stored(index.name))


def _definition(index: PropertyIndex) -> sa.Index:
    # On a copy of the table: what operators make is no part of the program's own tables.
    table = items.to_metadata(sa.MetaData())
    value = _value(table, index)
    ties = (table.c[name] for name in TIE_BREAKERS)
    return sa.Index(index.label, value, *ties, postgresql_where=value.is_not(None), postgresql_concurrently=True)


# --- What the items hold ----------------------------------------------------------------------------------------------


def _types_to_index(connection: Connection, name: str) -> tuple[str, ...]:
    """Name the types of a property's values. Some of the items will tell, unless none of those has it.

    A list that is sorted by the property begins with the first type, so those before the ones there are come too: their
    indexes are empty and cost next to nothing, and tell at once that nothing comes before.
    """
    count = connection.execute(_ESTIMATED_ROWS).scalar_one()
    some = sa.tablesample(items, sa.func.system(min(100.0, 100 * SAMPLE_ITEMS / max(count, 1))), name="some")
    found = _types(connection, some, name) or _types(connection, items, name)
    if not found:
        raise BadQuery("property", f"no item has a {name!r} that is a number, a string or a boolean")
    last = max(tuple(ORDERED_TYPES).index(form) for form in found if form in ORDERED_TYPES)
    return (*tuple(ORDERED_TYPES)[: last + 1], *(found - ORDERED_TYPES.keys()))


_ESTIMATED_ROWS = sa.text("SELECT reltuples FROM pg_class WHERE oid = to_regclass('items')")


def _types(connection: Connection, source: Any, name: str) -> set[str]:
    stored = Fields({}, source.c.properties).stored(name)
    kinds = set(connection.execute(sa.select(stored.kind).where(stored.kind.in_(ORDERED_TYPES)).distinct()).scalars())
    times = connection.execute(sa.select(sa.literal("time")).where(stored.moment.is_not(None)).limit(1))
    return kinds | set(times.scalars())


def property_names(names: Iterable[str]) -> tuple[str, ...]:
    """Give the names as they stand below ``properties``. Raises BadQuery: one is no name."""
    found = tuple(name.removeprefix("properties.") for name in names)
    for name in found:
        try:
            Fields({}, items.c.properties).stored(name)
        except Problem as problem:
            raise BadQuery("property", problem.message) from problem
    return found
