"""Collections: one, and the list of them."""

from collections.abc import Callable
from typing import Any

from stacflask.testing import a_collection, an_item

Publish = Callable[..., None]
Client = Any

OGC = "http://www.opengis.net/def/rel/ogc/1.0"


def rels(document: dict[str, Any]) -> dict[str, str]:
    return {link["rel"]: link["href"] for link in document["links"]}


def test_list_has_its_members(client: Client, publish: Publish) -> None:
    """The list has collections and links, no type, and the number of its collections."""
    publish(a_collection("b"), a_collection("a"))
    response = client.get("/collections")
    assert response.content_type == "application/json"
    assert response.json.keys() == {"collections", "links", "numberReturned"}
    assert [collection["id"] for collection in response.json["collections"]] == ["a", "b"]
    assert response.json["numberReturned"] == 2
    assert rels(response.json) == {
        "root": "http://localhost",
        "self": "http://localhost/collections",
        f"{OGC}/queryables": "http://localhost/collections-queryables",
        f"{OGC}/sortables": "http://localhost/collections-sortables",
    }


def test_empty_list(client: Client, publish: Publish) -> None:
    """Without collections, the list is empty and has no next and prev links."""
    response = client.get("/collections")
    assert response.json["collections"] == []
    assert rels(response.json).keys() == {"root", "self", f"{OGC}/queryables", f"{OGC}/sortables"}


def test_a_collection_is_the_same_alone_and_in_the_list(client: Client, publish: Publish) -> None:
    """A collection alone is equal to the collection in the list, including links."""
    publish(a_collection("one", title="One", keywords=["x"]))
    (listed,) = client.get("/collections").json["collections"]
    assert client.get("/collections/one").json == listed


def test_links(client: Client, publish: Publish) -> None:
    """A collection has the server's links once, absolute, and the publisher's links with other relations."""
    own = [
        {"rel": "self", "href": "https://elsewhere.example.org"},
        {"rel": "license", "href": "https://e.org/l"},
    ]
    publish(a_collection("one", links=own))
    collection = client.get("/collections/one").json
    assert rels(collection) == {
        "license": "https://e.org/l",
        "root": "http://localhost",
        "parent": "http://localhost",
        "self": "http://localhost/collections/one",
        "items": "http://localhost/collections/one/items",
        "child": "http://localhost/collections/one/by-time",
        f"{OGC}/queryables": "http://localhost/collections/one/queryables",
        f"{OGC}/sortables": "http://localhost/collections/one/sortables",
        "aggregations": "http://localhost/collections/one/aggregations",
        "aggregate": "http://localhost/collections/one/aggregate",
    }
    assert len(collection["links"]) == 11
    assert all("type" in link for link in collection["links"] if link["rel"] != "license")


def test_unknown_is_404(client: Client, publish: Publish) -> None:
    """A collection that does not exist is 404, and so are its items, even if another collection has them."""
    publish(an_item("item", "one"))
    for path in ("/collections/two", "/collections/two/items", "/collections/two/items/item"):
        response = client.get(path)
        assert (response.status_code, response.json["code"]) == (404, "NotFound")


def test_any_id_works_end_to_end(editor: Client) -> None:
    """An id with spaces, percent signs, Unicode or punctuation is stored, linked, and found by its links."""
    for name in ["a b", "100%", "%41", "a+b", "ä-日本", "a;b=c", "a:b", "a?b#c", "a&b", '"a"', "...", "a\\b"]:
        check_round_trip(editor, name)


def check_round_trip(editor: Client, name: str) -> None:
    created = editor.post("/collections", json=a_collection(name))
    assert created.status_code == 201
    links = rels(editor.get(created.location).json)
    assert editor.get(links["self"]).json["id"] == name
    item = editor.post(links["items"], json=an_item(name, name))
    assert item.status_code == 201
    (listed,) = editor.get(links["items"]).json["features"]
    assert (listed["id"], listed["collection"]) == (name, name)
    assert editor.get(rels(listed)["self"]).json == listed
    assert editor.get(rels(listed)["collection"]).json["id"] == name


def test_landing_page_shows_the_same_links(client: Client, publish: Publish) -> None:
    """The landing page has child links equal to the self links of collections."""
    publish(a_collection("a b"), a_collection("c"))
    children = [link["href"] for link in client.get("/").json["links"] if link["rel"] == "child"]
    assert children == [client.get(child).json["links"][2]["href"] for child in children]


def test_assets_of_collections_are_downloaded_here(client: Client, publish: Publish) -> None:
    """A managed asset of a collection has its download URL as href; another asset keeps its href."""
    assets = {
        "a b/c": {"href": "s3://bucket/key"},
        "plain": {"href": "https://example.org/x"},
    }
    publish(a_collection("one", assets=assets))
    assets = client.get("/collections/one").json["assets"]
    assert assets["a b/c"]["href"] == "http://localhost/collections/one/download/a%20b%2Fc"
    assert assets["plain"]["href"] == "https://example.org/x"


def test_hidden_collections_leave_no_gap(plug: Callable[..., Client], publish: Publish) -> None:
    """Pages of collections are full although some are hidden, and next links lead through all visible ones."""
    from stacflask import Cql2, hookimpl

    publish(*[a_collection(f"c{number}", keywords=["odd" if number % 2 else "even"]) for number in range(9)])

    class Odd:
        @hookimpl
        def restrict(self, of: str) -> Cql2 | None:
            return {"op": "a_contains", "args": [{"property": "keywords"}, ["odd"]]} if of == "collections" else None

    client = plug(Odd())
    first = client.get("/collections?limit=3").json
    assert [collection["id"] for collection in first["collections"]] == ["c1", "c3", "c5"]
    second = client.get(rels(first)["next"]).json
    assert [collection["id"] for collection in second["collections"]] == ["c7"]
    assert "next" not in rels(second)
    assert client.get(rels(second)["prev"]).json["collections"] == first["collections"]
