"""Which times an item has itself, and which only its columns have.

The columns datetime, start_datetime and end_datetime are never null: one that an item does not have is filled in from its
others. Filters, orders and policies compare an item's own times, so each row now says which are its own. This revision
only adds columns, in no time; the next one fills them in.
"""

import sqlalchemy as sa

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

FLAGS = {
    "has_datetime": ("true", "datetime is not null"),
    "has_start_datetime": ("false", "start_datetime is given"),
    "has_end_datetime": ("false", "end_datetime is given"),
}
COMMENTS = {
    "start_datetime": ("start_datetime, or datetime without it", "start of the range, or datetime"),
    "end_datetime": ("end_datetime, or datetime without it", "end of the range, or datetime"),
    "lowest": ("least height of the geometry and the bbox; null is 0", "height of a 6-number bbox's lower side; null is 0"),
    "highest": (
        "greatest height of the geometry and the bbox; null is 0",
        "height of a 6-number bbox's upper side; null is 0",
    ),
}


def flag(name: str, default: str, comment: str) -> sa.Column:
    return sa.Column(name, sa.Boolean, nullable=False, server_default=sa.text(default), comment=comment)


def upgrade() -> None:
    for name, (default, comment) in FLAGS.items():
        op.add_column("items", flag(name, default, comment))
    op.add_column("collections", flag("dated", "false", "some item has a datetime, or had one before"))
    for name, (comment, former) in COMMENTS.items():
        op.alter_column("items", name, comment=comment, existing_comment=former)


def downgrade() -> None:
    op.drop_column("collections", "dated")
    for name in FLAGS:
        op.drop_column("items", name)
    for name, (comment, former) in COMMENTS.items():
        op.alter_column("items", name, comment=former, existing_comment=comment)
