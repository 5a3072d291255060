"""Who waits for which data to be brought online, for plugin ``orders``."""

import sqlalchemy as sa

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

KEY = ("collection", "item", "asset", "path", "principal")


def upgrade() -> None:
    op.create_table(
        "plugin_orders",
        *(sa.Column(name, sa.Text(collation="C"), nullable=False) for name in KEY),
        sa.Column("ordered", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("ready", sa.DateTime(timezone=True), comment="null while it is waited for"),
        sa.PrimaryKeyConstraint(*KEY, name="plugin_orders_pkey"),
    )
    op.create_index(
        "plugin_orders_waiting", "plugin_orders", ["ordered"], postgresql_where=sa.text("ready IS NULL")
    )


def downgrade() -> None:
    op.drop_table("plugin_orders")
