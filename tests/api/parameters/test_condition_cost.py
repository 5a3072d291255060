"""The cost of a condition per item is bounded, and costly requests have a timeout of their own."""

import math
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from flask.testing import FlaskClient

from stacflask.catalog.database.engine import Database
from stacflask.testing import an_item
from tests.api.http.test_timeouts import held

Json = dict[str, Any]
Publish = Callable[..., None]

TITLE, KEYWORDS, PLACE = ({"property": name} for name in ("title", "keywords", "geometry"))


def op(name: str, *args: Any) -> Json:
    return {"op": name, "args": list(args)}


def any_of(*conditions: Json) -> Json:
    return op("or", *conditions)


def with_properties(name: str, **properties: Any) -> Json:
    item = an_item(name)
    item["properties"] |= properties
    return item


def circle(number: int) -> Json:
    turns = [2 * math.pi * n / number for n in range(number)]
    ring = [[50 * math.cos(turn), 50 * math.sin(turn)] for turn in turns]
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}


def comb(teeth: int, *, flat: bool = False) -> Json:
    """Return a polygon of ``teeth`` long teeth, which are upright unless ``flat``."""
    ring = [[-80 + n / 20, 80.0 * (n % 4 in (1, 2))] for n in range(teeth)]
    ring = [*ring, [ring[-1][0], -1.0], [ring[0][0], -1.0], ring[0]]
    return {"type": "Polygon", "coordinates": [[[y, x / 2] if flat else [x, y] for x, y in ring]]}


COSTLY = any_of(*(op("like", TITLE, f"%{n}%") for n in range(100)))
TOO_COSTLY = {
    "likes": any_of(*(op("like", TITLE, f"%{n}%") for n in range(300))),
    "comparisons": any_of(*(op("=", {"property": f"p{n}"}, n) for n in range(300))),
    "names with dots": any_of(*(op("=", {"property": f"a.b.c{n}"}, n) for n in range(70))),
    "functions": any_of(*(op("like", op("casei", TITLE), f"%{n}%") for n in range(12))),
    "upper case names": any_of(*(op("LIKE", op("CASEI", TITLE), f"%{n}%") for n in range(12))),
    "arrays": any_of(*(op("a_overlaps", KEYWORDS, [f"{n}"]) for n in range(300))),
    "in of properties": op("in", TITLE, [{"property": f"p{n}"} for n in range(300)]),
    "positions that each item is compared with": op("s_touches", PLACE, circle(2_500)),
    "the same in several geometries": any_of(*(op("s_overlaps", circle(500), PLACE) for _ in range(5))),
    "distance": op("<", op("distance", PLACE, circle(2_500)), 1),
    "intersection": op("<", op("area", op("intersection", PLACE, circle(2_500))), 1),
    "geometries of the filter itself": op("<", op("area", op("intersection", comb(600), comb(600, flat=True))), 1),
    "the same in a relation": op("s_overlaps", comb(600), comb(600, flat=True)),
    "the same within another": op("s_intersects", op("intersection", comb(100), comb(100)), comb(600)),
    "many small geometries": any_of(*(op("s_within", PLACE, circle(4)) for _ in range(300))),
}
CHEAP = {
    "in of many": op("in", TITLE, [f"title {n}" for n in range(15_000)]),
    "ids": any_of(*(op("=", {"property": "id"}, f"item {n}") for n in range(900))),
    "comparisons": op("and", *(op("<>", {"property": "none"}, n) for n in range(150)), True),
    "a large region": op("s_intersects", PLACE, circle(9_900)),
    "within a large region": op("s_within", PLACE, circle(9_900)),
    "touches": op("s_touches", PLACE, circle(1_500)),
    "both without regard to case": op("=", op("accenti", op("casei", TITLE)), op("accenti", op("casei", "É"))),
    "array": op("a_overlaps", KEYWORDS, [f"keyword {n}" for n in range(15_000)]),
}


@pytest.mark.parametrize("path", ["/search", "/aggregate"])
@pytest.mark.parametrize("condition", TOO_COSTLY.values(), ids=TOO_COSTLY.keys())
def test_a_condition_that_costs_too_much_for_each_item_is_refused(
    client: FlaskClient, path: str, condition: Json
) -> None:
    """A condition with a cost above the bound is 400, and the description names the parameter."""
    response = client.post(path, json={"filter": condition, "aggregations": ["total_count"]})
    assert response.status_code == 400
    assert response.json["description"].startswith("filter: expected a condition that costs at most 1000 units")


