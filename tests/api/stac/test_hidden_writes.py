"""Changes by a user who cannot see all records: errors reveal no hidden records, and each change is one decision."""

from collections.abc import Callable
from typing import Any

import pytest

from stacflask import Change, Decision, hookimpl
from stacflask.testing import a_collection, an_item

Publish = Callable[..., None]
Plug = Callable[..., Any]
ITEMS = "/collections/collection/items"


class Editor:
    """Allows all changes, hides some records, and records the changes that it authorized."""

    def __init__(self) -> None:
        self.changes: list[Change] = []

    @hookimpl
    def authorize_change(self, change: Change) -> Decision:
        self.changes.append(change)
        return Decision.allow("test")

    @hookimpl
    def restrict(self, of: str) -> Any:
        hidden = {"op": "like", "args": [{"property": "id"}, "hidden%"]}
        return {"op": "not", "args": [hidden]} if of in ("items", "collections") else None


@pytest.fixture
def rules() -> Editor:
    return Editor()


@pytest.fixture
def editor(plug: Plug, publish: Publish, rules: Editor) -> Any:
    hidden = [an_item(f"hidden{n}") for n in range(12)]
    publish(an_item("seen"), an_item("other"), *hidden, an_item("x", "hidden-collection"), an_item("hidden", "full"))
    return plug(rules)


def batch(*ids: str) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": [an_item(name) for name in ids]}


def test_a_conflict_names_only_visible_items(editor: Any) -> None:
    """The error has the existing ids of visible items, and no others."""
    response = editor.post(ITEMS, json=batch("new", "seen", "hidden1", "hidden2", "other"))
    assert response.status_code == 409
    assert response.json["description"] == "These items exist already: other, seen."
    assert editor.get(f"{ITEMS}/new").status_code == 404


@pytest.mark.parametrize("ids", [["hidden1"], ["new", "hidden1"], [f"hidden{n}" for n in range(12)]])
def test_a_conflict_with_hidden_items_alone(editor: Any, ids: list[str]) -> None:
    """Conflicting hidden items are neither named nor counted."""
    sent = [batch(*ids)] + ([an_item(ids[0])] if len(ids) == 1 else [])
    for document in sent:
        response = editor.post(ITEMS, json=document)
        assert response.status_code == 409
        assert response.json["description"] == "An id in this document cannot be used. Choose another."


def test_a_conflict_with_a_hidden_collection(editor: Any) -> None:
    """A conflict does not reveal a hidden collection; it names a visible one."""
    hidden = editor.post("/collections", json=a_collection("hidden-collection"))
    assert (hidden.status_code, "hidden" in hidden.json["description"]) == (409, False)
    seen = editor.post("/collections", json=a_collection("collection"))
    assert (seen.status_code, seen.json["description"]) == (409, "Collection 'collection' exists already.")


def test_deleting_a_collection_reveals_no_count(editor: Any) -> None:
    """The error for a collection with items does not contain their number, visible or hidden."""
    for name in ("collection", "full"):
        response = editor.delete(f"/collections/{name}")
        assert (response.status_code, response.json["code"]) == (409, "CollectionNotEmpty")
        assert not set(response.json["description"]) & set("0123456789")


HIDDEN = ["/collections/collection/items/{}", "/collections/{}", "/collections/{}/items/x"]


@pytest.mark.parametrize("path", HIDDEN)
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST"])
def test_hidden_is_absent_for_every_change(editor: Any, rules: Editor, method: str, path: str) -> None:
    """A change of a hidden record has the same response as for a record that does not exist, and calls no plugin."""
    if method == "POST":
        path = "/collections/{}/items"
    responses = []
    for name in ("hidden-collection" if path.startswith("/collections/{}") else "hidden1", "absent-collection"):
        for headers in ({}, {"If-Match": '"x"'}):
            body = None if method == "DELETE" else an_item()
            response = editor.open(path.format(name), method=method, json=body, headers=headers)
            responses.append((response.status_code, response.text.replace(name, "...").replace("hidden1", "...")))
    assert {status for status, _ in responses} == {404}
    assert len(set(responses)) == 1
    assert rules.changes == []


CHANGES: list[tuple[str, str, Any, Change]] = [
    ("POST", "/collections", a_collection("new"), Change("create", "new", new_collection=True)),
    ("PUT", "/collections/collection", a_collection(), Change("replace", "collection")),
    ("PATCH", "/collections/collection", {"title": "x"}, Change("update", "collection")),
    ("DELETE", "/collections/collection?force=true", None, Change("delete", "collection")),
    ("POST", ITEMS, an_item("new"), Change("create", "collection")),
    ("POST", ITEMS, batch("new", "newer"), Change("create", "collection")),
    ("PUT", f"{ITEMS}/seen", an_item("seen"), Change("replace", "collection", "seen")),
    ("PATCH", f"{ITEMS}/seen", {"properties": {"x": 1}}, Change("update", "collection", "seen")),
    ("DELETE", f"{ITEMS}/seen", None, Change("delete", "collection", "seen")),
]


@pytest.mark.parametrize(("method", "path", "body", "change"), CHANGES)
def test_each_change_is_one_decision(
    editor: Any, rules: Editor, caplog: pytest.LogCaptureFixture, method: str, path: str, body: Any, change: Change
) -> None:
    """Every request that changes something calls the plugins once, and records one decision."""
    with caplog.at_level("INFO", "stacflask.gate"):
        assert editor.open(path, method=method, json=body).status_code in (200, 201, 204)
    assert rules.changes == [change]
    recorded = [record for record in caplog.records if hasattr(record, "decision")]
    assert [(record.act, record.collection) for record in recorded] == [(change.action, change.collection)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("identifier", [None, "", "a/b", 5, "x" * 600])
def test_a_collection_without_an_id_is_one_decision(editor: Any, rules: Editor, identifier: Any) -> None:
    """A new collection with a missing or invalid id is 400 for a user who may create one, after one decision."""
    response = editor.post("/collections", json={**a_collection(), "id": identifier})
    assert (response.status_code, response.json["description"][:4]) == (400, "/id:")
    assert rules.changes == [Change("create", "", new_collection=True)]
