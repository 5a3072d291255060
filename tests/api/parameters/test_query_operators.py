"""The query extension: comparisons by property, by GET and by POST."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from stacflask.testing import an_item

Publish = Callable[..., None]
Client = Any
Response = Any

SCENES: dict[str, dict[str, Any]] = {
    "clear": {"platform": "Lark-1", "eo:cloud_cover": 3, "created": "2024-01-01T00:00:00Z", "good": True},
    "hazy": {"platform": "lark_2", "eo:cloud_cover": 40.5, "created": "2024-06-01T02:00:00+02:00", "good": False},
    "grey": {"platform": "LÄRK", "eo:cloud_cover": 90, "tile": "40"},
    "radar": {"platform": "halyard", "tile": 40},
}


@pytest.fixture
def scenes(publish: Publish) -> None:
    """Publish four scenes with different properties of different types."""
    publish(*[an_item(name, properties={"datetime": "2024-06-01T12:00:00Z", **more}) for name, more in SCENES.items()])


def search(client: Client, query: Any) -> list[Response]:
    """Send a query in all three ways."""
    parameters = urlencode({"query": json.dumps(query)})
    paths = (f"/search?{parameters}", f"/collections/collection/items?{parameters}")
    return [*map(client.get, paths), client.post("/search", json={"query": query})]


def found(response: Response) -> set[str]:
    assert response.status_code == 200, response.text
    return {feature["id"] for feature in response.json["features"]}


FINDS: list[tuple[Any, set[str]]] = [
    ({}, {"clear", "hazy", "grey", "radar"}),
    ({"eo:cloud_cover": {"lt": 40.5}}, {"clear"}),
    ({"eo:cloud_cover": {"lte": 40.5}}, {"clear", "hazy"}),
    ({"eo:cloud_cover": {"gt": 3, "lt": 90}}, {"hazy"}),
    ({"properties.eo:cloud_cover": {"gte": 40.5}}, {"hazy", "grey"}),
    ({"eo:cloud_cover": {"lt": "50"}}, {"clear", "hazy"}),
    ({"eo:cloud_cover": {"eq": "3"}}, {"clear"}),
    ({"eo:cloud_cover": {"in": ["3", 90]}}, {"clear", "grey"}),
    ({"eo:cloud_cover": {"in": []}}, set()),
    ({"eo:cloud_cover": {"eq": 3}}, {"clear"}),
    ({"eo:cloud_cover": 3}, {"clear"}),
    ({"eo:cloud_cover": {"neq": 3}}, {"hazy", "grey"}),
    ({"eo:cloud_cover": {"neq": "3"}}, {"hazy", "grey"}),
    ({"eo:cloud_cover": {"eq": None}}, {"radar"}),
    ({"eo:cloud_cover": None}, {"radar"}),
    ({"eo:cloud_cover": {"neq": None}}, {"clear", "hazy", "grey"}),
    ({"tile": {"eq": "40"}}, {"grey", "radar"}),
    ({"tile": {"eq": 40}}, {"radar"}),
    ({"tile": {"startsWith": "4"}}, {"grey"}),
    ({"platform": {"eq": "LARK-1"}}, {"clear"}),
    ({"platform": "lärk"}, {"grey"}),
    ({"platform": {"neq": "lark-1"}}, {"hazy", "grey", "radar"}),
    ({"platform": {"startsWith": "lar"}}, {"clear", "hazy"}),
    ({"platform": {"endsWith": "RK"}}, {"grey"}),
    ({"platform": {"contains": "ark"}}, {"clear", "hazy"}),
    ({"platform": {"contains": "_"}}, {"hazy"}),
    ({"platform": {"contains": "%"}}, set()),
    ({"platform": {"contains": "\\"}}, set()),
    ({"platform": {"in": ["HALYARD", "lärk"]}}, {"grey", "radar"}),
    ({"platform": {"gt": "a", "lt": "i"}}, {"radar"}),
    ({"good": {"eq": True}}, {"clear"}),
    ({"good": {"in": [True, "x"]}}, {"clear"}),
    ({"created": {"gte": "2024-06-01T00:00:00Z"}}, {"hazy"}),
    ({"created": {"eq": "2024-06-01T00:00:00.000Z"}}, {"hazy"}),
    ({"created": {"neq": "2024-06-01T00:00:00.000Z"}}, {"clear"}),
    ({"platform": {"neq": "2024-06-01T00:00:00Z"}}, {"clear", "hazy", "grey", "radar"}),
    ({"tile": {"neq": "2024-06-01T00:00:00Z"}}, {"grey"}),
    ({"datetime": {"neq": "2024-06-01T13:00:00Z"}}, {"clear", "hazy", "grey", "radar"}),
    ({"datetime": {"gte": "2024-06-01T12:00:00Z", "lt": "2025-01-01T00:00:00Z"}}, {"clear", "hazy", "grey", "radar"}),
    ({"datetime": {"eq": "2024-06-01T13:00:00Z"}}, set()),
    ({"datetime": {"in": ["2024-06-01T14:00:00+02:00"]}}, {"clear", "hazy", "grey", "radar"}),
    ({"id": {"in": ["CLEAR", "1"]}, "collection": {"eq": "collection"}}, {"clear"}),
    ({"nosuch": {"eq": "x"}}, set()),
    ({"platform": {"eq": "halyard"}, "eo:cloud_cover": {"lt": 50}}, set()),
]


def test_all_operators(client: Client, scenes: None) -> None:
    """Each of the ten operators works with both methods; a string is compared by the type of the stored value."""
    for query, expected in FINDS:
        for response in search(client, query):
            assert found(response) == expected, query


WRONG: list[tuple[Any, str]] = [
    ([], "expected an object"),
    ("x", "expected an object"),
    ({"eo:cloud_cover": {"near": 1}}, "at /eo:cloud_cover: expected one of eq, neq"),
    ({"eo:cloud_cover": {}}, "at /eo:cloud_cover: expected one of eq"),
    ({"a/b": {"lt": None}}, "at /a~1b/lt: expected a number"),
    ({"a": {"lt": True}}, "at /a/lt: expected a number"),
    ({"a": {"eq": []}}, "at /a/eq: expected a string"),
    ({"a": [1]}, "at /a/eq: expected a string"),
    ({"a": {"in": 1}}, "at /a/in: expected an array"),
    ({"a": {"in": [None]}}, "at /a/in: expected an array"),
    ({"a": {"startsWith": 1}}, "at /a/startsWith: expected a string"),
    ({"datetime": {"gt": "yesterday"}}, "at /datetime/gt"),
    ({"id": {"lt": 5}}, "at /id/lt"),
    ({"geometry": {"eq": "x"}}, "at /geometry/eq"),
    ({"a\0": {"eq": "x"}}, "at /a\0/eq"),
    ({"a": {"lt": 1e300}}, "at /a/lt"),
]


def test_an_invalid_query_is_400_with_the_place(client: Client, scenes: None) -> None:
    """An invalid operator or value is 400 with its JSON pointer, also with a filter."""
    for query, expected in WRONG:
        for response in [*search(client, query), client.post("/search", json={"query": query, "filter": True})]:
            assert response.status_code == 400, query
            assert response.json["description"].startswith(f"query: {expected}"), (query, response.json)
    for text in ("", "{", "'x'", '{"a": {"eq": NaN}}'):
        assert client.get("/search", query_string={"query": text}).json["description"].startswith("query: "), text


def test_a_query_is_combined_with_a_filter(client: Client, scenes: None) -> None:
    """Query and filter are combined by AND; errors of the filter have the same message as alone."""
    query = {"eo:cloud_cover": {"gt": 10}, "platform": {"startsWith": "l"}}
    parameters = {"query": json.dumps(query), "filter": "eo:cloud_cover < 80"}
    assert found(client.get("/search", query_string=parameters)) == {"hazy"}
    wrong = {"op": "=", "args": [{"property": "x"}, {"op": "nosuch", "args": []}]}
    assert (
        client.post("/search", json={"query": query, "filter": wrong})
        .json["description"]
        .startswith("filter: at /args/1: there is no function")
    )
    parameters["filter"] = "nosuch(1) = 1"
    assert client.get("/search", query_string=parameters).json["description"].startswith("filter: at character 1: ")
