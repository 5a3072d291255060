"""numberMatched is exact or absent, and is counted on request or if that is cheap."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

from stacflask import BadQuery, StacflaskError, Unavailable, hookimpl
from stacflask.catalog import item_pages
from stacflask.catalog.database.database_errors import TIMEOUT
from stacflask.catalog.database.engine import Database
from stacflask.catalog.reader import Catalog
from stacflask.catalog.search import counting
from stacflask.errors import BadValue
from stacflask.testing import an_item

Publish = Callable[..., None]
Plug = Callable[..., Any]
PATHS = ["/search", "/collections/collection/items"]


@pytest.fixture(autouse=True)
def _items(publish: Publish) -> None:
    publish(*(an_item(f"i{number}") for number in range(5)), an_item("other", "other"))


def test_with_counting_off_nothing_is_counted(plug: Plug, monkeypatch: pytest.MonkeyPatch) -> None:
    """With counting off, a search is not counted unless the request has count, and has no numberMatched."""
    monkeypatch.setattr(counting, "count_statement", None)
    client = plug(environ={"STACFLASK_COUNT": "false"})
    for path in PATHS:
        for limit in (1, 2, 10):
            assert not [name for name in client.get(f"{path}?limit={limit}").json if name.startswith("numberMatched")]


def test_a_small_catalog_is_counted(plug: Plug) -> None:
    """By default, every page of a catalog with few items has the exact numberMatched."""
    client = plug()
    for path, number in zip(PATHS, (6, 5), strict=True):
        page = client.get(f"{path}?limit=2").json
        assert page["numberMatched"] == number
        [following] = [link["href"] for link in page["links"] if link["rel"] == "next"]
        assert client.get(following).json["numberMatched"] == number
        assert "numberMatched" not in client.get(f"{path}?limit=2&count=false").json


def test_a_large_catalog_is_counted_for_a_single_item(plug: Plug) -> None:
    """In a large catalog, numberMatched comes with a limit of one item, or with the only page."""
    client = plug(environ={"STACFLASK_COUNT_LIMIT": "5"})
    assert "numberMatched" not in client.get("/search?limit=2&collections=collection").json
    assert client.get("/search?limit=1&collections=collection").json["numberMatched"] == 5
    assert client.post("/search", json={"limit": 1, "collections": ["collection"]}).json["numberMatched"] == 5
    assert client.get("/search?limit=10").json["numberMatched"] == 6


@pytest.mark.parametrize(("error", "status"), [(Unavailable("too slow"), 503), (BadQuery("filter", "wrong"), 400)])
def test_a_failed_count_fails_no_search(
    plug: Plug, monkeypatch: pytest.MonkeyPatch, error: StacflaskError, status: int
) -> None:
    """If counting fails, a search has no number, unless the request has count."""

    def slow(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(counting, "count_statement", slow)
    client = plug(environ={"STACFLASK_COUNT_LIMIT": "5"})
    response = client.get("/search?limit=1")
    assert (response.status_code, "numberMatched" in response.json) == (200, False)
    assert client.get("/search?limit=1&count=true").status_code == status


@pytest.mark.parametrize("error", [Unavailable("too slow", code=TIMEOUT), BadValue("an overflow")])
def test_a_page_that_cannot_be_counted_is_read_without_count(
    plug: Plug, monkeypatch: pytest.MonkeyPatch, error: StacflaskError
) -> None:
    """If the statement that also counts fails, the page is read by a statement that does not count."""
    original = Database.records

    def records(self: Database, lookup: Any, values: Any, **more: Any) -> Any:
        if "most" in values:
            raise error
        return original(self, lookup, values, **more)

    monkeypatch.setattr(Database, "records", records)
    page = plug().get("/search?limit=2&filter=id<>'other'").json
    assert (page["numberReturned"], page["numberMatched"]) == (2, 5)


def test_counted_by_request(plug: Plug) -> None:
    """With count=true, all pages have the number of all items, by GET and by POST."""
    client = plug()
    for path in PATHS:
        query = {"limit": 2, "count": "true", "collections": "collection"}
        page = client.get(path, query_string=query).json
        assert (page["numberMatched"], page["numberReturned"]) == (5, 2)
        [following] = [link["href"] for link in page["links"] if link["rel"] == "next"]
        assert client.get(following).json["numberMatched"] == 5
    body = {"limit": 2, "count": True, "filter": {"op": "like", "args": [{"property": "id"}, "i%"]}}
    assert client.post("/search", json=body).json["numberMatched"] == 5


def test_counted_by_the_url_of_a_post(plug: Plug) -> None:
    """A POST with count in its URL has a number on all pages, unless its body has another count."""
    client = plug(environ={"STACFLASK_COUNT": "false"})
    page = client.post("/search?count=true", json={"limit": 2, "ids": ["i0", "i1", "i2"]}).json
    assert page["numberMatched"] == 3
    [following] = [link for link in page["links"] if link["rel"] == "next"]
    assert client.post(following["href"], json=following["body"]).json["numberMatched"] == 3
    assert "numberMatched" not in client.post("/search?count=false", json={"limit": 2}).json
    assert "numberMatched" not in client.post("/search?count=true", json={"limit": 2, "count": False}).json
    assert client.post("/search?count=false", json={"limit": 2, "count": True}).json["numberMatched"] == 6
    wrong = client.post("/search?count=yes", json={})
    assert (wrong.status_code, wrong.json["description"]) == (400, "count: expected true or false")
    assert plug(environ={"STACFLASK_STRICT_PARAMETERS": "true"}).post("/search?count=true", json={}).status_code == 200


def test_counted_by_setting(plug: Plug) -> None:
    """A setting can count always; count=false turns it off for a request."""
    client = plug(environ={"STACFLASK_COUNT": "true"})
    assert client.get("/search?limit=1").json["numberMatched"] == 6
    assert "numberMatched" not in client.get("/search?limit=1&count=false").json


def test_a_single_page_is_not_counted_by_a_statement(plug: Plug, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the first page is the only one, its number of items is the result."""
    monkeypatch.setattr(Catalog, "count", None)
    client = plug()
    assert client.get("/search?count=true").json["numberMatched"] == 6
    assert client.get("/search?count=true&ids=nosuch").json["numberMatched"] == 0


