"""Page tokens are bound to a query and its order, in any equivalent form, and stay short."""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stacflask.testing import a_collection, an_item

Publish = Callable[..., None]
Client = Any

POLYGON = {"type": "Polygon", "coordinates": [[[-10, -10], [20, -10], [20, 50], [-10, 50], [-10, -10]]]}
LARGER = {"type": "Polygon", "coordinates": [[[-11, -10], [20, -10], [20, 50], [-11, 50], [-11, -10]]]}
SMALL = {"op": "<", "args": [{"property": "number"}, 5]}
BY_NAME = {"op": "like", "args": [{"property": "title"}, "T%"]}

# Each parameter with values of different meaning, for POST and for GET. All items match all of them.
VALUES: dict[str, list[tuple[Any, str]]] = {
    "collections": [(["a", "b"], "b,a"), (["a", "b", "c"], "a,c,b"), (["b"], "b")],
    "ids": [(["1", "2", "3"], "3,2,1,3"), (["2", "1", "4"], "4,1,2")],
    "bbox": [([-10, -10, 20, 50], "-10.0,-10,20,5e1"), ([-10, -10, 20, 51], "-10,-10,20,51")],
    "intersects": [(POLYGON, json.dumps(POLYGON, sort_keys=True)), (LARGER, json.dumps(LARGER))],
    "datetime": [
        ("2024-01-01T00:00:00Z/..", "2024-01-01T01:00:00+01:00/"),
        ("2024-01-01T00:00:00Z/2030-01-01T00:00:00Z", "2024-01-01T00:00:00Z/2030-01-01T00:00:00Z"),
    ],
    "q": [("text", " text "), (["text", "other"], "text,other")],
    "filter": [
        (SMALL, "number < 5.0"),
        ({"op": "<", "args": [{"property": "number"}, 6]}, "number < 6"),
        ({"op": "and", "args": [BY_NAME, SMALL]}, "number < 5 AND title LIKE 'T%'"),
    ],
    "query": [
        ({"number": {"lt": 9, "gte": 0}}, '{"number":{"gte":0.0,"lt":9}}'),
        ({"number": {"lt": 9}}, '{"number":{"lt":9}}'),
    ],
    "sortby": [
        ([{"field": "datetime", "direction": "desc"}], "-properties.datetime"),
        ([{"field": "properties.number", "direction": "asc"}], "number"),
        ([{"field": "number", "direction": "desc"}], "-number"),
    ],
}
Query = dict[str, int]


def area(query: Query) -> Query:
    """Remove bbox if there is intersects, because a query can have only one of them."""
    return {name: value for name, value in query.items() if name != "bbox" or "intersects" not in query}


QUERIES = st.fixed_dictionaries(
    {}, optional={name: st.integers(0, len(values) - 1) for name, values in VALUES.items()}
).map(area)
SPELLINGS = st.tuples(st.sampled_from(["GET", "POST"]), st.randoms(use_true_random=False))
Spelling = tuple[str, random.Random]


def search(client: Client, query: Query, spelling: Spelling, token: str | None = None) -> Any:
    method, order = spelling
    names = order.sample(sorted(query), len(query))
    more = {"limit": order.choice([1, 2])} | ({} if token is None else {"token": token})
    if method == "GET":
        parameters = [f"{name}={quote(VALUES[name][query[name]][1])}" for name in names]
        return client.get("/search?" + "&".join([*parameters, *(f"{name}={value}" for name, value in more.items())]))
    body = {name: VALUES[name][query[name]][0] for name in names}
    for name in ("ids", "collections"):
        if name in body:
            body[name] = order.sample(body[name] * 2, 2 * len(body[name]))
    return client.post("/search", json={**body, **more})


def token_of(response: Any, rel: str = "next") -> str:
    link = next(link for link in response.json["links"] if link["rel"] == rel)
    token: str = (
        link["body"]["token"] if link["method"] == "POST" else dict(parse_qsl(urlsplit(link["href"]).query))["token"]
    )
    return token


@pytest.fixture
def alike(publish: Publish) -> None:
    """Publish items that match all queries."""
    properties = {"datetime": "2024-06-01T00:00:00Z", "title": "Text other", "number": 3}
    publish(*map(a_collection, "abc"))
    publish(*[an_item(str(n), name, properties=properties) for name in "abc" for n in range(1, 5)])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(QUERIES, QUERIES, SPELLINGS, SPELLINGS)
