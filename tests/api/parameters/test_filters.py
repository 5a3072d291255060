"""Filters in both encodings of CQL2, by GET and by POST, for all lists of items."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from stacflask.testing import an_item

Publish = Callable[..., None]
Client = Any
Response = Any
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"


SCENES: dict[str, dict[str, Any]] = {
    "clear": {"platform": "lark", "eo:cloud_cover": 3},
    "hazy": {"platform": "lark", "eo:cloud_cover": 40.5},
    "grey": {"platform": "Lärk", "eo:cloud_cover": 90},
    "radar": {"platform": "halyard"},
}


@pytest.fixture
def scenes(publish: Publish) -> None:
    """Publish four scenes of three platforms with different cloud cover, one without."""
    publish(*[an_item(name, properties={"datetime": "2024-06-01T12:00:00Z", **more}) for name, more in SCENES.items()])


def found(response: Response) -> set[str]:
    assert response.status_code == 200, response.text
    return {feature["id"] for feature in response.json["features"]}


def get(client: Client, path: str = "/search", **parameters: Any) -> Response:
    texts = {
        name.replace("_", "-"): word if isinstance(word, str) else json.dumps(word) for name, word in parameters.items()
    }
    return client.get(f"{path}?{urlencode(texts)}")


def post(client: Client, **parameters: Any) -> Response:
    return client.post("/search", json={name.replace("_", "-"): word for name, word in parameters.items()})


def op(name: str, *args: Any) -> dict[str, Any]:
    return {"op": name, "args": list(args)}


def nested(levels: int) -> Any:
    return op("not", nested(levels - 1)) if levels else True


CLOUD = {"property": "eo:cloud_cover"}
SAME = [
    ("eo:cloud_cover < 50", op("<", CLOUD, 50), {"clear", "hazy"}),
    ("properties.eo:cloud_cover < 50", op("<", {"property": "properties.eo:cloud_cover"}, 50), {"clear", "hazy"}),
    ("eo:cloud_cover IS NULL", op("isNull", CLOUD), {"radar"}),
    ("platform = 'lark' AND NOT eo:cloud_cover > 10", None, {"clear"}),
    (
        "ACCENTI(CASEI(platform)) = ACCENTI(CASEI('LARK'))",
        op("=", op("accenti", op("casei", {"property": "platform"})), op("accenti", op("casei", "LARK"))),
        {"clear", "hazy", "grey"},
    ),
    ("S_INTERSECTS(geometry, BBOX(10,47,12,49)) AND id = 'radar'", None, {"radar"}),
    ("TRUE", True, {"clear", "hazy", "grey", "radar"}),
    ("FALSE", False, set()),
]


def test_both_languages_by_both_methods(client: Client, scenes: None) -> None:
    """Text (default of GET) and JSON (default of POST) are equivalent, for both methods and a collection's items."""
    items = "/collections/collection/items"
    for text, document, expected in SAME:
        responses = [get(client, filter=text), get(client, filter=text, filter_lang="cql2-text")]
        responses += [
            post(client, filter=text, filter_lang="cql2-text"),
            get(client, items, filter=text, filter_crs=CRS84),
        ]
        if document is not None:
            responses += [post(client, filter=document), post(client, filter=document, filter_lang="cql2-json")]
            responses += [get(client, path, filter=document, filter_lang="cql2-json") for path in ("/search", items)]
        for response in responses:
            assert found(response) == expected, (text, response.request.url)


def test_filter_narrows_with_the_others(client: Client, scenes: None) -> None:
    """A filter is combined with the other parameters by AND."""
    parameters = {"filter": "platform = 'lark'", "ids": "clear,radar", "bbox": "0,0,90,90"}
    assert found(client.get("/search", query_string=parameters)) == {"clear"}
    assert found(post(client, filter=op("=", {"property": "platform"}, "lark"), ids=["hazy", "radar"])) == {"hazy"}


WRONG_TEXTS = [
    ("eo:cloud_cover <", "at character 17: "),
    ("eo:cloud_cover < 'x' AND", "at character 25: "),
    ("nosuch(1) = 2", "at character 1: there is no function 'nosuch'"),
    ("id = 1 + 'x'", "at character 8: expected a number, got a string"),
    ("", "at character 1: "),
    ("(" * 5000, "at character "),
]


def test_wrong_text_names_the_character(client: Client, scenes: None) -> None:
    """An error in text is 400 with the position of the character, with both methods."""
    for text, expected in WRONG_TEXTS:
        for response in (get(client, filter=text), post(client, filter=text, filter_lang="cql2-text")):
            assert (response.status_code, response.json["code"]) == (400, "InvalidParameterValue"), text
            assert response.json["description"].startswith(f"filter: {expected}"), (text, response.json)


WRONG_DOCUMENTS = [
    (op("<", CLOUD), "the expression: expected 2 operands of <, got 1"),
    (op("and", True, op("=", op("+", 1, "x"), 1)), "at /args/1/args/0/args/1: expected a number, got a string"),
    ({}, "the expression: expected an object with op"),
    ([], "the expression: expected a boolean, got an array"),
    (5, "the expression: expected a boolean, got a number"),
    (op("=", {"property": "a\0"}, 1), "at /args/0: "),
]


