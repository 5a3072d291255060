"""The sessions of plugin ``login``: who is logged in by browser, and until when.

Only a hash of each session's cookie is kept.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "plugin_login_sessions",
        sa.Column("hash", sa.LargeBinary, nullable=False, comment="SHA-256 of the cookie"),
        sa.Column("principal", sa.Text(collation="C"), nullable=False),
        sa.Column("groups", ARRAY(sa.Text), nullable=False),
        sa.Column("scopes", ARRAY(sa.Text), nullable=False),
        sa.Column("provider", sa.Text, nullable=False, comment="its name in the setting"),
        sa.Column("id_token", sa.Text, nullable=False, comment="tells the provider whom to log out"),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("hash", name="plugin_login_sessions_pkey"),
    )
    op.create_index("plugin_login_sessions_principal_idx", "plugin_login_sessions", ["principal"])
    op.create_index("plugin_login_sessions_expires_idx", "plugin_login_sessions", ["expires"])


def downgrade() -> None:
    op.drop_table("plugin_login_sessions")
