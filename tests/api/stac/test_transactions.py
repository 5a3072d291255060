"""Changes to items and collections (the Transaction extensions)."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stacflask.errors import SettingError
from stacflask.testing import a_collection, an_item

Publish = Callable[..., None]
Client = Any
ITEMS = "/collections/collection/items"
ITEM = f"{ITEMS}/item"
COLLECTION = "/collections/collection"
MERGE, PATCH = "application/merge-patch+json", "application/json-patch+json"


def pointer(response: Any) -> str:
    """Return the place in the description of an error."""
    assert response.status_code == 400, response.text
    place: str = response.json["description"].partition(":")[0]
    return place


def many(*items: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(items)}


@pytest.fixture
def published(publish: Publish) -> None:
    """Publish an item."""
    publish(an_item(links=[{"rel": "via", "href": "https://example.org"}]))


# --- Creating ---------------------------------------------------------------------------------------------------------


def test_create_item(editor: Client, publish: Publish) -> None:
    """A new item is 201 with its URL, its ETag and the item."""
    publish(a_collection())
    created = editor.post(ITEMS, json=an_item("a b%"))
    assert (created.status_code, created.content_type) == (201, "application/geo+json")
    assert created.headers["Location"] == f"http://localhost{ITEMS}/a%20b%25"
    read = editor.get(created.headers["Location"])
    assert (read.json, read.headers["ETag"]) == (created.json, created.headers["ETag"])


def test_create_item_without_members_that_the_server_adds(editor: Client, publish: Publish) -> None:
    """A new item may lack links, collection and bbox."""
    publish(a_collection())
    item = {key: value for key, value in an_item().items() if key not in ("links", "collection", "bbox")}
    created = editor.post(ITEMS, json=item, content_type="application/geo+json")
    assert (created.status_code, created.json["collection"], "bbox" in created.json) == (201, "collection", False)


def test_create_many(editor: Client, publish: Publish) -> None:
    """All items of a FeatureCollection are created, and the response has no Location."""
    publish(a_collection())
    created = editor.post(ITEMS, json=many(*[an_item(f"i{n}") for n in range(3)]))
    assert (created.status_code, "Location" in created.headers) == (201, False)
    assert [feature["id"] for feature in created.json["features"]] == ["i0", "i1", "i2"]
    assert {feature["id"] for feature in editor.get(ITEMS).json["features"]} == {"i0", "i1", "i2"}
    assert editor.post(ITEMS, json=many()).status_code == 201


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        (an_item("item"), 409),
        (an_item("i0"), 409),
        (an_item("bad", geometry={"type": "Point"}), 400),
        (an_item("bad", properties={"datetime": None}), 400),
        (an_item("bad", "other"), 400),
        (an_item("bad", assets={"a": {}}), 400),
        ("not an item", 400),
        (None, 400),
    ],
)
def test_batch_is_all_or_nothing(editor: Client, published: None, wrong: Any, status: int) -> None:
    """If one item exists, is repeated or is invalid, none of the items is created."""
    response = editor.post(ITEMS, json=many(an_item("i0"), an_item("i1"), wrong, an_item("i2")))
    assert response.status_code == status
    if status == 400:
        assert pointer(response).startswith("/features/2")
    assert [feature["id"] for feature in editor.get(ITEMS).json["features"]] == ["item"]


def test_existing_is_409(editor: Client, published: None) -> None:
    """Creating an existing item or collection is 409, and the description names it."""
    response = editor.post(ITEMS, json=an_item())
    assert (response.status_code, "item" in response.json["description"]) == (409, True)
    assert editor.post("/collections", json=a_collection()).status_code == 409
    assert editor.post(ITEMS, json=an_item("other")).status_code == 201


def test_create_in_unknown_collection_is_404(editor: Client, published: None) -> None:
    """An item needs an existing collection."""
    assert editor.post("/collections/nosuch/items", json=an_item("x", "nosuch")).status_code == 404


def test_create_collection(editor: Client, publish: Publish) -> None:
    """A new collection is 201 with its URL and the collection."""
    created = editor.post("/collections", json=a_collection("a b"))
    assert created.status_code == 201
    read = editor.get(created.headers["Location"])
    assert (read.json, read.headers["ETag"]) == (created.json, created.headers["ETag"])


def at_once(app: Any, count: int, act: Callable[[Client, int], int]) -> list[int]:
    """Call a function in several threads at once, and return the statuses."""
    gate, statuses = threading.Barrier(count), []

    def run(number: int) -> None:
        client = app.test_client()
        gate.wait()
        statuses.append(act(client, number))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(statuses)


def test_concurrent_creation_of_the_same_ids(editor: Client, publish: Publish) -> None:
    """If clients create the same ids at once, in any order, one succeeds and the others get 409."""
    publish(a_collection())

    def create(client: Client, number: int) -> int:
        names = [f"i{n}" for n in range(20)][:: -1 if number % 2 else 1]
        status: int = client.post(ITEMS, json=many(*map(an_item, names))).status_code
        return status

    assert at_once(editor.application, 4, create) == [201, 409, 409, 409]
    assert len(editor.get(f"{ITEMS}?limit=100").json["features"]) == 20
    collection = a_collection("new")
    posted = at_once(
        editor.application, 4, lambda client, _: int(client.post("/collections", json=collection).status_code)
    )
    assert posted == [201, 409, 409, 409]


def test_create_items_while_the_collection_is_deleted(editor: Client, publish: Publish) -> None:
    """No item stays without its collection if the collection is deleted while items are created."""
    for _ in range(5):
        publish(a_collection("going"))

        def act(client: Client, number: int) -> int:
            if number == 0:
                response = client.delete("/collections/going?force=true")
            else:
                response = client.post("/collections/going/items", json=an_item(f"i{number}", "going"))
            status: int = response.status_code
            return status

        assert set(at_once(editor.application, 4, act)) <= {201, 204, 404}
        assert editor.get("/search?collections=going").json["features"] == []


# --- Validation -------------------------------------------------------------------------------------------------------

WRONG_ITEMS: list[tuple[dict[str, Any], str]] = [
    ({"type": "Collection"}, "/type"),
    ({"stac_version": "2.0.0"}, "/stac_version"),
    ({"id": "a/b"}, "/id"),
    ({"id": ""}, "/id"),
    ({"id": ".."}, "/id"),
    ({"id": 1}, "/id"),
    ({"id": "x" * 513}, "/id"),
    ({"id": "a\nb"}, "/id"),
    ({"collection": "other"}, "/collection"),
    ({"geometry": {"type": "Point", "coordinates": [0]}}, "/geometry/coordinates"),
    ({"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]]}}, "/geometry/coordinates/0"),
    ({"geometry": None}, "/bbox"),
    ({"bbox": [0, 0, 1]}, "/bbox"),
    ({"bbox": [0, 1, 0, 0]}, "/bbox"),
    ({"properties": {}}, "/properties/datetime"),
    ({"properties": {"datetime": None}}, "/properties/start_datetime"),
    ({"properties": {"datetime": "2024-01-01"}}, "/properties/datetime"),
    (
        {
            "properties": {
                "datetime": None,
                "start_datetime": "2024-02-01T00:00:00Z",
                "end_datetime": "2024-01-01T00:00:00Z",
            }
        },
        "/properties/end_datetime",
    ),
    ({"properties": []}, "/properties"),
    ({"assets": {"a": {}}}, "/assets/a/href"),
    ({"assets": {"a": {"href": ""}}}, "/assets/a/href"),
    ({"assets": {"a/b~": {"href": 1}}}, "/assets/a~1b~0/href"),
    ({"assets": {"": {"href": "x"}}}, "/assets/"),
    ({"assets": []}, "/assets"),
    ({"links": {}}, "/links"),
    ({"links": [{"rel": "x"}]}, "/links/0/href"),
    ({"stac_extensions": "x"}, "/stac_extensions"),
    ({"properties": {"datetime": "2024-01-01T00:00:00Z", "x": "a\0b"}}, "/properties/x"),
    ({"a\0b": 1}, "document"),
    ({"x": 2**64}, "/x"),
    ({"x": -(2**63) - 1}, "/x"),
    ({"x": 10**4000}, "/x"),
]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_invalid_items_are_400(editor: Client, published: None, method: str) -> None:
    """For every error in an item, with every method, the description has the place, and nothing is changed."""
    before = editor.get(ITEM).json
    for members, place in WRONG_ITEMS:
        if method == "PATCH" and "null" in json.dumps(members):
            continue  # a merge patch with null removes the member
        name = {"POST": "new", "PUT": "item", "PATCH": "item"}[method]
        body = members if method == "PATCH" else {**an_item(name), **members}
        path = ITEMS if method == "POST" else ITEM
        response = editor.open(path, method=method, data=json.dumps(body), content_type="application/json")
        if method != "POST" and place == "/properties/datetime" and members == {"properties": {}}:
            continue  # an empty patch
        found = pointer(response)
        assert found == place or (found, method) == ("document", "PATCH"), (members, response.text)
    assert editor.get(ITEM).json == before
    assert len(editor.get(ITEMS).json["features"]) == 1


WRONG_COLLECTIONS: list[tuple[dict[str, Any], str]] = [
    ({"type": "Catalog"}, "/type"),
    ({"id": "a/b"}, "/id"),
    ({"description": None}, "/description"),
    ({"license": 1}, "/license"),
    ({"extent": {}}, "/extent/spatial"),
    ({"extent": {"spatial": {"bbox": []}, "temporal": {"interval": [[None, None]]}}}, "/extent/spatial/bbox"),
    (
        {"extent": {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": {"interval": [[None]]}}},
        "/extent/temporal/interval/0",
    ),
    (
        {"extent": {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": {"interval": [["x", None]]}}},
        "/extent/temporal/interval/0/0",
    ),
    ({"assets": {"a": {"title": "no href"}}}, "/assets/a/href"),
    ({"assets": None}, "/assets"),
    ({"assets": {"a": {"href": "s3://b/c", "alternate": 5}}}, "/assets/a/alternate"),
    ({"keywords": "x"}, "/keywords"),
    ({"links": [{"href": "x"}]}, "/links/0/rel"),
]


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_invalid_collections_are_400(editor: Client, published: None, method: str) -> None:
    """For every error in a collection, the description has the place, and nothing is changed."""
    for members, place in WRONG_COLLECTIONS:
        name = "new" if method == "POST" else "collection"
        path = "/collections" if method == "POST" else COLLECTION
        response = editor.open(path, method=method, json={**a_collection(name), **members})
        assert pointer(response) == place, (members, response.text)
    assert len(editor.get("/collections").json["collections"]) == 1


NO_DOCUMENTS = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"x"',
    b"\xff\xfe",
    b'{"id": "\\ud800"}',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"x": NaN}',
    b'{"x": 1e999}',
]


def test_bodies_that_are_no_objects_are_400(editor: Client, published: None) -> None:
    """A body that is not a JSON object is 400, on every path that takes a document."""
    for body in NO_DOCUMENTS:
        for method, path in [
            ("POST", ITEMS),
            ("PUT", ITEM),
            ("PATCH", ITEM),
            ("POST", "/collections"),
            ("PUT", COLLECTION),
        ]:
            response = editor.open(path, method=method, data=body, content_type="application/json")
            assert (response.status_code, response.json["code"]) == (400, "InvalidDocument"), (body[:50], method, path)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"x": [value]}
    return value


@pytest.mark.parametrize("depth", [200, 400, 900])
def test_deep_documents(editor: Client, published: None, depth: int) -> None:
    """A document or patch that is nested too deep is 400, never 500."""
    text = json.dumps(nested(min(depth, 400)))
    for method, path, body in [
        ("POST", ITEMS, json.dumps(an_item("new")).replace('"links"', f'"x": {text}, "links"')),
        ("PATCH", ITEM, f'{{"properties": {text}}}'),
        ("PATCH", COLLECTION, text),
    ]:
        response = editor.open(path, method=method, data=body, content_type="application/json")
        assert response.status_code == 400, (method, path)
    operations = json.dumps([{"op": "add", "path": "/x", "value": nested(min(depth, 400))}])
    assert editor.patch(ITEM, data=operations, content_type=PATCH).status_code == 400


def test_media_types(editor: Client, published: None) -> None:
    """Another media type is 415; for a patch, the response has Accept-Patch."""
    for method, path in [
        ("POST", ITEMS),
        ("PUT", ITEM),
        ("PATCH", ITEM),
        ("POST", "/collections"),
        ("PATCH", COLLECTION),
    ]:
        for media_type in (None, "text/plain", "application/xml", "application/x-www-form-urlencoded"):
            response = editor.open(path, method=method, data="{}", content_type=media_type)
            assert (response.status_code, response.json["code"]) == (415, "UnsupportedMediaType")
            assert ("Accept-Patch" in response.headers) == (method == "PATCH")
    assert editor.post("/collections", data="{}", content_type="application/geo+json").status_code == 415


def test_too_large(edit: Callable[..., Client], publish: Publish) -> None:
    """A body above the limit is 413, and nothing is stored."""
    publish(a_collection())
    editor = edit(STACFLASK_MAX_BODY="2000")
    assert editor.post(ITEMS, json=an_item(x="y" * 3000)).status_code == 413
    assert editor.post(ITEMS, json=an_item()).status_code == 201
    assert editor.patch(ITEM, data=b" " * 3000, content_type=MERGE).status_code == 413


# --- Replacing --------------------------------------------------------------------------------------------------------


def test_replace_item(editor: Client, published: None) -> None:
    """PUT replaces the whole item: 204 with the new ETag and without a body, or 200 with the item by Prefer."""
    response = editor.put(ITEM, json=an_item(properties={"datetime": "2020-01-01T00:00:00Z"}, links=[]))
    assert (response.status_code, response.data, "Content-Type" in response.headers) == (204, b"", False)
    item = editor.get(ITEM)
    assert (item.json["properties"], item.headers["ETag"]) == (
        {"datetime": "2020-01-01T00:00:00Z"},
        response.headers["ETag"],
    )
    assert "via" not in [link["rel"] for link in item.json["links"]]
    preferred = editor.put(ITEM, json=an_item(), headers={"Prefer": "respond-async, return=representation"})
    assert (preferred.status_code, preferred.json) == (200, editor.get(ITEM).json)
    assert preferred.headers["Preference-Applied"] == "return=representation"
    assert editor.put(ITEM, json=an_item(), headers={"Prefer": "return=minimal"}).status_code == 204


def test_a_replaced_item_is_found_by_its_new_values(editor: Client, published: None) -> None:
    """A search finds a replaced item by its new values, and not by its old ones."""
    moved = an_item(
        geometry={"type": "Point", "coordinates": [-60, -30]},
        bbox=[-60, -30, -60, -30],
        properties={"datetime": "1999-01-01T00:00:00Z"},
    )
    assert editor.put(ITEM, json=moved).status_code == 204
    assert editor.get("/search?bbox=11,48,11,48").json["features"] == []
    assert len(editor.get("/search?bbox=-61,-31,-59,-29&datetime=1999-01-01T00:00:00Z").json["features"]) == 1


def test_replace_missing_is_404(editor: Client, published: None) -> None:
    """PUT and PATCH of an item that does not exist are 404 and create nothing."""
    assert editor.put(f"{ITEMS}/new", json=an_item("new")).status_code == 404
    assert editor.patch(f"{ITEMS}/new", json={}).status_code == 404
    assert editor.put("/collections/new", json=a_collection("new")).status_code == 404


def test_sending_back_a_document_changes_nothing(editor: Client, published: None) -> None:
    """Sending back a document changes neither the document nor its ETag."""
    for path in (ITEM, COLLECTION):
        before = editor.get(path)
        assert editor.put(path, data=before.data, content_type="application/json").status_code == 204
        after = editor.get(path)
        assert (after.json, after.headers["ETag"]) == (before.json, before.headers["ETag"])


def with_hidden_hrefs() -> dict[str, Any]:
    """Return an item with hidden hrefs in all places."""
    alternate = {"s3": {"href": "s3://other/data"}, "web": {"href": "https://example.org/data"}}
    return an_item(
        assets={
            "da/ta": {"href": "s3://bucket/data", "alternate": alternate},
            "more": {"href": "s3://bucket/more", "alternate": {"s3": {"href": "s3://other/more"}}},
            "web": {"href": "https://example.org/w", "alternate": {"s3": {"href": "s3://other/w"}}},
        },
        links=[{"rel": "via", "href": "s3://bucket/via"}, {"rel": "via", "href": "https://example.org/via"}],
    )


@pytest.fixture
def stored_item(database: Any) -> Callable[[], dict[str, Any]]:
    """Return a function that reads the stored item."""
    from stacflask.catalog.documents import documents
    from stacflask.catalog.reader import Catalog
    from stacflask.model.decision import UNRESTRICTED

    def read() -> dict[str, Any]:
        document = documents.original(Catalog(database).item("collection", "item", UNRESTRICTED).body)
        return {"assets": document["assets"], "links": sorted(link["href"] for link in document["links"])}

    return read


def test_hidden_hrefs_survive_editing(build: Callable[..., Any], publish: Publish, stored_item: Any) -> None:
    """A client that reads, edits and sends back an item loses no storage href, with any host name of the server."""
    from stacflask import Decision, hookimpl

    class Writable:
        @hookimpl
        def authorize_change(self) -> Decision:
            return Decision.allow("test")

    publish(with_hidden_hrefs())
    before = stored_item()
    inside = build(Writable()).test_client()
    outside = build(Writable(), environ={"STACFLASK_PUBLIC_URL": "https://stac.example.org/prefix"}).test_client()
    showing_storage = build(Writable(), environ={"STACFLASK_SHOW_STORAGE": "true"}).test_client()
    for reader, writer in [(inside, inside), (outside, inside), (inside, outside), (showing_storage, showing_storage)]:
        document = reader.get(ITEM).json
        document["properties"]["edited"] = True
        assert writer.put(ITEM, json=document).status_code == 204
        assert stored_item() == before
        assert writer.patch(ITEM, json={"properties": {"edited": None}}).status_code == 204
        assert writer.patch(ITEM, json=[{"op": "add", "path": "/x", "value": 1}], content_type=PATCH).status_code == 204
        assert stored_item() == before


def test_hidden_hrefs_follow_their_assets(editor: Client, publish: Publish, stored_item: Any) -> None:
    """A new href replaces the stored one and its alternates; a renamed asset keeps its storage href."""
    publish(with_hidden_hrefs())
    document = editor.get(ITEM).json
    document["assets"] = {"renamed": document["assets"]["da/ta"], "more": {"href": "s3://new/more"}}
    document["links"] = []
    assert editor.put(ITEM, json=document).status_code == 204
    assert stored_item() == {
        "assets": {"renamed": with_hidden_hrefs()["assets"]["da/ta"], "more": {"href": "s3://new/more"}},
        "links": [],
    }


def test_no_patch_reveals_storage_hrefs(editor: Client, publish: Publish) -> None:
    """A patch applies to the document that GET returns: copy, move and test reveal no storage href."""
    publish(with_hidden_hrefs())
    patch = [
        {"op": "copy", "from": "/assets/da~1ta/href", "path": "/properties/a"},
        {"op": "copy", "from": "/assets/da~1ta", "path": "/properties/b"},
        {"op": "copy", "from": "/links", "path": "/properties/c"},
    ]
    response = editor.patch(ITEM, json=patch, content_type=PATCH, headers={"Prefer": "return=representation"})
    assert (response.status_code, "s3://" in response.text) == (200, False)
    assert response.json["properties"]["a"] == f"http://localhost{ITEM}/download/da%2Fta"
    guess = [{"op": "test", "path": "/assets/more/href", "value": "s3://bucket/more"}]
    guessed = editor.patch(ITEM, json=guess, content_type=PATCH)
    assert guessed.status_code == 409


# --- Patching ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("media_type", ["application/json", MERGE])
def test_merge_patch(editor: Client, published: None, media_type: str) -> None:
    """A merge patch merges objects, removes members by null, and replaces other values."""
    patch: dict[str, Any] = {"properties": {"a": {"b": 1, "c": [1]}, "title": "t"}, "new": None}
    assert editor.patch(ITEM, json=patch, content_type=media_type).status_code == 204
    patch = {"properties": {"a": {"b": None, "c": [2], "d": {"e": None}}, "title": None}}
    response = editor.patch(ITEM, json=patch, content_type=media_type, headers={"Prefer": "return=representation"})
    assert response.status_code == 200
    assert response.json["properties"] == {"datetime": "2024-06-01T12:00:00Z", "a": {"c": [2], "d": {}}}
    assert [link["rel"] for link in response.json["links"]] == ["via", "root", "parent", "collection", "self"]
    assert response.json["assets"] == editor.get(ITEM).json["assets"]


def test_json_patch(editor: Client, published: None) -> None:
    """All six operations of a JSON patch work in sequence."""
    operations = [
        {"op": "test", "path": "/properties/datetime", "value": "2024-06-01T12:00:00Z"},
        {"op": "add", "path": "/properties/list", "value": [1, 3]},
        {"op": "add", "path": "/properties/list/1", "value": 2},
        {"op": "copy", "from": "/properties/list", "path": "/properties/a~1b"},
        {"op": "move", "from": "/properties/a~1b", "path": "/properties/moved"},
        {"op": "replace", "path": "/properties/moved/0", "value": None},
        {"op": "remove", "path": "/properties/list/0"},
    ]
    assert editor.patch(ITEM, json=operations, content_type=PATCH).status_code == 204
    properties = editor.get(ITEM).json["properties"]
    assert (properties["list"], properties["moved"], "a/b" in properties) == ([2, 3], [None, 2, 3], False)


LINE = {"type": "LineString", "coordinates": [[1, 2], [3, 4]]}
TALL = {"type": "MultiPoint", "coordinates": [[1, 2, 30], [3, 4, -5], [0, 0]]}
NEW_GEOMETRIES: list[tuple[Any, Any]] = [
    ({"geometry": LINE}, [1, 2, 3, 4]),
    ({"geometry": TALL}, [0, 0, -5, 3, 4, 30]),
    ({"geometry": {"type": "GeometryCollection", "geometries": [LINE, TALL]}}, [0, 0, -5, 3, 4, 30]),
    ({"geometry": LINE, "bbox": [0, 0, 9, 9]}, [0, 0, 9, 9]),
    ({"geometry": {"coordinates": [5, 6]}}, [5, 6, 5, 6]),
    ({"geometry": None}, [11, 48, 11, 48]),
    ([{"op": "replace", "path": "/geometry/coordinates/0", "value": 5}], [5, 48, 5, 48]),
    ([{"op": "replace", "path": "/geometry", "value": None}], None),
    ([{"op": "test", "path": "/id", "value": "item"}], [11, 48, 11, 48]),
]


@pytest.mark.parametrize(("patch", "bbox"), NEW_GEOMETRIES)
def test_a_patched_geometry_has_its_bbox(editor: Client, published: None, patch: Any, bbox: Any) -> None:
    """A patch of only the geometry computes the bbox; a patch with a bbox keeps it."""
    response = editor.patch(ITEM, json=patch, content_type=PATCH if isinstance(patch, list) else MERGE)
    expected = 400 if patch == {"geometry": None} else 204  # a merge patch removes the member
    assert response.status_code == expected, response.text
    assert editor.get(ITEM).json.get("bbox") == bbox
    west = 11 if bbox is None else bbox[0]
    found = editor.get(f"/search?bbox={west},-90,{west},90").json["features"]
    assert [item["id"] for item in found] == ([] if bbox is None or bbox == [0, 0, 9, 9] else ["item"])


WRONG_PATCHES: list[tuple[Any, int]] = [
    ({"op": "add"}, 400),
    ("add", 400),
    (None, 400),
    ([1], 400),
    ([[]], 400),
    ([{}], 400),
    ([{"op": "nosuch", "path": "/x"}], 400),
    ([{"op": "add", "path": "/x"}], 400),
    ([{"op": "add", "value": 1}], 400),
    ([{"op": "add", "path": 1, "value": 1}], 400),
    ([{"op": "copy", "path": "/x"}], 400),
    ([{"op": "replace", "path": "", "value": []}], 400),
    ([{"op": "remove", "path": "/id"}], 400),
    ([{"op": "replace", "path": "/id", "value": "other"}], 400),
    ([{"op": "replace", "path": "/collection", "value": "other"}], 400),
    ([{"op": "replace", "path": "/geometry/coordinates/0", "value": "x"}], 400),
    ([{"op": "remove", "path": "/assets/data/href"}], 400),
    ([{"op": "test", "path": "/id", "value": "other"}], 409),
    ([{"op": "test", "path": "/nosuch", "value": 1}], 409),
    ([{"op": "test", "path": "/properties", "value": {}}], 409),
    ([{"op": "remove", "path": "/nosuch"}], 409),
    ([{"op": "remove", "path": "/links/99"}], 409),
    ([{"op": "replace", "path": "/nosuch/deeper", "value": 1}], 409),
    ([{"op": "add", "path": "/links/x", "value": 1}], 409),
    ([{"op": "add", "path": "/id/x", "value": 1}], 409),
    ([{"op": "move", "from": "/properties", "path": "/properties/x"}], 409),
    ([{"op": "copy", "from": "/nosuch", "path": "/x"}], 409),
    ([{"op": "add", "path": "/bad~2", "value": 1}], 409),
    ([{"op": "add", "path": "no-slash", "value": 1}], 409),
]


def test_invalid_patches_are_400(editor: Client, published: None) -> None:
    """An invalid patch is 400, a patch that does not fit the document is 409; a failed patch changes nothing."""
    before = editor.get(ITEM).json
    for operations, status in WRONG_PATCHES:
        good = {"op": "add", "path": "/properties/half", "value": 1}
        response = editor.patch(ITEM, json=operations, content_type=PATCH)
        assert response.status_code == status, (operations, response.text)
        assert set(response.json) == {"code", "description"}
        if isinstance(operations, list):
            assert editor.patch(ITEM, json=[good, *operations], content_type=PATCH).status_code == status
    assert editor.get(ITEM).json == before


def test_copies_of_copies_stay_bounded(edit: Callable[..., Client], published: None) -> None:
    """A patch whose copies double with each operation is 400 before memory is exhausted."""
    editor = edit(STACFLASK_MAX_BODY="100000")
    bomb = [{"op": "copy", "from": "/properties", "path": f"/properties/x{n}"} for n in range(60)]
    response = editor.patch(ITEM, json=bomb, content_type=PATCH)
    assert (response.status_code, "at most 100000 bytes" in response.json["description"]) == (400, True)


def test_patch_collection(editor: Client, published: None) -> None:
    """Collections are patched like items."""
    assert editor.patch(COLLECTION, json={"title": "New", "keywords": ["a"]}).status_code == 204
    operations = [{"op": "add", "path": "/keywords/-", "value": "b"}]
    response = editor.patch(
        COLLECTION, json=operations, content_type=PATCH, headers={"Prefer": 'return="representation"'}
    )
    assert (response.json["title"], response.json["keywords"]) == ("New", ["a", "b"])
    assert editor.get("/").json["links"][-1]["title"] == "New"


# --- Deleting ---------------------------------------------------------------------------------------------------------


def test_delete_item(editor: Client, published: None) -> None:
    """A deleted item is 404 and not found, and deleting it again is 404."""
    response = editor.delete(ITEM)
    assert (response.status_code, response.data, "Content-Type" in response.headers) == (204, b"", False)
    assert editor.get(ITEM).status_code == 404
    assert editor.get("/search").json["features"] == []
    assert editor.delete(ITEM).status_code == 404


def test_delete_collection_with_items_needs_force(editor: Client, publish: Publish) -> None:
    """Deleting a collection with items is 409; with force it is deleted with its items, and no others."""
    publish(an_item("a"), an_item("b"), an_item("a", "other"))
    response = editor.delete(COLLECTION)
    assert (response.status_code, response.json["code"]) == (409, "CollectionNotEmpty")
    assert editor.delete(f"{COLLECTION}?force=false").status_code == 409
    assert editor.delete(f"{COLLECTION}?force=perhaps").status_code == 400
    assert editor.get(ITEMS).json["numberReturned"] == 2
    assert editor.delete(f"{COLLECTION}?force=true").status_code == 204
    assert editor.get(COLLECTION).status_code == 404
    assert [feature["collection"] for feature in editor.get("/search").json["features"]] == ["other"]
    assert editor.delete("/collections/other/items/a").status_code == 204
    assert editor.delete("/collections/other").status_code == 204


def test_replacing_a_collection_keeps_its_items(editor: Client, published: None) -> None:
    """Replacing a collection's document does not change its items."""
    assert editor.put(COLLECTION, json=a_collection(title="New")).status_code == 204
    assert editor.get(ITEMS).json["numberReturned"] == 1


