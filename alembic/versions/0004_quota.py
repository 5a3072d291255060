"""The limits of plugin ``quota``, and what each principal has taken.

Usage is summed up in short stretches of time instead of one row for each download, so that looking back over a month
reads hundreds of rows and not millions.
"""

import sqlalchemy as sa

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def name(column: str, **options) -> sa.Column:
    return sa.Column(column, sa.Text(collation="C"), nullable=False, **options)


def upgrade() -> None:
    op.create_table(
        "plugin_quota_limits",
        name("group_name", comment="or * everybody, @ anybody known"),
        sa.Column("downloads", sa.BigInteger, comment="null: no word on it"),
        sa.Column("bytes", sa.BigInteger, comment="null: no word on it"),
        sa.Column("window_seconds", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("group_name", name="plugin_quota_limits_pkey"),
    )
    op.create_table(
        "plugin_quota_usage",
        name("principal"),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False, comment="the beginning of the stretch"),
        sa.Column("downloads", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("principal", "since", name="plugin_quota_usage_pkey"),
    )
    op.create_table(
        "plugin_quota_openings",
        name("principal"),
        name("collection"),
        name("item", comment="empty for an asset of the collection itself"),
        name("asset"),
        sa.Column("opened", sa.DateTime(timezone=True), nullable=False, comment="when last counted as a download"),
        sa.PrimaryKeyConstraint("principal", "collection", "item", "asset", name="plugin_quota_openings_pkey"),
    )


def downgrade() -> None:
    op.drop_table("plugin_quota_openings")
    op.drop_table("plugin_quota_usage")
    op.drop_table("plugin_quota_limits")
