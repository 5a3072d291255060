"""The abstract test suite of OGC API - Features - Part 1 (17-069r4, Annex A.2 and A.4)."""

from typing import Any

import pytest

from stacflask.testing import Plug, Publish, a_collection, an_item

BASE = "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf"
COLLECTION = "/collections/collection"
ITEMS = f"{COLLECTION}/items"
JSON, GEOJSON = "application/json", "application/geo+json"
PLACES = {"west": -60.0, "middle": 0.0, "east": 60.0}


@pytest.fixture
def client(plug: Plug, publish: Publish) -> Any:
    """Return a client of a catalog with three points, a month apart."""
    publish(
        a_collection(),
        *(
            an_item(
                name,
                geometry={"type": "Point", "coordinates": [longitude, 10.0]},
                bbox=[longitude, 10.0, longitude, 10.0],
                properties={"datetime": f"2024-0{month}-15T12:00:00Z"},
            )
            for month, (name, longitude) in enumerate(PLACES.items(), start=1)
        ),
    )
    return plug()


def linked(document: Any, rel: str) -> list[dict[str, Any]]:
    return [link for link in document["links"] if link["rel"] == rel]


def ids(response: Any) -> set[str]:
    assert response.status_code == 200, response.text
    return {item["id"] for item in response.json["features"]}


def parameter(client: Any, name: str, path: str = "/collections/{collection_id}/items") -> dict[str, Any]:
    api = client.get("/api").json
    for one in api["paths"][path]["get"]["parameters"]:
        found: dict[str, Any] = one
        if "$ref" in one:
            found = api["components"]["parameters"][one["$ref"].rpartition("/")[2]]
        if found["name"] == name:
            return found
    raise AssertionError(name)


def test_a_2_1_http(client: Any) -> None:
    """A.2.1 (http): resources conform to HTTP, with the methods that they name."""
    response = client.options(ITEMS)
    assert {"GET", "HEAD", "OPTIONS"} <= {method.strip() for method in response.headers["Allow"].split(",")}
    assert client.head(ITEMS).data == b""


def test_a_2_2_1_landing_page(client: Any) -> None:
    """A.2.2.1 (root-op, root-success): the landing page links to the API definition, the conformance and the data."""
    response = client.get("/")
    assert (response.status_code, response.mimetype) == (200, JSON)
    for rels in (["service-desc", "service-doc"], ["conformance"], ["data"]):
        assert any(linked(response.json, rel) for rel in rels), rels


def test_a_2_2_2_api_definition(client: Any) -> None:
    """A.2.2.2 (api-definition-op, -success): each link to an API definition leads to one of its media type."""
    for link in [*linked(client.get("/").json, "service-desc"), *linked(client.get("/").json, "service-doc")]:
        response = client.get(link["href"], headers={"Accept": link["type"]})
        assert (response.status_code, response.mimetype) == (200, link["type"].partition(";")[0])


def test_a_2_2_3_conformance(client: Any) -> None:
    """A.2.2.3 (conformance-op, -success): the conformance declaration lists the classes of this standard."""
    response = client.get("/conformance")
    assert response.status_code == 200
    assert {f"{BASE}/core", f"{BASE}/geojson", f"{BASE}/oas30"} <= set(response.json["conformsTo"])


def test_a_2_2_4_collections(client: Any) -> None:
    """A.2.2.4 (fc-md-op, -success, -links): the collections have an id, an extent and links to items, all typed."""
    response = client.get("/collections")
    assert response.status_code == 200
    assert [link["type"] for link in linked(response.json, "self")] == [JSON]
    (collection,) = response.json["collections"]
    assert [link["type"] for link in linked(collection, "items")] == [GEOJSON]
    assert collection["itemType"] == "feature"
    for box in collection["extent"]["spatial"]["bbox"]:
        assert len(box) in (4, 6)
    for interval in collection["extent"]["temporal"]["interval"]:
        assert len(interval) == 2


def test_a_2_2_5_collection(client: Any) -> None:
    """A.2.2.5 (sfc-md-op, -success): a collection alone is equal to the collection in the list."""
    response = client.get(COLLECTION)
    assert response.status_code == 200
    assert response.json == client.get("/collections").json["collections"][0]
    assert client.get("/collections/none").status_code == 404


def test_a_2_2_6_features(client: Any) -> None:
    """A.2.2.6 (fc-op, fc-response, fc-links, fc-rel-type): a page of features has typed links and exact numbers."""
    response = client.get(ITEMS)
    assert (response.status_code, response.mimetype, response.json["type"]) == (200, GEOJSON, "FeatureCollection")
    assert all(link.get("type") for link in response.json["links"])
    assert linked(response.json, "self")
    assert response.json["numberReturned"] == len(response.json["features"]) == 3
    assert response.json["numberMatched"] == 3
    assert not linked(response.json, "next")


