"""Create the schema: extensions, functions, the tables of the catalogue.

docs/architecture.md, "Names in the database", states how tables, columns, functions and indexes are named.
"""

from typing import Any

import sqlalchemy as sa
from geoalchemy2 import Geometry
from sqlalchemy.dialects.postgresql import JSONB, TSTZMULTIRANGE

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create all objects."""
    create_extensions()
    create_functions()
    create_collections()
    create_items()
    create_dictionaries()
    create_statistics()


def downgrade() -> None:
    """Drop all objects except the extensions, which other schemas may use."""
    for table in reversed(TABLES):
        op.drop_table(table)
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}")


# In the order of their foreign keys.
TABLES = (
    "collections",
    "items",
    "dictionaries",
    "statistics",
)
FUNCTIONS = ("stacflask_parse_instant", "stacflask_is_disjoint", "stacflask_extend_time")


# --- Column types -----------------------------------------------------------------------------------------------------


def text(name: str, **options: Any) -> sa.Column:
    """Return a column of text that compares by code point, so that no order depends on a locale."""
    return sa.Column(name, sa.Text(collation="C"), **{"nullable": False, **options})


def moment(name: str, **options: Any) -> sa.Column:
    return sa.Column(name, sa.DateTime(timezone=True), **{"nullable": False, **options})


def geometry(name: str, **options: Any) -> sa.Column:
    return sa.Column(name, Geometry(srid=4326, spatial_index=False), **options)


def number(name: str, **options: Any) -> sa.Column:
    return sa.Column(name, sa.Double, **options)


def flag(name: str, *, default: bool, comment: str) -> sa.Column:
    value = sa.true() if default else sa.false()
    return sa.Column(name, sa.Boolean, nullable=False, server_default=value, comment=comment)


NOW = sa.func.now()


# --- Extensions -------------------------------------------------------------------------------------------------------


def create_extensions() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS postgis")
    # For the index on geometry and datetime.
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")


# --- Functions --------------------------------------------------------------------------------------------------------


def create_functions() -> None:
    for statement in (PARSE_INSTANT, IS_DISJOINT, EXTEND_TIME):
        execute(statement)


def execute(statement: str) -> None:
    """Execute SQL as it is written: SQLAlchemy would read colons in it as parameters."""
    op.get_bind().exec_driver_sql(statement.replace("%", "%%"))


DAY = (
    "([0-9]{4}-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)"
    "|([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)"
)
TIME = "[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]+)?([Zz]|[+-](0[0-9]|1[0-5]):[0-5][0-9])"

# Returns the instant of a string in RFC 3339, the beginning (UTC) of an RFC 3339 date, or null for other strings.
# PostgreSQL does not index a cast from text, because its result can depend on the session's time zone. Here every
# string has an offset of its own. Digits after microseconds are cut off: a cast rounds them, and refuses long ones.
PARSE_INSTANT = f"""
CREATE FUNCTION stacflask_parse_instant(value text) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    -- The calendar has no year 0.
    IF value COLLATE "C" < '0001' THEN
        RETURN NULL;
    ELSIF value ~ '^{DAY}{TIME}$' THEN
        RETURN CASE WHEN substr(value, 27, 1) ~ '[0-9]' AND substr(value, 20, 1) = '.'
            THEN regexp_replace(value, '([.][0-9]{{6}})[0-9]+', '\\1')::timestamptz
            ELSE value::timestamptz END;
    ELSIF value ~ '^{DAY}$' THEN
        RETURN (value || 'T00:00:00Z')::timestamptz;
    END IF;
    RETURN NULL;
END $$
"""

# Returns whether two geometries have no point in common.
# PostGIS declares a cost of 5,000 for ST_Intersects. The planner then reads whole indexes to avoid some thousand calls
# for footprints with a few corners, which take microseconds each. The function is the negation, because the planner
# expects a third of all rows where a function is true, and two thirds where it is false.
# GEOS 3.11 prepares a geometry that recurs from row to row. It misses collections that a prepared line meets in a point
# only, or within an area. So the parts of a collection are compared one by one.
IS_DISJOINT = """
CREATE FUNCTION stacflask_is_disjoint(one geometry, other geometry) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 200 AS $$
BEGIN
    IF GeometryType(one) = 'GEOMETRYCOLLECTION' THEN
        RETURN NOT EXISTS (SELECT FROM ST_Dump(one) AS part WHERE ST_Intersects(part.geom, other));
    ELSIF GeometryType(other) = 'GEOMETRYCOLLECTION' THEN
        RETURN NOT EXISTS (SELECT FROM ST_Dump(other) AS part WHERE ST_Intersects(one, part.geom));
    END IF;
    RETURN NOT ST_Intersects(one, other);
