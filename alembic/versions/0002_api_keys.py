"""The keys of plugin ``api_keys``.

Only a hash of each key is kept. A revoked key stays, so that the operator still sees whose it was.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "plugin_api_keys",
        sa.Column("id", sa.Text(collation="C"), nullable=False, comment="the public part of the key"),
        sa.Column("hash", sa.LargeBinary, nullable=False, comment="SHA-256 of the whole key"),
        sa.Column("name", sa.Text(collation="C"), nullable=False, comment="the principal's id"),
        sa.Column("groups", ARRAY(sa.Text), nullable=False),
        sa.Column("scopes", ARRAY(sa.Text), nullable=False),
        sa.Column("note", sa.Text),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("expires", sa.DateTime(timezone=True)),
        sa.Column("revoked", sa.DateTime(timezone=True)),
        sa.Column("last_used", sa.Date, comment="to the day, in UTC, so that use seldom writes"),
        sa.PrimaryKeyConstraint("id", name="plugin_api_keys_pkey"),
    )


def downgrade() -> None:
    op.drop_table("plugin_api_keys")
