"""The audit tells by which credential something was taken: a key, a session, or a link whose maker it counts as."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    text = sa.Text(collation="C")
    op.add_column("plugin_audit", sa.Column("scheme", text, comment="kind of credential; empty for nobody"))
    op.add_column("plugin_audit", sa.Column("credential", text, comment="which, without its secret; null once forgotten"))


def downgrade() -> None:
    op.drop_column("plugin_audit", "credential")
    op.drop_column("plugin_audit", "scheme")
