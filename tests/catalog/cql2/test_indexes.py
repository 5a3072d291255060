"""Conditions that use an index."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from stacflask.catalog.cql2 import ITEM_FIELDS, condition, parse
from stacflask.catalog.database.engine import Database
from stacflask.catalog.database.tables import items
from tests.catalog.plans import plan_by

MANY = sa.text("""
    INSERT INTO items (collection, id, datetime, start_datetime, end_datetime, geometry, properties, body)
    SELECT chr(97 + n % 20), n::text, moment, moment, moment, ST_Point(n % 360 - 180, n % 180 - 90, 4326),
           jsonb_build_object('eo\\:cloud_cover', n % 1000, 'platform', 'p-' || n % 1000, 'updated', to_json(moment)), ''
    FROM generate_series(1, 4000) AS n,
         LATERAL (SELECT timestamptz '2015-01-01T00\\:00\\:00Z' + n * interval '1 day' AS moment) AS spread
""")


@pytest.fixture(scope="module")
def promoted(catalogue: Database) -> Iterator[Database]:
    """Store 4000 items with indexes on a number, a string and a time, with the expressions of conditions."""
    number, text = ITEM_FIELDS.stored("eo:cloud_cover").number, ITEM_FIELDS.stored("platform").text
    time = ITEM_FIELDS.stored("updated").moment
    values = {"cql2_number": number, "cql2_text": text, "cql2_time": time}
    indexes = [sa.Index(name, value, _table=items) for name, value in values.items()]
    with catalogue.write() as connection:
        connection.execute(MANY)
        for index in indexes:
            index.create(connection)
        connection.execute(sa.text("ANALYZE items"))
    yield catalogue
    with catalogue.write() as connection:
        connection.execute(sa.delete(items))
        for index in indexes:
            index.drop(connection)
            items.indexes.discard(index)


@pytest.mark.parametrize(
    ("text", "index", "bound"),
    [
        ("collection = 'a' AND id = 'b'", "items_pkey", "(collection ="),
        ("collection IN ('a', 'b') AND id = 'c'", "items_pkey", "(collection = ANY"),
        ("datetime >= TIMESTAMP('2024-01-01T00:00:00Z')", "items_datetime_idx", "datetime >="),
        ("datetime = DATE('2024-01-01')", "items_datetime_idx", "datetime <="),
        ("DATE('2024-01-01') > datetime", "items_datetime_idx", "datetime <"),
        ("datetime BETWEEN DATE('2024-01-01') AND DATE('2024-01-31')", "items_datetime_idx", "datetime >="),
        ("T_INTERSECTS(datetime, INTERVAL('2024-01-01', '..'))", "items_datetime_idx", "datetime >="),
        ("S_INTERSECTS(geometry, POINT(1 2))", "items_geometry_datetime_idx", "geometry &&"),
        ("S_WITHIN(geometry, BBOX(170, -10, -170, 10))", "items_geometry_datetime_idx", "geometry @"),
        ("eo:cloud_cover < 10 AND title = 'x'", "cql2_number", "'number'"),
        ("eo:cloud_cover BETWEEN 10 AND 20", "cql2_number", ">="),
        ("eo:cloud_cover IN (1, 2, 3)", "cql2_number", "ANY"),
        ("properties.eo:cloud_cover = 5", "cql2_number", "'number'"),
        ("platform = 'sentinel-2a'", "cql2_text", "'string'"),
        ("platform LIKE 'sentinel%'", "cql2_text", "<"),
        ("updated >= TIMESTAMP('2024-01-01T00:00:00Z')", "cql2_time", ">="),
        ("T_BEFORE(updated, DATE('2016-01-01'))", "cql2_time", "<"),
    ],
)
def test_a_condition_uses_an_index(promoted: Database, text: str, index: str, bound: str) -> None:
    """Conditions on columns and on indexed properties have the exact expression of the index."""
    plan = plan_by(promoted, index, sa.select(items.c.body).where(condition(parse(text), ITEM_FIELDS)))
    assert index in plan
    assert any("Cond:" in line and bound in line for line in plan.splitlines()), plan
