"""Booking of plugin ``quota`` with less to work out: one moment for each limit, and no age for each row.

Who takes something all day has as many rows as a day has stretches, and each of them is looked at for every download.
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

ARGUMENTS = """
    a_principal text, a_collection text, a_item text, a_asset text,
    a_opening boolean, a_size bigint, a_grain bigint,
    a_downloads_for bigint, a_bytes_for bigint,
    a_most_downloads bigint, a_most_bytes bigint
) RETURNS TABLE (
    used_downloads bigint, used_bytes bigint, oldest_downloads double precision, oldest_bytes double precision,
    was_opened boolean, booked boolean
"""

BOOK = """
DECLARE
    moment timestamptz;
    downloads_since timestamptz;
    bytes_since timestamptz;
    earliest timestamptz;
    first_download timestamptz;
    first_byte timestamptz;
    cost bigint;
    fresh boolean;
BEGIN
    -- What a crash of the database may forget are the bookings of its last second; nobody waits for its disk.
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM pg_advisory_xact_lock(hashtextextended('stacflask.quota/' || a_principal, 0));
    moment := clock_timestamp();
    downloads_since := moment - make_interval(secs => a_downloads_for);
    bytes_since := moment - make_interval(secs => a_bytes_for);
    earliest := least(downloads_since, bytes_since);

    SELECT coalesce(sum(u.downloads) FILTER (WHERE u.since > downloads_since), 0),
           coalesce(sum(u.bytes) FILTER (WHERE u.since > bytes_since), 0),
           min(u.since) FILTER (WHERE u.since > downloads_since AND u.downloads > 0),
           min(u.since) FILTER (WHERE u.since > bytes_since AND u.bytes > 0)
    INTO used_downloads, used_bytes, first_download, first_byte
    FROM plugin_quota_usage AS u WHERE u.principal = a_principal AND u.since > earliest;
    oldest_downloads := extract(epoch FROM moment - first_download);
    oldest_bytes := extract(epoch FROM moment - first_byte);

    -- A further part of what was opened before is no further download; the beginning always is one.
    was_opened := NOT a_opening AND EXISTS (
        SELECT FROM plugin_quota_openings AS o
        WHERE o.principal = a_principal AND o.collection = a_collection AND o.item = a_item AND o.asset = a_asset
        AND o.opened > downloads_since
    );
    cost := CASE WHEN was_opened THEN 0 ELSE 1 END;
    booked := (a_most_downloads IS NULL OR used_downloads + cost <= a_most_downloads)
        AND (a_most_bytes IS NULL OR used_bytes + a_size <= a_most_bytes);
    IF booked THEN
        IF cost > 0 AND a_most_downloads IS NOT NULL THEN
            INSERT INTO plugin_quota_openings AS o (principal, collection, item, asset, opened)
            VALUES (a_principal, a_collection, a_item, a_asset, moment)
            ON CONFLICT (principal, collection, item, asset) DO UPDATE SET opened = excluded.opened;
        END IF;
        INSERT INTO plugin_quota_usage AS u (principal, since, downloads, bytes)
        VALUES (a_principal, to_timestamp(floor(extract(epoch FROM moment) / a_grain) * a_grain), cost, a_size)
        ON CONFLICT (principal, since)
        DO UPDATE SET downloads = u.downloads + excluded.downloads, bytes = u.bytes + excluded.bytes
        RETURNING u.xmax = 0 INTO fresh;
        IF fresh THEN
            -- Once in a stretch: the other bookings pay nothing for it.
            DELETE FROM plugin_quota_usage AS u WHERE u.principal = a_principal AND u.since < earliest;
            DELETE FROM plugin_quota_openings AS o WHERE o.principal = a_principal AND o.opened < earliest;
        END IF;
    END IF;
    RETURN NEXT;
END
"""

BEFORE = """
DECLARE
    moment timestamptz;
    longest interval := make_interval(secs => greatest(a_downloads_for, a_bytes_for));
    cost bigint;
    fresh boolean;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM pg_advisory_xact_lock(hashtextextended('stacflask.quota/' || a_principal, 0));
    moment := clock_timestamp();

    SELECT coalesce(sum(taken.downloads) FILTER (WHERE age < a_downloads_for), 0),
           coalesce(sum(taken.bytes) FILTER (WHERE age < a_bytes_for), 0),
           max(age) FILTER (WHERE age < a_downloads_for AND taken.downloads > 0),
           max(age) FILTER (WHERE age < a_bytes_for AND taken.bytes > 0)
    INTO used_downloads, used_bytes, oldest_downloads, oldest_bytes
    FROM (
        SELECT u.downloads, u.bytes, extract(epoch FROM moment - u.since) AS age
        FROM plugin_quota_usage AS u WHERE u.principal = a_principal AND u.since > moment - longest
    ) AS taken;
    was_opened := EXISTS (
        SELECT FROM plugin_quota_openings AS o
        WHERE o.principal = a_principal AND o.collection = a_collection AND o.item = a_item AND o.asset = a_asset
        AND o.opened > moment - make_interval(secs => a_downloads_for)
    );

    cost := CASE WHEN was_opened AND NOT a_opening THEN 0 ELSE 1 END;
    booked := (a_most_downloads IS NULL OR used_downloads + cost <= a_most_downloads)
        AND (a_most_bytes IS NULL OR used_bytes + a_size <= a_most_bytes);
    IF booked THEN
        IF cost > 0 AND a_most_downloads IS NOT NULL THEN
            INSERT INTO plugin_quota_openings AS o (principal, collection, item, asset, opened)
            VALUES (a_principal, a_collection, a_item, a_asset, moment)
            ON CONFLICT (principal, collection, item, asset) DO UPDATE SET opened = excluded.opened;
        END IF;
        INSERT INTO plugin_quota_usage AS u (principal, since, downloads, bytes)
        VALUES (a_principal, to_timestamp(floor(extract(epoch FROM moment) / a_grain) * a_grain), cost, a_size)
        ON CONFLICT (principal, since)
        DO UPDATE SET downloads = u.downloads + excluded.downloads, bytes = u.bytes + excluded.bytes
        RETURNING u.xmax = 0 INTO fresh;
        IF fresh THEN
            DELETE FROM plugin_quota_usage AS u WHERE u.principal = a_principal AND u.since < moment - longest;
            DELETE FROM plugin_quota_openings AS o WHERE o.principal = a_principal AND o.opened < moment - longest;
        END IF;
    END IF;
    RETURN NEXT;
END
"""


def upgrade() -> None:
    define(BOOK)


def downgrade() -> None:
    define(BEFORE)


def define(body: str) -> None:
    op.execute(f"CREATE OR REPLACE FUNCTION plugin_quota_book({ARGUMENTS}) LANGUAGE plpgsql AS $${body}$$")
