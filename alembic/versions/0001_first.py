"""Create the schema: extensions, functions, the tables of the catalogue, the tables of the plugins.

docs/architecture.md, "Names in the database", states how tables, columns, functions and indexes are named.
"""

from typing import Any

import sqlalchemy as sa
from geoalchemy2 import Geometry
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSTZMULTIRANGE

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
    create_plugin_api_keys()
    create_plugin_audit()
    create_plugin_collection_groups()
    create_plugin_licence()
    create_plugin_links()
    create_plugin_login()
    create_plugin_orders()
    create_plugin_quota()


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
    "plugin_api_keys",
    "plugin_audit_events",
    "plugin_audit_salts",
    "plugin_audit_store_requests",
    "plugin_collection_groups_grants",
    "plugin_licence_versions",
    "plugin_licence_collections",
    "plugin_licence_acceptances",
    "plugin_links",
    "plugin_links_openings",
    "plugin_login_sessions",
    "plugin_orders",
    "plugin_quota_limits",
    "plugin_quota_usage",
    "plugin_quota_openings",
)
FUNCTIONS = (
    "stacflask_parse_instant",
    "stacflask_is_disjoint",
    "stacflask_extend_time",
    "plugin_quota_book_download",
)


# --- Column types -----------------------------------------------------------------------------------------------------


def text(name: str, **options: Any) -> sa.Column:
    """Return a column of text that compares by code point, so that no order depends on a locale."""
    return sa.Column(name, sa.Text(collation="C"), **{"nullable": False, **options})


def texts(name: str, **options: Any) -> sa.Column:
    return sa.Column(name, ARRAY(sa.Text), **{"nullable": False, **options})


def prose(name: str, **options: Any) -> sa.Column:
    """Return a column of text that nothing is compared with."""
    return sa.Column(name, sa.Text, **options)


def moment(name: str, **options: Any) -> sa.Column:
    return sa.Column(name, sa.DateTime(timezone=True), **{"nullable": False, **options})


def count(name: str, **options: Any) -> sa.Column:
    return sa.Column(name, sa.BigInteger, **{"nullable": False, **options})


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


# --- Plugin api_keys --------------------------------------------------------------------------------------------------


def create_plugin_api_keys() -> None:
    """Only a hash of each key is stored. Revoked keys stay, so that operators see which principal they had."""
    op.create_table(
        "plugin_api_keys",
        text("id", comment="the public part of the key"),
        sa.Column("hash", sa.LargeBinary, nullable=False, comment="SHA-256 of the whole key"),
        text("name", comment="the principal's id"),
        texts("groups"),
        texts("scopes"),
        prose("note"),
        moment("created", server_default=NOW),
        moment("expires", nullable=True),
        moment("revoked", nullable=True),
        sa.Column("last_used", sa.Date, comment="UTC; a day, so that a key in use is seldom written"),
        sa.PrimaryKeyConstraint("id", name="plugin_api_keys_pkey"),
    )


# --- Plugin audit -----------------------------------------------------------------------------------------------------


def create_plugin_audit() -> None:
    """Rows are added in the order of time and read by time, so BRIN indexes suffice, which cost little on insert.

    Pages keep 10% free, so that removing personal data updates rows in place.
    """
    op.create_table(
        "plugin_audit_events",
        moment("at"),
        text("event", comment="granted, refused or finished"),
        text("id", comment="id of the grant; finished has that of its granted"),
        text("request", nullable=True, comment="X-Request-ID"),
        text("method", nullable=True),
        text("principal", nullable=True, comment="null if removed"),
        texts("groups", nullable=True),
        text("address", nullable=True, comment="the client's, as configured; null if not recorded, or removed"),
        text("agent", nullable=True),
        text("collection"),
        text("item", nullable=True, comment="null for an asset of the collection itself"),
        text("asset"),
        text("path", nullable=True, comment="of a file in a directory asset; else empty"),
        text("by", nullable=True, comment="the plugin that decided; empty if stacflask did"),
        text("reason", nullable=True),
        text("code", nullable=True, comment="error code in the response to a refused request"),
        texts("others", nullable=True, comment="other plugins that would have refused, as plugin: reason"),
        text("delivery", nullable=True, comment="redirect or stream"),
        count("declared", nullable=True, comment="file:size"),
        count("first", nullable=True, comment="first byte"),
        count("length", nullable=True, comment="bytes of the response; null if unknown"),
        count("sent", nullable=True, comment="bytes sent, if finished"),
        sa.Column("complete", sa.Boolean),
        number("seconds"),
        text("scheme", nullable=True, comment="kind of credential; empty for anonymous clients"),
        text("credential", nullable=True, comment="the credential without its secret; null if removed"),
        postgresql_with={"fillfactor": "90"},
    )
    op.create_index("plugin_audit_events_at_idx", "plugin_audit_events", ["at"], postgresql_using="brin")
    op.create_table(
        "plugin_audit_store_requests",
        text("log_entry", comment="the store's id of the request, so that an imported log is counted once"),
        moment("at"),
        text("id", nullable=True, comment="id of the grant, if the signed URL has one"),
        text("bucket"),
        text("key"),
        sa.Column("status", sa.Integer, nullable=False),
        count("sent"),
        sa.PrimaryKeyConstraint("log_entry", name="plugin_audit_store_requests_pkey"),
    )
    op.create_index(
        "plugin_audit_store_requests_at_idx", "plugin_audit_store_requests", ["at"], postgresql_using="brin"
    )
    op.create_table(
        "plugin_audit_salts",
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("day", name="plugin_audit_salts_pkey"),
    )


