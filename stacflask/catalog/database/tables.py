"""The tables. Keys are (collection, id); text compares by code point: order and tokens depend on no locale.

No sequence, trigger or foreign key: a distributed PostgreSQL can spread the items by collection and id.
"""

from __future__ import annotations

from geoalchemy2 import Geometry
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Index,
    LargeBinary,
    MetaData,
    Table,
    Text,
    false,
    func,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB, TSTZMULTIRANGE

PLUGIN_PREFIX = "plugin_"
"""Tables that begin so belong to plugins; the catalogue's own migrations leave them alone."""

PROPERTY_INDEX_PREFIX = "items_property_"
"""Indexes that begin so are the operator's, see catalog/properties/indexes.py; migrations leave them alone."""

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)


def _name() -> Text:
    return Text(collation="C")


collections = Table(
    "collections",
    metadata,
    Column("id", _name(), primary_key=True),
    Column("body", LargeBinary, nullable=False, comment="the document, see catalog/documents/documents.py"),
    Column("document", JSONB, nullable=False, comment="the same for searching, without links and assets"),
    Column("footprint", Geometry(srid=4326, spatial_index=False), comment="the boxes of its spatial extent"),
    Column("lowest", Double, comment="height of its 6-number boxes' lowest side; null is 0"),
    Column("highest", Double, comment="height of its 6-number boxes' highest side; null is 0"),
    Column("periods", TSTZMULTIRANGE, comment="the intervals of its temporal extent"),
    Column("words", Text, comment="what free text is looked for in, in one case; see catalog/search/freetext.py"),
    Column(
        "longest",
        Double,
        nullable=False,
        server_default="0",
        comment="seconds: no item lasts longer",
    ),
    Column(
        "dated", Boolean, nullable=False, server_default=false(), comment="some item has a datetime, or had one before"
    ),
    Index("collections_longest_idx", "longest"),
)

items = Table(
    "items",
    metadata,
    Column("collection", _name(), primary_key=True),
    Column("id", _name(), primary_key=True),
    Column("datetime", DateTime(timezone=True), nullable=False, comment="datetime, or start_datetime where it is null"),
    Column("start_datetime", DateTime(timezone=True), nullable=False, comment="start_datetime, or datetime without it"),
    Column("end_datetime", DateTime(timezone=True), nullable=False, comment="end_datetime, or datetime without it"),
    Column("geometry", Geometry(srid=4326, spatial_index=False), comment="split at the antimeridian, made valid"),
    Column("lowest", Double, comment="least height of the geometry and the bbox; null is 0"),
    Column("highest", Double, comment="greatest height of the geometry and the bbox; null is 0"),
    Column("properties", JSONB, nullable=False, comment="as given, for searching"),
    Column("body", LargeBinary, nullable=False, comment="the document, see catalog/documents/documents.py"),
    Column("has_datetime", Boolean, nullable=False, server_default=true(), comment="datetime is not null"),
    Column("has_start_datetime", Boolean, nullable=False, server_default=false(), comment="start_datetime is given"),
    Column("has_end_datetime", Boolean, nullable=False, server_default=false(), comment="end_datetime is given"),
    Index("items_id_idx", "id"),
    Index("items_datetime_idx", "datetime", "collection", "id"),
    Index("items_collection_datetime_idx", "collection", "datetime", "id"),
    # For lists by datetime, in which items without one come last.
    Index("items_without_datetime_idx", "collection", "datetime", "id", postgresql_where=text("NOT has_datetime")),
    # Not those without geometry, so that PostgreSQL does not take it for an index on datetime alone.
    Index(
        "items_geometry_datetime_idx",
        "geometry",
        "datetime",
        postgresql_using="gist",
        postgresql_where=text("geometry IS NOT NULL"),
    ),
)

dictionaries = Table(
    "dictionaries",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False, comment="the zstd dictionary id in each frame"),
    Column("collection", _name(), nullable=False, comment="whose items it was trained on"),
    Column("created", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column(
        "data", LargeBinary, nullable=False, comment="never delete: items compressed with it cannot be read without"
    ),
)

statistics = Table(
    "statistics",
    metadata,
    Column("collection", _name(), primary_key=True),
    Column(
        "properties",
        JSONB,
        nullable=False,
        comment="what its items' properties hold, see catalog/properties/observations.py",
    ),
    Column("anew", JSONB, comment="what was written since a refresh began; null: none is under way"),
)
