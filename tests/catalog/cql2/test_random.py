"""The compiler against a plain evaluator: random conditions, every item, all three truth values."""

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
from tests.catalog.cql2.conftest import Ask, Item
from tests.catalog.cql2.reference import Unsure, evaluate, truth

ITEMS = samples.items()


@pytest.fixture(scope="module")
def ask(stored: Callable[[list[Item]], Ask]) -> Ask:
    return stored(ITEMS)


@given(expression=samples.conditions)
@settings(max_examples=150, deadline=None)
def test_every_condition_means_what_the_evaluator_says(ask: Ask, expression: Cql2) -> None:
    """For each item, PostgreSQL finds a condition true, false or unknown just as the evaluator does."""
    expected = {}
    for item in ITEMS:
        try:
            expected[item["id"]] = truth(evaluate(expression, item))
        except Unsure:
            assume(False)
    assert ask(expression) == expected


HOSTILE = [
    '{"n": 1e400, "m": -1e5000, "s": 1e-5000, "t": 1e131000, "mixed": 123456789012345678901234567890, "tags": [1e400, null]}',
    '{"n": "1e99", "m": "99999999999999999999", "s": "-.5e9", "t": "1e999", "when": "2020-02-29T23:59:60Z", "deep": [{"er": 1}]}',
    '{"n": "2020-02-29T00:00:00.999999999Z", "when": "9999-12-31", "then": "0001-01-01T00:00:00+15:59", "mixed": "0000-01-01"}',
    '{"when": "2020-02-29T00:00:00+16:00", "then": "2020-02-29T00:00:00-15:59", "s": "\\\\", "t": "\uffff", "tags": [[[]], {}]}',
]
PLACES = [
    "POLYGON((-180 -90, 180 -90, 180 90, -180 90, -180 -90))",
    "MULTIPOLYGON(((170 0, 180 0, 180 9, 170 0)), ((-180 0, -170 0, -180 9, -180 0)))",
    "GEOMETRYCOLLECTION(POINT(1 1), LINESTRING(0 0, 9 9), POLYGON((0 0, 2 0, 2 2, 0 0)))",
    "LINESTRING(-180 0, 180 0)",
]


@pytest.fixture(scope="module")
def ask_hostile(ask: Ask, catalogue: Database) -> Ask:
    """Add what no client would send, and the loader might yet let through."""
    copied = ("collection", "datetime", "start_datetime", "end_datetime", "body")
    with catalogue.write() as connection:
        for number, (properties, place) in enumerate(zip(HOSTILE, PLACES, strict=True)):
            row = sa.select(
                *(table.c[name] for name in copied),
                sa.literal(f"hostile-{number}"),
                sa.cast(sa.literal(properties), JSONB),
                sa.func.ST_GeomFromText(place, 4326),
            ).where(table.c.id == ITEMS[0]["id"])
            connection.execute(sa.insert(table).from_select([*copied, "id", "properties", "geometry"], row))
    return ask


@given(expression=samples.anything)
@settings(max_examples=150, deadline=None)
def test_nothing_that_is_accepted_makes_the_database_fail(ask_hostile: Ask, expression: Cql2) -> None:
    """Any expression is answered for every row, or refused: what the rows hold cannot make PostgreSQL raise an error."""
    with contextlib.suppress(BadQuery):
        assert len(ask_hostile(expression)) == len(ITEMS) + len(HOSTILE)
