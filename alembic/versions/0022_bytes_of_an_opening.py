"""Bytes of an opening, for the plugins ``quota`` and ``links``: further parts are free only up to twice an asset's size.

A file of a directory asset has a row of its own, with the time of the opening that it belongs to.
"""

import runpy
from pathlib import Path

import sqlalchemy as sa

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

ARGUMENTS = """
    a_principal text, a_collection text, a_item text, a_asset text, a_file text,
    a_opening boolean, a_size bigint, a_whole bigint, a_grain bigint,
    a_downloads_for bigint, a_bytes_for bigint,
    a_most_downloads bigint, a_most_bytes bigint
"""

BOOK = f"""
CREATE FUNCTION plugin_quota_book({ARGUMENTS}) RETURNS TABLE (
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
    fresh boolean;
BEGIN
    -- A crash of the database may lose the bookings of its last second; no booking waits for the disk.
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

    -- A further part of an opened asset is no further download, up to twice the size of its file. The beginning of a
    -- file always is one, but not of a file in a directory.
    IF NOT a_opening THEN
        SELECT o.opened INTO opening FROM plugin_quota_openings AS o
        WHERE o.principal = a_principal AND o.collection = a_collection AND o.item = a_item AND o.asset = a_asset
        AND o.opened > downloads_since;
    END IF;
    IF opening IS NOT NULL THEN
        SELECT o.taken INTO already FROM plugin_quota_openings AS o
        WHERE o.principal = a_principal AND o.collection = a_collection AND o.item = a_item AND o.asset = a_file
        AND o.opened >= opening;
        already := coalesce(already, 0);
    END IF;
    cost := CASE WHEN opening IS NOT NULL AND (a_whole IS NULL OR already + a_size <= 2 * a_whole) THEN 0 ELSE 1 END;
    booked := (a_most_downloads IS NULL OR used_downloads + cost <= a_most_downloads)
        AND (a_most_bytes IS NULL OR used_bytes + a_size <= a_most_bytes);
    IF booked THEN
        IF a_most_downloads IS NOT NULL THEN
            IF cost > 0 THEN
                opening := moment;
                already := 0;
            END IF;
            IF cost > 0 AND a_file <> a_asset THEN
                INSERT INTO plugin_quota_openings AS o (principal, collection, item, asset, opened)
                VALUES (a_principal, a_collection, a_item, a_asset, moment)
                ON CONFLICT (principal, collection, item, asset) DO UPDATE SET opened = excluded.opened, taken = 0;
            END IF;
            INSERT INTO plugin_quota_openings AS o (principal, collection, item, asset, opened, taken)
            VALUES (a_principal, a_collection, a_item, a_file, opening, already + a_size)
            ON CONFLICT (principal, collection, item, asset)
            DO UPDATE SET opened = excluded.opened, taken = excluded.taken;
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
END $$
"""

COMMENT = "bytes of this opening; of a directory's file, of that file"


def upgrade() -> None:
    for table in ("plugin_quota_openings", "plugin_link_openings"):
        op.add_column(table, sa.Column("taken", sa.BigInteger, nullable=False, server_default="0", comment=COMMENT))
    op.execute("DROP FUNCTION plugin_quota_book")
    op.execute(BOOK)


def downgrade() -> None:
    op.execute("DROP FUNCTION plugin_quota_book")
    before = runpy.run_path(str(Path(__file__).with_name("0015_quota_booking_quicker.py")))
    before["define"](before["BOOK"])
    for table in ("plugin_quota_openings", "plugin_link_openings"):
        op.drop_column(table, "taken")
