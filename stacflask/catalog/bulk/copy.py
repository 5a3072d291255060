"""Write prepared items with binary COPY, one transaction for each batch.

Only the written rows are locked, in the order of their keys, so searches and other loads continue.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter
from typing import Any, Literal, TypeAlias

import psycopg
import psycopg.errors as pg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from stacflask.catalog.bulk.href_survey import HrefCounts
from stacflask.catalog.bulk.parse import DocumentProblem, Prepared
from stacflask.catalog.database.engine import Database
from stacflask.catalog.database.tables import collections, items
from stacflask.catalog.documents import extents
from stacflask.catalog.documents.codec import Codec
from stacflask.catalog.documents.dictionaries import Dictionaries
from stacflask.catalog.properties import observations, statistics
from stacflask.errors import Unavailable
from stacflask.stac.geometry import bbox_of

WriteMethod: TypeAlias = Literal["insert", "upsert", "ignore"]

MAX_ATTEMPTS = 5
"""Attempts to write a batch while other transactions change the same rows."""


@dataclass(slots=True)
class BatchResult:
    """The result of a batch: the numbers of items that are new, that were replaced, and that were left unchanged.

    ``changed`` are the collections of new and replaced items, ``repairs`` changes of documents, ``unknown`` the URLs
    of unknown schemas.
    """

    new: int = 0
    replaced: int = 0
    left: int = 0
    problems: list[DocumentProblem] = field(default_factory=list)
    repairs: list[DocumentProblem] = field(default_factory=list)
    unknown: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()
    hrefs: HrefCounts = field(default_factory=HrefCounts)


class BatchWriter:
    """Writes batches of prepared items. ``method`` is what happens to items that exist.

    ``strict``: a batch with a problem is not written.
    """

    def __init__(self, database: Database, codec: Codec, method: WriteMethod, *, strict: bool) -> None:
        self._database = database
        self._codec = codec
        self._dictionaries = Dictionaries(database, codec)
        self._method = method
        self._strict = strict

    def write(self, prepared: Iterable[Prepared]) -> BatchResult:
        """Write a batch in one transaction. Of items with the same key, write the last. Raises Unavailable.

        Items that cannot be written become problems; the others are written.
        """
        # In the order of their keys, loads of the same items wait for each other instead of deadlocking.
        last = {_key(row): row for row in prepared}
        rows = [last[key] for key in sorted(last)]
        self._compress_remaining(rows)
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                return self._write_once(rows)
            except Unavailable as error:
                if error.code != "Busy" or attempt == MAX_ATTEMPTS:
                    raise
        raise AssertionError  # the last attempt has returned or raised

    def compress(self, collection: str, body: bytes) -> bytes | None:
        """Return the frame of a body, or None if the dictionary of its collection is not chosen yet."""
        dictionary = self._dictionaries.chosen(collection)
        return self._codec.compress(body, dictionary) if dictionary else None

    def _write_once(self, rows: Sequence[Prepared]) -> BatchResult:
        with self._database.write() as connection:
            written = _BatchTransaction(connection, self._codec, self._method).write(rows)
            if not self._strict or not written.problems:
                return written
            connection.rollback()
        return BatchResult(problems=written.problems)

    def _compress_remaining(self, rows: Sequence[Prepared]) -> None:
        """Compress the bodies that are not compressed yet. ``rows`` are in the order of their collections."""
        for collection, group in groupby((row for row in rows if row.frame is None), key=_collection):
            members = list(group)
            dictionary = self._dictionaries.choose(collection, [row.body for row in members])
            for row in members:
                row.frame = self._codec.compress(row.body, dictionary)


class _BatchTransaction:
    """One batch in its transaction."""

    def __init__(self, connection: Connection, codec: Codec, method: WriteMethod) -> None:
        self._connection = connection
        self._codec = codec
        self._method = method
        self._written = BatchResult()

    def write(self, rows: Sequence[Prepared]) -> BatchResult:
        rows = self._with_collection(rows)
        # An insert usually finds no existing item, so it searches for them only after a conflict.
        existing = set() if self._method == "insert" else self._existing_keys(rows)
        for _ in range(MAX_ATTEMPTS):
            new = [row for row in rows if _key(row) not in existing]
            try:
                self._copy("items", new)
                break
            except pg.UniqueViolation:
                existing = self._existing_keys(rows)
            except _VALUE_ERRORS:
                rows = self._without_refused("items", rows)
        else:
            raise Unavailable("Other transactions keep writing the same items. Run the load again.", code="Busy")
        old = [row for row in rows if _key(row) in existing]
        self._written.new = len(new)
        self._handle_existing(old)
        changed = rows if self._method == "upsert" else new
        self._widen(changed)
        self._written.changed = frozenset(row.collection for row in changed)
        return self._written

    def _refuse(self, row: Prepared, pointer: str, description: str) -> None:
        self._written.problems.append(DocumentProblem(row.line, pointer, description))

    def _with_collection(self, rows: Sequence[Prepared]) -> list[Prepared]:
        names = {row.collection for row in rows}
        statement = sa.select(collections.c.id).where(collections.c.id.in_(names)).order_by(collections.c.id)
        # The lock excludes only the deletion of the collection.
        held = set(self._connection.execute(statement.with_for_update(read=True, key_share=True)).scalars())
        for row in rows:
            if row.collection not in held:
                self._refuse(row, "/collection", f"there is no collection {row.collection!r}")
        return [row for row in rows if row.collection in held]

    def _existing_keys(self, rows: Sequence[Prepared]) -> set[tuple[str, str]]:
        existing = set()
        for collection, group in groupby(rows, key=_collection):
            names = [row.id for row in group]
            found = self._connection.execute(_EXISTING, {"collection": collection, "ids": names}).scalars()
            existing |= {(collection, name) for name in found}
        return existing

    # --- Existing items

    def _handle_existing(self, rows: Sequence[Prepared]) -> None:
        if self._method == "insert":
            for row in rows:
                self._refuse(row, "/id", f"item {row.id!r} exists already in collection {row.collection!r}")
        elif self._method == "upsert" and rows:
            self._written.replaced = self._replace(rows)
        self._written.left = len(rows) - self._written.replaced if self._method != "insert" else 0

    def _replace(self, rows: Sequence[Prepared]) -> int:
        self._connection.execute(_STAGE)
        try:
            self._copy("staged", rows)
        except _VALUE_ERRORS:
            self._copy("staged", self._without_refused("staged", rows))
        return self._connection.execute(_REPLACE).rowcount

    # --- COPY

    def _copy(self, table: str, rows: Sequence[Prepared]) -> None:
        """Copy all rows or none. Raises psycopg's UniqueViolation and _VALUE_ERRORS, and SQLAlchemy's errors."""
        driver: Any = self._connection.connection.driver_connection
        data = _HEADER + b"".join([_packed(row) for row in rows]) + _TRAILER
        try:
            with (
                self._connection.begin_nested(),
                driver.cursor() as cursor,
                cursor.copy(f"COPY {table} ({_NAMES}) FROM STDIN (FORMAT BINARY)") as copy,
            ):
                copy.write(data)
        except (pg.UniqueViolation, *_VALUE_ERRORS):
            raise
        except psycopg.Error as error:
            raise DBAPIError("COPY", None, error) from error

    def _without_refused(self, table: str, rows: Sequence[Prepared]) -> list[Prepared]:
        """Find by bisection the rows that the database cannot store, refuse them, and return the others."""
        try:
            with self._connection.begin_nested() as trial:
                self._copy(table, rows)
                trial.rollback()
        except pg.UniqueViolation:
            pass
        except _VALUE_ERRORS as error:
            if len(rows) == 1:
                self._refuse(rows[0], "", f"the database cannot store it: {error.diag.message_primary}")
                return []
            half = len(rows) // 2
            return self._without_refused(table, rows[:half]) + self._without_refused(table, rows[half:])
        return list(rows)

    # --- Extents and statistics

    def _widen(self, rows: Sequence[Prepared]) -> None:
        # Last, and in the order of their names, as all locks here.
        for collection, group in groupby(rows, key=_collection):
            members = list(group)
            boxes = [box for box in map(_box, members) if box]
            extents.widen(
                self._connection, self._codec, collection, extents.item_extent(boxes, [row.span for row in members])
            )
            statistics.widen(self._connection, collection, observations.observe([row.given for row in members]))


_VALUE_ERRORS = (pg.DataError, pg.ProgramLimitExceeded)

_EXISTING = sa.select(items.c.id).where(
    items.c.collection == sa.bindparam("collection"), items.c.id == sa.any_(sa.bindparam("ids", type_=ARRAY(sa.Text)))
)

# A temporary table belongs to this connection, so it does not affect others.
_STAGE = sa.text("CREATE TEMPORARY TABLE staged (LIKE items INCLUDING STORAGE INCLUDING COMPRESSION) ON COMMIT DROP")
_CHANGED = ", ".join(f"{column.name} = excluded.{column.name}" for column in items.columns if not column.primary_key)
# Unchanged rows are not written again, so repeating a load after a crash is cheap.
_REPLACE = sa.text(f"""
    INSERT INTO items SELECT * FROM staged ORDER BY collection, id
    ON CONFLICT (collection, id) DO UPDATE SET {_CHANGED} WHERE (items.*) IS DISTINCT FROM (excluded.*)
