"""Names with dots: a key that has them, or the way into objects, in everything that takes a name."""

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
def kept(publish: Publish) -> Callable[[dict[str, Any]], None]:
    """Put members into the catalogue, as properties of items and as members of collections."""

    def keep(members: dict[str, Any]) -> None:
        publish(a_collection("collection"))
        for name, own in members.items():
            publish(an_item(name, properties={"datetime": "2024-06-01T12:00:00Z", **own}))
            publish(a_collection(name, **own))

    return keep


def listed(response: Any) -> list[str]:
    assert response.status_code == 200, response.text
    return [
        one["id"]
        for one in response.json.get("features", response.json.get("collections"))
        if one["id"] != "collection"
    ]


def test_filter(client: Client, kept: Callable[..., None]) -> None:
    """A filter finds what stands under the key, and only where there is none what the way leads to."""
    kept(MEMBERS)
    for number, name in enumerate(("key", "way", "both"), start=1):
        assert found_everywhere(client, op("=", NAME, number)) == {name}
    assert found_everywhere(client, op("=", {"property": "properties.s.v"}, 2)) == {"way"}
    assert found_everywhere(client, op("isNull", NAME)) == {"null", "scalar", "absent"}
    assert found_everywhere(client, op("=", op("to_string", NAME), "3")) == {"both"}


def test_filter_deeper(client: Client, kept: Callable[..., None]) -> None:
    """Keys with dots are found at every level, however a name is divided into them."""
    kept(DEEP)
    assert found_everywhere(client, op("=", {"property": "a.b.c"}, 1)) == DEEP.keys() - {"none"}


LONG = "a.b.c.d.e.f.g"


def test_filter_by_long_names(client: Client, kept: Callable[..., None]) -> None:
    """A name of many parts is a key, a way, or two keys; one of too many parts is refused."""
    kept(
        numbered([{LONG: 1}, {"a.b": {"c.d.e.f.g": 1}}, {"a": {"b": {"c": {"d": {"e": {"f": {"g": 1}}}}}}}, {"a.b": 1}])
    )
    assert found_everywhere(client, op("=", {"property": LONG}, 1)) == {"i0", "i1", "i2"}
    for path in ("/search", "/collections"):
        response = client.get(path, query_string={"filter": f"{'.a' * 20} = 1"[1:]})
        assert (response.status_code, response.json["description"][:8]) == (400, "filter: ")
        response = client.get(path, query_string={"sortby": f"{'.a' * 2000}"[1:]})
        assert (response.status_code, response.json["description"][:8]) == (400, "sortby: ")


def test_query(client: Client, kept: Callable[..., None]) -> None:
    """Comparisons take the same names."""
    kept(MEMBERS)
    for path in ("/search", "/collections"):
        for query, expected in (({"s.v": {"lte": 2}}, {"key", "way"}), ({"s.v": None}, {"null", "scalar", "absent"})):
            response = client.get(path, query_string={"query": json.dumps(query), "limit": 100})
            assert set(listed(response)) == expected


@pytest.mark.parametrize("path", ["/search", "/collections"])
def test_sortby(client: Client, kept: Callable[..., None], path: str) -> None:
    """Lists are sorted by what the name means, across pages."""
    kept(MEMBERS)
    response = client.get(f"{path}?sortby=s.v,id&limit=2")
    seen = listed(response)
    while links := [link for link in response.json["links"] if link["rel"] == "next"]:
        response = client.get(links[0]["href"])
        seen += listed(response)
    assert seen == ["key", "way", "both", "absent", "null", "scalar"]


def test_queryables_and_sortables(client: Client, kept: Callable[..., None]) -> None:
    """Keys with dots are listed, with what items and collections hold under them."""
    kept({"key": {"s.v": 1, "o.p": {"q.r": "x"}}})
    for path in ("/queryables", "/collections/collection/queryables", "/collections-queryables", "/sortables"):
        names = client.get(path).json["properties"]
        assert (names["s.v"]["type"], names["o.p.q.r"]["type"]) == ("integer", "string"), path
        assert names["s.v"].get("maximum") == 1


def test_summaries_name_them(client: Client, publish: Publish) -> None:
    """A key with dots in a collection's summaries is listed, too."""
    publish(a_collection(summaries={"s.v": {"minimum": 0, "maximum": 5}}))
    assert client.get("/collections/collection/queryables").json["properties"]["s.v"]["maximum"] == 5


def test_strict_names(plug: Plug, kept: Callable[..., None]) -> None:
    """Where only listed names are right, those with dots are."""
    kept(MEMBERS)
    client = plug(environ={"STACFLASK_STRICT_NAMES": "true"})
    for path in ("/search", "/collections"):
        assert client.get(path, query_string={"filter": "s.v = 1", "sortby": "s.v"}).status_code == 200
        assert client.get(path, query_string={"filter": "s.w = 1"}).status_code == 400


def test_aggregation(client: Client, kept: Callable[..., None]) -> None:
    """Items are counted by what the name means."""
    kept(MEMBERS)
    kept_words = {"aggregations": "s.v_frequency", "ranges": json.dumps({"s.v": [0, 2, 4]})}
    (made,) = client.get("/aggregate", query_string=kept_words).json["aggregations"]
    assert [(bucket["key"], bucket["frequency"]) for bucket in made["buckets"]][1:3] == [("0.0-2.0", 1), ("2.0-4.0", 2)]
    assert made["overflow"] == 3


class Below:
    """Shows what has less than 3 under the name."""

    @hookimpl
    def restrict(self, of: str) -> Any:
        """Return the condition."""
        return op("<", NAME, 3) if of == "items" else None


def test_policies(plug: Plug, kept: Callable[..., None]) -> None:
    """A policy's names mean the same."""
    kept(MEMBERS)
    client = plug(Below())
    assert set(listed(client.get("/search"))) == {"key", "way"}
    assert client.get("/collections/collection/items/way").status_code == 200
    assert client.get("/collections/collection/items/both").status_code == 404
