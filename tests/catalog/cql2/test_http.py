"""CQL2 over HTTP: text and JSON, items and collections, new and cached statements."""

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import assume, given, settings

from stacflask.app import create_app
from stacflask.catalog.cql2 import parse
from stacflask.catalog.database.engine import Database
from stacflask.catalog.documents.documents import Managed
from stacflask.catalog.reader import Catalog
from stacflask.catalog.writer import Writer
from stacflask.current import EXTENSION
from stacflask.pluginmanager import loading
from stacflask.settings import Settings
from stacflask.testing import a_collection
from tests.catalog.cql2 import samples, test_conditions
from tests.catalog.cql2.conftest import Item
from tests.catalog.cql2.notation import NotRepresentable, write
from tests.catalog.cql2.reference import RoundingDependent, evaluate, truth

Client = Any
Find = Callable[[Any], set[str]]
NO_COLUMNS = {
    "collection": "id",
    "datetime": "when",
    "start_datetime": "then",
    "end_datetime": "then",
    "properties.end_datetime": "then",
}
"""Names that have a column for items, and the names that replace them in searches of collections."""


@pytest.fixture(scope="module")
def client(catalogue: Database, database_url: str) -> Iterator[Client]:
    """Return a client of one application for all tests of this module."""
    environ = {"DATABASE_URL": database_url, "STACFLASK_LOG_FORMAT": "text", "STACFLASK_MAX_LIMIT": "1000"}
    app = create_app(Settings.from_environ(environ), loading.manage({}))
    yield app.test_client()
    app.extensions[EXTENSION].catalog.database.engine.dispose()


def as_collection(item: Item) -> dict[str, Any]:
    """Return a collection with the properties of an item as members, and a box for its geometry."""
    point = item["geometry"]["coordinates"] if item["geometry"] and item["geometry"]["type"] == "Point" else [1, 1]
    extent = {"spatial": {"bbox": [point * 2]}, "temporal": {"interval": [[None, None]]}}
    return a_collection(item["id"], **{**item["properties"], "extent": extent})


@pytest.fixture(scope="module")
def store_both(catalogue: Database, store_items: Callable[[list[Item]], Any]) -> Callable[[list[Item]], None]:
    """Return a function that stores items, and each of them as a collection, too."""

    def store_both(given: list[Item]) -> None:
        store_items(given)
        writer = Writer(Catalog(catalogue), Managed())
        for item in given:
            writer.create_collection(as_collection(item))

    return store_both


def answers(client: Client, path: str, expression: Any) -> Iterator[Any]:
    """Search with a condition as JSON, and as text if possible. Items are searched twice, to use a cached statement."""
    document = json.dumps(expression)
    if path == "/search":
        for _ in range(2):
            yield client.post(path, data=f'{{"filter": {document}, "limit": 1000}}', content_type="application/json")
    else:
        parameters = {"filter": document, "filter-lang": "cql2-json", "limit": 1000}
        yield client.get(f"{path}?{urlencode(parameters)}")
    with contextlib.suppress(NotRepresentable):
        yield client.get(f"{path}?{urlencode({'filter': write(expression), 'limit': 1000})}")


def found(client: Client, path: str, expression: Any, ids: set[str]) -> set[str]:
    """Return which of these ids a condition finds. Check that all forms of it find the same."""
    results = []
    for answer in answers(client, path, expression):
        assert answer.status_code == 200, (answer.request.url, answer.text)
        records = answer.json["features" if path == "/search" else "collections"]
        results.append({record["id"] for record in records} & ids)
    assert all(result == results[0] for result in results), (expression, results)
    return results[0]


# --- The table of conditions ------------------------------------------------------------------------------------------

TABLE = [
    *(*test_conditions.BASIC, *test_conditions.TIMES, *test_conditions.STRINGS, *test_conditions.NUMBERS),
    *(*test_conditions.GEOMETRIES, *test_conditions.ARRAYS, *test_conditions.FUNCTIONS),
]
OF_ITEMS = re.compile("geometry|collection|datetime")


@pytest.fixture(scope="module")
def scenes(client: Client, store_both: Callable[[list[Item]], None]) -> Client:
    store_both(test_conditions.SCENES)
    return client


@pytest.mark.parametrize("text", [text for text, _ in TABLE])
def test_a_condition_finds_the_same_in_every_form(scenes: Client, text: str) -> None:
    """Each condition of the table finds the same items and collections in JSON and in text, with new and cached SQL."""
    expected = set(dict(TABLE)[text].split())
    assert found(scenes, "/search", parse(text), test_conditions.ALL) == expected
    if not OF_ITEMS.search(text):
        assert found(scenes, "/collections", parse(text), test_conditions.ALL) == expected


# --- Random conditions ------------------------------------------------------------------------------------------------

ITEMS = samples.items(40)


@pytest.fixture(scope="module")
def sampled(scenes: Client, store_both: Callable[[list[Item]], None]) -> Client:
    store_both(ITEMS)
    return scenes


def expected(expression: Any, given: list[Item]) -> set[str]:
    return {item["id"] for item in given if truth(evaluate(expression, item))}


def of_collections(node: Any) -> Any:
    """Replace columns that only items have by members of a collection."""
    if isinstance(node, list):
        return [of_collections(part) for part in node]
    if not isinstance(node, dict):
        return node
    return {
        key: NO_COLUMNS.get(value, value) if key == "property" else of_collections(value) for key, value in node.items()
    }


AS_COLLECTIONS = [
    {**item, "geometry": {"type": "Point", "coordinates": as_collection(item)["extent"]["spatial"]["bbox"][0][:2]}}
    for item in ITEMS
]
"""The collections for the reference evaluator. Each has a geometry."""


@given(expression=samples.conditions)
@settings(max_examples=60, deadline=None)
def test_random_conditions_find_the_records_of_the_reference_evaluator(sampled: Client, expression: Any) -> None:
    """A condition finds the items and collections for which the reference evaluator returns true."""
    about = of_collections(expression)
    try:
        items, collections = expected(expression, ITEMS), expected(about, AS_COLLECTIONS)
    except RoundingDependent:
        assume(False)
    ids = {item["id"] for item in ITEMS}
    assert found(sampled, "/search", expression, ids) == items
    assert found(sampled, "/collections", about, ids) == collections
