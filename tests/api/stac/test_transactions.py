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
    """Give the place that an error names."""
    assert response.status_code == 400, response.text
    place: str = response.json["description"].partition(":")[0]
    return place


def many(*items: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(items)}


@pytest.fixture
def there(publish: Publish) -> None:
    """Put an item into a collection."""
    publish(an_item(links=[{"rel": "via", "href": "https://example.org"}]))


# --- Creating ---------------------------------------------------------------------------------------------------------


def test_create_item(editor: Client, publish: Publish) -> None:
    """A new item is 201, with its address, its state, and itself as it will be read."""
    publish(a_collection())
    made = editor.post(ITEMS, json=an_item("a b%"))
    assert (made.status_code, made.content_type) == (201, "application/geo+json")
    assert made.headers["Location"] == f"http://localhost{ITEMS}/a%20b%25"
    read = editor.get(made.headers["Location"])
    assert (read.json, read.headers["ETag"]) == (made.json, made.headers["ETag"])


def test_create_item_without_what_the_server_knows(editor: Client, publish: Publish) -> None:
    """Links, collection and bbox may be missing."""
    publish(a_collection())
    item = {key: value for key, value in an_item().items() if key not in ("links", "collection", "bbox")}
    made = editor.post(ITEMS, json=item, content_type="application/geo+json")
    assert (made.status_code, made.json["collection"], "bbox" in made.json) == (201, "collection", False)


def test_create_many(editor: Client, publish: Publish) -> None:
    """A FeatureCollection is created whole, and has no address of its own."""
    publish(a_collection())
    made = editor.post(ITEMS, json=many(*[an_item(f"i{n}") for n in range(3)]))
    assert (made.status_code, "Location" in made.headers) == (201, False)
    assert [feature["id"] for feature in made.json["features"]] == ["i0", "i1", "i2"]
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
def test_batch_is_all_or_nothing(editor: Client, there: None, wrong: Any, status: int) -> None:
    """One item that exists, comes twice or is wrong, and none of the others is there."""
    response = editor.post(ITEMS, json=many(an_item("i0"), an_item("i1"), wrong, an_item("i2")))
    assert response.status_code == status
    if status == 400:
        assert pointer(response).startswith("/features/2")
    assert [feature["id"] for feature in editor.get(ITEMS).json["features"]] == ["item"]


def test_existing_is_409(editor: Client, there: None) -> None:
    """What exists is not made again, and the conflict names it."""
    response = editor.post(ITEMS, json=an_item())
    assert (response.status_code, "item" in response.json["description"]) == (409, True)
    assert editor.post("/collections", json=a_collection()).status_code == 409
    assert editor.post(ITEMS, json=an_item("other")).status_code == 201


def test_create_in_unknown_collection_is_404(editor: Client, there: None) -> None:
    """An item needs a collection that is there."""
    assert editor.post("/collections/nosuch/items", json=an_item("x", "nosuch")).status_code == 404


def test_create_collection(editor: Client, publish: Publish) -> None:
    """A new collection is 201, with its address and itself as it will be read."""
    made = editor.post("/collections", json=a_collection("a b"))
    assert made.status_code == 201
    read = editor.get(made.headers["Location"])
    assert (read.json, read.headers["ETag"]) == (made.json, made.headers["ETag"])


def at_once(app: Any, count: int, act: Callable[[Client, int], int]) -> list[int]:
    """Do something in several threads at once; give the statuses."""
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


def test_same_ids_at_once(editor: Client, publish: Publish) -> None:
    """Of several who create the same ids at once, in whatever order, one succeeds and the others are told."""
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


def test_create_while_the_collection_goes(editor: Client, publish: Publish) -> None:
    """No item is left behind by a collection that is deleted while items come."""
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


# --- What comes in is checked -----------------------------------------------------------------------------------------

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
def test_wrong_items(editor: Client, there: None, method: str) -> None:
    """Whatever is wrong with an item, however it is sent, the error names the place, and nothing is changed."""
    before = editor.get(ITEM).json
    for members, place in WRONG_ITEMS:
        if method == "PATCH" and "null" in json.dumps(members):
            continue  # which removes the member
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
def test_wrong_collections(editor: Client, there: None, method: str) -> None:
    """Whatever is wrong with a collection, the error names the place, and nothing is changed."""
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


