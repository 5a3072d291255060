"""How long the items of each collection last at most.

A search for an interval compares the ends of items' ranges, and no index on their datetimes helps with that unless it is
known how far an item's range can reach from its datetime. The value is a bound: it is raised with the items that need
it, in their transaction, and never lowered.
"""

import sqlalchemy as sa

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

BOUND = """
    UPDATE collections SET longest = found.longest FROM (
        SELECT collection, ceil(max(extract(epoch FROM end_datetime - start_datetime))) AS longest
        FROM items GROUP BY collection
    ) AS found WHERE found.collection = collections.id
"""


def upgrade() -> None:
    comment = "seconds: no item lasts longer"
    op.add_column("collections", sa.Column("longest", sa.Double, nullable=False, server_default="0", comment=comment))
    # Whoever writes items meanwhile would not raise a bound that is not there yet.
    op.execute("LOCK TABLE items IN SHARE MODE")
    op.execute(BOUND)
    op.create_index("collections_longest_idx", "collections", ["longest"])


def downgrade() -> None:
    op.drop_index("collections_longest_idx", "collections")
    op.drop_column("collections", "longest")
