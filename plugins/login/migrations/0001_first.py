"""Create the table of sessions."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE plugin_login_sessions")


# IF NOT EXISTS: a database from before 0.1.0 has these tables, see docs/operations.md.
TABLES = """
CREATE TABLE IF NOT EXISTS plugin_login_sessions (
    hash bytea PRIMARY KEY,
    principal text COLLATE "C" NOT NULL,
    groups text[] NOT NULL,
    scopes text[] NOT NULL,
    provider text NOT NULL,
    id_token text NOT NULL,
    created timestamptz NOT NULL DEFAULT now(),
    expires timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS plugin_login_sessions_expires_idx ON plugin_login_sessions (expires);
CREATE INDEX IF NOT EXISTS plugin_login_sessions_principal_idx ON plugin_login_sessions (principal);
COMMENT ON COLUMN plugin_login_sessions.hash IS 'SHA-256 of the cookie';
COMMENT ON COLUMN plugin_login_sessions.provider IS 'its name in the setting';
COMMENT ON COLUMN plugin_login_sessions.id_token IS 'sent to the provider at logout';
"""
