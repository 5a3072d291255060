"""The dictionaries that items' bodies are compressed with: one for each collection, trained when it first fills."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from stacflask.catalog.codec import FEWEST_SAMPLES, train
from stacflask.catalog.tables import dictionaries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Connection

    from stacflask.catalog.codec import Codec
    from stacflask.catalog.database import Database

MOST_SAMPLES = 600
"""More bodies make training slower and the dictionary no better."""

_LOCK = sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:collection, 0))")
_NEWEST = (
    sa.select(dictionaries.c.id, dictionaries.c.data)
    .where(dictionaries.c.collection == sa.bindparam("collection"))
    .order_by(dictionaries.c.created.desc())
    .limit(1)
)


class Dictionaries:
    """Chooses the dictionary of each collection for one process, and trains it where there is none."""

    def __init__(self, database: Database, codec: Codec) -> None:
        self._database = database
        self._codec = codec
        self._chosen: dict[str, int] = {}

    def known(self, collection: str) -> int:
        """Give the id of the dictionary that was chosen for this collection, or 0."""
        return self._chosen.get(collection, 0)

    def choose(self, collection: str, bodies: Sequence[bytes]) -> int:
        """Give the id of the collection's newest dictionary, else of one trained on these bodies, else 0 for none."""
        if collection not in self._chosen:
            with self._database.write() as connection:
                identifier = self._newest(connection, collection) or self._trained(connection, collection, bodies)
            if not identifier:
                return 0
            # Only now, committed, may it be used.
            self._chosen[collection] = identifier
        return self._chosen[collection]

    def _newest(self, connection: Connection, collection: str) -> int:
        row = connection.execute(_NEWEST, {"collection": collection}).one_or_none()
        if row is None:
            return 0
        self._codec.learn(row.id, row.data)
        return int(row.id)

    def _trained(self, connection: Connection, collection: str, bodies: Sequence[bytes]) -> int:
        if len(bodies) < FEWEST_SAMPLES:
            return 0
        # Loads that run side by side meet a new collection at the same time: one of them trains, the others wait.
        connection.execute(_LOCK, {"collection": collection})
        found = self._newest(connection, collection)
        trained = train(bodies[:: -(-len(bodies) // MOST_SAMPLES)]) if not found else None
        if trained is None:
            return found
        identifier, data = trained
        connection.execute(sa.insert(dictionaries).values(id=identifier, collection=collection, data=data))
        self._codec.learn(identifier, data)
        return identifier
