"""Names with dots: a key with dots, or a path into objects, in all parameters that take names."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from stacflask import hookimpl
from stacflask.testing import Plug, a_collection, an_item
from tests.api.parameters.test_filter_values import found as found_everywhere
from tests.api.parameters.test_filter_values import numbered
from tests.catalog.cql2.samples import op

Publish = Callable[..., None]
Client = Any

MEMBERS: dict[str, dict[str, Any]] = {
    "key": {"s.v": 1},
    "way": {"s": {"v": 2}},
    "both": {"s.v": 3, "s": {"v": 9}},
    "null": {"s.v": None, "s": {"v": 9}},
    "scalar": {"s": 9},
    "absent": {},
}
DEEP: dict[str, dict[str, Any]] = {
    "one": {"a.b.c": 1},
    "first": {"a": {"b.c": 1}},
    "last": {"a.b": {"c": 1}},
    "each": {"a": {"b": {"c": 1}}},
    "dead end": {"a.b": 5, "a": {"b": {"c": 1}}},
    "none": {"a": {"b": 5, "c": 1}},
}
NAME = {"property": "s.v"}


@pytest.fixture
def stored(publish: Publish) -> Callable[[dict[str, Any]], None]:
    """Return a function that stores members, as properties of items and as members of collections."""

    def store(members: dict[str, Any]) -> None:
        publish(a_collection("collection"))
        for name, own in members.items():
            publish(an_item(name, properties={"datetime": "2024-06-01T12:00:00Z", **own}))
            publish(a_collection(name, **own))

    return store


def listed(response: Any) -> list[str]:
    assert response.status_code == 200, response.text
    return [
        one["id"]
        for one in response.json.get("features", response.json.get("collections"))
        if one["id"] != "collection"
    ]


def test_filter(client: Client, stored: Callable[..., None]) -> None:
    """A filter uses the value of the key with dots, or if there is no such key, the value at the path."""
    stored(MEMBERS)
    for number, name in enumerate(("key", "way", "both"), start=1):
        assert found_everywhere(client, op("=", NAME, number)) == {name}
    assert found_everywhere(client, op("=", {"property": "properties.s.v"}, 2)) == {"way"}
    assert found_everywhere(client, op("isNull", NAME)) == {"null", "scalar", "absent"}
    assert found_everywhere(client, op("=", op("to_string", NAME), "3")) == {"both"}


def test_filter_deeper(client: Client, stored: Callable[..., None]) -> None:
    """Keys with dots are found at every level, for every division of a name into keys."""
    stored(DEEP)
    assert found_everywhere(client, op("=", {"property": "a.b.c"}, 1)) == DEEP.keys() - {"none"}


LONG = "a.b.c.d.e.f.g"


def test_filter_by_long_names(client: Client, stored: Callable[..., None]) -> None:
    """A name of many parts is a key, a path, or two keys; a name of too many parts is 400."""
    stored(
        numbered([{LONG: 1}, {"a.b": {"c.d.e.f.g": 1}}, {"a": {"b": {"c": {"d": {"e": {"f": {"g": 1}}}}}}}, {"a.b": 1}])
    )
    assert found_everywhere(client, op("=", {"property": LONG}, 1)) == {"i0", "i1", "i2"}
    for path in ("/search", "/collections"):
        response = client.get(path, query_string={"filter": f"{'.a' * 20} = 1"[1:]})
        assert (response.status_code, response.json["description"][:8]) == (400, "filter: ")
        response = client.get(path, query_string={"sortby": f"{'.a' * 2000}"[1:]})
        assert (response.status_code, response.json["description"][:8]) == (400, "sortby: ")


def test_query(client: Client, stored: Callable[..., None]) -> None:
    """The query extension accepts the same names."""
    stored(MEMBERS)
    for path in ("/search", "/collections"):
        for query, expected in (({"s.v": {"lte": 2}}, {"key", "way"}), ({"s.v": None}, {"null", "scalar", "absent"})):
            response = client.get(path, query_string={"query": json.dumps(query), "limit": 100})
            assert set(listed(response)) == expected


@pytest.mark.parametrize("path", ["/search", "/collections"])
def test_sortby(client: Client, stored: Callable[..., None], path: str) -> None:
    """Lists are sorted by the same value, across pages."""
    stored(MEMBERS)
    response = client.get(f"{path}?sortby=s.v,id&limit=2")
    found = listed(response)
    while links := [link for link in response.json["links"] if link["rel"] == "next"]:
        response = client.get(links[0]["href"])
        found += listed(response)
    assert found == ["key", "way", "both", "absent", "null", "scalar"]


def test_queryables_and_sortables(client: Client, stored: Callable[..., None]) -> None:
    """Keys with dots are listed, with the types and bounds of their values."""
    stored({"key": {"s.v": 1, "o.p": {"q.r": "x"}}})
    for path in ("/queryables", "/collections/collection/queryables", "/collections-queryables", "/sortables"):
        names = client.get(path).json["properties"]
        assert (names["s.v"]["type"], names["o.p.q.r"]["type"]) == ("integer", "string"), path
        assert names["s.v"].get("maximum") == 1


def test_keys_of_summaries_are_listed(client: Client, publish: Publish) -> None:
    """A key with dots in a collection's summaries is listed."""
    publish(a_collection(summaries={"s.v": {"minimum": 0, "maximum": 5}}))
    assert client.get("/collections/collection/queryables").json["properties"]["s.v"]["maximum"] == 5


def test_strict_names(plug: Plug, stored: Callable[..., None]) -> None:
    """If unknown names are errors, listed names with dots are accepted."""
    stored(MEMBERS)
    client = plug(environ={"STACFLASK_STRICT_NAMES": "true"})
    for path in ("/search", "/collections"):
        assert client.get(path, query_string={"filter": "s.v = 1", "sortby": "s.v"}).status_code == 200
        assert client.get(path, query_string={"filter": "s.w = 1"}).status_code == 400


def test_aggregation(client: Client, stored: Callable[..., None]) -> None:
    """Items are aggregated by the same value."""
    stored(MEMBERS)
    parameters = {"aggregations": "s.v_frequency", "ranges": json.dumps({"s.v": [0, 2, 4]})}
    (aggregation,) = client.get("/aggregate", query_string=parameters).json["aggregations"]
    assert [(bucket["key"], bucket["frequency"]) for bucket in aggregation["buckets"]][1:3] == [
        ("0.0-2.0", 1),
        ("2.0-4.0", 2),
    ]
    assert aggregation["overflow"] == 3


class Below:
    """Restricts items to those whose value is less than 3."""

    @hookimpl
    def restrict(self, of: str) -> Any:
        """Return the condition."""
        return op("<", NAME, 3) if of == "items" else None


def test_policies(plug: Plug, stored: Callable[..., None]) -> None:
    """A policy's condition uses the same value."""
    stored(MEMBERS)
    client = plug(Below())
    assert set(listed(client.get("/search"))) == {"key", "way"}
    assert client.get("/collections/collection/items/way").status_code == 200
    assert client.get("/collections/collection/items/both").status_code == 404
