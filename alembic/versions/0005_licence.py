"""The licences of plugin ``licence``, the collections that ask for them, and who accepted which version when.

A version that somebody accepted cannot be deleted: the record must go on saying what was agreed to.
"""

import sqlalchemy as sa

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def name(column: str, **options) -> sa.Column:
    return sa.Column(column, sa.Text(collation="C"), nullable=False, **options)


def now(column: str) -> sa.Column:
    # clock_timestamp() and not now(): two versions added in one transaction still have an order.
    return sa.Column(
        column, sa.DateTime(timezone=True), nullable=False, server_default=sa.text("clock_timestamp()")
    )


def upgrade() -> None:
    op.create_table(
        "plugin_licences",
        name("id"),
        name("version"),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("text", sa.Text),
        sa.Column("url", sa.Text),
        now("created"),
        sa.PrimaryKeyConstraint("id", "version", name="plugin_licences_pkey"),
    )
    op.create_table(
        "plugin_licence_collections",
        name("collection"),
        name("licence"),
        sa.PrimaryKeyConstraint("collection", "licence", name="plugin_licence_collections_pkey"),
    )
    op.create_table(
        "plugin_licence_acceptances",
        name("principal"),
        name("licence"),
        name("version"),
        now("accepted"),
        sa.PrimaryKeyConstraint("principal", "licence", "version", name="plugin_licence_acceptances_pkey"),
        sa.ForeignKeyConstraint(
            ["licence", "version"],
            ["plugin_licences.id", "plugin_licences.version"],
            name="plugin_licence_acceptances_licence_fkey",
        ),
    )


def downgrade() -> None:
    op.drop_table("plugin_licence_acceptances")
    op.drop_table("plugin_licence_collections")
    op.drop_table("plugin_licences")