def test_no_documents(editor: Client, there: None) -> None:
    """What is no JSON object is an error in the usual form, on every path that takes one."""
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
def test_deep_documents(editor: Client, there: None, depth: int) -> None:
    """What is nested too deep to be kept is an error, as a document and as a patch; never a 500."""
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


def test_media_types(editor: Client, there: None) -> None:
    """Another media type is 415, and a patch is told which are taken."""
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
    """A body beyond the setting is 413, and nothing is kept of it."""
    publish(a_collection())
    editor = edit(STACFLASK_MAX_BODY="2000")
    assert editor.post(ITEMS, json=an_item(x="y" * 3000)).status_code == 413
    assert editor.post(ITEMS, json=an_item()).status_code == 201
    assert editor.patch(ITEM, data=b" " * 3000, content_type=MERGE).status_code == 413


# --- Replacing --------------------------------------------------------------------------------------------------------


def test_replace_item(editor: Client, there: None) -> None:
    """PUT replaces the whole: 204 with the new state and without a type, or 200 with the item if that is preferred."""
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


def test_replaced_item_is_found_anew(editor: Client, there: None) -> None:
    """A search finds what an item has become, not what it was."""
    moved = an_item(
        geometry={"type": "Point", "coordinates": [-60, -30]},
        bbox=[-60, -30, -60, -30],
        properties={"datetime": "1999-01-01T00:00:00Z"},
    )
    assert editor.put(ITEM, json=moved).status_code == 204
    assert editor.get("/search?bbox=11,48,11,48").json["features"] == []
    assert len(editor.get("/search?bbox=-61,-31,-59,-29&datetime=1999-01-01T00:00:00Z").json["features"]) == 1


def test_replace_missing_is_404(editor: Client, there: None) -> None:
    """PUT and PATCH make nothing new."""
    assert editor.put(f"{ITEMS}/new", json=an_item("new")).status_code == 404
    assert editor.patch(f"{ITEMS}/new", json={}).status_code == 404
    assert editor.put("/collections/new", json=a_collection("new")).status_code == 404


def test_what_was_read_may_be_sent_back(editor: Client, there: None) -> None:
    """Reading and sending back changes nothing, neither the answer nor the state."""
    for path in (ITEM, COLLECTION):
        before = editor.get(path)
        assert editor.put(path, data=before.data, content_type="application/json").status_code == 204
        after = editor.get(path)
        assert (after.json, after.headers["ETag"]) == (before.json, before.headers["ETag"])


def withholding() -> dict[str, Any]:
    """Make an item with addresses that are not shown, in all places."""
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
def kept(database: Any) -> Callable[[], dict[str, Any]]:
    """Say what is kept of the item, shown or not."""
    from stacflask.catalog.documents import documents
    from stacflask.catalog.reader import Catalog
    from stacflask.model.decision import UNRESTRICTED

    def read() -> dict[str, Any]:
        document = documents.original(Catalog(database).item("collection", "item", UNRESTRICTED).body)
        return {"assets": document["assets"], "links": sorted(link["href"] for link in document["links"])}

    return read


def test_what_is_withheld_survives_editing(build: Callable[..., Any], publish: Publish, kept: Any) -> None:
    """Who reads, edits and sends back loses no storage address, whichever name of the server is used for either."""
    from stacflask import Decision, hookimpl

    class Leave:
        @hookimpl
        def authorize_change(self) -> Decision:
            return Decision.allow("test")

    publish(withholding())
    before = kept()
    inside = build(Leave()).test_client()
    outside = build(Leave(), environ={"STACFLASK_PUBLIC_URL": "https://stac.example.org/prefix"}).test_client()
    open_house = build(Leave(), environ={"STACFLASK_SHOW_STORAGE": "true"}).test_client()
    for reader, writer in [(inside, inside), (outside, inside), (inside, outside), (open_house, open_house)]:
        document = reader.get(ITEM).json
        document["properties"]["edited"] = True
        assert writer.put(ITEM, json=document).status_code == 204
        assert kept() == before
        assert writer.patch(ITEM, json={"properties": {"edited": None}}).status_code == 204
        assert writer.patch(ITEM, json=[{"op": "add", "path": "/x", "value": 1}], content_type=PATCH).status_code == 204
        assert kept() == before