""")


_collection = attrgetter("collection")
_key = attrgetter("collection", "id")


def _box(row: Prepared) -> list[float] | None:
    return row.bbox or (bbox_of(row.wkb) if row.wkb else None)


# --- PostgreSQL's binary format ---------------------------------------------------------------------------------------

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_NAMES = ", ".join(items.columns.keys())
_COLUMNS = len(items.columns).to_bytes(2, "big")
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_NULL = b"\xff\xff\xff\xff"
_JSONB = b"\x01"

_length = struct.Struct(">i").pack
_moments = struct.Struct(">iqiqiq").pack
_double = struct.Struct(">id").pack
_flags = struct.Struct(">i?i?i?").pack


def _packed(row: Prepared) -> bytes:
    """Return a row in COPY's format: the number of fields, then each field after its length."""
    lowest, highest = row.heights
    order = start = end = _micros(row.span.order)
    if not row.span.start is row.span.order is row.span.end:  # most items are an instant
        start, end = _micros(row.span.start), _micros(row.span.end)
    collection, name, frame = row.collection.encode(), row.id.encode(), row.frame or b""
    return b"".join(
        (
            _COLUMNS,
            _length(len(collection)),
            collection,
            _length(len(name)),
            name,
            _moments(8, order, 8, start, 8, end),
            _NULL if row.wkb is None else _length(len(row.wkb)) + row.wkb,
            _NULL if lowest is None else _double(8, lowest),
            _NULL if highest is None else _double(8, highest),
            _length(len(row.properties) + 1),
            _JSONB,
            row.properties,
            _length(len(frame)),
            frame,
            _flags(1, row.span.given[0], 1, row.span.given[1], 1, row.span.given[2]),
        )
    )


def _micros(moment: datetime) -> int:
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
