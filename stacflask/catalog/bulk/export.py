"""Export the catalogue as newline-delimited JSON that can be loaded again."""

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa
import zstandard
from sqlalchemy.engine import Connection
from sqlalchemy.sql import Select

from stacflask.catalog.database.engine import Database
from stacflask.catalog.database.tables import collections, items
from stacflask.catalog.documents.codec import DAMAGED, Codec
from stacflask.catalog.documents.documents import original_text
from stacflask.catalog.reader import LOST, Catalog
from stacflask.errors import NotFound, StacflaskError

ROWS = 500
"""Rows that are fetched at a time, so the memory does not grow with their number."""


class UnreadDocuments(NamedTuple):
    """The reason why documents of a collection could not be exported."""

    collection: str
    reason: str


def export(
    database: Database,
    names: Collection[str] = (),
    *,
    items_too: bool = True,
    unread: Counter[UnreadDocuments] | None = None,
) -> Iterator[bytes]:
    """Yield the documents of these collections, or of all, as JSON texts: collections first, then items by time.

    All documents are of one snapshot. Documents that cannot be read are left out and counted in ``unread``.

    Raises:
        NotFound: There is no collection of that name.
    """
    read = _DocumentReader(Catalog(database).codec, Counter() if unread is None else unread)
    with database.write() as connection:
        connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        for statement in _statements(connection, names, items_too=items_too):
            for row in connection.execution_options(yield_per=ROWS).execute(statement):
                text = read(row.collection, row.body)
                if text is not None:
                    yield text


class _DocumentReader:
    """Reads stored documents, some of which can be damaged."""

    def __init__(self, codec: Codec, unread: Counter[UnreadDocuments]) -> None:
        self._codec = codec
        self._unread = unread
        self._lost: dict[int, str] = {}

    def __call__(self, collection: str, frame: bytes) -> bytes | None:
        dictionary = 0
        try:
            dictionary = zstandard.get_frame_parameters(frame).dict_id
            if dictionary not in self._lost:
                return self._text(frame)
        except (StacflaskError, zstandard.ZstdError, ValueError, KeyError) as error:
            code = error.code if isinstance(error, StacflaskError) else DAMAGED
            if code not in (LOST, DAMAGED):
                raise
            if code == DAMAGED:
                using = f", compressed with dictionary {dictionary}," if dictionary else ""
                self._unread[UnreadDocuments(collection, f"what is stored{using} is damaged")] += 1
                return None
            self._lost[dictionary] = f"dictionary {dictionary} is missing or damaged"
        self._unread[UnreadDocuments(collection, self._lost[dictionary])] += 1
        return None

    def _text(self, frame: bytes) -> bytes:
        text = original_text(self._codec.decompress(frame))
        orjson.loads(text)  # a damaged dictionary can return another text
        return text


def _statements(connection: Connection, names: Collection[str], *, items_too: bool) -> Iterator[Select[Any]]:
    existing = connection.execute(sa.select(collections.c.id).order_by(collections.c.id)).scalars().all()
    for name in names:
        if name not in existing:
            raise NotFound(f"There is no collection {name!r}.")
    chosen = [name for name in existing if not names or name in names]
    yield (
        sa.select(collections.c.id.label("collection"), collections.c.body)
        .where(collections.c.id.in_(chosen))
        .order_by(collections.c.id)
    )
    if items_too:
        for name in chosen:
            of_collection = sa.select(items.c.collection, items.c.body).where(items.c.collection == name)
            yield of_collection.order_by(items.c.datetime, items.c.id)
