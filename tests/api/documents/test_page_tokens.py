"""Tokens belong to the query and the order that they were made for, however either is written, and stay short."""

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

# Each member of a query with values of different meaning, as JSON and as GET writes it. All items match all of them.
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
    """Leave one area, as there may be no more."""
    return {name: value for name, value in query.items() if name != "bbox" or "intersects" not in query}


QUERIES = st.fixed_dictionaries(
    {}, optional={name: st.integers(0, len(values) - 1) for name, values in VALUES.items()}
).map(area)
SPELLINGS = st.tuples(st.sampled_from(["GET", "POST"]), st.randoms(use_true_random=False))
Spelling = tuple[str, random.Random]


def ask(client: Client, query: Query, spelling: Spelling, token: str | None = None) -> Any:
    method, order = spelling
    names = order.sample(sorted(query), len(query))
    more = {"limit": order.choice([1, 2])} | ({} if token is None else {"token": token})
    if method == "GET":
        words = [f"{name}={quote(VALUES[name][query[name]][1])}" for name in names]
        return client.get("/search?" + "&".join([*words, *(f"{name}={value}" for name, value in more.items())]))
    body = {name: VALUES[name][query[name]][0] for name in names}
    for name in ("ids", "collections"):
        if name in body:
            body[name] = order.sample(body[name] * 2, 2 * len(body[name]))
    return client.post("/search", json={**body, **more})


def token_of(response: Any, rel: str = "next") -> str:
    there = next(link for link in response.json["links"] if link["rel"] == rel)
    token: str = (
        there["body"]["token"] if there["method"] == "POST" else dict(parse_qsl(urlsplit(there["href"]).query))["token"]
    )
    return token


@pytest.fixture
def alike(publish: Publish) -> None:
    """Publish items that all queries find."""
    properties = {"datetime": "2024-06-01T00:00:00Z", "title": "Text other", "number": 3}
    publish(*map(a_collection, "abc"))
    publish(*[an_item(str(n), name, properties=properties) for name in "abc" for n in range(1, 5)])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(QUERIES, QUERIES, SPELLINGS, SPELLINGS)
def test_a_token_is_of_one_query_in_any_spelling(
    client: Client, alike: None, query: Query, other: Query, spelling: Spelling, another: Spelling
) -> None:
    """A token continues the query that it was made for, in any spelling of it; with another query it is a 400."""
    token = token_of(ask(client, query, spelling))
    assert ask(client, query, another, token).status_code == 200
    response = ask(client, other, another, token)
    if query == other:
        assert response.status_code == 200
    else:
        assert (response.status_code, response.json["description"][:7]) == (400, "token: ")
    assert not token.startswith("ey")


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in VALUES for value in range(len(VALUES[name]))])
def test_each_member_is_part_of_the_binding(client: Client, alike: None, name: str, value: int) -> None:
    """A token of a query without a member, or with another value of it, is refused with this one."""
    spelling = ("POST", random.Random(0))
    for other in [{}, *({name: number} for number in range(len(VALUES[name])))]:
        token = token_of(ask(client, other, spelling))
        expected = 200 if other == {name: value} else 400
        assert ask(client, {name: value}, spelling, token).status_code == expected, other


def test_what_is_shown_of_a_page_may_change(client: Client, alike: None) -> None:
    """Limit, fields and count are not part of the binding."""
    token = token_of(client.get("/search?limit=1"))
    response = client.get(f"/search?limit=3&fields=id&count=true&token={token}")
    assert (response.status_code, len(response.json["features"]), response.json["numberMatched"]) == (200, 3, 12)


def test_a_collections_items_are_a_search_of_it(client: Client, alike: None) -> None:
    """The path's collection is part of the binding: a token is refused for another collection's items."""
    token = token_of(client.get("/collections/a/items?limit=1"))
    assert client.get(f"/collections/a/items?limit=1&token={token}").status_code == 200
    assert client.get(f"/search?collections=a&token={token}").status_code == 200
    for path in ("/collections/b/items", "/search", "/search?collections=a,b", "/collections", "/children"):
        joint = "&" if "?" in path else "?"
        assert client.get(f"{path}{joint}token={token}").status_code == 400, path


def test_pages_of_collections_are_bound_too(client: Client, alike: None) -> None:
    """A token of collections is refused with another condition or order."""
    token = token_of(client.get("/collections?limit=1&q=a,b,c"))
    assert client.get(f"/collections?limit=1&q=a,b,c&token={token}").status_code == 200
    for other in ("", "q=a,b", "q=a,b,c&sortby=-id", "q=a,b,c&datetime=2024-01-01T00:00:00Z/.."):
        assert client.get(f"/collections?limit=1&{other}&token={token}").status_code == 400, other


def test_rights_may_change_between_pages(plug: Callable[..., Client], alike: None) -> None:
    """A restriction is no part of the binding: who sees less goes on with what is left."""
    from stacflask import hookimpl

    class OnlyB:
        @hookimpl
        def restrict(self, of: str) -> Any:
            return {"op": "=", "args": [{"property": "collection"}, "b"]} if of == "items" else None

    token = token_of(plug().get("/search?limit=1&sortby=id"))
    response = plug(OnlyB()).get(f"/search?sortby=id&token={token}")
    assert [(one["collection"], one["id"]) for one in response.json["features"]] == [("b", n) for n in "1234"]


