"""Create the tables of records.

Rows are added in the order of time and read by time, so BRIN indexes suffice, which cost little on insert. Pages of
events keep 10% free, so that removing personal data updates rows in place.
"""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE plugin_audit_salts, plugin_audit_store_requests, plugin_audit_events")


# IF NOT EXISTS: a database from before 0.1.0 has these tables, see docs/operations.md.
TABLES = """
CREATE TABLE IF NOT EXISTS plugin_audit_events (
    at timestamptz NOT NULL,
    event text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    request text COLLATE "C",
    method text COLLATE "C",
    principal text COLLATE "C",
    groups text[],
    address text COLLATE "C",
    agent text COLLATE "C",
    collection text COLLATE "C" NOT NULL,
    item text COLLATE "C",
    asset text COLLATE "C" NOT NULL,
    path text COLLATE "C",
    by text COLLATE "C",
    reason text COLLATE "C",
    code text COLLATE "C",
    others text[],
    delivery text COLLATE "C",
    declared bigint,
    first bigint,
    length bigint,
    sent bigint,
    complete boolean,
    seconds double precision,
    scheme text COLLATE "C",
    credential text COLLATE "C"
) WITH (fillfactor = 90);
CREATE INDEX IF NOT EXISTS plugin_audit_events_at_idx ON plugin_audit_events USING brin (at);
COMMENT ON COLUMN plugin_audit_events.event IS 'granted, refused or finished';
COMMENT ON COLUMN plugin_audit_events.id IS 'id of the grant; finished has that of its granted';
COMMENT ON COLUMN plugin_audit_events.request IS 'X-Request-ID';
COMMENT ON COLUMN plugin_audit_events.principal IS 'null if removed';
COMMENT ON COLUMN plugin_audit_events.address IS 'the client''s, as configured; null if not recorded, or removed';
COMMENT ON COLUMN plugin_audit_events.item IS 'null for an asset of the collection itself';
COMMENT ON COLUMN plugin_audit_events.path IS 'of a file in a directory asset; else empty';
COMMENT ON COLUMN plugin_audit_events.by IS 'the plugin that decided; empty if stacflask did';
COMMENT ON COLUMN plugin_audit_events.code IS 'error code in the response to a refused request';
COMMENT ON COLUMN plugin_audit_events.others IS 'other plugins that would have refused, as plugin: reason';
COMMENT ON COLUMN plugin_audit_events.delivery IS 'redirect or stream';
COMMENT ON COLUMN plugin_audit_events.declared IS 'file:size';
COMMENT ON COLUMN plugin_audit_events.first IS 'first byte';
COMMENT ON COLUMN plugin_audit_events.length IS 'bytes of the response; null if unknown';
COMMENT ON COLUMN plugin_audit_events.sent IS 'bytes sent, if finished';
COMMENT ON COLUMN plugin_audit_events.scheme IS 'kind of credential; empty for anonymous clients';
COMMENT ON COLUMN plugin_audit_events.credential IS 'the credential without its secret; null if removed';
CREATE TABLE IF NOT EXISTS plugin_audit_store_requests (
    log_entry text COLLATE "C" PRIMARY KEY,
    at timestamptz NOT NULL,
    id text COLLATE "C",
    bucket text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    status integer NOT NULL,
    sent bigint NOT NULL
);
CREATE INDEX IF NOT EXISTS plugin_audit_store_requests_at_idx ON plugin_audit_store_requests USING brin (at);
COMMENT ON COLUMN plugin_audit_store_requests.log_entry
    IS 'the store''s id of the request, so that an imported log is counted once';
COMMENT ON COLUMN plugin_audit_store_requests.id IS 'id of the grant, if the signed URL has one';
CREATE TABLE IF NOT EXISTS plugin_audit_salts (
    day date PRIMARY KEY,
    salt bytea NOT NULL
);
"""