# --- Extents ----------------------------------------------------------------------------------------------------------


def test_extent_widens(editor: Client, publish: Publish) -> None:
    """A collection's extent widens to its items, created singly or in batches or changed, and never narrows."""
    moment = "2024-06-01T12:00:00Z"
    extent = {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": {"interval": [[moment, moment]]}}
    publish(a_collection(extent=extent))
    at: dict[str, Any] = {"geometry": {"type": "Point", "coordinates": [10, 20]}, "bbox": [10, 20, 10, 20]}
    editor.post(ITEMS, json=an_item("a", **at))
    assert editor.get(COLLECTION).json["extent"]["spatial"]["bbox"] == [[0, 0, 10, 20]]
    earlier, later = ({"datetime": f"{year}-01-01T00:00:00Z"} for year in (2000, 2030))
    editor.post(ITEMS, json=many(an_item("b", properties=earlier, **at), an_item("c", properties=later, **at)))
    interval = editor.get(COLLECTION).json["extent"]["temporal"]["interval"]
    assert interval == [["2000-01-01T00:00:00Z", "2030-01-01T00:00:00Z"]]
    editor.patch(f"{ITEMS}/a", json={"geometry": {"coordinates": [-5, 20]}, "bbox": [-5, 20, -5, 20]})
    assert editor.get(COLLECTION).json["extent"]["spatial"]["bbox"] == [[-5, 0, 10, 20]]
    editor.delete(f"{ITEMS}/b")
    assert editor.get(COLLECTION).json["extent"]["temporal"]["interval"] == interval


def test_concurrent_writes_all_widen_the_extent(editor: Client, publish: Publish) -> None:
    """Concurrent writes do not undo each other's widening of the extent."""
    extent = {"spatial": {"bbox": [[0, 0, 0, 0]]}, "temporal": {"interval": [[None, None]]}}
    publish(a_collection(extent=extent))

    def create(client: Client, number: int) -> int:
        corner = [[10, 0], [-10, 0], [0, 10], [0, -10]][number]
        item = an_item(f"i{number}", geometry={"type": "Point", "coordinates": corner}, bbox=corner * 2)
        status: int = client.post(ITEMS, json=item).status_code
        return status

    assert at_once(editor.application, 4, create) == [201] * 4
    assert editor.get(COLLECTION).json["extent"]["spatial"]["bbox"] == [[-10, -10, 10, 10]]


# --- Schemas ----------------------------------------------------------------------------------------------------------

EO = "https://stac-extensions.github.io/eo/v1.1.0/schema.json"


def test_a_setting_validates_schemas(edit: Callable[..., Client], published: None) -> None:
    """By a setting, documents must be valid against the schemas that they name, and name only known schemas."""
    strict, lenient = edit(STACFLASK_VALIDATE_SCHEMAS="true"), edit()
    clouds = {"datetime": "2024-06-01T12:00:00Z", "eo:cloud_cover": "very"}
    wrong = an_item("wrong", properties=clouds, stac_extensions=[EO])
    unknown = an_item("unknown", stac_extensions=["https://example.org/v1.0.0/schema.json"])
    right = an_item("right", properties={**clouds, "eo:cloud_cover": 5}, stac_extensions=[EO])
    assert pointer(strict.post(ITEMS, json=wrong)).startswith("/properties")
    assert pointer(strict.post(ITEMS, json=many(an_item("x"), wrong))).startswith("/features/1/properties")
    assert pointer(strict.post(ITEMS, json=unknown)) == "/stac_extensions/0"
    assert strict.post(ITEMS, json=right).status_code == 201
    assert pointer(strict.patch(f"{ITEMS}/right", json={"properties": {"eo:cloud_cover": 500}})).startswith(
        "/properties"
    )
    assert strict.put(f"{ITEMS}/right", json=strict.get(f"{ITEMS}/right").json).status_code == 204
    without_links = {key: value for key, value in a_collection("new").items() if key != "links"}
    assert strict.post("/collections", json=without_links).status_code == 201
    assert strict.post("/collections", json={**a_collection("bad"), "license": ""}).status_code == 400
    for item in (wrong, unknown):
        assert lenient.post(ITEMS, json=item).status_code == 201


def test_unknown_schemas_are_logged(
    edit: Callable[..., Client], published: None, caplog: pytest.LogCaptureFixture
) -> None:
    """If documents may name unknown schemas, each is logged once."""
    client = edit(STACFLASK_VALIDATE_SCHEMAS="true", STACFLASK_UNKNOWN_SCHEMAS="warn")
    caplog.clear()
    for name in ("one", "two"):
        unknown = an_item(name, stac_extensions=[EO, "https://example.org/unknown/schema.json"])
        assert client.post(ITEMS, json=unknown).status_code == 201
    warnings = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert warnings == ["unknown schema in a document: 'https://example.org/unknown/schema.json'"]


def test_an_invalid_schema_folder_fails_at_startup(edit: Callable[..., Client], tmp_path: Path) -> None:
    """A server does not start with a folder of invalid schemas."""
    (tmp_path / "wrong.json").write_text("[]")
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(SettingError, match="STACFLASK_SCHEMAS"):
            edit(STACFLASK_SCHEMAS=str(folder))


# --- Permissions ------------------------------------------------------------------------------------------------------


def test_hidden_records_cannot_be_changed(plug: Callable[..., Client], publish: Publish) -> None:
    """Every change of a hidden record is 404, as if it did not exist, and changes nothing."""
    from stacflask import Decision, hookimpl

    publish(an_item("item", "hidden"), an_item("item", "open"), an_item("secret", "open"))

    class Policy:
        @hookimpl
        def authorize_change(self) -> Decision:
            return Decision.allow("test")

        @hookimpl
        def restrict(self, of: str) -> Any:
            seen, name = ("<>", "hidden") if of == "collections" else ("<>", "secret")
            return {"op": seen, "args": [{"property": "id"}, name]}

    client = plug(Policy())
    for path, collection in [("/collections/hidden", "hidden"), ("/collections/nosuch", "nosuch")]:
        responses = [
            client.post(f"{path}/items", json=an_item("new", collection)),
            client.put(path, json=a_collection(collection)),
            client.patch(path, json={"title": "x"}),
            client.delete(f"{path}?force=true"),
            client.put(f"{path}/items/item", json=an_item("item", collection)),
            client.patch(f"{path}/items/item", json={}),
            client.delete(f"{path}/items/item"),
        ]
        assert [response.status_code for response in responses] == [404] * 7
    secret = "/collections/open/items/secret"
    assert [client.delete(secret).status_code, client.patch(secret, json={}).status_code] == [404, 404]
    plain = plug()
    assert plain.get("/collections/hidden/items/item").status_code == 200
    assert plain.get(secret).status_code == 200


def test_refused_before_the_body_is_read(plug: Callable[..., Client], published: None) -> None:
    """A user without permission gets 403, and not the errors of the body."""
    from stacflask import Decision, Principal, hookimpl

    class Denies:
        @hookimpl
        def authenticate(self) -> Principal:
            return Principal("me", scheme="test")

        @hookimpl
        def authorize_change(self) -> Decision:
            return Decision.deny("test")

    client = plug(Denies())
    for method, path in [("POST", ITEMS), ("PUT", ITEM), ("PATCH", ITEM), ("DELETE", ITEM), ("POST", "/collections")]:
        assert client.open(path, method=method, data="{").status_code == 403