def test_wrong_document_names_the_place(client: Client, scenes: None) -> None:
    """An error in JSON is 400 with the JSON pointer, with both methods."""
    for document, expected in WRONG_DOCUMENTS:
        for response in (get(client, filter=document, filter_lang="cql2-json"), post(client, filter=document)):
            assert response.status_code == 400, document
            assert response.json["description"].startswith(f"filter: {expected}"), (document, response.json)


def test_a_wrong_language_is_400(client: Client, scenes: None) -> None:
    """Text instead of JSON, JSON instead of text, unsupported languages and reference systems are 400."""
    for response, word in [
        (post(client, filter="id = 'a'"), "filter"),
        (get(client, filter=op("=", CLOUD, 1)), "filter"),
        (post(client, filter=op("=", CLOUD, 1), filter_lang="cql2-text"), "filter"),
        (get(client, filter="id = 'a'", filter_lang="cql2-json"), "filter"),
        (get(client, filter="id = 'a'", filter_lang="cql-text"), "filter-lang"),
        (post(client, filter=True, filter_lang=1), "filter-lang"),
        (get(client, filter="TRUE", filter_crs="http://www.opengis.net/def/crs/EPSG/0/4326"), "filter-crs"),
        (post(client, filter_crs=[]), "filter-crs"),
        (client.get("/search?filter=TRUE&filter=TRUE"), "filter"),
        (client.get("/search?filter-lang=cql2-text&filter-lang=cql2-text"), "filter-lang"),
    ]:
        assert response.status_code == 400
        assert response.json["description"].startswith(f"{word}: "), response.json


def test_links_keep_the_filter(client: Client, scenes: None) -> None:
    """Next and prev links keep the filter and its language."""
    first = get(client, filter=op("isNull", CLOUD), filter_lang="cql2-json", limit=1)
    assert [link["rel"] for link in first.json["links"]] == ["root", "self"]
    first = get(client, filter=op("not", op("isNull", CLOUD)), filter_lang="cql2-json", limit=2)
    (link,) = [link for link in first.json["links"] if link["rel"] == "next"]
    assert len(found(client.get(link["href"])) | found(first)) == 3


@pytest.mark.parametrize(
    "filter_",
    [
        op("=", CLOUD, 10**40),
        {**op("<", CLOUD, 50), "mine": 10**40},
        op("a_contains", {"property": "many"}, [-(10**40)]),
    ],
)
def test_numbers_may_be_longer_than_64_bits(client: Client, scenes: None, filter_: Any) -> None:
    """Integers of any length are compared exactly."""
    assert found(post(client, filter=filter_)) == found(get(client, filter=filter_, filter_lang="cql2-json"))
    assert client.post("/aggregate", json={"filter": filter_}).status_code == 200
    assert get(client, "/collections", filter=filter_, filter_lang="cql2-json").status_code == 200


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"filter": op("=", CLOUD, 10**400)}, "filter: at /args/1: expected 0 or a number between"),
        ({"query": {"eo:cloud_cover": {"lt": 10**400}}}, "query: at /eo:cloud_cover/lt/args/1: expected 0 or a number"),
        ({"filter": nested(400)}, "filter: at /args/0/args/0"),
    ],
)
def test_extreme_numbers_and_depths_are_400(client: Client, scenes: None, parameters: Any, expected: str) -> None:
    """Numbers of hundreds of digits and hundreds of levels are 400 with their place."""
    for response in (post(client, **parameters), client.post("/downloads", json={"search": parameters})):
        assert response.status_code == 400
        assert response.json["description"].startswith(expected), response.json


def test_functions_are_listed(client: Client) -> None:
    """Each function has a name, a description, arguments and a result type, and the landing page links to the list."""
    (link,) = [link for link in client.get("/").json["links"] if link["rel"].endswith("/functions")]
    functions = client.get(link["href"]).json["functions"]
    assert {"area", "to_number", "year"} <= {function["name"] for function in functions}
    assert all(function.keys() == {"name", "description", "args", "returns"} for function in functions)
    (area,) = [function for function in functions if function["name"] == "area"]
    assert (area["args"], area["returns"]) == ([{"title": "geometry", "type": ["geometry"]}], ["number"])


def test_functions_are_called(client: Client, scenes: None) -> None:
    """A function can be an operand."""
    assert found(get(client, filter="year(datetime) = 2024 AND length(platform) = 7")) == {"radar"}
    assert found(post(client, filter=op("=", op("month", {"property": "datetime"}), 5))) == set()


def test_hidden_items_stay_hidden(plug: Callable[..., Client], scenes: None) -> None:
    """No filter shows items that a policy hides."""
    from stacflask import hookimpl

    class Hides:
        @hookimpl
        def restrict(self, of: str) -> Any:
            return op("=", {"property": "platform"}, "lark") if of == "items" else None

    client = plug(Hides())
    assert found(get(client, filter="TRUE OR platform = 'halyard'")) == {"clear", "hazy"}
    assert found(post(client, filter=op("or", True, False))) == {"clear", "hazy"}


def test_conformance_classes_are_declared(client: Client) -> None:
    """The conformance classes of CQL2 are declared, including names from drafts."""
    classes = client.get("/conformance").json["conformsTo"]
    cql2 = {name.rpartition("/")[2] for name in classes if "/cql2/1.0/" in name}
    assert {"cql2-text", "cql2-json", "array-functions", "functions", "basic-spatial-operators"} <= cql2
    assert "https://api.stacspec.org/v1.0.0/item-search#filter" in classes
