"""The catalogue: collections, items, and the dictionaries that items are compressed with.

Bodies are compressed before they come here, so PostgreSQL is told not to try again. The searchable properties are
compressed with lz4, several times faster than the default.
"""

import sqlalchemy as sa
from geoalchemy2 import Geometry
from sqlalchemy.dialects.postgresql import JSONB

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def name(column: str, **options) -> sa.Column:
    return sa.Column(column, sa.Text(collation="C"), nullable=False, **options)


def instant(column: str, comment: str) -> sa.Column:
    return sa.Column(column, sa.DateTime(timezone=True), nullable=False, comment=comment)


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS postgis")
    op.create_table(
        "collections",
        name("id", primary_key=True),
        sa.Column("body", sa.LargeBinary, nullable=False, comment="the document, see catalog/documents.py"),
        sa.Column("document", JSONB, nullable=False, comment="the same for searching, without links and assets"),
        sa.PrimaryKeyConstraint("id", name="collections_pkey"),
    )
    op.create_table(
        "items",
        name("collection"),
        name("id"),
        instant("datetime", "datetime, or start_datetime where it is null"),
        instant("start_datetime", "start of the range, or datetime"),
        instant("end_datetime", "end of the range, or datetime"),
        sa.Column(
            "geometry", Geometry(srid=4326, spatial_index=False), comment="split at the antimeridian, made valid"
        ),
        sa.Column("lowest", sa.Double, comment="height of a 6-number bbox's lower side; null is 0"),
        sa.Column("highest", sa.Double, comment="height of a 6-number bbox's upper side; null is 0"),
        sa.Column("properties", JSONB, nullable=False, comment="as given, for searching"),
        sa.Column("body", sa.LargeBinary, nullable=False, comment="the document, see catalog/documents.py"),
        sa.PrimaryKeyConstraint("collection", "id", name="items_pkey"),
    )
    op.create_index("items_datetime_idx", "items", ["datetime", "collection", "id"])
    op.create_index("items_collection_datetime_idx", "items", ["collection", "datetime", "id"])
    op.create_index("items_geometry_idx", "items", ["geometry"], postgresql_using="gist")
    op.execute("ALTER TABLE items ALTER COLUMN body SET STORAGE EXTERNAL")
    op.execute("ALTER TABLE items ALTER COLUMN properties SET COMPRESSION lz4")
    op.create_table(
        "dictionaries",
        sa.Column("id", sa.BigInteger, autoincrement=False, nullable=False, comment="the zstd dictionary id in each frame"),
        name("collection", comment="whose items it was trained on"),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column(
            "data",
            sa.LargeBinary,
            nullable=False,
            comment="never delete: items compressed with it cannot be read without",
        ),
        sa.PrimaryKeyConstraint("id", name="dictionaries_pkey"),
    )


def downgrade() -> None:
    op.drop_table("dictionaries")
    op.drop_table("items")
    op.drop_table("collections")