END $$
"""

# Returns a time moved by the longest duration of an item, of one collection or with null of all, into the past
# (direction -1) or into the future (1). No item that meets an interval has its datetime beyond its extended ends.
# The function is stable, and not a subquery, so that the planner computes it to estimate the number of items.
EXTEND_TIME = """
CREATE FUNCTION stacflask_extend_time(moment timestamptz, direction integer, collection text) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE longest double precision;
BEGIN
    IF collection IS NULL THEN
        SELECT max(max_duration_seconds) INTO longest FROM collections;
    ELSE
        SELECT max_duration_seconds INTO longest FROM collections WHERE id = collection;
    END IF;
    -- Far from any item's time, and within the range of the type.
    IF longest > 1e11 THEN
        RETURN CASE WHEN direction < 0 THEN '-infinity' ELSE 'infinity' END;
    END IF;
    RETURN moment + direction * make_interval(secs => coalesce(longest, 0));
END $$
"""


# --- Catalogue --------------------------------------------------------------------------------------------------------


def create_collections() -> None:
    op.create_table(
        "collections",
        text("id"),
        sa.Column("body", sa.LargeBinary, nullable=False, comment="the document, compressed"),
        sa.Column("document", JSONB, nullable=False, comment="the document without links and assets, for searches"),
        geometry("footprint", comment="the boxes of the spatial extent"),
        number("min_height", comment="lowest height of the boxes with 6 numbers; null means 0"),
        number("max_height", comment="highest height of the boxes with 6 numbers; null means 0"),
        sa.Column("intervals", TSTZMULTIRANGE, comment="the intervals of the temporal extent"),
        sa.Column("search_text", sa.Text, comment="the texts that free text (q) searches, case-folded"),
        # Raised in the transaction of the item that needs it, never lowered: a bound for searches by interval.
        number(
            "max_duration_seconds",
            nullable=False,
            server_default="0",
            comment="no item's range is longer; never lowered",
        ),
        flag("has_datetimes", default=False, comment="an item has, or once had, a datetime that is not null"),
        sa.PrimaryKeyConstraint("id", name="collections_pkey"),
    )
    op.create_index("collections_max_duration_seconds_idx", "collections", ["max_duration_seconds"])


def create_items() -> None:
    op.create_table(
        "items",
        text("collection"),
        text("id"),
        moment("datetime", comment="datetime; start_datetime if datetime is null"),
        moment("start_datetime", comment="start_datetime; datetime if the item has none"),
        moment("end_datetime", comment="end_datetime; datetime if the item has none"),
        geometry("geometry", comment="cut at the antimeridian and made valid"),
        number("min_height", comment="lowest height of the geometry and the bbox; null means 0"),
        number("max_height", comment="highest height of the geometry and the bbox; null means 0"),
        sa.Column("properties", JSONB, nullable=False, comment="the properties, for searches"),
        sa.Column("body", sa.LargeBinary, nullable=False, comment="the document, compressed"),
        flag("has_datetime", default=True, comment="the item's datetime is not null"),
        flag("has_start_datetime", default=False, comment="the item has a start_datetime"),
        flag("has_end_datetime", default=False, comment="the item has an end_datetime"),
        sa.PrimaryKeyConstraint("collection", "id", name="items_pkey"),
    )
    # A search reads one page for a row, not three more for properties over 2 KB: columns move out of the row only if it
    # does not fit a page. lz4 is several times faster than the default, and gives up early on the compressed body.
    for column in ("properties", "body"):
        op.execute(f"ALTER TABLE items ALTER {column} SET STORAGE MAIN, ALTER {column} SET COMPRESSION lz4")
    op.create_index("items_id_idx", "items", ["id"])
    op.create_index("items_datetime_idx", "items", ["datetime", "collection", "id"])
    op.create_index("items_collection_datetime_idx", "items", ["collection", "datetime", "id"])
    op.create_index(
        "items_without_datetime_idx",
        "items",
        ["collection", "datetime", "id"],
        postgresql_where=sa.text("NOT has_datetime"),
    )
    # Without items that have no geometry: PostgreSQL would use the index for datetime alone, and is slow with it.
    op.create_index(
        "items_geometry_datetime_idx",
        "items",
        ["geometry", "datetime"],
        postgresql_using="gist",
        postgresql_where=sa.text("geometry IS NOT NULL"),
    )


def create_dictionaries() -> None:
    op.create_table(
        "dictionaries",
        sa.Column("id", sa.BigInteger, autoincrement=False, nullable=False, comment="the zstd dictionary id of frames"),
        text("collection", comment="the collection of the items that it was trained on"),
        moment("created", server_default=NOW),
        sa.Column(
            "data",
            sa.LargeBinary,
            nullable=False,
            comment="never delete: documents compressed with it cannot be read without it",
        ),
        sa.PrimaryKeyConstraint("id", name="dictionaries_pkey"),
    )


def create_statistics() -> None:
    op.create_table(
        "statistics",
        text("collection"),
        sa.Column("properties", JSONB, nullable=False, comment="types, ranges and values of the items' properties"),
        sa.Column(
            "refreshing",
            JSONB,
            comment="the same of items written since a refresh began; null: no refresh is running",
        ),
        sa.PrimaryKeyConstraint("collection", name="statistics_pkey"),
    )