def test_what_is_withheld_goes_with_what_it_belongs_to(editor: Client, publish: Publish, kept: Any) -> None:
    """A new href takes the place of the old with its alternates; an asset that is renamed keeps where it is."""
    publish(withholding())
    document = editor.get(ITEM).json
    document["assets"] = {"renamed": document["assets"]["da/ta"], "more": {"href": "s3://new/more"}}
    document["links"] = []
    assert editor.put(ITEM, json=document).status_code == 204
    assert kept() == {
        "assets": {"renamed": withholding()["assets"]["da/ta"], "more": {"href": "s3://new/more"}},
        "links": [],
    }


def test_no_patch_tells_where_the_bytes_are(editor: Client, publish: Publish) -> None:
    """A patch sees what GET shows: nothing copied, moved or compared tells a storage address."""
    publish(withholding())
    patch = [
        {"op": "copy", "from": "/assets/da~1ta/href", "path": "/properties/a"},
        {"op": "copy", "from": "/assets/da~1ta", "path": "/properties/b"},
        {"op": "copy", "from": "/links", "path": "/properties/c"},
    ]
    response = editor.patch(ITEM, json=patch, content_type=PATCH, headers={"Prefer": "return=representation"})
    assert (response.status_code, "s3://" in response.text) == (200, False)
    assert response.json["properties"]["a"] == f"http://localhost{ITEM}/download/da%2Fta"
    guess = [{"op": "test", "path": "/assets/more/href", "value": "s3://bucket/more"}]
    told = editor.patch(ITEM, json=guess, content_type=PATCH)
    assert told.status_code == 409


# --- Patching ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("media_type", ["application/json", MERGE])
def test_merge_patch(editor: Client, there: None, media_type: str) -> None:
    """Objects are merged, null removes, all else replaces; what is not named stays."""
    patch: dict[str, Any] = {"properties": {"a": {"b": 1, "c": [1]}, "title": "t"}, "new": None}
    assert editor.patch(ITEM, json=patch, content_type=media_type).status_code == 204
    patch = {"properties": {"a": {"b": None, "c": [2], "d": {"e": None}}, "title": None}}
    response = editor.patch(ITEM, json=patch, content_type=media_type, headers={"Prefer": "return=representation"})
    assert response.status_code == 200
    assert response.json["properties"] == {"datetime": "2024-06-01T12:00:00Z", "a": {"c": [2], "d": {}}}
    assert [link["rel"] for link in response.json["links"]] == ["via", "root", "parent", "collection", "self"]
    assert response.json["assets"] == editor.get(ITEM).json["assets"]


def test_json_patch(editor: Client, there: None) -> None:
    """All six operations work, one after the other."""
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
def test_a_patched_geometry_has_its_bbox(editor: Client, there: None, patch: Any, bbox: Any) -> None:
    """A patch of the geometry alone computes the bbox; one that gives a bbox keeps it."""
    response = editor.patch(ITEM, json=patch, content_type=PATCH if isinstance(patch, list) else MERGE)
    expected = 400 if patch == {"geometry": None} else 204  # a merge patch takes the member away
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


def test_wrong_patches(editor: Client, there: None) -> None:
    """What is no patch is 400, what does not fit the document 409; and of a patch that fails, nothing is done."""
    before = editor.get(ITEM).json
    for operations, status in WRONG_PATCHES:
        good = {"op": "add", "path": "/properties/half", "value": 1}
        response = editor.patch(ITEM, json=operations, content_type=PATCH)
        assert response.status_code == status, (operations, response.text)
        assert set(response.json) == {"code", "description"}
        if isinstance(operations, list):
            assert editor.patch(ITEM, json=[good, *operations], content_type=PATCH).status_code == status
    assert editor.get(ITEM).json == before


