"""The grants of plugin ``collection_groups``.

The key begins with the group, because each request asks what some groups may; the index answers the operator's question
who may do what with a collection, and which collections are spoken of at all.
"""

import sqlalchemy as sa

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "plugin_collection_groups",
        sa.Column("group_name", sa.Text(collation="C"), nullable=False, comment="or * everybody, @ anybody known, - nobody"),
        sa.Column("collection", sa.Text(collation="C"), nullable=False),
        sa.Column("action", sa.Text(collation="C"), nullable=False),
        sa.PrimaryKeyConstraint("group_name", "collection", "action", name="plugin_collection_groups_pkey"),
        sa.CheckConstraint(
            "action IN ('see', 'preview', 'download', 'write')", name="plugin_collection_groups_action_check"
        ),
    )
    op.create_index("plugin_collection_groups_collection_idx", "plugin_collection_groups", ["collection", "action"])


def downgrade() -> None:
    op.drop_table("plugin_collection_groups")