def test_beyond_the_bound_it_is_an_estimate(plug: Plug) -> None:
    """More items than the bound are estimated in numberMatchedEstimate; the bound itself is exact."""
    client = plug(environ={"STACFLASK_COUNT_LIMIT": "5"})
    response = client.get("/search?limit=1&count=true").json
    assert "numberMatched" not in response
    assert response["numberMatchedEstimate"] >= 6
    assert client.get("/search?limit=1&count=true&collections=collection").json["numberMatched"] == 5


def test_hidden_items_are_not_counted(plug: Plug) -> None:
    """Hidden items are in no number, and there is no estimate, which would include them."""

    class Hides:
        @hookimpl
        def restrict(self, of: str) -> Any:
            return {"op": "in", "args": [{"property": "id"}, ["i1", "i2", "i3"]]} if of == "items" else None

    assert plug(Hides()).get("/search?limit=1&count=true").json["numberMatched"] == 3
    bounded = plug(Hides(), environ={"STACFLASK_COUNT_LIMIT": "2"}).get("/search?limit=1&count=true").json
    assert not [name for name in bounded if name.startswith("numberMatched")]


def test_an_invalid_count_is_400(plug: Plug) -> None:
    """``count`` must be true or false."""
    client = plug()
    assert client.get("/search?count=maybe").json["description"] == "count: expected true or false"
    assert client.post("/search", json={"count": "true"}).status_code == 400


SEARCHES = (
    "",
    "collections=collection",
    "collections=collection,other",
    "collections=other,nosuch",
    "ids=i0,i1,i2,other",
    "bbox=-180,-90,180,90",
    "bbox=170,-90,-170,90",
    "bbox=-180,-90,0,180,90,9&collections=collection",
    "datetime=../2100-01-01T00:00:00Z",
    "datetime=2100-01-01T00:00:00Z/..",
    "filter=id > 'i1'",
    "filter=id > 'i1'&sortby=-id",
    "filter=CASEI(title) = 'none' OR id <> 'i3'",
    "sortby=datetime",
    "sortby=-properties.title",
    "q=nosuch,item",
)


@pytest.mark.parametrize("quick", [item_pages.QUICK_COUNT, 0])
@pytest.mark.parametrize("search", SEARCHES)
def test_the_number_is_that_of_all_pages(plug: Plug, monkeypatch: pytest.MonkeyPatch, search: str, quick: int) -> None:
    """Counted with the page or by a separate statement, each page has the number of items of all pages."""
    monkeypatch.setattr(item_pages, "QUICK_COUNT", quick)
    client = plug()
    following, found, numbers = f"/search?{search}&limit=2", 0, set()
    last = following
    while following:
        last, page = following, client.get(following).json
        found += page["numberReturned"]
        numbers.add(page["numberMatched"])
        following = next((link["href"] for link in page["links"] if link["rel"] == "next"), "")
    back = [link["href"] for link in client.get(last).json["links"] if link["rel"] == "prev"]
    numbers.update(client.get(href).json["numberMatched"] for href in back)
    assert numbers == {found}


@pytest.mark.parametrize("search", ["", "bbox=-180,-90,180,90&", "collections=collection&", "filter=id<>'other'&"])
def test_a_page_is_counted_by_its_own_statement(plug: Plug, monkeypatch: pytest.MonkeyPatch, search: str) -> None:
    """In a small catalog, one statement reads the page and the number."""
    client, path = plug(), f"/search?{search}limit=2"
    expected = client.get(path).json["numberMatched"]
    statements, original = [], Database.records

    def records(*given: Any, **more: Any) -> Any:
        statements.append(given)
        return original(*given, **more)

    monkeypatch.setattr(Database, "records", records)
    monkeypatch.setattr(Database, "read", None)
    assert client.get(path).json["numberMatched"] == expected
    assert len(statements) == 1


def test_a_policy_with_many_collections_is_counted_exactly(plug: Plug) -> None:
    """A policy that lists many collections hides the items of others from the number."""

    class Lists:
        @hookimpl
        def restrict(self, of: str) -> Any:
            name = "id" if of == "collections" else "collection"
            return {"op": "in", "args": [{"property": name}, ["other", *(f"c{n}" for n in range(300))]]}

    page = plug(Lists()).get("/search?limit=1&count=true").json
    assert (page["numberReturned"], page["numberMatched"]) == (1, 1)


def test_no_number_if_long_statements_use_all_their_connections(plug: Plug, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long count needs a connection of those for long statements. If none is available, there is no number."""

    def share(_: Database, *, long: bool) -> AbstractContextManager[None]:
        if long:
            raise Unavailable("busy")
        return nullcontext()

    client = plug(environ={"STACFLASK_COUNT_LIMIT": "5"})
    assert client.get("/search?limit=1&collections=collection").json["numberMatched"] == 5
    monkeypatch.setattr(Database, "_share_of", share)
    response = client.get("/search?limit=1&collections=collection")
    assert (response.status_code, "numberMatched" in response.json) == (200, False)