# --- Plugin collection_groups -----------------------------------------------------------------------------------------


def create_plugin_collection_groups() -> None:
    """The primary key begins with the group, because requests read by groups, and the index with the collection."""
    op.create_table(
        "plugin_collection_groups_grants",
        text("group_name", comment="or * all, @ all authenticated principals, - none"),
        text("collection"),
        text("action"),
        sa.PrimaryKeyConstraint("group_name", "collection", "action", name="plugin_collection_groups_grants_pkey"),
        sa.CheckConstraint(
            "action IN ('see', 'preview', 'download', 'write')",
            name=op.f("plugin_collection_groups_grants_action_check"),
        ),
    )
    op.create_index(
        "plugin_collection_groups_grants_collection_idx",
        "plugin_collection_groups_grants",
        ["collection", "action"],
    )


# --- Plugin licence ---------------------------------------------------------------------------------------------------


def create_plugin_licence() -> None:
    """A version that a principal accepted cannot be deleted, so that the record shows the text that was accepted."""
    # Not now(): of two versions that one transaction adds, one is the newest.
    now = sa.text("clock_timestamp()")
    op.create_table(
        "plugin_licence_versions",
        text("id", comment="the licence"),
        text("version"),
        prose("title", nullable=False),
        prose("text"),
        prose("url"),
        moment("created", server_default=now),
        sa.PrimaryKeyConstraint("id", "version", name="plugin_licence_versions_pkey"),
    )
    op.create_table(
        "plugin_licence_collections",
        text("collection"),
        text("licence"),
        sa.PrimaryKeyConstraint("collection", "licence", name="plugin_licence_collections_pkey"),
    )
    op.create_table(
        "plugin_licence_acceptances",
        text("principal"),
        text("licence"),
        text("version"),
        moment("accepted", server_default=now),
        sa.PrimaryKeyConstraint("principal", "licence", "version", name="plugin_licence_acceptances_pkey"),
        sa.ForeignKeyConstraint(
            ["licence", "version"],
            ["plugin_licence_versions.id", "plugin_licence_versions.version"],
            name="plugin_licence_acceptances_licence_fkey",
        ),
    )


# --- Plugin links -----------------------------------------------------------------------------------------------------


def create_plugin_links() -> None:
    """Links are signed, so the links themselves are not stored. Revoked ones stay, so that their creators see them."""
    op.create_table(
        "plugin_links",
        text("id"),
        text("principal", comment="the creator's id"),
        text("scheme", comment="kind of the creator's credential"),
        text("reference", comment="the creator's credential without its secret"),
        texts("groups", comment="the creator's groups when the link was created"),
        texts("scopes", nullable=True, comment="the creator's scopes when the link was created; null: all"),
        text("path", comment="the collection, item or asset that the link opens, with everything below"),
        texts("addresses", comment="networks of clients; empty: all"),
        count("downloads", nullable=True, comment="maximum number of downloads; null: not counted"),
        count("used", server_default="0", comment="downloads so far"),
        prose("note"),
        moment("created", server_default=NOW),
        moment("expires"),
        moment("revoked", nullable=True),
        sa.PrimaryKeyConstraint("id", name="plugin_links_pkey"),
        sa.CheckConstraint("downloads IS NULL OR used <= downloads", name=op.f("plugin_links_used_check")),
    )
    op.create_index("plugin_links_principal_idx", "plugin_links", ["principal", "scheme", "created"])
    op.create_index("plugin_links_expires_idx", "plugin_links", ["expires"])
    op.create_table(
        "plugin_links_openings",
        text("link"),
        text("collection"),
        text("item"),
        text("asset", comment="an asset, or a file in a directory asset as asset/path"),
        text("address", comment="the client's"),
        moment("opened", comment="beginning of the download"),
        count("bytes", server_default="0", comment="bytes of this download"),
        sa.PrimaryKeyConstraint("link", "collection", "item", "asset", "address", name="plugin_links_openings_pkey"),
        sa.ForeignKeyConstraint(
            ["link"], ["plugin_links.id"], name="plugin_links_openings_link_fkey", ondelete="CASCADE"
        ),
    )


