"""What plugin ``audit`` keeps: a row for each download decided and each stream ended, and what stores' logs add.

Rows come in the order of time and are read by time: a BRIN index costs almost nothing to keep. Room is left on each
page, so that forgetting whose rows they are changes them where they lie.
"""

import sqlalchemy as sa

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def text(column: str, **options) -> sa.Column:
    return sa.Column(column, sa.Text(collation="C"), **options)


def upgrade() -> None:
    op.create_table(
        "plugin_audit",
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        text("event", nullable=False, comment="granted, refused or finished"),
        text("id", nullable=False, comment="the grant's own; an event finished has that of its grant"),
        text("request", comment="X-Request-ID"),
        text("method"),
        text("principal", comment="null once forgotten"),
        sa.Column("groups", sa.ARRAY(sa.Text)),
        text("address", comment="of the client, as configured; null if not kept, or forgotten"),
        text("agent"),
        text("collection", nullable=False),
        text("item", comment="null for an asset of the collection itself"),
        text("asset", nullable=False),
        text("path", comment="of a file in a directory asset; else empty"),
        text("by", comment="the plugin that decided; empty for the house itself"),
        text("reason"),
        text("code", comment="of a refusal, as the client was told"),
        sa.Column("others", sa.ARRAY(sa.Text), comment="who else would have refused: plugin: reason"),
        text("delivery", comment="redirect, stream"),
        sa.Column("declared", sa.BigInteger, comment="file:size"),
        sa.Column("first", sa.BigInteger),
        sa.Column("length", sa.BigInteger, comment="bytes about to leave; null if unknown"),
        sa.Column("sent", sa.BigInteger, comment="of a stream that ended"),
        sa.Column("complete", sa.Boolean),
        sa.Column("seconds", sa.Float),
        postgresql_with={"fillfactor": "90"},
    )
    op.create_index("plugin_audit_at", "plugin_audit", ["at"], postgresql_using="brin")
    op.create_table(
        "plugin_audit_taken",
        text("log_entry", nullable=False, comment="the store's own id of the request: a log is counted once"),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        text("id", comment="of the grant, if the address that was used carried one"),
        text("bucket", nullable=False),
        text("key", nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("sent", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("log_entry", name="plugin_audit_taken_pkey"),
    )
    op.create_index("plugin_audit_taken_at", "plugin_audit_taken", ["at"], postgresql_using="brin")
    op.create_table(
        "plugin_audit_salts",
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("day", name="plugin_audit_salts_pkey"),
    )


def downgrade() -> None:
    op.drop_table("plugin_audit_salts")
    op.drop_table("plugin_audit_taken")
    op.drop_table("plugin_audit")