def test_a_token_is_bound_to_its_query_in_any_form(
    client: Client, alike: None, query: Query, other: Query, spelling: Spelling, another: Spelling
) -> None:
    """A token works with its query in any equivalent form; with another query it is 400."""
    token = token_of(search(client, query, spelling))
    assert search(client, query, another, token).status_code == 200
    response = search(client, other, another, token)
    if query == other:
        assert response.status_code == 200
    else:
        assert (response.status_code, response.json["description"][:7]) == (400, "token: ")
    assert not token.startswith("ey")


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in VALUES for value in range(len(VALUES[name]))])
def test_each_parameter_is_part_of_the_binding(client: Client, alike: None, name: str, value: int) -> None:
    """A token of a query without a parameter, or with another value of it, is 400 with this query."""
    spelling = ("POST", random.Random(0))
    for other in [{}, *({name: number} for number in range(len(VALUES[name])))]:
        token = token_of(search(client, other, spelling))
        expected = 200 if other == {name: value} else 400
        assert search(client, {name: value}, spelling, token).status_code == expected, other


def test_limit_fields_and_count_may_change_between_pages(client: Client, alike: None) -> None:
    """Limit, fields and count are not part of the binding."""
    token = token_of(client.get("/search?limit=1"))
    response = client.get(f"/search?limit=3&fields=id&count=true&token={token}")
    assert (response.status_code, len(response.json["features"]), response.json["numberMatched"]) == (200, 3, 12)


def test_the_collection_in_the_path_is_part_of_the_binding(client: Client, alike: None) -> None:
    """A token of a collection's items works in a search of that collection, and is 400 for another collection."""
    token = token_of(client.get("/collections/a/items?limit=1"))
    assert client.get(f"/collections/a/items?limit=1&token={token}").status_code == 200
    assert client.get(f"/search?collections=a&token={token}").status_code == 200
    for path in ("/collections/b/items", "/search", "/search?collections=a,b", "/collections", "/children"):
        joint = "&" if "?" in path else "?"
        assert client.get(f"{path}{joint}token={token}").status_code == 400, path


def test_tokens_of_collections_are_bound_to_their_query(client: Client, alike: None) -> None:
    """A token of collections is 400 with another condition or order."""
    token = token_of(client.get("/collections?limit=1&q=a,b,c"))
    assert client.get(f"/collections?limit=1&q=a,b,c&token={token}").status_code == 200
    for other in ("", "q=a,b", "q=a,b,c&sortby=-id", "q=a,b,c&datetime=2024-01-01T00:00:00Z/.."):
        assert client.get(f"/collections?limit=1&{other}&token={token}").status_code == 400, other


def test_permissions_may_change_between_pages(plug: Callable[..., Client], alike: None) -> None:
    """Restrictions are not part of the binding: a restricted user continues with the visible items."""
    from stacflask import hookimpl

    class OnlyB:
        @hookimpl
        def restrict(self, of: str) -> Any:
            return {"op": "=", "args": [{"property": "collection"}, "b"]} if of == "items" else None

    token = token_of(plug().get("/search?limit=1&sortby=id"))
    response = plug(OnlyB()).get(f"/search?sortby=id&token={token}")
    assert [(one["collection"], one["id"]) for one in response.json["features"]] == [("b", n) for n in "1234"]


def test_manifests_of_a_search_have_next_links(client: Client, alike: None) -> None:
    """The next link of a manifest has the complete request with the token in its search, and is bound to it."""
    query = {"collections": ["a"], "limit": 2, "filter": SMALL}
    sent = {"search": query, "assets": ["data"]}
    first = client.post("/downloads", json=sent).json
    (following,) = [link for link in first["links"] if link["rel"] == "next"]
    token = following["body"]["search"]["token"]
    assert following["body"] == {**sent, "search": {**query, "token": token}}
    assert client.post("/downloads", json=following["body"]).status_code == 200
    other = {"search": {"collections": ["b"], "filter": SMALL, "token": token}}
    response = client.post("/downloads", json=other)
    assert (response.status_code, response.json["description"][:7]) == (400, "token: ")


# --- Long values ------------------------------------------------------------------------------------------------------

LONG = "x" * 2_000


@pytest.fixture
def long(publish: Publish) -> list[str]:
    """Publish items whose titles differ after thousands of characters, and return their ids in order."""
    titles = [f"{LONG}{n:02}" for n in range(7)]
    when = "2024-06-01T00:00:00Z"
    several = [{"datetime": when, "title": title, "note": LONG} for title in titles]
    publish(*[an_item(f"i{n}", properties=properties) for n, properties in enumerate(several)])
    return [f"i{n}" for n in range(7)]


def walk(client: Client, path: str, rel: str = "next") -> Iterator[list[str]]:
    page = client.get(path)
    while True:
        assert page.status_code == 200, page.text
        yield [feature["id"] for feature in page.json["features"]]
        link = next((link for link in page.json["links"] if link["rel"] == rel), None)
        if link is None:
            return
        assert len(link["href"]) <= 8_000
        page = client.get(link["href"]) if link["method"] == "GET" else client.post(link["href"], json=link["body"])


