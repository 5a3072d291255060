"""Extents of collections for users who cannot see all of their items.

A collection's extent and summaries cover all of its items and would reveal the hidden ones. This module replaces them
in the document, and in the columns by which collections are searched, sorted and described.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Connection
from sqlalchemy.sql import Select

from stacflask.catalog.database.tables import collections
from stacflask.catalog.documents import documents
from stacflask.catalog.documents.collection_rows import searched
from stacflask.catalog.documents.extents import compute_extents
from stacflask.model.json_types import Document
from stacflask.stac.times import format_instant

SUMMARIES = "summaries"
UNKNOWN_EXTENT: Document = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}
"""The extent that reveals nothing. STAC requires an extent."""


@dataclass(frozen=True, slots=True)
class VisibleExtents:
    """Extents by collection. Other collections have ``UNKNOWN_EXTENT``. Summaries are removed."""

    extents: Mapping[str, Document] = field(default_factory=dict)

    def body(self, collection: str, stored: bytes) -> bytes:
        """Return a collection's stored body with its visible extent."""
        extent = orjson.dumps(self.extents.get(collection, UNKNOWN_EXTENT))
        return documents.with_members(stored, {"extent": extent, SUMMARIES: None})

    def apply_to(self, statement: Select[Any]) -> Select[Any]:
        """Return a statement on collections that uses the visible extents and not the stored ones."""
        rows = [_row(name, extent) for name, extent in (("", UNKNOWN_EXTENT), *self.extents.items())]
        # The view has the name of the table, so that the statement reads the view and only the view reads the table.
        view = _VIEW.bindparams(sa.bindparam("extents", rows, JSONB())).columns(*collections.c).cte(collections.name)
        return statement.add_cte(view)


WITHHELD = VisibleExtents()


def visible_to(connection: Connection, conditions: Iterable[sa.ColumnElement[bool]]) -> VisibleExtents:
    """Return the extents of the items that fulfil these conditions, by collection."""
    found = compute_extents(connection, conditions)
    return VisibleExtents({collection: extent_of(*one) for collection, one in found.items()})


def extent_of(box: Sequence[float] | None, start: datetime, end: datetime) -> Document:
    """Return an extent of a box and a time range. Without a box it covers the whole world."""
    temporal = {"interval": [[format_instant(start), format_instant(end)]]}
    return {"spatial": UNKNOWN_EXTENT["spatial"] if box is None else {"bbox": [list(box)]}, "temporal": temporal}


def _row(collection: str, extent: Document) -> Document:
    columns = searched({"id": "", "extent": extent})
    first, last = extent["temporal"]["interval"][0]
    return {
        "id": collection,
        "extent": extent,
        "footprint": columns["footprint"].data.hex(),
        "min_height": columns["min_height"],
        "max_height": columns["max_height"],
        "intervals": f"{{[{first or ''},{last or ''}]}}",
    }


# A collection without a row of its own has the row with an empty id.
_VIEW = sa.text("""
    WITH extents AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(:extents) AS extents (id text, extent jsonb, footprint geometry,
            min_height double precision, max_height double precision, intervals tstzmultirange)
    )
    SELECT stored.id, stored.body, stored.search_text, stored.max_duration_seconds, own.min_height, own.max_height,
           stored.document - 'summaries' || jsonb_build_object('extent', coalesce(own.extent, rest.extent)) AS document,
           coalesce(own.footprint, rest.footprint) AS footprint, coalesce(own.intervals, rest.intervals) AS intervals
    FROM collections AS stored
    JOIN extents AS rest ON rest.id = '' LEFT JOIN extents AS own ON own.id = stored.id
""")
