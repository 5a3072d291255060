"""Create the table of keys.

Only a hash of each key is stored. Revoked keys stay, so that operators see which principal they had.
"""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE plugin_api_keys")


# IF NOT EXISTS: a database from before 0.1.0 has these tables, see docs/operations.md.
TABLES = """
CREATE TABLE IF NOT EXISTS plugin_api_keys (
    id text COLLATE "C" PRIMARY KEY,
    hash bytea NOT NULL,
    name text COLLATE "C" NOT NULL,
    groups text[] NOT NULL,
    scopes text[] NOT NULL,
    note text,
    created timestamptz NOT NULL DEFAULT now(),
    expires timestamptz,
    revoked timestamptz,
    last_used date
);
COMMENT ON COLUMN plugin_api_keys.id IS 'the public part of the key';
COMMENT ON COLUMN plugin_api_keys.hash IS 'SHA-256 of the whole key';
COMMENT ON COLUMN plugin_api_keys.name IS 'the principal''s id';
COMMENT ON COLUMN plugin_api_keys.last_used IS 'UTC; a day, so that a key in use is seldom written';
"""
