"""What the properties of a collection's items hold: types, ranges, enumerations.

Empty at first. ``stacflask queryables refresh`` fills it for items that are there already; loads and changes keep it.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "statistics",
        sa.Column("collection", sa.Text(collation="C"), nullable=False),
        sa.Column(
            "properties", JSONB, nullable=False, comment="what its items' properties hold, see catalog/observing.py"
        ),
        sa.Column("anew", JSONB, comment="what was written since a refresh began; null: none is under way"),
        sa.PrimaryKeyConstraint("collection", name="statistics_pkey"),
    )


def downgrade() -> None:
    op.drop_table("statistics")