def test_a_2_2_6_bbox(client: Any) -> None:
    """A.2.2.6 (fc-bbox-definition, -response): features that intersect a box of 4 or 6 numbers, and no others."""
    schema = parameter(client, "bbox")
    assert (schema["in"], schema["style"], schema["explode"], schema["required"]) == ("query", "form", False, False)
    for box, found in {
        "-61,9,-59,11": {"west"},
        "-180,-90,180,90": set(PLACES),
        "50,-10,-50,20": {"west", "east"},
        "-61,9,-5,-59,11,5": {"west"},
        "0,10,0,10": {"middle"},
        "100,-10,110,0": set(),
    }.items():
        assert ids(client.get(ITEMS, query_string={"bbox": box})) == found, box
    for wrong in ("1,2,3", "1,2,3,4,5", "a,b,c,d", "0,20,10,10", "0,0,0,nan", ""):
        assert client.get(ITEMS, query_string={"bbox": wrong}).status_code == 400, wrong


def test_a_2_2_6_limit(client: Any) -> None:
    """A.2.2.6 (fc-limit-definition, -response-1): a page has no more features than the limit, from 1 to the maximum."""
    schema = parameter(client, "limit")
    assert (schema["in"], schema["style"], schema["explode"], schema["required"]) == ("query", "form", False, False)
    assert schema["schema"]["minimum"] == 1
    assert schema["schema"]["minimum"] <= schema["schema"]["default"] <= schema["schema"]["maximum"]
    for limit in (1, 2, 3, schema["schema"]["maximum"], schema["schema"]["maximum"] + 1):
        assert len(ids(client.get(ITEMS, query_string={"limit": limit}))) == min(limit, 3)
    for wrong in ("0", "-1", "a", "1.5", ""):
        assert client.get(ITEMS, query_string={"limit": wrong}).status_code == 400, wrong


def test_a_2_2_6_datetime(client: Any) -> None:
    """A.2.2.6 (fc-time-definition, -response): features whose time intersects an instant or an interval."""
    schema = parameter(client, "datetime")
    assert (schema["in"], schema["style"], schema["explode"], schema["required"]) == ("query", "form", False, False)
    for interval, found in {
        "2024-01-15T12:00:00Z": {"west"},
        "2024-01-15T12:00:01Z": set(),
        "2024-02-01T00:00:00Z/..": {"middle", "east"},
        "../2024-02-20T00:00:00Z": {"west", "middle"},
        "2024-02-01T00:00:00Z/2024-02-20T00:00:00Z": {"middle"},
        "/2024-02-01T00:00:00Z": {"west"},
    }.items():
        assert ids(client.get(ITEMS, query_string={"datetime": interval})) == found, interval
    for wrong in ("2024", "2024-02-20T00:00:00Z/2024-02-01T00:00:00Z", "a/b", "../..", ""):
        assert client.get(ITEMS, query_string={"datetime": wrong}).status_code == 400, wrong


def test_a_2_2_6_parameters_join(client: Any) -> None:
    """A.2.2.6 (fc-response): a feature must match all parameters of a query."""
    query = {"bbox": "-180,-90,10,90", "datetime": "2024-02-01T00:00:00Z/.."}
    assert ids(client.get(ITEMS, query_string=query)) == {"middle"}


def test_a_2_2_6_unknown_parameters(plug: Plug, client: Any) -> None:
    """A.2.2.6 (query-param-unknown, -invalid): a strict deployment rejects unknown parameters."""
    strict = plug(environ={"STACFLASK_STRICT_PARAMETERS": "true"})
    assert strict.get(f"{ITEMS}?nonsense=1").status_code == 400
    assert strict.get(f"{ITEMS}?limit=1").status_code == 200


def test_a_2_2_6_next(client: Any) -> None:
    """A.2.2.6 (fc-links): next links lead to each feature once."""
    found, href = [], f"{ITEMS}?limit=1"
    while href:
        page = client.get(href).json
        found += [item["id"] for item in page["features"]]
        href = next((link["href"] for link in linked(page, "next")), "")
    assert sorted(found) == sorted(PLACES)


def test_a_2_2_7_feature(client: Any) -> None:
    """A.2.2.7 (f-op, f-success, f-links): a feature links to itself and to its collection, with types."""
    response = client.get(f"{ITEMS}/west")
    assert (response.status_code, response.mimetype, response.json["type"]) == (200, GEOJSON, "Feature")
    assert [link["type"] for link in linked(response.json, "self")] == [GEOJSON]
    (collection,) = linked(response.json, "collection")
    assert client.get(collection["href"]).json["id"] == "collection"
    assert client.get(f"{ITEMS}/none").status_code == 404


def test_a_4_geojson(client: Any) -> None:
    """A.4 (geojson-definition, -content): features and pages of features are GeoJSON with its media type."""
    for path in (ITEMS, f"{ITEMS}/east"):
        response = client.get(path, headers={"Accept": GEOJSON})
        assert response.mimetype == GEOJSON
        for feature in response.json.get("features", [response.json]):
            assert feature["geometry"]["type"] == "Point"


def test_a_6_oas30(client: Any) -> None:
    """A.6 (oas30): the API definition is OpenAPI 3.0 and describes each resource of this standard."""
    api = client.get("/api").json
    assert api["openapi"].startswith("3.0.")
    for path in ("/", "/conformance", "/collections", "/collections/{collection_id}"):
        assert "200" in api["paths"][path]["get"]["responses"]
    for path in ("/collections/{collection_id}/items", "/collections/{collection_id}/items/{item_id}"):
        assert GEOJSON in api["paths"][path]["get"]["responses"]["200"]["content"]
