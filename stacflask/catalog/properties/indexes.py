"""Indexes on properties of items. Commands create, list and drop them without blocking other work.

PostgreSQL uses an index on an expression only for the same expression, so the indexes have exactly the expressions of
filters, sort orders and positions. Items with equal values are in the default order. One index therefore serves a
filter on a value with the newest first, a list sorted by the property, and every page of both.

The list of indexes is in the database: the name of an index contains its property, and its comment is JSON with the
property and the type.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from itertools import takewhile
from operator import attrgetter
from threading import Lock
from typing import Any

import sqlalchemy as sa
from cachetools import TTLCache, cached
from psycopg import sql
from sqlalchemy.engine import Connection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateIndex, DropIndex, ExecutableDDLElement

from stacflask.catalog.cql2 import Fields
from stacflask.catalog.cql2.values.problems import Problem
from stacflask.catalog.cql2.values.sql import Sql
from stacflask.catalog.cql2.values.types import Stored
from stacflask.catalog.database.database_errors import translated
from stacflask.catalog.database.engine import Database
from stacflask.catalog.database.tables import PROPERTY_INDEX_PREFIX, items
from stacflask.catalog.search.ordering import ORDERED_TYPES, TIE_BREAKERS
from stacflask.errors import BadQuery, Conflict

INDEXED: Mapping[str, Callable[[Stored], Sql]] = {**ORDERED_TYPES, "time": attrgetter("moment")}
"""Indexable values of a property by type. Lists are not sorted by times: strings that are times sort as strings."""

ADVISORY_LOCK = 0x57AD
"""Advisory lock of commands that create or drop indexes. Two at once would block each other."""
SAMPLE_ITEMS = 20_000
"""Approximate number of items, spread over the table, whose types are read before those of all items."""


@dataclass(frozen=True, slots=True)
class PropertyIndex:
    """An index on the values of the property ``name`` that have the type ``value_type``."""

    name: str
    value_type: str
    valid: bool = True
    size: int = 0
    rows: int = 0
    scans: int = 0

    @property
    def label(self) -> str:
        """Name of the index in the database. PostgreSQL limits names to 63 bytes, so it ends with a part of a hash."""
        digest = blake2b(self.name.encode(), digest_size=6).hexdigest()
        plain = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in self.name.lower())
        return f"{PROPERTY_INDEX_PREFIX}{self.value_type}_{plain[:20]}_{digest}"


# --- Listing ----------------------------------------------------------------------------------------------------------

_LIST = sa.text("""
    SELECT obj_description(c.oid, 'pg_class') AS comment, i.indisvalid AS valid, pg_relation_size(c.oid) AS size,
           greatest(c.reltuples, 0)::bigint AS rows, coalesce(s.idx_scan, 0) AS scans
    FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
    LEFT JOIN pg_stat_all_indexes AS s ON s.indexrelid = c.oid
    WHERE i.indrelid = to_regclass('items') AND starts_with(c.relname, :prefix) ORDER BY c.relname
""").bindparams(prefix=PROPERTY_INDEX_PREFIX)


def listed(connection: Connection) -> list[PropertyIndex]:
    """Return the indexes on properties, including unfinished ones of an interrupted command."""
    return [found for row in connection.execute(_LIST) if (found := _described(row)) is not None]


def _described(row: Any) -> PropertyIndex | None:
    try:
        comment = json.loads(row.comment or "null")
        # Earlier releases indexed another expression for a name with dots. Their comments have no ``keys``.
        valid = row.valid and ("." not in comment["property"] or "keys" in comment)
        return PropertyIndex(comment["property"], comment["form"], valid, row.size, row.rows, row.scans)
    except (ValueError, TypeError, KeyError):
        return None  # not described because of an interruption, or not an index of this application


class IndexCache:
    """The list of indexes, cached for ``LIFETIME_SECONDS``."""

    LIFETIME_SECONDS = 5.0

    def __init__(self, database: Database) -> None:
        self._database = database
        self._valid = cached(TTLCache(1, self.LIFETIME_SECONDS), lock=Lock())(self._read_valid)

    def indexed_types(self, name: str) -> tuple[str, ...]:
        """Return the types of a property that an index sorts, up to the first type without an index."""
        valid = self._valid()
        return tuple(takewhile(lambda value_type: (name, value_type) in valid, ORDERED_TYPES))

    def _read_valid(self) -> frozenset[tuple[str, str]]:
        return frozenset((index.name, index.value_type) for index in self._database.read(listed) if index.valid)


# --- Creating and dropping --------------------------------------------------------------------------------------------


def add(database: Database, name: str, value_types: Sequence[str] = ()) -> Iterator[PropertyIndex]:
    """Index a property's values of these types, or by default of those that items have. Yields each new index.

    Skips existing indexes, and replaces unfinished ones. Raises BadQuery if no item has the property.
    """
    with exclusive_connection(database) as connection:
        types = value_types or _types_to_index(connection, name)
        existing = {(index.name, index.value_type): index.valid for index in listed(connection)}
        for value_type in types:
            if not existing.get((name, value_type)):
                yield _create_index(connection, PropertyIndex(name, value_type))


def drop(database: Database, name: str, value_types: Sequence[str] = ()) -> list[PropertyIndex]:
    """Drop a property's indexes, of these types or of all, and return them."""
    with exclusive_connection(database) as connection:
        dropped = [
            index
            for index in listed(connection)
            if index.name == name and (not value_types or index.value_type in value_types)
        ]
        for index in dropped:
            _drop_index(connection, index)
    return dropped