# --- Plugin login -----------------------------------------------------------------------------------------------------


def create_plugin_login() -> None:
    op.create_table(
        "plugin_login_sessions",
        sa.Column("hash", sa.LargeBinary, nullable=False, comment="SHA-256 of the cookie"),
        text("principal"),
        texts("groups"),
        texts("scopes"),
        prose("provider", nullable=False, comment="its name in the setting"),
        prose("id_token", nullable=False, comment="sent to the provider at logout"),
        moment("created", server_default=NOW),
        moment("expires"),
        sa.PrimaryKeyConstraint("hash", name="plugin_login_sessions_pkey"),
    )
    op.create_index("plugin_login_sessions_principal_idx", "plugin_login_sessions", ["principal"])
    op.create_index("plugin_login_sessions_expires_idx", "plugin_login_sessions", ["expires"])


# --- Plugin orders ----------------------------------------------------------------------------------------------------


def create_plugin_orders() -> None:
    key = ("collection", "item", "asset", "path", "principal")
    op.create_table(
        "plugin_orders",
        *map(text, key),
        moment("ordered", server_default=NOW),
        moment("ready", nullable=True, comment="null while the store prepares the object"),
        sa.PrimaryKeyConstraint(*key, name="plugin_orders_pkey"),
    )
    op.create_index(
        "plugin_orders_not_ready_idx", "plugin_orders", ["ordered"], postgresql_where=sa.text("ready IS NULL")
    )


# --- Plugin quota -----------------------------------------------------------------------------------------------------


def create_plugin_quota() -> None:
    """Usage is summed by spans of time: a month of downloads is hundreds of rows, not millions."""
    op.create_table(
        "plugin_quota_limits",
        text("group_name", comment="or * all, @ all authenticated principals"),
        count("downloads", nullable=True, comment="null: not limited here"),
        count("bytes", nullable=True, comment="null: not limited here"),
        count("window_seconds"),
        sa.PrimaryKeyConstraint("group_name", name="plugin_quota_limits_pkey"),
    )
    op.create_table(
        "plugin_quota_usage",
        text("principal"),
        moment("since", comment="beginning of the span"),
        count("downloads"),
        count("bytes"),
        sa.PrimaryKeyConstraint("principal", "since", name="plugin_quota_usage_pkey"),
    )
    op.create_table(
        "plugin_quota_openings",
        text("principal"),
        text("collection"),
        text("item", comment="empty for an asset of the collection itself"),
        text("asset", comment="an asset, or a file in a directory asset as asset/path"),
        moment("opened", comment="when it was last counted as a download"),
        count("bytes", server_default="0", comment="bytes of this download"),
        sa.PrimaryKeyConstraint("principal", "collection", "item", "asset", name="plugin_quota_openings_pkey"),
    )
    execute(BOOK_DOWNLOAD)


