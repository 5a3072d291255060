"""Create the tables of licences and acceptances.

A version that a principal accepted cannot be deleted, so that the record shows the text that was accepted. Times are
those of the clock, not of the transaction: of two versions that one transaction adds, one is the newest.
"""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE plugin_licence_acceptances, plugin_licence_collections, plugin_licence_versions")


# IF NOT EXISTS: a database from before 0.1.0 has these tables, see docs/operations.md.
TABLES = """
CREATE TABLE IF NOT EXISTS plugin_licence_versions (
    id text COLLATE "C",
    version text COLLATE "C",
    title text NOT NULL,
    text text,
    url text,
    created timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (id, version)
);
COMMENT ON COLUMN plugin_licence_versions.id IS 'the licence';
CREATE TABLE IF NOT EXISTS plugin_licence_collections (
    collection text COLLATE "C",
    licence text COLLATE "C",
    PRIMARY KEY (collection, licence)
);
CREATE TABLE IF NOT EXISTS plugin_licence_acceptances (
    principal text COLLATE "C",
    licence text COLLATE "C",
    version text COLLATE "C",
    accepted timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (principal, licence, version),
    CONSTRAINT plugin_licence_acceptances_licence_fkey
        FOREIGN KEY (licence, version) REFERENCES plugin_licence_versions (id, version)
);
"""
