"""The children of the landing page are the collections that its child links lead to."""

from collections.abc import Callable
from typing import Any

import pytest

from stacflask import hookimpl
from stacflask.testing import a_collection

Publish = Callable[..., None]
Plug = Callable[..., Any]


@pytest.fixture(autouse=True)
def _collections(publish: Publish) -> None:
    publish(a_collection("b", title="B"), a_collection("ä a"))


def test_children_are_the_documents_that_child_links_lead_to(plug: Plug) -> None:
    """Each child is the document that a child link of the landing page leads to, in the same order."""
    client = plug()
    links = [link["href"] for link in client.get("/").json["links"] if link["rel"] == "child"]
    response = client.get("/children")
    assert response.content_type == "application/json"
    assert response.json["children"] == [client.get(link).json for link in links]
    rels = {link["rel"]: link["href"] for link in response.json["links"]}
    base = "http://localhost"
    assert rels == {"root": base, "parent": base, "self": f"{base}/children"}


def test_the_landing_page_links_to_its_children(plug: Plug) -> None:
    """The landing page has a link with the relation ``children``."""
    [link] = [link for link in plug().get("/").json["links"] if link["rel"] == "children"]
    assert (link["href"], link["type"]) == ("http://localhost/children", "application/json")


def test_type_filter(plug: Plug) -> None:
    """``type`` selects children: all are collections, none is a catalog, and other types are 400."""
    client = plug()
    assert len(client.get("/children?type=Collection").json["children"]) == 2
    assert client.get("/children?type=Catalog").json["children"] == []
    wrong = client.get("/children?type=Item")
    assert (wrong.status_code, wrong.json["description"]) == (400, "type: expected Catalog or Collection")


def test_pages(plug: Plug) -> None:
    """Next links of children keep the type."""
    client = plug()
    page = client.get("/children?limit=1&type=Collection").json
    [following] = [link["href"] for link in page["links"] if link["rel"] == "next"]
    assert "type=Collection" in following
    assert [one["id"] for one in page["children"] + client.get(following).json["children"]] == ["b", "ä a"]


def test_hidden_collections_are_no_children(plug: Plug) -> None:
    """A hidden collection is not among the children."""

    class Hides:
        @hookimpl
        def restrict(self, of: str) -> Any:
            return {"op": "=", "args": [{"property": "id"}, "b"]} if of == "collections" else None

    assert [one["id"] for one in plug(Hides()).get("/children").json["children"]] == ["b"]
