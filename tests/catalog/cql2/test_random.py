"""The compiler compared with the reference evaluator: random conditions, all items, all three truth values."""

import contextlib
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from hypothesis import assume, given, settings
from sqlalchemy.dialects.postgresql import JSONB

from stacflask.catalog.database.engine import Database
from stacflask.catalog.database.tables import items as table
from stacflask.errors import BadQuery
from stacflask.model.json_types import Cql2
from tests.catalog.cql2 import samples
from tests.catalog.cql2.conftest import Item, TruthsOf
from tests.catalog.cql2.reference import RoundingDependent, evaluate, truth

ITEMS = samples.items()


@pytest.fixture(scope="module")
def truths_of(store_items: Callable[[list[Item]], TruthsOf]) -> TruthsOf:
    return store_items(ITEMS)


@given(expression=samples.conditions)
@settings(max_examples=150, deadline=None)
def test_the_compiler_agrees_with_the_reference_evaluator(truths_of: TruthsOf, expression: Cql2) -> None:
    """For each item, a condition is true, false or unknown in PostgreSQL and in the evaluator."""
    expected = {}
    for item in ITEMS:
        try:
            expected[item["id"]] = truth(evaluate(expression, item))
        except RoundingDependent:
            assume(False)
    assert truths_of(expression) == expected


HOSTILE = [
    '{"n": 1e400, "m": -1e5000, "s": 1e-5000, "t": 1e131000, "mixed": 123456789012345678901234567890, "tags": [1e400, null]}',
    '{"n": "1e99", "m": "99999999999999999999", "s": "-.5e9", "t": "1e999", "when": "2020-02-29T23:59:60Z", "deep": [{"er": 1}]}',
    '{"n": "2020-02-29T00:00:00.999999999Z", "when": "9999-12-31", "then": "0001-01-01T00:00:00+15:59", "mixed": "0000-01-01"}',
    '{"when": "2020-02-29T00:00:00+16:00", "then": "2020-02-29T00:00:00-15:59", "s": "\\\\", "t": "\uffff", "tags": [[[]], {}]}',
]
GEOMETRIES = [
    "POLYGON((-180 -90, 180 -90, 180 90, -180 90, -180 -90))",
    "MULTIPOLYGON(((170 0, 180 0, 180 9, 170 0)), ((-180 0, -170 0, -180 9, -180 0)))",
    "GEOMETRYCOLLECTION(POINT(1 1), LINESTRING(0 0, 9 9), POLYGON((0 0, 2 0, 2 2, 0 0)))",
    "LINESTRING(-180 0, 180 0)",
]


@pytest.fixture(scope="module")
def truths_of_hostile(truths_of: TruthsOf, catalogue: Database) -> TruthsOf:
    """Add items with values that clients do not send but the loader might accept."""
    copied = ("collection", "datetime", "start_datetime", "end_datetime", "body")
    with catalogue.write() as connection:
        for number, (properties, geometry) in enumerate(zip(HOSTILE, GEOMETRIES, strict=True)):
            row = sa.select(
                *(table.c[name] for name in copied),
                sa.literal(f"hostile-{number}"),
                sa.cast(sa.literal(properties), JSONB),
                sa.func.ST_GeomFromText(geometry, 4326),
            ).where(table.c.id == ITEMS[0]["id"])
            connection.execute(sa.insert(table).from_select([*copied, "id", "properties", "geometry"], row))
    return truths_of


@given(expression=samples.anything)
@settings(max_examples=150, deadline=None)
def test_an_accepted_expression_never_fails_in_the_database(truths_of_hostile: TruthsOf, expression: Cql2) -> None:
    """An expression has a value for every row or is refused. No stored value causes an error in PostgreSQL."""
    with contextlib.suppress(BadQuery):
        assert len(truths_of_hostile(expression)) == len(ITEMS) + len(HOSTILE)