@pytest.mark.parametrize("condition", CHEAP.values(), ids=CHEAP.keys())
def test_a_cheap_condition_is_accepted(plug: Callable[..., FlaskClient], condition: Json) -> None:
    """Long lists, ids and one large region are within the bound."""
    client = plug(environ={"STACFLASK_COSTLY_TIMEOUT": "30"})
    response = client.post("/search", json={"filter": condition})
    assert response.status_code == 200, response.json


@pytest.mark.parametrize("path", ["/search", "/collections", "/aggregate"])
def test_a_text_that_costs_too_much_is_refused(client: FlaskClient, path: str) -> None:
    """The bound applies to cql2-text."""
    text = " OR ".join(f"CASEI(title) LIKE '%{n}%'" for n in range(12))
    response = client.get(f"{path}?{urlencode({'filter': text, 'aggregations': 'total_count'})}")
    assert (response.status_code, response.json["description"].split(":")[0]) == (400, "filter")


def test_a_query_that_costs_too_much_is_refused(client: FlaskClient) -> None:
    """The description names the parameter that the client sent."""
    response = client.post("/search", json={"query": {f"p{n}": {"contains": "a"} for n in range(100)}})
    assert (response.status_code, response.json["description"].split(":")[0]) == (400, "query")


@pytest.mark.parametrize(
    ("name", "mine", "finds"),
    [
        ("a_overlaps", ["green", 7], True),
        ("a_overlaps", [7], True),
        ("a_overlaps", ["7"], False),
        ("a_containedBy", ["green", "red", 7.0, "2024-01-01"], True),
        ("a_containedBy", ["green", "red", 7], False),
        ("a_contains", ["green", "green", 7], True),
        ("a_equals", ["red", "green", 7, {"date": "2024-01-01"}], True),
        ("a_equals", ["red", "green", 7], False),
    ],
)
@pytest.mark.parametrize("further", [0, 100])
def test_long_arrays_are_compared_like_short_ones(
    client: FlaskClient, publish: Publish, name: str, mine: list[Any], finds: bool, further: int
) -> None:
    """Array operators give the same result for long and short arrays, in both orders of operands."""
    keywords = ["red", "green", 7, "2024-01-01"]
    publish(with_properties("a", keywords=keywords), with_properties("b", keywords=[]), an_item("c"))
    more = [f"none {n}" for n in range(further)] if name in ("a_overlaps", "a_containedBy") else []
    mirrored = {"a_contains": "a_containedBy", "a_containedBy": "a_contains"}.get(name, name)
    for condition in (op(name, KEYWORDS, [*mine, *more]), op(mirrored, [*mine, *more], KEYWORDS)):
        response = client.post("/search", json={"filter": op("and", condition, op("<>", {"property": "id"}, "b"))})
        assert [one["id"] for one in response.json["features"]] == ["a"] * finds


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (" ".join(f"none{n}" for n in range(99)), []),
        (" ".join([*(f"none{n}" for n in range(98)), "Straße"]), ["a"]),
        ("+strasse +old +town +hall", ["a"]),
        ("+strasse +old +town +hall -red", []),
        ("+strasse +old +town +tower", []),
        ("(strasse AND old) OR (hall AND tower) OR none", ["a"]),
    ],
)
def test_many_words_are_searched_like_few(client: FlaskClient, publish: Publish, words: str, found: list[str]) -> None:
    """Alternatives, required and excluded words have the same meaning in long and short terms."""
    hall = with_properties("a", title="Old STRASSE", description="red town hall")
    publish(hall, with_properties("b", title="river"))
    assert [one["id"] for one in client.post("/search", json={"q": words}).json["features"]] == found


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/search", {"filter": COSTLY}),
        ("/search", {"q": " ".join(f"word{n}" for n in range(90))}),
        ("/aggregate", {"filter": COSTLY, "aggregations": ["total_count", "datetime_frequency"]}),
        ("/aggregate", {"intersects": circle(6_000), "aggregations": ["total_count", "datetime_frequency"]}),
    ],
)
def test_a_costly_request_has_a_timeout_of_its_own(
    plug: Callable[..., FlaskClient], publish: Publish, database: Database, path: str, body: Json
) -> None:
    """A costly request is 503 after its own timeout."""
    publish(an_item("a"))
    client = plug(environ={"STACFLASK_COSTLY_TIMEOUT": "0.5", "STACFLASK_POOL_SIZE": "1"})
    with held(database):
        response = client.post(path, json=body)
    assert (response.status_code, response.json["code"]) == (503, "QueryTimeout")
