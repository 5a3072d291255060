"""Whether geometries meet is right for collections of points, lines and polygons, too.

GEOS 3.11 prepares a geometry that comes again from row to row. Of a prepared line it finds no collection that the line meets
in a point only, or within an area. So the parts of collections are looked at one by one.
"""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

APART = """
CREATE OR REPLACE FUNCTION stacflask_apart(one geometry, other geometry) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 200 AS $$
BEGIN
    IF GeometryType(one) = 'GEOMETRYCOLLECTION' THEN
        RETURN NOT EXISTS (SELECT FROM ST_Dump(one) AS part WHERE ST_Intersects(part.geom, other));
    ELSIF GeometryType(other) = 'GEOMETRYCOLLECTION' THEN
        RETURN NOT EXISTS (SELECT FROM ST_Dump(other) AS part WHERE ST_Intersects(one, part.geom));
    END IF;
    RETURN NOT ST_Intersects(one, other);
END $$
"""
FORMER = """
CREATE OR REPLACE FUNCTION stacflask_apart(one geometry, other geometry) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 200 AS $$
BEGIN
    RETURN NOT ST_Intersects(one, other);
END $$
"""


def upgrade() -> None:
    op.execute(APART)


def downgrade() -> None:
    op.execute(FORMER)
