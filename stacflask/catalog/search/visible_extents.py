"""What is shown of collections to who may not see all of their items.

A collection's extent and summaries are made of all its items, and would tell of the hidden ones. What stands in their
place is put into the document, and into the columns by which collections are searched, sorted and described.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from stacflask.catalog.database.tables import collections
from stacflask.catalog.documents import documents
from stacflask.catalog.documents.collection_rows import searched
from stacflask.catalog.documents.extents import reached
from stacflask.stac.times import format_instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.engine import Connection
    from sqlalchemy.sql import Select

    from stacflask.model.json_types import Document

SUMMARIES = "summaries"
WORLD: Document = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}
"""The extent that tells nothing: STAC wants one."""


@dataclass(frozen=True, slots=True)
class VisibleExtents:
    """The extents that are shown, by collection; of others the one that tells nothing. Summaries are not shown."""

    extents: Mapping[str, Document] = field(default_factory=dict)

    def body(self, collection: str, kept: bytes) -> bytes:
        """Give what is shown of a collection's body."""
        extent = orjson.dumps(self.extents.get(collection, WORLD))
        return documents.with_members(kept, {"extent": extent, SUMMARIES: None})

    def through(self, statement: Select[Any]) -> Select[Any]:
        """Give a statement on collections that finds them by what is shown, and not by what is kept."""
        rows = [_row(name, extent) for name, extent in (("", WORLD), *self.extents.items())]
        # Under the name of the table itself, which only the view sees.
        view = _VIEW.bindparams(sa.bindparam("shown", rows, JSONB())).columns(*collections.c).cte(collections.name)
        return statement.add_cte(view)


WITHHELD = VisibleExtents()


def visible_to(connection: Connection, conditions: Iterable[sa.ColumnElement[bool]]) -> VisibleExtents:
    """Return the extents that users see who see only the items that fulfil these conditions."""
    found = reached(connection, conditions)
    return VisibleExtents({collection: extent_of(*one) for collection, one in found.items()})


def extent_of(box: Sequence[float] | None, start: datetime, end: datetime) -> Document:
    """Give the extent of what may be seen; without a box, as wide as it can be."""
    temporal = {"interval": [[format_instant(start), format_instant(end)]]}
    return {"spatial": WORLD["spatial"] if box is None else {"bbox": [list(box)]}, "temporal": temporal}


def _row(collection: str, extent: Document) -> Document:
    columns = searched({"id": "", "extent": extent})
    first, last = extent["temporal"]["interval"][0]
    return {
        "id": collection,
        "extent": extent,
        "footprint": columns["footprint"].data.hex(),
        "lowest": columns["lowest"],
        "highest": columns["highest"],
        "periods": f"{{[{first or ''},{last or ''}]}}",
    }


# What has no row of its own is shown by the one of no name.
_VIEW = sa.text("""
    WITH told AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(:shown) AS told (id text, extent jsonb, footprint geometry,
            lowest double precision, highest double precision, periods tstzmultirange)
    )
    SELECT kept.id, kept.body, kept.words, kept.longest, own.lowest, own.highest,
           kept.document - 'summaries' || jsonb_build_object('extent', coalesce(own.extent, rest.extent)) AS document,
           coalesce(own.footprint, rest.footprint) AS footprint, coalesce(own.periods, rest.periods) AS periods
    FROM collections AS kept JOIN told AS rest ON rest.id = '' LEFT JOIN told AS own ON own.id = kept.id
""")
