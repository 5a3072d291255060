"""Items in a PostGIS database, and a function that evaluates an expression for each of them."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from stacflask.catalog.cql2 import ITEM_FIELDS, condition
from stacflask.catalog.cql2.compiler.compile import truth_of
from stacflask.catalog.database.engine import Database, create_engine
from stacflask.catalog.database.tables import collections, items
from stacflask.catalog.documents.documents import Managed
from stacflask.catalog.reader import Catalog
from stacflask.catalog.writer import Writer
from stacflask.model.json_types import Cql2
from stacflask.settings import Settings
from stacflask.testing import a_collection, an_item

Item = dict[str, Any]
Truths = dict[str, bool | None]
TruthsOf = Callable[[Cql2], Truths]


@pytest.fixture(scope="module")
def catalogue(database_url: str) -> Iterator[Database]:
    """Return the empty database for all tests of one module."""
    url = Settings.from_environ({"DATABASE_URL": database_url}).database_url
    engine = create_engine(url, pool_size=2, statement_timeout=60)
    with engine.begin() as connection:
        connection.execute(sa.delete(items))
        connection.execute(sa.delete(collections))
    yield Database(engine)
    engine.dispose()


@pytest.fixture(scope="module")
def store_items(catalogue: Database) -> Callable[[list[Item]], TruthsOf]:
    """Return a function that stores items and returns a function that evaluates an expression for each of them."""

    def store(given: list[Item]) -> TruthsOf:
        writer = Writer(Catalog(catalogue), Managed())
        for name in sorted({item["collection"] for item in given}):
            writer.create_collection(a_collection(name))
            own = [item for item in given if item["collection"] == name]
            writer.create_items(name, [without_bbox(an_item(**item)) for item in own])
        return lambda expression: evaluate_all(catalogue, expression)

    return store


def without_bbox(item: Item) -> Item:
    return {name: value for name, value in item.items() if name != "bbox"}


def evaluate_all(catalogue: Database, expression: Cql2) -> Truths:
    """Return the value of an expression for each item. Check that the condition finds the items with true."""
    truth, where = truth_of(expression, ITEM_FIELDS).sql, condition(expression, ITEM_FIELDS)
    statement = sa.select(items.c.id, truth.label("holds"), where.label("found"))
    rows = catalogue.read(lambda connection: connection.execute(statement).all())
    assert [row.id for row in rows if row.found] == [row.id for row in rows if row.holds]
    return {row.id: row.holds for row in rows}
