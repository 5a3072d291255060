"""The links of plugin ``links``: who made them, what they open, and how often those that are counted were used.

The links themselves are not kept: they are signed. A revoked one stays, so that its maker still sees it.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def name(column: str, **options) -> sa.Column:
    return sa.Column(column, sa.Text(collation="C"), nullable=False, **options)


def upgrade() -> None:
    op.create_table(
        "plugin_links",
        name("id"),
        name("maker", comment="the principal's id"),
        name("scheme"),
        name("reference", comment="the maker's credential, without its secret"),
        sa.Column("groups", ARRAY(sa.Text), nullable=False, comment="as they were when it was made"),
        sa.Column("scopes", ARRAY(sa.Text), comment="so were they; null: not limited"),
        name("path", comment="what it opens: a collection, an item or an asset, and what is below"),
        sa.Column("addresses", ARRAY(sa.Text), nullable=False, comment="networks; empty: any"),
        sa.Column("downloads", sa.BigInteger, comment="how many at most; null: not counted"),
        sa.Column("used", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("note", sa.Text),
        sa.Column("made", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="plugin_links_pkey"),
        sa.CheckConstraint("downloads IS NULL OR used <= downloads", name="plugin_links_used_check"),
    )
    op.create_index("plugin_links_maker_idx", "plugin_links", ["maker", "scheme", "made"])
    op.create_index("plugin_links_expires_idx", "plugin_links", ["expires"])
    op.create_table(
        "plugin_link_openings",
        name("link"),
        name("collection"),
        name("item"),
        name("asset"),
        name("address", comment="the client's"),
        sa.Column("opened", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("link", "collection", "item", "asset", "address", name="plugin_link_openings_pkey"),
        sa.ForeignKeyConstraint(
            ["link"], ["plugin_links.id"], name="plugin_link_openings_link_fkey", ondelete="CASCADE"
        ),
    )


def downgrade() -> None:
    op.drop_table("plugin_link_openings")
    op.drop_table("plugin_links")
