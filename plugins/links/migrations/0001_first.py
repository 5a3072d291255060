"""Create the tables of links.

Links are signed, so the links themselves are not stored. Revoked ones stay, so that their creators see them.
"""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE plugin_links_openings, plugin_links")


# IF NOT EXISTS: a database from before 0.1.0 has these tables, see docs/operations.md.
TABLES = """
CREATE TABLE IF NOT EXISTS plugin_links (
    id text COLLATE "C" PRIMARY KEY,
    principal text COLLATE "C" NOT NULL,
    scheme text COLLATE "C" NOT NULL,
    reference text COLLATE "C" NOT NULL,
    groups text[] NOT NULL,
    scopes text[],
    path text COLLATE "C" NOT NULL,
    addresses text[] NOT NULL,
    downloads bigint,
    used bigint NOT NULL DEFAULT 0,
    note text,
    created timestamptz NOT NULL DEFAULT now(),
    expires timestamptz NOT NULL,
    revoked timestamptz,
    CONSTRAINT plugin_links_used_check CHECK (downloads IS NULL OR used <= downloads)
);
CREATE INDEX IF NOT EXISTS plugin_links_expires_idx ON plugin_links (expires);
CREATE INDEX IF NOT EXISTS plugin_links_principal_idx ON plugin_links (principal, scheme, created);
COMMENT ON COLUMN plugin_links.principal IS 'the creator''s id';
COMMENT ON COLUMN plugin_links.scheme IS 'kind of the creator''s credential';
COMMENT ON COLUMN plugin_links.reference IS 'the creator''s credential without its secret';
COMMENT ON COLUMN plugin_links.groups IS 'the creator''s groups when the link was created';
COMMENT ON COLUMN plugin_links.scopes IS 'the creator''s scopes when the link was created; null: all';
COMMENT ON COLUMN plugin_links.path IS 'the collection, item or asset that the link opens, with everything below';
COMMENT ON COLUMN plugin_links.addresses IS 'networks of clients; empty: all';
COMMENT ON COLUMN plugin_links.downloads IS 'maximum number of downloads; null: not counted';
COMMENT ON COLUMN plugin_links.used IS 'downloads so far';
CREATE TABLE IF NOT EXISTS plugin_links_openings (
    link text COLLATE "C",
    collection text COLLATE "C",
    item text COLLATE "C",
    asset text COLLATE "C",
    address text COLLATE "C",
    opened timestamptz NOT NULL,
    bytes bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (link, collection, item, asset, address),
    CONSTRAINT plugin_links_openings_link_fkey
        FOREIGN KEY (link) REFERENCES plugin_links (id) ON DELETE CASCADE
);
COMMENT ON COLUMN plugin_links_openings.asset IS 'an asset, or a file in a directory asset as asset/path';
COMMENT ON COLUMN plugin_links_openings.address IS 'the client''s';
COMMENT ON COLUMN plugin_links_openings.opened IS 'beginning of the download';
COMMENT ON COLUMN plugin_links_openings.bytes IS 'bytes of this download';
"""
