"""Compression dictionaries for items: one for each collection, trained by the first load with enough items."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

import orjson
import sqlalchemy as sa
import zstandard
from sqlalchemy.engine import Connection

from stacflask.catalog.database.engine import Database
from stacflask.catalog.database.tables import dictionaries
from stacflask.catalog.documents.codec import MIN_SAMPLES, Codec, train
from stacflask.catalog.documents.documents import original_text
from stacflask.errors import StacflaskError

MAX_SAMPLES = 600
"""More bodies make training slower, but the dictionary not better."""

_LOCK = sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:collection, 0))")
_NEWEST = (
    sa.select(dictionaries.c.id, dictionaries.c.data)
    .where(dictionaries.c.collection == sa.bindparam("collection"))
    .order_by(dictionaries.c.created.desc())
    .limit(1)
)


_MAGIC = bytes.fromhex("37a430ec")
"""The magic number of a dictionary, before its id (RFC 8878, section 5)."""

# The frame header contains the id (RFC 8878, section 3.1.1.1). The descriptor determines its size and offset.
_USED = """
    SELECT DISTINCT collection, CASE get_byte(head, 4) & 3
        WHEN 0 THEN 0
        WHEN 1 THEN get_byte(head, at)
        WHEN 2 THEN get_byte(head, at) + (get_byte(head, at + 1) << 8)
        ELSE get_byte(head, at) + (get_byte(head, at + 1) << 8) + (get_byte(head, at + 2) << 16)
            + (get_byte(head, at + 3)::bigint << 24)
    END AS id
    FROM (
        SELECT collection, head, 6 - ((get_byte(head, 4) >> 5) & 1) AS at FROM ({0}) AS heads
        WHERE octet_length(head) = 12  -- shorter values are not frames of documents
    ) AS placed
"""
_HEAD = "substring(body FROM 1 FOR 12) AS head"
_ALL = f"SELECT collection, {_HEAD} FROM items"
_SAMPLE = """
    SELECT ends.collection, {0}
    FROM (SELECT id FROM collections ORDER BY id LIMIT :collections) AS chosen, LATERAL (
        (SELECT collection, body FROM items WHERE collection = chosen.id ORDER BY id LIMIT :rows) UNION ALL
        (SELECT collection, body FROM items WHERE collection = chosen.id ORDER BY id DESC LIMIT :rows)
    ) AS ends
"""


class DamagedDictionary(NamedTuple):
    """A missing or damaged dictionary that items of a collection need."""

    collection: str
    dictionary: int

    def __str__(self) -> str:
        """Return the collection and the dictionary."""
        return f"collection {self.collection!r}: dictionary {self.dictionary} is missing or damaged"


def find_missing(
    connection: Connection, *, sample: int | None, collections: int | None = None
) -> list[DamagedDictionary]:
    """Return the dictionaries that items need and that the database does not have.

    Args:
        connection: The connection.
        sample: Number of the first and of the last items of each collection that are read; None reads all items.
        collections: Maximum number of collections; None is unlimited.
    """
    source, values = (
        (_ALL, {}) if sample is None else (_SAMPLE.format(_HEAD), {"rows": sample, "collections": collections})
    )
    used = connection.execute(sa.text(_USED.format(source)), values).all()
    wanted = {row.id for row in used if row.id}
    found = sa.select(dictionaries.c.id, sa.func.substring(dictionaries.c.data, 1, 8).label("head"))
    rows = connection.execute(found.where(dictionaries.c.id.in_(wanted))).all() if wanted else []
    held = {row.id for row in rows if is_dictionary(row.id, row.head)}
    return sorted(DamagedDictionary(row.collection, row.id) for row in used if row.id and row.id not in held)


def sample_frames(connection: Connection, rows: int, collections: int | None = None) -> list[tuple[str, bytes]]:
    """Return the stored bodies of the first and the last ``rows`` items of each collection, with its id."""
    values = {"rows": rows, "collections": collections}
    return [(row.collection, row.body) for row in connection.execute(sa.text(_SAMPLE.format("body")), values)]


def find_unusable(codec: Codec, frames: Iterable[tuple[str, bytes]]) -> list[DamagedDictionary]:
    """Return the dictionaries with which none of their bodies can be read."""
    usable: dict[DamagedDictionary, bool] = {}
    for collection, frame in frames:
        with suppress(zstandard.ZstdError):
            dictionary = zstandard.get_frame_parameters(frame).dict_id
            if dictionary and not usable.get(DamagedDictionary(collection, dictionary)):
                usable[DamagedDictionary(collection, dictionary)] = _is_readable(codec, frame)
    return sorted(one for one, readable in usable.items() if not readable)


def _is_readable(codec: Codec, frame: bytes) -> bool:
    try:
        orjson.loads(original_text(codec.decompress(frame)))
    except (StacflaskError, ValueError, KeyError):
        return False
    return True


def is_dictionary(identifier: int, data: bytes) -> bool:
    """Whether data begin with the magic number and the id of this dictionary."""
    return bytes(data[:8]) == _MAGIC + identifier.to_bytes(4, "little")


class Dictionaries:
    """Chooses the dictionary of each collection for one process, and trains one if there is none."""

    def __init__(self, database: Database, codec: Codec) -> None:
        self._database = database
        self._codec = codec
        self._chosen: dict[str, int] = {}

    def chosen(self, collection: str) -> int:
        """Return the id of the dictionary that was chosen for a collection, or 0."""
        return self._chosen.get(collection, 0)

    def choose(self, collection: str, bodies: Sequence[bytes]) -> int:
        """Return the id of the newest dictionary of a collection, or of one trained on these bodies, or 0 for none."""
        if collection not in self._chosen:
            with self._database.write() as connection:
                identifier = self._newest(connection, collection) or self._trained(connection, collection, bodies)
            if not identifier:
                return 0
            # It can only be used after the commit.
            self._chosen[collection] = identifier
        return self._chosen[collection]

    def _newest(self, connection: Connection, collection: str) -> int:
        row = connection.execute(_NEWEST, {"collection": collection}).one_or_none()
        if row is None:
            return 0
        self._codec.preload(row.id, row.data)
        return int(row.id)

    def _trained(self, connection: Connection, collection: str, bodies: Sequence[bytes]) -> int:
        if len(bodies) < MIN_SAMPLES:
            return 0
        # Concurrent loads can reach a new collection at the same time. One of them trains, the others wait.
        connection.execute(_LOCK, {"collection": collection})
        found = self._newest(connection, collection)
        trained = train(bodies[:: -(-len(bodies) // MAX_SAMPLES)]) if not found else None
        if trained is None:
            return found
        identifier, data = trained
        connection.execute(sa.insert(dictionaries).values(id=identifier, collection=collection, data=data))
        self._codec.preload(identifier, data)
        return identifier
