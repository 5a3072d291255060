"""numberMatched is exact or not there, and is counted if that is asked for or cheap."""

from collections.abc import Callable
from typing import Any

import pytest

from stacflask import hookimpl
from stacflask.catalog import counting
from stacflask.testing import an_item

Publish = Callable[..., None]
Plug = Callable[..., Any]
PATHS = ["/search", "/collections/collection/items"]


@pytest.fixture(autouse=True)
def _items(publish: Publish) -> None:
    publish(*(an_item(f"i{number}") for number in range(5)), an_item("other", "other"))


def test_nobody_counts_where_that_is_off(plug: Plug, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where counting is off, no search is counted unless asked, and none says how many items match."""
    monkeypatch.setattr(counting, "count", None)
    client = plug(environ={"STACFLASK_COUNT": "false"})
    for path in PATHS:
        for limit in (1, 2, 10):
            assert not [name for name in client.get(f"{path}?limit={limit}").json if name.startswith("numberMatched")]


def test_a_small_catalogue_is_counted(plug: Plug) -> None:
    """Unless set otherwise, every page of a catalogue that has few items says exactly how many match."""
    client = plug()
    for path, number in zip(PATHS, (6, 5), strict=True):
        page = client.get(f"{path}?limit=2").json
        assert page["numberMatched"] == number
        [following] = [link["href"] for link in page["links"] if link["rel"] == "next"]
        assert client.get(following).json["numberMatched"] == number
        assert "numberMatched" not in client.get(f"{path}?limit=2&count=false").json


def test_a_large_catalogue_is_counted_for_a_single_item(plug: Plug) -> None:
    """In a catalogue of more items than are counted, a number comes with a single item, or with the only page."""
    client = plug(environ={"STACFLASK_COUNT_LIMIT": "5"})
    assert "numberMatched" not in client.get("/search?limit=2&collections=collection").json
    assert client.get("/search?limit=1&collections=collection").json["numberMatched"] == 5
    assert client.post("/search", json={"limit": 1, "collections": ["collection"]}).json["numberMatched"] == 5
    assert client.get("/search?limit=10").json["numberMatched"] == 6


def test_a_count_that_nobody_asked_for_fails_no_search(plug: Plug, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search is answered without a number if counting takes too long, unless the number was asked for."""
    from stacflask import Unavailable

    def slow(*_: Any, **__: Any) -> None:
        raise Unavailable("too slow")

    monkeypatch.setattr(counting, "count", slow)
    client = plug()
    answer = client.get("/search?limit=1")
    assert (answer.status_code, "numberMatched" in answer.json) == (200, False)
    assert client.get("/search?limit=1&count=true").status_code == 503


def test_counted_by_request(plug: Plug) -> None:
    """Who asks is told the number of all pages, on each of them, by GET and POST alike."""
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
    """A POST whose URL asks for a count gets one, on all pages, unless its body says otherwise."""
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
    """A deployment may count always; who does not want it, says so."""
    client = plug(environ={"STACFLASK_COUNT": "true"})
    assert client.get("/search?limit=1").json["numberMatched"] == 6
    assert "numberMatched" not in client.get("/search?limit=1&count=false").json


def test_what_is_on_one_page_is_not_counted_again(plug: Plug, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the first page is the only one, its own number is the answer."""
    monkeypatch.setattr(counting, "count", None)
    client = plug()
    assert client.get("/search?count=true").json["numberMatched"] == 6
    assert client.get("/search?count=true&ids=nosuch").json["numberMatched"] == 0


def test_beyond_the_bound_it_is_an_estimate(plug: Plug) -> None:
    """More items than are counted are estimated, under another name; the bound itself is still exact."""
    client = plug(environ={"STACFLASK_COUNT_LIMIT": "5"})
    answer = client.get("/search?limit=1&count=true").json
    assert "numberMatched" not in answer
    assert answer["numberMatchedEstimate"] >= 6
    assert client.get("/search?limit=1&count=true&collections=collection").json["numberMatched"] == 5


def test_only_what_may_be_seen_is_counted(plug: Plug) -> None:
    """Hidden items are in no number; and no estimate is told, which would be made of them."""

    class Hides:
        @hookimpl
        def restrict(self, of: str) -> Any:
            return {"op": "in", "args": [{"property": "id"}, ["i1", "i2", "i3"]]} if of == "items" else None

    assert plug(Hides()).get("/search?limit=1&count=true").json["numberMatched"] == 3
    bounded = plug(Hides(), environ={"STACFLASK_COUNT_LIMIT": "2"}).get("/search?limit=1&count=true").json
    assert not [name for name in bounded if name.startswith("numberMatched")]


def test_wrong_wish(plug: Plug) -> None:
    """It is true or false."""
    client = plug()
    assert client.get("/search?count=maybe").json["description"] == "count: expected true or false"
    assert client.post("/search", json={"count": "true"}).status_code == 400