@contextmanager
def exclusive_connection(database: Database) -> Iterator[Connection]:
    """Yield a connection with the lock and without a transaction, as CREATE INDEX CONCURRENTLY requires."""
    with translated(), database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        if not connection.execute(sa.select(sa.func.pg_try_advisory_lock(ADVISORY_LOCK))).scalar_one():
            raise Conflict("Another command is creating or dropping indexes. Try again when it has ended.")
        try:
            yield connection
        finally:
            connection.execute(sa.select(sa.func.pg_advisory_unlock(ADVISORY_LOCK)))


def _create_index(connection: Connection, index: PropertyIndex) -> PropertyIndex:
    _drop_index(connection, index)  # an unfinished index of an interrupted command has the same name
    connection.execute(CreateIndex(_definition(index)))
    comment = sql.Literal(json.dumps({"property": index.name, "form": index.value_type, "keys": "first"}))
    driver: Any = connection.connection.driver_connection
    driver.execute(sql.SQL("COMMENT ON INDEX {} IS {}").format(sql.Identifier(index.label), comment))
    connection.execute(_CreateStatistics(index))
    connection.execute(sa.text("ANALYZE items"))  # so that PostgreSQL collects statistics on the values
    return next(found for found in listed(connection) if found.label == index.label)


def _drop_index(connection: Connection, index: PropertyIndex) -> None:
    connection.execute(DropIndex(_definition(index), if_exists=True))
    connection.execute(_DropStatistics(index))


class _Statistics(ExecutableDDLElement):
    """Statement on extended statistics of the values. PostgreSQL collects none for a partial index."""

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
    return INDEXED[index.value_type](Fields({}, table.c.properties).stored(index.name))


def _definition(index: PropertyIndex) -> sa.Index:
    # A copy of the table, so that indexes of operators are not part of the application's metadata.
    table = items.to_metadata(sa.MetaData())
    value = _value(table, index)
    ties = (table.c[name] for name in TIE_BREAKERS)
    return sa.Index(index.label, value, *ties, postgresql_where=value.is_not(None), postgresql_concurrently=True)


# --- Types of values --------------------------------------------------------------------------------------------------


def _types_to_index(connection: Connection, name: str) -> tuple[str, ...]:
    """Return the types of a property's values to index. Reads a sample, or all items if no sampled item has it.

    A list sorted by the property begins with the first type. The types before the existing ones are therefore included:
    their indexes are empty, cost almost nothing, and show at once that no item comes before.
    """
    count = connection.execute(_ESTIMATED_ROWS).scalar_one()
    some = sa.tablesample(items, sa.func.system(min(100.0, 100 * SAMPLE_ITEMS / max(count, 1))), name="some")
    found = _types(connection, some, name) or _types(connection, items, name)
    if not found:
        raise BadQuery("property", f"no item has a {name!r} that is a number, a string or a boolean")
    last = max(tuple(ORDERED_TYPES).index(value_type) for value_type in found if value_type in ORDERED_TYPES)
    return (*tuple(ORDERED_TYPES)[: last + 1], *(found - ORDERED_TYPES.keys()))


_ESTIMATED_ROWS = sa.text("SELECT reltuples FROM pg_class WHERE oid = to_regclass('items')")


def _types(connection: Connection, source: Any, name: str) -> set[str]:
    stored = Fields({}, source.c.properties).stored(name)
    kinds = set(connection.execute(sa.select(stored.kind).where(stored.kind.in_(ORDERED_TYPES)).distinct()).scalars())
    times = connection.execute(sa.select(sa.literal("time")).where(stored.moment.is_not(None)).limit(1))
    return kinds | set(times.scalars())


def property_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names without the prefix ``properties.``. Raises BadQuery if a name is invalid."""
    found = tuple(name.removeprefix("properties.") for name in names)
    for name in found:
        try:
            Fields({}, items.c.properties).stored(name)
        except Problem as problem:
            raise BadQuery("property", problem.message) from problem
    return found
