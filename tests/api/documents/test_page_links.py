"""Pages: next and prev by position, which neither repeat nor lose an item, whoever writes meanwhile."""

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
    """Follow a link as a client does that does not know of ``merge``."""
    there = link(page, rel)
    if there is None:
        return None
    if there["method"] == "GET":
        response = client.get(there["href"])
    else:
        assert not there.get("merge")
        response = client.post(there["href"], json=there["body"])
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
    """Put 45 items into three collections, with the same ids and few different times."""
    names = ("one", "t wo", "dreiß%")
    publish(*[an_item(f"i{n}%ä", name, properties=TIMES[n % len(TIMES)]) for name in names for n in range(15)])
    return {(name, f"i{n}%ä") for name in names for n in range(15)}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_forward_and_back(client: Client, many: set[Key], method: str) -> None:
    """Going forward shows every item once, in one order; going back from the end shows the same pages again."""
    for limit in (1, 7, 44, 45, 46):
        go_and_return(client, many, limit, method)


def go_and_return(client: Client, many: set[Key], limit: int, method: str) -> None:
    body = {"limit": limit}
    first = (client.get(f"/search?limit={limit}") if method == "GET" else client.post("/search", json=body)).json
    there = list(pages(client, first))
    seen = [key for page in there for key in keys(page)]
    assert (len(seen), set(seen)) == (45, many)
    assert all(len(page["features"]) == limit for page in there[:-1])
    back = list(pages(client, there[-1], "prev"))
    assert [keys(page) for page in back[::-1]] == [keys(page) for page in there]
    assert link(first, "prev") is None


def test_last_page_has_no_next(client: Client, many: set[Key]) -> None:
    """Where nothing follows, nothing is promised, even if the last page is full."""
    first = client.get("/search?limit=15&collections=one").json
    assert (link(first, "next"), link(first, "prev")) == (None, None)


def test_links_keep_all_words(client: Client, many: set[Key]) -> None:
    """A next link by GET holds every word that was asked with, and the token."""
    asked = {
        "limit": "2",
        "bbox": "0,0,90,90",
        "datetime": "2020-01-01T00:00:00Z/..",
        "collections": "t wo,dreiß%",
        "x": "ä&=+%",
    }
    page = client.get("/search", query_string=asked).json
    there = link(page, "next")
    assert there is not None
    words = dict(parse_qsl(urlsplit(there["href"]).query))
    assert words.pop("token")
    assert words == asked
    second = follow(client, page, "next")
    assert second is not None
    assert {collection for collection, _ in keys(second)} <= {"t wo", "dreiß%"}
    again = link(second, "next")
    assert again is not None
    assert again["href"].count("token=") == 1


def test_post_links_hold_the_whole_body(client: Client, many: set[Key]) -> None:
    """A next link by POST has the body that was sent, with another token; nothing is to be merged."""
    condition = {"op": "<>", "args": [{"property": "id"}, "none"]}
    sent = {"limit": 2, "collections": ["one"], "filter-lang": "cql2-json", "filter": condition, "q": None}
    first = client.post("/search", json=sent).json
    second = follow(client, first, "next")
    assert second is not None
    for page in (first, second):
        there = link(page, "next")
        assert there is not None
        token = there["body"]["token"]
        assert there == {
            "rel": "next",
            "href": "http://localhost/search",
            "type": "application/geo+json",
            "method": "POST",
            "body": {**sent, "token": token},
        }


def test_numbers_of_a_body_keep_all_digits_in_its_next_link(client: Client, many: set[Key]) -> None:
    """A next link by POST repeats numbers of more than 64 bits, and fractions, to the digit."""
    number = "123456789012345678901234567890.12345678901234567890"
    for exact in (number, number.partition(".")[0]):
        sent = f'{{"limit":1,"filter":{{"op":"isNull","args":[{{"property":"x"}}]}},"ignored":{exact}}}'
        response = client.post("/search", data=sent, content_type="application/json")
        assert response.status_code == 200
        assert f'"ignored":{exact},"token":' in response.text


def test_items_of_a_collection_are_paged_too(client: Client, many: set[Key]) -> None:
    """The pages of a collection, whose name needs encoding, lead from one to the next."""
    first = client.get("/collections/drei%C3%9F%25/items?limit=4").json
    seen = [key for page in pages(client, first) for key in keys(page)]
    assert (len(seen), set(seen)) == (15, {key for key in many if key[0] == "dreiß%"})


