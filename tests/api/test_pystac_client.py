"""pystac-client with a served application: filters, orders, fields, collections, and pages during changes."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from pystac_client import Client
from werkzeug.serving import make_server

from stacflask import Decision, hookimpl
from stacflask.testing import a_collection, an_item

Publish = Callable[..., None]
STAY, GO = 240, 60
FIRST = datetime(2024, 1, 1, tzinfo=UTC)


class AllowChanges:
    """Allows every change."""

    @hookimpl
    def authorize_change(self) -> Decision:
        """Return a consent."""
        return Decision.allow("test")


def scene(name: str, number: int) -> dict[str, Any]:
    """Return an item: every third has the same time, one in five has no clouds, one in ten has no platform."""
    properties: dict[str, Any] = {
        "datetime": (FIRST + timedelta(days=number // 3)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "title": f"Scene {number}",
    }
    if number % 5:
        properties["eo:cloud_cover"] = number * 7 % 100
    if number % 10:
        properties["platform"] = "lark" if number % 2 else "halyard"
    collection = "even" if number % 2 == 0 else "odd"
    return an_item(name, collection, properties=properties)


@pytest.fixture
def url(build: Callable[..., Any], publish: Publish) -> Iterator[str]:
    """Serve two collections of scenes, and return the URL."""
    publish(a_collection("even", title="Even ones"), a_collection("odd", keywords=["Sentinel"]))
    publish(*[scene(f"stay{number:03}", number) for number in range(STAY)])
    publish(*[scene(f"go{number:03}", number) for number in range(GO)])
    server = make_server("127.0.0.1", 0, build(AllowChanges()), threaded=True)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


BOTH = pytest.mark.parametrize("method", ["GET", "POST"])


@BOTH
def test_filters_orders_and_fields(url: str, method: str) -> None:
    """A filter in both languages, an order and fields have the expected results over several pages."""
    client = Client.open(url)
    text = "eo:cloud_cover < 50 AND platform = 'lark'"
    document = {
        "op": "and",
        "args": [
            {"op": "<", "args": [{"property": "eo:cloud_cover"}, 50]},
            {"op": "=", "args": [{"property": "platform"}, "lark"]},
        ],
    }
    found = []
    for language, expression in (("cql2-text", text), ("cql2-json", document)):
        search = client.search(
            method=method,
            filter=expression,
            filter_lang=language,
            sortby="-properties.eo:cloud_cover,id",
            limit=13,
        )
        items = list(search.items_as_dicts())
        covers = [item["properties"]["eo:cloud_cover"] for item in items]
        assert covers == sorted(covers, reverse=True)
        assert max(covers) < 50
        found.append([item["id"] for item in items])
    assert found[0] == found[1]
    assert len(found[0]) == len(set(found[0])) > 50
    shown = list(
        client.search(method=method, fields=["properties.title"], collections=["odd"], max_items=20).items_as_dicts()
    )
    assert all(item.keys() == {"type", "id", "collection", "links", "properties"} for item in shown)
    assert all(item["properties"].keys() == {"title"} for item in shown)


def test_query_as_strings(url: str) -> None:
    """Comparisons as the command line of the client writes them, with numbers as strings."""
    client = Client.open(url)
    items = list(client.search(query=["eo:cloud_cover<10", "platform=lark"], max_items=300).items())
    assert items
    assert all(item.properties["eo:cloud_cover"] < 10 for item in items)


def test_collections_and_names(url: str) -> None:
    """Collections are searched on the server, and the client reads the queryables."""
    client = Client.open(url)
    assert [one.id for one in client.collection_search(q="sentinel").collections()] == ["odd"]
    assert [one["id"] for one in client.collection_search(filter="title LIKE 'Even%'").collections_as_dicts()] == [
        "even"
    ]
    ordered = client.collection_search(sortby="-id", bbox=[10, 47, 12, 49], limit=1)
    assert [one.id for one in ordered.collections()] == ["odd", "even"]
    assert "eo:cloud_cover" in client.get_queryables()["properties"]
    assert "platform" in client.get_collection("odd").get_queryables()["properties"]


@BOTH
@pytest.mark.parametrize("sortby", [None, "properties.eo:cloud_cover", "-properties.platform,properties.datetime"])
def test_pages_during_changes(url: str, method: str, sortby: str | None) -> None:
    """In every order, pages during inserts and deletes have each unchanged item exactly once, and no item twice."""
    done, trouble = threading.Event(), []

    def write() -> None:
        count = 0
        while not done.is_set():
            new = scene(f"come{count}", count * 11 % STAY)
            made = requests.post(f"{url}/collections/{new['collection']}/items", json=new, timeout=30).status_code
            old = scene(f"go{count:03}", count)
            gone = 204
            if count < GO:
                path = f"{url}/collections/{old['collection']}/items/{old['id']}"
                gone = requests.delete(path, timeout=30).status_code
            if (made, gone) != (201, 204):
                trouble.append((made, gone))
            count += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        expression = {"op": "like", "args": [{"property": "title"}, "Scene%"]}
        search = Client.open(url).search(
            method=method, sortby=sortby, limit=11, filter=expression, filter_lang="cql2-json"
        )
        seen = [item["id"] for item in search.items_as_dicts()]
    finally:
        done.set()
        writer.join()
    assert trouble == []
    assert len(seen) == len(set(seen))
    assert sorted(name for name in seen if name.startswith("stay")) == [f"stay{number:03}" for number in range(STAY)]
