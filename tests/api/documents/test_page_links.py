"""Next and prev links, which neither repeat nor lose an item while other clients write."""

import base64
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
import pytest

from stacflask.testing import an_item

Publish = Callable[..., None]
Client = Any
Key = tuple[str, str]
Page = dict[str, Any]


def link(page: Page, rel: str) -> dict[str, Any] | None:
    return next((link for link in page["links"] if link["rel"] == rel), None)


def keys(page: Page) -> list[Key]:
    return [(feature["collection"], feature["id"]) for feature in page["features"]]


def follow(client: Client, page: Page, rel: str) -> Page | None:
    """Follow a link like a client that does not support ``merge``."""
    found = link(page, rel)
    if found is None:
        return None
    if found["method"] == "GET":
        response = client.get(found["href"])
    else:
        assert not found.get("merge")
        response = client.post(found["href"], json=found["body"])
    assert response.status_code == 200, response.text
    followed: Page = response.json
    return followed


def pages(client: Client, first: Page, rel: str = "next") -> Iterator[Page]:
    page: Page | None = first
    while page is not None:
        yield page
        page = follow(client, page, rel)


RANGE = {"start_datetime": "2024-01-01T00:00:00Z", "end_datetime": "2024-12-31T00:00:00Z"}
TIMES: list[dict[str, Any]] = [
    {"datetime": "2024-01-01T00:00:00Z"},
    {"datetime": None, **RANGE},
    {"datetime": "2024-01-01T00:00:00.000001Z"},
    {"datetime": "2024-01-01T01:00:00+01:00"},
    {"datetime": "2023-01-01T00:00:00Z"},
]


@pytest.fixture
def many(publish: Publish) -> set[Key]:
    """Publish 45 items in three collections, with the same ids and few different times."""
    names = ("one", "t wo", "dreiß%")
    publish(*[an_item(f"i{n}%ä", name, properties=TIMES[n % len(TIMES)]) for name in names for n in range(15)])
    return {(name, f"i{n}%ä") for name in names for n in range(15)}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_forward_and_back(client: Client, many: set[Key], method: str) -> None:
    """Next links show every item once; prev links from the last page show the same pages."""
    for limit in (1, 7, 44, 45, 46):
        check_forward_and_back(client, many, limit, method)


def check_forward_and_back(client: Client, many: set[Key], limit: int, method: str) -> None:
    body = {"limit": limit}
    first = (client.get(f"/search?limit={limit}") if method == "GET" else client.post("/search", json=body)).json
    forward = list(pages(client, first))
    found = [key for page in forward for key in keys(page)]
    assert (len(found), set(found)) == (45, many)
    assert all(len(page["features"]) == limit for page in forward[:-1])
    back = list(pages(client, forward[-1], "prev"))
    assert [keys(page) for page in back[::-1]] == [keys(page) for page in forward]
    assert link(first, "prev") is None


def test_last_page_has_no_next(client: Client, many: set[Key]) -> None:
    """The last page has no next link, even if it is full."""
    first = client.get("/search?limit=15&collections=one").json
    assert (link(first, "next"), link(first, "prev")) == (None, None)


def test_get_links_have_all_parameters(client: Client, many: set[Key]) -> None:
    """A next link by GET has every parameter of the request, and the token."""
    sent = {
        "limit": "2",
        "bbox": "0,0,90,90",
        "datetime": "2020-01-01T00:00:00Z/..",
        "collections": "t wo,dreiß%",
        "x": "ä&=+%",
    }
    page = client.get("/search", query_string=sent).json
    found = link(page, "next")
    assert found is not None
    parameters = dict(parse_qsl(urlsplit(found["href"]).query))
    assert parameters.pop("token")
    assert parameters == sent
    second = follow(client, page, "next")
    assert second is not None
    assert {collection for collection, _ in keys(second)} <= {"t wo", "dreiß%"}
    again = link(second, "next")
    assert again is not None
    assert again["href"].count("token=") == 1


def test_post_links_have_the_complete_body(client: Client, many: set[Key]) -> None:
    """A next link by POST has the body of the request with another token, and no ``merge``."""
    condition = {"op": "<>", "args": [{"property": "id"}, "none"]}
    sent = {"limit": 2, "collections": ["one"], "filter-lang": "cql2-json", "filter": condition, "q": None}
    first = client.post("/search", json=sent).json
    second = follow(client, first, "next")
    assert second is not None
    for page in (first, second):
        found = link(page, "next")
        assert found is not None
        token = found["body"]["token"]
        assert found == {
            "rel": "next",
            "href": "http://localhost/search",
            "type": "application/geo+json",
            "method": "POST",
            "body": {**sent, "token": token},
        }


def test_numbers_of_a_body_keep_all_digits_in_its_next_link(client: Client, many: set[Key]) -> None:
    """A next link by POST repeats fractions and numbers of more than 64 bits to the digit."""
    number = "123456789012345678901234567890.12345678901234567890"
    for exact in (number, number.partition(".")[0]):
        sent = f'{{"limit":1,"filter":{{"op":"isNull","args":[{{"property":"x"}}]}},"ignored":{exact}}}'
        response = client.post("/search", data=sent, content_type="application/json")
        assert response.status_code == 200
        assert f'"ignored":{exact},"token":' in response.text


def test_items_of_a_collection_have_next_links(client: Client, many: set[Key]) -> None:
    """The pages of a collection whose id needs encoding are connected by next links."""
    first = client.get("/collections/drei%C3%9F%25/items?limit=4").json
    found = [key for page in pages(client, first) for key in keys(page)]
    assert (len(found), set(found)) == (15, {key for key in many if key[0] == "dreiß%"})


