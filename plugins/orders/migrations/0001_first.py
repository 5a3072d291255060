"""Create the table of orders."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE plugin_orders")


# IF NOT EXISTS: a database from before 0.1.0 has these tables, see docs/operations.md.
TABLES = """
CREATE TABLE IF NOT EXISTS plugin_orders (
    collection text COLLATE "C",
    item text COLLATE "C",
    asset text COLLATE "C",
    path text COLLATE "C",
    principal text COLLATE "C",
    ordered timestamptz NOT NULL DEFAULT now(),
    ready timestamptz,
    PRIMARY KEY (collection, item, asset, path, principal)
);
CREATE INDEX IF NOT EXISTS plugin_orders_not_ready_idx ON plugin_orders (ordered) WHERE ready IS NULL;
COMMENT ON COLUMN plugin_orders.ready IS 'null while the store prepares the object';
"""