# Locks the principal, reads the usage, and books a byte range of a download if the limits allow it.
# The lock and the query must be two statements, because a statement sees only what was committed when it began. In a
# function they are one round trip instead of five, and the lock is held for less time.
# p_file is p_asset, or p_asset/path for a file in a directory asset. p_begins: the range begins a download.
# p_size is the length of the range in bytes, p_file_size that of the file (null if unknown). p_span is the number of
# seconds that a row of plugin_quota_usage sums up. A limit that is null does not apply.
BOOK_DOWNLOAD = """
CREATE FUNCTION plugin_quota_book_download(
    p_principal text, p_collection text, p_item text, p_asset text, p_file text,
    p_begins boolean, p_size bigint, p_file_size bigint, p_span bigint,
    p_downloads_window bigint, p_bytes_window bigint,
    p_downloads_limit bigint, p_bytes_limit bigint
) RETURNS TABLE (
    used_downloads bigint, used_bytes bigint, oldest_downloads double precision, oldest_bytes double precision,
    cost bigint, booked boolean
) LANGUAGE plpgsql AS $$
DECLARE
    moment timestamptz;
    downloads_since timestamptz;
    bytes_since timestamptz;
    earliest timestamptz;
    first_download timestamptz;
    first_byte timestamptz;
    opening timestamptz;
    already bigint := 0;
    is_new_span boolean;
BEGIN
    -- A crash of the database may lose the bookings of its last second; no booking waits for the disk.
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM pg_advisory_xact_lock(hashtextextended('stacflask.quota/' || p_principal, 0));
    moment := clock_timestamp();
    downloads_since := moment - make_interval(secs => p_downloads_window);
    bytes_since := moment - make_interval(secs => p_bytes_window);
    earliest := least(downloads_since, bytes_since);

    SELECT coalesce(sum(u.downloads) FILTER (WHERE u.since > downloads_since), 0),
           coalesce(sum(u.bytes) FILTER (WHERE u.since > bytes_since), 0),
           min(u.since) FILTER (WHERE u.since > downloads_since AND u.downloads > 0),
           min(u.since) FILTER (WHERE u.since > bytes_since AND u.bytes > 0)
    INTO used_downloads, used_bytes, first_download, first_byte
    FROM plugin_quota_usage AS u WHERE u.principal = p_principal AND u.since > earliest;
    oldest_downloads := extract(epoch FROM moment - first_download);
    oldest_bytes := extract(epoch FROM moment - first_byte);

    -- A further part of an opened asset is no further download, up to twice the size of its file. The beginning of a
    -- file always is one, but not of a file in a directory.
    IF NOT p_begins THEN
        SELECT o.opened INTO opening FROM plugin_quota_openings AS o
        WHERE o.principal = p_principal AND o.collection = p_collection AND o.item = p_item AND o.asset = p_asset
        AND o.opened > downloads_since;
    END IF;
    IF opening IS NOT NULL THEN
        SELECT o.bytes INTO already FROM plugin_quota_openings AS o
        WHERE o.principal = p_principal AND o.collection = p_collection AND o.item = p_item AND o.asset = p_file
        AND o.opened >= opening;
        already := coalesce(already, 0);
    END IF;
    cost := CASE
        WHEN opening IS NOT NULL AND (p_file_size IS NULL OR already + p_size <= 2 * p_file_size) THEN 0
        ELSE 1
    END;
    booked := (p_downloads_limit IS NULL OR used_downloads + cost <= p_downloads_limit)
        AND (p_bytes_limit IS NULL OR used_bytes + p_size <= p_bytes_limit);
    IF booked THEN
        IF p_downloads_limit IS NOT NULL THEN
            IF cost > 0 THEN
                opening := moment;
                already := 0;
            END IF;
            IF cost > 0 AND p_file <> p_asset THEN
                INSERT INTO plugin_quota_openings AS o (principal, collection, item, asset, opened)
                VALUES (p_principal, p_collection, p_item, p_asset, moment)
                ON CONFLICT (principal, collection, item, asset) DO UPDATE SET opened = excluded.opened, bytes = 0;
            END IF;
            INSERT INTO plugin_quota_openings AS o (principal, collection, item, asset, opened, bytes)
            VALUES (p_principal, p_collection, p_item, p_file, opening, already + p_size)
            ON CONFLICT (principal, collection, item, asset)
            DO UPDATE SET opened = excluded.opened, bytes = excluded.bytes;
        END IF;
        INSERT INTO plugin_quota_usage AS u (principal, since, downloads, bytes)
        VALUES (p_principal, to_timestamp(floor(extract(epoch FROM moment) / p_span) * p_span), cost, p_size)
        ON CONFLICT (principal, since)
        DO UPDATE SET downloads = u.downloads + excluded.downloads, bytes = u.bytes + excluded.bytes
        RETURNING u.xmax = 0 INTO is_new_span;
        IF is_new_span THEN
            -- Once in a span, so that other bookings do not pay for it.
            DELETE FROM plugin_quota_usage AS u WHERE u.principal = p_principal AND u.since < earliest;
            DELETE FROM plugin_quota_openings AS o WHERE o.principal = p_principal AND o.opened < earliest;
        END IF;
    END IF;
    RETURN NEXT;
END $$
"""
