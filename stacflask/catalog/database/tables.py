"""The tables of the catalogue.

Text compares by code point (collation "C"), so that order and page tokens do not depend on a locale. There is no
sequence, trigger or foreign key, so that a distributed PostgreSQL can shard the items by collection and id.
docs/architecture.md, "Names in the database", states how tables, columns and indexes are named.
"""

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
"""Prefix of the plugins' tables, which ``alembic check`` and ``make migration`` ignore."""

PROPERTY_INDEX_PREFIX = "items_property_"
"""Prefix of the indexes that ``stacflask index add`` creates. Migrations do not drop them."""

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
    Column("body", LargeBinary, nullable=False, comment="the document, compressed"),
    Column("document", JSONB, nullable=False, comment="the document without links and assets, for searches"),
    Column("footprint", Geometry(srid=4326, spatial_index=False), comment="the boxes of the spatial extent"),
    Column("min_height", Double, comment="lowest height of the boxes with 6 numbers; null means 0"),
    Column("max_height", Double, comment="highest height of the boxes with 6 numbers; null means 0"),
    Column("intervals", TSTZMULTIRANGE, comment="the intervals of the temporal extent"),
    Column("search_text", Text, comment="the texts that free text (q) searches, case-folded"),
    Column(
        "max_duration_seconds",
        Double,
        nullable=False,
        server_default="0",
        comment="no item's range is longer; never lowered",
    ),
    Column(
        "has_datetimes",
        Boolean,
        nullable=False,
        server_default=false(),
        comment="an item has, or once had, a datetime that is not null",
    ),
    Index("collections_max_duration_seconds_idx", "max_duration_seconds"),
)

items = Table(
    "items",
    metadata,
    Column("collection", _name(), primary_key=True),
    Column("id", _name(), primary_key=True),
    Column("datetime", DateTime(timezone=True), nullable=False, comment="datetime; start_datetime if datetime is null"),
    Column(
        "start_datetime",
        DateTime(timezone=True),
        nullable=False,
        comment="start_datetime; datetime if the item has none",
    ),
    Column(
        "end_datetime", DateTime(timezone=True), nullable=False, comment="end_datetime; datetime if the item has none"
    ),
    Column("geometry", Geometry(srid=4326, spatial_index=False), comment="cut at the antimeridian and made valid"),
    Column("min_height", Double, comment="lowest height of the geometry and the bbox; null means 0"),
    Column("max_height", Double, comment="highest height of the geometry and the bbox; null means 0"),
    Column("properties", JSONB, nullable=False, comment="the properties, for searches"),
    Column("body", LargeBinary, nullable=False, comment="the document, compressed"),
    Column("has_datetime", Boolean, nullable=False, server_default=true(), comment="the item's datetime is not null"),
    Column(
        "has_start_datetime",
        Boolean,
        nullable=False,
        server_default=false(),
        comment="the item has a start_datetime",
    ),
    Column("has_end_datetime", Boolean, nullable=False, server_default=false(), comment="the item has an end_datetime"),
    Index("items_id_idx", "id"),
    Index("items_datetime_idx", "datetime", "collection", "id"),
    Index("items_collection_datetime_idx", "collection", "datetime", "id"),
    # For lists by datetime, which end with the items that have none.
    Index("items_without_datetime_idx", "collection", "datetime", "id", postgresql_where=text("NOT has_datetime")),
    # Without items that have no geometry: PostgreSQL would use the index for datetime alone, and is slow with it.
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
    Column("id", BigInteger, primary_key=True, autoincrement=False, comment="the zstd dictionary id of frames"),
    Column("collection", _name(), nullable=False, comment="the collection of the items that it was trained on"),
    Column("created", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column(
        "data",
        LargeBinary,
        nullable=False,
        comment="never delete: documents compressed with it cannot be read without it",
    ),
)

statistics = Table(
    "statistics",
    metadata,
    Column("collection", _name(), primary_key=True),
    Column("properties", JSONB, nullable=False, comment="types, ranges and values of the items' properties"),
    Column("refreshing", JSONB, comment="the same of items written since a refresh began; null: no refresh is running"),
)