def test_concurrent_writes_neither_repeat_nor_lose_an_item(build: Callable[..., Any], publish: Publish) -> None:
    """While other clients insert and delete, pages have each item that exists all the time exactly once."""
    publish(*[an_item(f"stay{n:03}", properties=TIMES[n % len(TIMES)]) for n in range(120)])
    publish(*[an_item(f"go{n:03}", properties=TIMES[n % len(TIMES)]) for n in range(60)])

    from stacflask import Decision, hookimpl

    class Writable:
        @hookimpl
        def authorize_change(self) -> Decision:
            return Decision.allow("test")

    app = build(Writable())
    done, failures = threading.Event(), []

    def write(number: int) -> None:
        client, count = app.test_client(), 0
        while not done.is_set():
            name = f"come{number}-{count}"
            item = an_item(name, properties=TIMES[count % len(TIMES)])
            responses = [client.post("/collections/collection/items", json=item).status_code]
            if count < 30:
                responses.append(client.delete(f"/collections/collection/items/go{number * 30 + count:03}").status_code)
            if responses[1:] not in ([], [204]) or responses[0] != 201:
                failures.append(responses)
            count += 1

    writers = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for writer in writers:
        writer.start()
    try:
        reader = app.test_client()
        for _ in range(3):
            found = [key for page in pages(reader, reader.get("/search?limit=9").json) for key in keys(page)]
            stayed = sorted(name for _, name in found if name.startswith("stay"))
            assert stayed == [f"stay{n:03}" for n in range(120)]
            assert len(set(found)) == len(found)
    finally:
        done.set()
        for writer in writers:
            writer.join()
    assert failures == []


def test_prev_links_show_inserted_items(client: Client, publish: Publish) -> None:
    """An item that was inserted before the current page is on a page that prev links lead to."""
    moments = [f"2024-01-{day:02}T00:00:00Z" for day in range(1, 10)]
    publish(*[an_item(moment[8:10], properties={"datetime": moment}) for moment in moments])
    second = follow(client, client.get("/search?limit=3").json, "next")
    assert second is not None
    publish(an_item("fresh", properties={"datetime": "2025-01-01T00:00:00Z"}))
    back = follow(client, second, "prev")
    assert back is not None
    assert [name for _, name in keys(back)] == ["09", "08", "07"]
    start = follow(client, back, "prev")
    assert start is not None
    assert [name for _, name in keys(start)] == ["fresh"]
    assert link(start, "prev") is None
    onward = follow(client, start, "next")
    assert onward is not None
    assert [name for _, name in keys(onward)] == ["09", "08", "07"]


def token(*parts: Any) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(parts)).rstrip(b"=").decode()


FORGED = [
    "",
    "x",
    "!",
    "ä",
    "AAAA",
    "e30",
    token(),
    token(">"),
    token(">", "a"),
    token(">", "a", "b", "c"),
    token(1, 2, 3, 4),
    token("=", "2024-01-01T00:00:00Z", "b", "c"),
    token(">", "2024-01-01T00:00:00Z", "b", "c", "d"),
    token(">", "2024-01-01T00:00:00Z", "b", None),
    token(">", "2024-01-01T00:00:00Z", "b", ["c"]),
    token(">", "2024-01-01T00:00:00Z", "b", "\0"),
    token(">", "2024-13-01T00:00:00Z", "b", "c"),
    "W" * 9000,
    token(["deep"] * 3),
    base64.urlsafe_b64encode(b"[" * 3000).decode(),
    base64.urlsafe_b64encode(b'[">","\\ud800"]').decode(),
]


BINDING = 12
"""Characters of a token that bind it to its query. The position follows them."""


def test_forged_tokens_are_400(client: Client, publish: Publish) -> None:
    """On every list, by GET and by POST, an invalid token is 400, and the description names the parameter."""
    publish(an_item(), an_item("second", "other"))
    for path in ("/search", "/collections/collection/items", "/collections", "/children"):
        bindings = [""]
        if found := link(client.get(f"{path}?limit=1").json, "next"):
            bindings.append(dict(parse_qsl(urlsplit(found["href"]).query))["token"][:BINDING])
        for forged in FORGED:
            if path in ("/collections", "/children") and forged == token(">", "a"):  # a valid token of these lists
                continue
            for binding in bindings:
                responses = [client.get(path, query_string={"token": binding + forged})]
                if path == "/search":
                    responses.append(client.post(path, json={"token": binding + forged}))
                for response in responses:
                    assert (response.status_code, response.json["description"][:7]) == (400, "token: "), (path, forged)


def test_tokens_do_not_extend_access(plug: Callable[..., Client], many: set[Key]) -> None:
    """With the token of a user who sees all items, a restricted user sees no further items."""
    from stacflask import hookimpl

    class OnlyOne:
        @hookimpl
        def restrict(self, of: str) -> Any:
            return {"op": "=", "args": [{"property": "collection"}, "one"]} if of == "items" else None

    found = link(plug().get("/search?limit=1").json, "next")
    assert found is not None
    limited = plug(OnlyOne())
    rest = [key for page in pages(limited, limited.get(found["href"]).json) for key in keys(page)]
    assert {collection for collection, _ in rest} == {"one"}


def test_pages_of_collections(client: Client, publish: Publish) -> None:
    """Collections are sorted by id, by code point, with next and with prev links."""
    from stacflask.testing import a_collection

    names = sorted(["Z", "a", "ä", "b", "B", "10", "9", "\U0001f6f0", "z"])
    publish(*map(a_collection, names))
    forward = list(pages(client, client.get("/collections?limit=2").json))
    assert [collection["id"] for page in forward for collection in page["collections"]] == names
    back = list(pages(client, forward[-1], "prev"))
    assert [collection["id"] for page in back[::-1] for collection in page["collections"]] == names
    assert link(forward[0], "next")["type"] == "application/json"
