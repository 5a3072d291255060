"""Items: one, and the items of a collection."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from stacflask import hookimpl
from stacflask.testing import Plug, a_collection, an_item

Publish = Callable[..., None]
Client = Any
OWN = {"root", "parent", "self", "collection"}

POLYGON = {"type": "Polygon", "coordinates": [[[10, 47], [12, 47], [12, 49], [10, 49], [10, 47]]]}
OVER_180 = {
    "type": "MultiPolygon",
    "coordinates": [
        [[[170, -10], [180, -10], [180, 10], [170, 10], [170, -10]]],
        [[[-180, -10], [-170, -10], [-170, 10], [-180, 10], [-180, -10]]],
    ],
}
RANGE = {"datetime": None, "start_datetime": "2024-01-01T00:00:00Z", "end_datetime": "2024-01-31T23:59:59.999999Z"}

STRANGE: dict[str, dict[str, Any]] = {
    "stac 1.0": {"stac_version": "1.0.0", "stac_extensions": ["https://example.org/ext/v1.0.0/schema.json"]},
    "null geometry": {"geometry": None, "bbox": None},
    "null datetime": {"properties": RANGE},
    "range around": {"properties": {**RANGE, "datetime": "2024-01-02T00:00:00+02:00"}},
    "microseconds": {"properties": {"datetime": "2024-06-01t12:00:00.123456789z"}},
    "antimeridian": {"geometry": OVER_180, "bbox": [170, -10, -170, 10]},
    "three dimensions": {
        "geometry": {"type": "Point", "coordinates": [11.5, 48.25, 500.125]},
        "bbox": [11.5, 48.25, 500.125, 11.5, 48.25, 500.125],
    },
    "collection of geometries": {"geometry": {"type": "GeometryCollection", "geometries": [POLYGON, OVER_180]}},
    "crosses itself": {
        "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]]},
        "bbox": [0, 0, 2, 2],
    },
    "no assets": {"assets": {}},
    "unicode": {
        "properties": {"datetime": "2024-06-01T12:00:00Z", "title": 'ä"\\/\b\f\n\r\t\u2028\U0001f6f0 "href":"s3://x"'}
    },
    "numbers": {
        "properties": {
            "datetime": "2024-06-01T12:00:00Z",
            "numbers": [0, -0.5, 1e-300, 1.7976931348623157e308, 2**64 - 1, -(2**63), 0.1, 12.0, [[]], {}, None, True],
        }
    },
    "own members": {
        "a:b": {"c": [1]},
        "href": "s3://not/an/asset's",
        "links": [{"rel": "via", "href": "https://e.org"}],
    },
}


def without_server_members(document: dict[str, Any]) -> dict[str, Any]:
    """Return an item without the members that the server adds."""
    return {**document, "links": [link for link in document["links"] if link["rel"] not in OWN]}


def test_items_are_returned_as_stored(editor: Client, publish: Publish) -> None:
    """An item is returned as it was stored, alone, in lists and in searches, except links and managed hrefs."""
    for name, members in STRANGE.items():
        publish(a_collection(name))
        given = {key: value for key, value in an_item("it", name, **members).items() if key != "bbox" or value}
        there = f"/collections/{quote(name)}/items"
        assert editor.post(there, json=given).status_code == 201, name
        alone = editor.get(f"{there}/it").json
        expected = json.loads(json.dumps(given))
        for key, asset in expected["assets"].items():
            asset["href"] = f"http://localhost{there}/it/download/{key}"
        assert without_server_members(alone) == expected, name
        assert editor.get(there).json["features"] == [alone]
        assert editor.get("/search", query_string={"collections": name}).json["features"] == [alone]


def test_an_item_has_the_links_of_the_standard(client: Client, publish: Publish) -> None:
    """An item has absolute links root, parent, collection and self, which lead to these documents."""
    publish(an_item("it", "one"))
    links = {link["rel"]: link for link in client.get("/collections/one/items/it").json["links"]}
    assert links.keys() == OWN
    assert client.get(links["root"]["href"]).json["type"] == "Catalog"
    assert client.get(links["parent"]["href"]).json["id"] == "one"
    assert client.get(links["collection"]["href"]).json["id"] == "one"
    assert client.get(links["self"]["href"]).json["id"] == "it"
    assert links["self"]["type"] == "application/geo+json"


def test_media_types(client: Client, publish: Publish) -> None:
    """Items and pages of items have the media type of GeoJSON."""
    publish(an_item("it", "one"))
    for path in ("/collections/one/items", "/collections/one/items/it", "/search"):
        assert client.get(path).content_type == "application/geo+json"


def test_a_page_has_its_members_and_links(client: Client, publish: Publish) -> None:
    """A page has its type, its number of items, and a self link equal to the request."""
    publish(an_item("it", "one"))
    url = "http://localhost/collections/one/items?limit=5&datetime=2024-01-01T00:00:00Z%2F.."
    page = client.get(url).json
    assert (page["type"], page["numberReturned"]) == ("FeatureCollection", 1)
    assert {link["rel"]: link["href"] for link in page["links"]} == {
        "root": "http://localhost",
        "self": url,
        "collection": "http://localhost/collections/one",
    }


def test_an_empty_collection_has_an_empty_page(client: Client, publish: Publish) -> None:
    """A collection without items has a page without items."""
    publish(a_collection("one"))
    assert client.get("/collections/one/items").json["features"] == []


def test_same_id_in_two_collections_is_two_items(client: Client, publish: Publish) -> None:
    """An item is identified by collection and id."""
    publish(an_item("it", "one", a=1), an_item("it", "two", a=2))
    assert client.get("/collections/one/items/it").json["a"] == 1
    assert client.get("/collections/two/items/it").json["a"] == 2
    assert len(client.get("/search?ids=it").json["features"]) == 2
    assert [item["a"] for item in client.get("/collections/two/items").json["features"]] == [2]


def test_items_ignore_parameters_of_searches(client: Client, publish: Publish) -> None:
    """The items of a collection are restricted to it, for all parameters."""
    publish(an_item("it", "one"), an_item("other", "two"))
    features = client.get("/collections/one/items?collections=two&ids=other").json["features"]
    assert [feature["id"] for feature in features] == ["it"]


HREFS = {
    "s3": "s3://bucket/secret-place/a.tif",
    "gs": "gs://bucket/secret-place/a.tif",
    "file": "file:///secret-place/a.tif",
    "upper": "S3://bucket/secret-place/a.tif",
    "escaped": 's3://bucket/secret-place/ä"\\a.tif',
}


def hiding(**members: Any) -> dict[str, Any]:
    """Return an item with storage hrefs in all possible places."""
    assets = {
        key: {
            "href": href,
            "alternate": {"s3": {"href": f"{href}?alternate"}, "web": {"href": "https://example.org/a.tif"}},
        }
        for key, href in HREFS.items()
    }
    links = [{"rel": "derived_from", "href": HREFS["s3"]}, {"rel": "via", "href": "https://example.org"}]
    return an_item("it", "one", assets=assets, links=links, **members)


def test_storage_hrefs_are_hidden(editor: Client, publish: Publish) -> None:
    """No response has a storage href: not in assets, alternates or links, and not after a change."""
    publish(a_collection("one", assets={"x": {"href": HREFS["s3"]}}, links=[{"rel": "via", "href": HREFS["s3"]}]))
    made = editor.post("/collections/one/items", json=hiding())
    many = {"type": "FeatureCollection", "features": [{**hiding(), "id": "many"}]}
    texts = [made.text, editor.post("/collections/one/items", json=many).text]
    paths = ["/", "/collections", "/collections/one", "/collections/one/items", "/collections/one/items/it", "/search"]
    texts += [editor.get(path).text for path in paths]
    returned = editor.get("/collections/one/items/it").json
    response = editor.put("/collections/one/items/it", json=returned, headers={"Prefer": "return=representation"})
    texts += [response.text, editor.post("/search", json={}).text]
    assert response.status_code == 200
    assert not [text for text in texts if "secret-place" in text]
    assert returned["assets"]["s3"]["alternate"] == {"web": {"href": "https://example.org/a.tif"}}
    assert returned["links"][0]["href"] == "https://example.org"


def test_a_setting_shows_storage_hrefs(edit: Callable[..., Client], publish: Publish) -> None:
    """Storage hrefs are in ``alternate``, named by their scheme; sending the document back changes nothing."""
    editor = edit(STACFLASK_SHOW_STORAGE="true")
    publish(an_item("it", "one"))
    item = editor.get("/collections/one/items/it").json
    assert item["assets"]["data"]["alternate"] == {"s3": {"href": "s3://bucket/one/it/data.tif"}}
    assert any("alternate-assets" in extension for extension in item["stac_extensions"])
    assert editor.get("/search").json["features"] == [item]
    assert editor.put("/collections/one/items/it", json=item).status_code == 204
    assert editor.get("/collections/one/items/it").json == item
    hidden = edit().get("/collections/one/items/it")
    assert "s3://" not in hidden.text
    assert "alternate" not in hidden.json["assets"]["data"]


def test_lists_in_a_restriction(plug: Plug, publish: Publish) -> None:
    """A policy with a list of ids also applies to single records."""

    class Listed:
        @hookimpl
        def restrict(self, of: str) -> Any:
            if of == "items":
                return {"op": "in", "args": [{"property": "id"}, ["seen", "other"]]}
            return {"op": "in", "args": [{"property": "id"}, ["collection"]]}

    publish(an_item("seen"), an_item("hidden"))
    client = plug(Listed())
    statuses = [
        client.get(f"/collections/collection{path}").status_code for path in ("", "/items/seen", "/items/hidden")
    ]
    assert statuses == [200, 200, 404]
