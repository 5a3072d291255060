"""Create the tables of limits and usage.

Usage is summed by spans of time: a month of downloads is hundreds of rows, not millions.
"""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(BOOK_DOWNLOAD)


def downgrade() -> None:
    op.execute("DROP FUNCTION plugin_quota_book_download")
    op.execute("DROP TABLE plugin_quota_openings, plugin_quota_usage, plugin_quota_limits")


# IF NOT EXISTS: a database from before 0.1.0 has these tables, see docs/operations.md.
TABLES = """
CREATE TABLE IF NOT EXISTS plugin_quota_limits (
    group_name text COLLATE "C" PRIMARY KEY,
    downloads bigint,
    bytes bigint,
    window_seconds bigint NOT NULL
);
COMMENT ON COLUMN plugin_quota_limits.group_name IS 'or * all, @ all authenticated principals';
COMMENT ON COLUMN plugin_quota_limits.downloads IS 'null: not limited here';
COMMENT ON COLUMN plugin_quota_limits.bytes IS 'null: not limited here';
CREATE TABLE IF NOT EXISTS plugin_quota_usage (
    principal text COLLATE "C",
    since timestamptz,
    downloads bigint NOT NULL,
    bytes bigint NOT NULL,
    PRIMARY KEY (principal, since)
);
COMMENT ON COLUMN plugin_quota_usage.since IS 'beginning of the span';
CREATE TABLE IF NOT EXISTS plugin_quota_openings (
    principal text COLLATE "C",
    collection text COLLATE "C",
    item text COLLATE "C",
    asset text COLLATE "C",
    opened timestamptz NOT NULL,
    bytes bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (principal, collection, item, asset)
);
COMMENT ON COLUMN plugin_quota_openings.item IS 'empty for an asset of the collection itself';
COMMENT ON COLUMN plugin_quota_openings.asset IS 'an asset, or a file in a directory asset as asset/path';
COMMENT ON COLUMN plugin_quota_openings.opened IS 'when it was last counted as a download';
COMMENT ON COLUMN plugin_quota_openings.bytes IS 'bytes of this download';
"""

# Locks the principal, reads the usage, and books a byte range of a download if the limits allow it.
# The lock and the query must be two statements, because a statement sees only what was committed when it began. In a
# function they are one round trip instead of five, and the lock is held for less time.
# p_file is p_asset, or p_asset/path for a file in a directory asset. p_begins: the range begins a download.
# p_size is the length of the range in bytes, p_file_size that of the file (null if unknown). p_span is the number of
# seconds that a row of plugin_quota_usage sums up. A limit that is null does not apply.
BOOK_DOWNLOAD = """
CREATE OR REPLACE FUNCTION plugin_quota_book_download(
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