def test_manifests_of_a_search_lead_on(client: Client, alike: None) -> None:
    """The next link of a manifest has the whole request with the token in its search, which belongs to that search."""
    search = {"collections": ["a"], "limit": 2, "filter": SMALL}
    sent = {"search": search, "assets": ["data"]}
    first = client.post("/downloads", json=sent).json
    (there,) = [link for link in first["links"] if link["rel"] == "next"]
    token = there["body"]["search"]["token"]
    assert there["body"] == {**sent, "search": {**search, "token": token}}
    assert client.post("/downloads", json=there["body"]).status_code == 200
    other = {"search": {"collections": ["b"], "filter": SMALL, "token": token}}
    response = client.post("/downloads", json=other)
    assert (response.status_code, response.json["description"][:7]) == (400, "token: ")


# --- Long values ------------------------------------------------------------------------------------------------------

LONG = "x" * 2_000


@pytest.fixture
def long(publish: Publish) -> list[str]:
    """Publish items whose titles differ behind thousands of characters, and return their ids in order."""
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
        there = next((link for link in page.json["links"] if link["rel"] == rel), None)
        if there is None:
            return
        assert len(there["href"]) <= 8_000
        page = client.get(there["href"]) if there["method"] == "GET" else client.post(there["href"], json=there["body"])


@pytest.mark.parametrize("sort", ["title", "-title", "note,title", "-note,-title", "-note,title"])
def test_tokens_of_long_values_are_short_and_exact(client: Client, long: list[str], sort: str) -> None:
    """Pages in the order of long values lead on by short links, and neither repeat nor lose an item."""
    expected = long[::-1] if sort.endswith("-title") else long
    path = f"/search?limit=2&sortby={sort}"
    assert len(token_of(client.get(path))) < 500
    assert [name for page in walk(client, path) for name in page] == expected


def test_going_back_among_long_values(client: Client, long: list[str]) -> None:
    """A previous page in the order of long values is the one that was there before."""
    first = client.get("/search?limit=3&sortby=title")
    second = client.get(f"/search?limit=3&sortby=title&token={token_of(first)}")
    back = client.get(f"/search?limit=3&sortby=title&token={token_of(second, 'prev')}")
    assert [one["id"] for one in back.json["features"]] == long[:3]


@pytest.mark.parametrize("sort", ["title", "-title"])
def test_an_item_that_is_gone_loses_no_other(editor: Client, long: list[str], sort: str) -> None:
    """Where the item at which a page of long values ended was deleted, all that follow are found, if need be again."""
    first = editor.get(f"/search?limit=3&sortby={sort}")
    last = first.json["features"][-1]["id"]
    assert editor.delete(f"/collections/collection/items/{last}").status_code == 204
    rest = [name for page in walk(editor, f"/search?limit=3&sortby={sort}&token={token_of(first)}") for name in page]
    expected = long[3:] if sort == "title" else long[:4][::-1]
    assert rest[-len(expected) :] == expected


def test_a_hidden_item_tells_nothing_by_a_token(plug: Callable[..., Client], long: list[str]) -> None:
    """The values of an item that is hidden now are not read for a token that ended at it."""
    from stacflask import hookimpl

    class Hide:
        @hookimpl
        def restrict(self, of: str) -> Any:
            return {"op": "<>", "args": [{"property": "id"}, "i2"]} if of == "items" else None

    token = token_of(plug().get("/search?limit=3&sortby=title"))
    response = plug(Hide()).get(f"/search?sortby=title&token={token}")
    assert [one["id"] for one in response.json["features"]] == ["i0", "i1", "i3", "i4", "i5", "i6"]


def test_long_titles_of_collections(client: Client, publish: Publish) -> None:
    """Collections in the order of long titles are paged by short links, too."""
    publish(*[{**a_collection(f"c{n}"), "title": f"{LONG}{9 - n}"} for n in range(5)])
    seen, url = [], "/collections?limit=2&sortby=title"
    while url:
        page = client.get(url).json
        seen += [collection["id"] for collection in page["collections"]]
        url = next((link["href"] for link in page["links"] if link["rel"] == "next"), "")
        assert len(url) < 600
    assert seen == ["c4", "c3", "c2", "c1", "c0"]


def test_the_next_page_of_a_long_url_is_a_post(client: Client, alike: None) -> None:
    """Where the URL of a next page would be longer than the server takes, the link is a POST that finds the same."""
    ids = ",".join(["1", "2", "3", "4", *(f"absent{n}" for n in range(700))])
    words = (
        f"limit=1&ids={ids}&bbox=-10,-10,20,50&datetime=2024-01-01T00:00:00%2B00:00/..&q=text&fields=-geometry"
        "&filter=number%20%3C%205&query=%7B%22number%22%3A%7B%22lt%22%3A9%7D%7D&sortby=-number,%2Bid"
    )
    for path, number in (("/search", 12), ("/collections/b/items", 4)):
        url = f"{path}?{words}"
        url += "&x=" + "x" * (7_950 - len(url))
        first = client.get(url)
        (there,) = [link for link in first.json["links"] if link["rel"] == "next"]
        assert there["method"] == "POST"
        pages = list(walk(client, url))
        assert [len(page) for page in pages] == [1] * number
        second = client.post(there["href"], json=there["body"]).json["features"][0]
        assert second.keys() == first.json["features"][0].keys()


def test_collections_say_that_a_next_url_would_be_too_long(client: Client, alike: None) -> None:
    """Collections cannot be searched by POST: a page whose next one could not be asked for is a 414 that says why."""
    response = client.get(f"/collections?limit=1&x={'x' * 7_970}")
    assert (response.status_code, "limit" in response.json["description"]) == (414, True)
    assert client.get(f"/collections?limit=9&x={'x' * 7_970}").status_code == 200