@pytest.mark.parametrize("sort", ["title", "-title", "note,title", "-note,-title", "-note,title"])
def test_tokens_of_long_values_are_short_and_exact(client: Client, long: list[str], sort: str) -> None:
    """Pages sorted by long values have short links, and neither repeat nor lose an item."""
    expected = long[::-1] if sort.endswith("-title") else long
    path = f"/search?limit=2&sortby={sort}"
    assert len(token_of(client.get(path))) < 500
    assert [name for page in walk(client, path) for name in page] == expected


def test_going_back_among_long_values(client: Client, long: list[str]) -> None:
    """A prev link of pages sorted by long values leads to the previous page."""
    first = client.get("/search?limit=3&sortby=title")
    second = client.get(f"/search?limit=3&sortby=title&token={token_of(first)}")
    back = client.get(f"/search?limit=3&sortby=title&token={token_of(second, 'prev')}")
    assert [one["id"] for one in back.json["features"]] == long[:3]


@pytest.mark.parametrize("sort", ["title", "-title"])
def test_deleting_the_last_item_of_a_page_loses_no_other(editor: Client, long: list[str], sort: str) -> None:
    """If the last item of a page sorted by long values is deleted, all following items are found, some twice."""
    first = editor.get(f"/search?limit=3&sortby={sort}")
    last = first.json["features"][-1]["id"]
    assert editor.delete(f"/collections/collection/items/{last}").status_code == 204
    rest = [name for page in walk(editor, f"/search?limit=3&sortby={sort}&token={token_of(first)}") for name in page]
    expected = long[3:] if sort == "title" else long[:4][::-1]
    assert rest[-len(expected) :] == expected


def test_a_token_reveals_no_values_of_a_hidden_item(plug: Callable[..., Client], long: list[str]) -> None:
    """If the last item of a page is hidden now, its values are not read for the token."""
    from stacflask import hookimpl

    class Hide:
        @hookimpl
        def restrict(self, of: str) -> Any:
            return {"op": "<>", "args": [{"property": "id"}, "i2"]} if of == "items" else None

    token = token_of(plug().get("/search?limit=3&sortby=title"))
    response = plug(Hide()).get(f"/search?sortby=title&token={token}")
    assert [one["id"] for one in response.json["features"]] == ["i0", "i1", "i3", "i4", "i5", "i6"]


def test_long_titles_of_collections(client: Client, publish: Publish) -> None:
    """Pages of collections sorted by long titles have short links."""
    publish(*[{**a_collection(f"c{n}"), "title": f"{LONG}{9 - n}"} for n in range(5)])
    found, url = [], "/collections?limit=2&sortby=title"
    while url:
        page = client.get(url).json
        found += [collection["id"] for collection in page["collections"]]
        url = next((link["href"] for link in page["links"] if link["rel"] == "next"), "")
        assert len(url) < 600
    assert found == ["c4", "c3", "c2", "c1", "c0"]


def test_the_next_page_of_a_long_url_is_a_post(client: Client, alike: None) -> None:
    """If the URL of a next page would be too long for the server, the link is an equivalent POST."""
    ids = ",".join(["1", "2", "3", "4", *(f"absent{n}" for n in range(700))])
    parameters = (
        f"limit=1&ids={ids}&bbox=-10,-10,20,50&datetime=2024-01-01T00:00:00%2B00:00/..&q=text&fields=-geometry"
        "&filter=number%20%3C%205&query=%7B%22number%22%3A%7B%22lt%22%3A9%7D%7D&sortby=-number,%2Bid"
    )
    for path, number in (("/search", 12), ("/collections/b/items", 4)):
        url = f"{path}?{parameters}"
        url += "&x=" + "x" * (7_950 - len(url))
        first = client.get(url)
        (following,) = [link for link in first.json["links"] if link["rel"] == "next"]
        assert following["method"] == "POST"
        pages = list(walk(client, url))
        assert [len(page) for page in pages] == [1] * number
        second = client.post(following["href"], json=following["body"]).json["features"][0]
        assert second.keys() == first.json["features"][0].keys()


def test_a_next_url_of_collections_that_is_too_long_is_414(client: Client, alike: None) -> None:
    """Collections cannot be searched by POST, so a page whose next URL would be too long is 414 with the reason."""
    response = client.get(f"/collections?limit=1&x={'x' * 7_970}")
    assert (response.status_code, "limit" in response.json["description"]) == (414, True)
    assert client.get(f"/collections?limit=9&x={'x' * 7_970}").status_code == 200