def test_writers_neither_repeat_nor_lose_an_item(build: Callable[..., Any], publish: Publish) -> None:
    """Who pages while others insert and delete sees each item that was there all the while exactly once."""
    publish(*[an_item(f"stay{n:03}", properties=TIMES[n % len(TIMES)]) for n in range(120)])
    publish(*[an_item(f"go{n:03}", properties=TIMES[n % len(TIMES)]) for n in range(60)])

    from stacflask import Decision, hookimpl

    class Leave:
        @hookimpl
        def authorize_change(self) -> Decision:
            return Decision.allow("test")

    app = build(Leave())
    done, trouble = threading.Event(), []

    def write(number: int) -> None:
        client, count = app.test_client(), 0
        while not done.is_set():
            name = f"come{number}-{count}"
            item = an_item(name, properties=TIMES[count % len(TIMES)])
            responses = [client.post("/collections/collection/items", json=item).status_code]
            if count < 30:
                responses.append(client.delete(f"/collections/collection/items/go{number * 30 + count:03}").status_code)
            if responses[1:] not in ([], [204]) or responses[0] != 201:
                trouble.append(responses)
            count += 1

    writers = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for writer in writers:
        writer.start()
    try:
        reader = app.test_client()
        for _ in range(3):
            seen = [key for page in pages(reader, reader.get("/search?limit=9").json) for key in keys(page)]
            stayed = sorted(name for _, name in seen if name.startswith("stay"))
            assert stayed == [f"stay{n:03}" for n in range(120)]
            assert len(set(seen)) == len(seen)
    finally:
        done.set()
        for writer in writers:
            writer.join()
    assert trouble == []


def test_going_back_sees_what_was_inserted(client: Client, publish: Publish) -> None:
    """An item that came in before the page at hand is found on the way back, which is not lost at the start."""
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
"""Characters of a token that bind it to its query; the position stands behind them."""


def test_forged_tokens_are_400(client: Client, publish: Publish) -> None:
    """What is not a token of the list at hand is an error that names it, on every list, by GET and by POST."""
    publish(an_item(), an_item("second", "other"))
    for path in ("/search", "/collections/collection/items", "/collections", "/children"):
        bindings = [""]
        if there := link(client.get(f"{path}?limit=1").json, "next"):
            bindings.append(dict(parse_qsl(urlsplit(there["href"]).query))["token"][:BINDING])
        for forged in FORGED:
            if path in ("/collections", "/children") and forged == token(">", "a"):  # which is one of theirs
                continue
            for binding in bindings:
                responses = [client.get(path, query_string={"token": binding + forged})]
                if path == "/search":
                    responses.append(client.post(path, json={"token": binding + forged}))
                for response in responses:
                    assert (response.status_code, response.json["description"][:7]) == (400, "token: "), (path, forged)


def test_tokens_hold_no_policy(plug: Callable[..., Client], many: set[Key]) -> None:
    """A token of somebody who sees all shows nothing more to somebody who does not."""
    from stacflask import hookimpl

    class OnlyOne:
        @hookimpl
        def restrict(self, of: str) -> Any:
            return {"op": "=", "args": [{"property": "collection"}, "one"]} if of == "items" else None

    there = link(plug().get("/search?limit=1").json, "next")
    assert there is not None
    limited = plug(OnlyOne())
    rest = [key for page in pages(limited, limited.get(there["href"]).json) for key in keys(page)]
    assert {collection for collection, _ in rest} == {"one"}


def test_pages_of_collections(client: Client, publish: Publish) -> None:
    """Collections come in the order of their ids, by code point, forward and back."""
    from stacflask.testing import a_collection

    names = sorted(["Z", "a", "ä", "b", "B", "10", "9", "\U0001f6f0", "z"])
    publish(*map(a_collection, names))
    there = list(pages(client, client.get("/collections?limit=2").json))
    assert [collection["id"] for page in there for collection in page["collections"]] == names
    back = list(pages(client, there[-1], "prev"))
    assert [collection["id"] for page in back[::-1] for collection in page["collections"]] == names
    assert link(there[0], "next")["type"] == "application/json"
