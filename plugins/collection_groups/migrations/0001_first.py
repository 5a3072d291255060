"""Create the table of grants.

The primary key begins with the group, because requests read by groups, and the index with the collection.
"""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE plugin_collection_groups_grants")


# IF NOT EXISTS: a database from before 0.1.0 has these tables, see docs/operations.md.
TABLES = """
CREATE TABLE IF NOT EXISTS plugin_collection_groups_grants (
    group_name text COLLATE "C",
    collection text COLLATE "C",
    action text COLLATE "C",
    CONSTRAINT plugin_collection_groups_grants_action_check
        CHECK (action IN ('see', 'preview', 'download', 'write')),
    PRIMARY KEY (group_name, collection, action)
);
CREATE INDEX IF NOT EXISTS plugin_collection_groups_grants_collection_idx
    ON plugin_collection_groups_grants (collection, action);
COMMENT ON COLUMN plugin_collection_groups_grants.group_name IS 'or * all, @ all authenticated principals, - none';
"""
