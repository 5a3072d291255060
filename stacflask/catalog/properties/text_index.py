"""Optional index for free text in items, on trigrams of the searched texts. Commands create and drop it.

It is not created by default, because it makes every write of an item slower. It is a GiST index, because requests are
planned without bitmap scans, and a GIN index supports no other scans.
"""

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.schema import CreateIndex, DropIndex

from stacflask.catalog.database.engine import Database
from stacflask.catalog.database.tables import PROPERTY_INDEX_PREFIX, items
from stacflask.catalog.properties.indexes import exclusive_connection
from stacflask.catalog.search.freetext import item_words

LABEL = f"{PROPERTY_INDEX_PREFIX}of_texts"

_SIZE = sa.text("""
    SELECT pg_relation_size(indexrelid) FROM pg_index WHERE indexrelid = to_regclass(:label) AND indisvalid
""").bindparams(label=LABEL)


def size(connection: Connection) -> int | None:
    """Return the size of the index in bytes, or None if it does not exist or is unfinished."""
    found: int | None = connection.execute(_SIZE).scalar()
    return found


def add(database: Database) -> bool:
    """Create the index concurrently. Returns False if it exists. Replaces an unfinished one."""
    with exclusive_connection(database) as connection:
        if size(connection) is not None:
            return False
        connection.execute(sa.text("CREATE EXTENSION IF NOT EXISTS pg_trgm"))
        connection.execute(DropIndex(_definition(), if_exists=True))
        connection.execute(CreateIndex(_definition()))
        connection.execute(sa.text("ANALYZE items"))  # so that PostgreSQL collects statistics on the texts
    return True


def drop(database: Database) -> None:
    """Drop the index if it exists."""
    with exclusive_connection(database) as connection:
        connection.execute(DropIndex(_definition(), if_exists=True))


def _definition() -> sa.Index:
    table = items.to_metadata(sa.MetaData())
    words = item_words(table).label("words")
    return sa.Index(
        LABEL,
        words,
        postgresql_using="gist",
        postgresql_ops={"words": "gist_trgm_ops(siglen=64)"},
        postgresql_concurrently=True,
    )
