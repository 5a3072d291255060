"""Collections are searched by columns of their own: the boxes and intervals of their extents, and their texts.

What is there already is filled in, one collection after the other: there are thousands of them, not millions.
"""

import sqlalchemy as sa
from geoalchemy2 import Geometry
from sqlalchemy.dialects.postgresql import TSTZMULTIRANGE

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

COLUMNS = (
    sa.Column("footprint", Geometry(srid=4326, spatial_index=False), comment="the boxes of its spatial extent"),
    sa.Column("lowest", sa.Double, comment="height of its 6-number boxes' lowest side; null is 0"),
    sa.Column("highest", sa.Double, comment="height of its 6-number boxes' highest side; null is 0"),
    sa.Column("periods", TSTZMULTIRANGE, comment="the intervals of its temporal extent"),
    sa.Column("words", sa.Text, comment="what free text is looked for in, in one case; see catalog/freetext.py"),
)

# Each box as the one or two it is on the map; the envelope of a line without width or height is that line, or a point.
FOOTPRINTS = """
    UPDATE collections SET (footprint, lowest, highest) = (
        SELECT ST_UnaryUnion(ST_Collect(ST_Envelope(ST_SetSRID(ST_MakeLine(
                   ST_MakePoint(side.west, south), ST_MakePoint(side.east, north)), 4326)))),
               CASE WHEN bool_or(size = 6) THEN min(low) END, CASE WHEN bool_or(size = 6) THEN max(high) END
        FROM (
            SELECT size, (box ->> 0)::float8 AS west, (box ->> 1)::float8 AS south,
                   (box ->> (size / 2))::float8 AS east, (box ->> (size / 2 + 1))::float8 AS north,
                   CASE WHEN size = 6 THEN (box ->> 2)::float8 ELSE 0 END AS low,
                   CASE WHEN size = 6 THEN (box ->> 5)::float8 ELSE 0 END AS high
            FROM jsonb_array_elements(document #> '{extent,spatial,bbox}') AS box,
                 LATERAL (SELECT jsonb_array_length(box) AS size) AS sized
        ) AS boxes,
        LATERAL (
            SELECT CASE WHEN east - west >= 360 THEN -180 ELSE west - 360 * sign(trunc(west / 180.0000001)) END,
                   CASE WHEN east - west >= 360 THEN 180 ELSE east - 360 * sign(trunc(east / 180.0000001)) END
        ) AS back (west, east),
        LATERAL (
            VALUES (back.west, CASE WHEN back.west > back.east THEN 180 ELSE back.east END),
                   (CASE WHEN back.west > back.east THEN -180 END, back.east)
        ) AS side (west, east)
        WHERE side.west IS NOT NULL
    )
"""
PERIODS = """
    UPDATE collections SET periods = (
        SELECT range_agg(tstzrange((period ->> 0)::timestamptz, (period ->> 1)::timestamptz, '[]'))
        FROM jsonb_array_elements(document #> '{extent,temporal,interval}') AS period
    )
"""


def upgrade() -> None:
    for column in COLUMNS:
        op.add_column("collections", column.copy())
    op.execute(FOOTPRINTS)
    op.execute(PERIODS)
    connection = op.get_bind()
    for identifier, document in connection.execute(sa.text("SELECT id, document FROM collections")).all():
        connection.execute(
            sa.text("UPDATE collections SET words = :words WHERE id = :id"), {"id": identifier, "words": words(document)}
        )


def words(document: dict) -> str:
    """Give the texts that people read, in one case."""
    texts = [document.get(name) for name in ("id", "title", "description")]
    texts += document.get("keywords") or []
    return "\n".join(" ".join(text.split()) for text in texts if text).casefold()


def downgrade() -> None:
    for column in COLUMNS:
        op.drop_column("collections", column.name)
