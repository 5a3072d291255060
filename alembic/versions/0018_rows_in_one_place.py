"""An item's row stays in one place, and ids are found in whatever collection.

Rows of more than 2 KB had their properties kept elsewhere, a look at three more pages for each item whose properties a search
compared. They are compressed as before, and moved out only where a row does not fit a page; the body, which is compressed
already, as well. What is stored already stays where it is until it is written again (VACUUM FULL writes all).

Ids without collections were looked up in each collection. With some thousand collections that is slow.
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # lz4 soon gives up what is compressed already, which PostgreSQL's own way takes long to find out.
    op.execute("ALTER TABLE items ALTER body SET STORAGE MAIN, ALTER body SET COMPRESSION lz4")
    op.execute("ALTER TABLE items ALTER properties SET STORAGE MAIN")
    op.create_index("items_id_idx", "items", ["id"])


def downgrade() -> None:
    op.drop_index("items_id_idx", "items")
    op.execute("ALTER TABLE items ALTER properties SET STORAGE EXTENDED")
    op.execute("ALTER TABLE items ALTER body SET STORAGE EXTERNAL, ALTER body SET COMPRESSION default")