def test_copies_of_copies_stay_bounded(edit: Callable[..., Client], there: None) -> None:
    """A patch whose copies double with each line ends with an error, not with the memory."""
    editor = edit(STACFLASK_MAX_BODY="100000")
    bomb = [{"op": "copy", "from": "/properties", "path": f"/properties/x{n}"} for n in range(60)]
    response = editor.patch(ITEM, json=bomb, content_type=PATCH)
    assert (response.status_code, "too large" in response.json["description"]) == (400, True)


def test_patch_collection(editor: Client, there: None) -> None:
    """Collections are patched like items."""
    assert editor.patch(COLLECTION, json={"title": "New", "keywords": ["a"]}).status_code == 204
    operations = [{"op": "add", "path": "/keywords/-", "value": "b"}]
    response = editor.patch(
        COLLECTION, json=operations, content_type=PATCH, headers={"Prefer": 'return="representation"'}
    )
    assert (response.json["title"], response.json["keywords"]) == ("New", ["a", "b"])
    assert editor.get("/").json["links"][-1]["title"] == "New"


# --- Deleting ---------------------------------------------------------------------------------------------------------


def test_delete_item(editor: Client, there: None) -> None:
    """A deleted item is gone everywhere, and deleting it again is 404."""
    response = editor.delete(ITEM)
    assert (response.status_code, response.data, "Content-Type" in response.headers) == (204, b"", False)
    assert editor.get(ITEM).status_code == 404
    assert editor.get("/search").json["features"] == []
    assert editor.delete(ITEM).status_code == 404


def test_delete_collection_with_items_needs_force(editor: Client, publish: Publish) -> None:
    """A collection that has items is left alone; forced, it goes with them, and no other does."""
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


def test_replacing_a_collection_keeps_its_items(editor: Client, there: None) -> None:
    """A collection's new document takes nothing from its items."""
    assert editor.put(COLLECTION, json=a_collection(title="New")).status_code == 204
    assert editor.get(ITEMS).json["numberReturned"] == 1


# --- Extents ----------------------------------------------------------------------------------------------------------


def test_extent_widens(editor: Client, publish: Publish) -> None:
    """A collection's extent holds its items as they come, singly, in batches and by change, and never narrows."""
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


def test_extent_widens_for_all_writers_at_once(editor: Client, publish: Publish) -> None:
    """Of writers at the same time, none undoes what another has widened."""
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


def test_schemas_are_checked_where_asked_for(edit: Callable[..., Client], there: None) -> None:
    """Under the setting, documents must be valid against the schemas they name, and name only known ones."""
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


def test_unknown_schemas_are_warned_of(
    edit: Callable[..., Client], there: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Where documents may name unknown schemas, the log names each of them once."""
    client = edit(STACFLASK_VALIDATE_SCHEMAS="true", STACFLASK_UNKNOWN_SCHEMAS="warn")
    caplog.clear()
    for name in ("one", "two"):
        unknown = an_item(name, stac_extensions=[EO, "https://example.org/unknown/schema.json"])
        assert client.post(ITEMS, json=unknown).status_code == 201
    warnings = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert warnings == ["unknown schema in a document: 'https://example.org/unknown/schema.json'"]


def test_a_wrong_folder_of_schemas_ends_the_start(edit: Callable[..., Client], tmp_path: Path) -> None:
    """A server does not start with a folder of schemas that cannot be used."""
    (tmp_path / "wrong.json").write_text("[]")
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(SettingError, match="STACFLASK_SCHEMAS"):
            edit(STACFLASK_SCHEMAS=str(folder))


# --- Who may ----------------------------------------------------------------------------------------------------------


def test_hidden_things_cannot_be_changed(plug: Callable[..., Client], publish: Publish) -> None:
    """What may not be seen is 404 for every change, as if it were not there, and stays as it is."""
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


def test_refused_before_the_body_is_read(plug: Callable[..., Client], there: None) -> None:
    """Who may not change anything learns that, and not what would have been wrong with the body."""
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
