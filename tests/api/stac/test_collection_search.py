"""Collection search: GET /collections with the parameters of an item search."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from stacflask.testing import a_collection, an_item

Publish = Callable[..., None]
Client = Any


def extent(boxes: list[list[float]], intervals: list[list[str | None]]) -> dict[str, Any]:
    return {"spatial": {"bbox": boxes}, "temporal": {"interval": intervals}}


OPEN: list[list[str | None]] = [[None, None]]
THIS_YEAR: list[list[str | None]] = [["2024-01-01T00:00:00Z", None]]
COLLECTIONS: dict[str, dict[str, Any]] = {
    "alps": {
        "extent": extent([[5, 44, 12, 48]], [["2015-01-01T00:00:00Z", "2019-12-31T00:00:00Z"]]),
        "title": "Snow of the Alps",
        "keywords": ["snow", "Sentinel-2"],
        "eo:rank": 2,
    },
    "fiji": {"extent": extent([[177, -20, -178, -16]], THIS_YEAR), "title": "Reefs", "eo:rank": 1},
    "world": {"extent": extent([[-180, -90, 180, 90]], OPEN), "description": "Everything, 100%  of it", "eo:rank": 10},
    "parts": {
        "extent": extent(
            [[0, 0, 30, 30], [0, 0, 1, 1], [29, 29, 30, 30]],
            [["2000-01-01T00:00:00Z", "2010-01-01T00:00:00Z"], ["2000-01-01T00:00:00Z", "2001-01-01T00:00:00Z"]],
        ),
        "license": "CC-BY-4.0",
    },
    "air": {"extent": extent([[20, 60, 5000, 21, 61, 9000]], [[None, "1999-12-31T23:59:59Z"]]), "eo:rank": "high"},
    "buoy": {"extent": extent([[-30, 10, -30, 10]], [["2024-06-01T00:00:00Z", "2024-06-01T00:00:00Z"]])},
}


@pytest.fixture(autouse=True)
def _collections(publish: Publish) -> None:
    publish(*[a_collection(name, **members) for name, members in COLLECTIONS.items()])


def find(client: Client, **parameters: Any) -> list[str]:
    response = client.get(
        "/collections", query_string={name.replace("_", "-"): word for name, word in parameters.items()}
    )
    assert response.status_code == 200, response.text
    assert response.json["numberReturned"] == len(response.json["collections"])
    return [collection["id"] for collection in response.json["collections"]]


BOXES = [
    ("5,44,12,48", {"alps", "world"}),
    ("12,48,13,49", {"alps", "world"}),
    ("178.5,-19,179,-17", {"fiji", "world"}),
    ("-179,-19,-178.5,-17", {"fiji", "world"}),
    ("170,-30,-170,0", {"fiji", "world"}),
    ("-177,-19,176,-17", {"world"}),
    ("10,10,11,11", {"parts", "world"}),
    ("-30,10,-30,10", {"buoy", "world"}),
    ("-31,10,-29,10", {"buoy", "world"}),
    ("20.5,60.5,20.5,60.5", {"air", "world"}),
    ("20,60,0,21,61,100", {"world"}),
    ("20,60,0,21,61,5000", {"air", "world"}),
    ("20,60,8999,21,61,10000", {"air"}),
    ("-180,-90,180,90", {*COLLECTIONS}),
]


def test_bbox_meets_any_box(client: Client) -> None:
    """A box of 4 or 6 numbers matches any box of an extent, also across the antimeridian."""
    for bbox, expected in BOXES:
        assert set(find(client, bbox=bbox)) == expected, bbox


TIMES = [
    ("2018-01-01T00:00:00Z", {"alps", "world"}),
    ("2019-12-31T00:00:00Z", {"alps", "world"}),
    ("2019-12-31T00:00:01Z", {"world"}),
    ("2024-06-01T00:00:00Z", {"fiji", "world", "buoy"}),
    ("2030-01-01T00:00:00Z/..", {"fiji", "world"}),
    ("../1980-01-01T00:00:00Z", {"air", "world"}),
    ("2005-01-01T00:00:00Z/2016-01-01T00:00:00Z", {"alps", "parts", "world"}),
]


def test_datetime_meets_any_interval(client: Client) -> None:
    """An instant or interval matches any interval of an extent, including open ends."""
    for datetime, expected in TIMES:
        assert set(find(client, datetime=datetime)) == expected, datetime


def test_free_text(client: Client) -> None:
    """Free text matches id, title, description and keywords, regardless of case and white space."""
    assert find(client, q="SNOW") == ["alps"]
    assert find(client, q="reefs,sentinel-2") == ["alps", "fiji"]
    assert find(client, q="nosuch,everything, 100% of it") == ["world"]
    assert find(client, q="snow -alps") == []
    assert find(client, q="collection -world -air") == ["alps", "buoy", "fiji", "parts"]
    assert find(client, q="CC-BY") == []
    assert len(find(client, q="")) == len(COLLECTIONS)


def test_filter_and_query(client: Client) -> None:
    """Filters in both encodings, with functions and the geometry, and the query extension."""
    assert find(client, filter='"eo:rank" > 1') == ["alps", "world"]
    document = {"op": "=", "args": [{"property": "license"}, "CC-BY-4.0"]}
    assert find(client, filter=json.dumps(document), filter_lang="cql2-json") == ["parts"]
    assert find(client, filter="a_contains(keywords, ('snow')) OR CASEI(title) LIKE CASEI('reef%')") == ["alps", "fiji"]
    assert set(find(client, filter="S_INTERSECTS(geometry, POINT(6 45))")) == {"alps", "world"}
    assert find(client, filter="extent.temporal IS NULL") == []
    assert find(client, query=json.dumps({"eo:rank": {"lte": 2}, "title": {"contains": "alps"}})) == ["alps"]


def test_sortby(client: Client) -> None:
    """Collections are sorted by any member: numbers, strings, then missing values; equal ones by id."""
    assert find(client, sortby="eo:rank") == ["fiji", "alps", "world", "air", "buoy", "parts"]
    assert find(client, sortby="-id")[:2] == ["world", "parts"]
    assert find(client, sortby="-title,id")[:2] == ["alps", "fiji"]


def test_all_together(client: Client) -> None:
    """All parameters are combined by AND."""
    assert find(client, bbox="0,0,30,50", datetime="2000-01-01T00:00:00Z/..", q="snow,parts", sortby="-id") == [
        *("parts", "alps")
    ]
    assert find(client, q="alps", filter="FALSE") == []


def test_links_keep_every_parameter(client: Client) -> None:
    """Next and prev links keep every parameter, in any order."""
    parameters = {"sortby": "-eo:rank,id", "q": "collection,reefs", "limit": "2", "fields": "id", "x": "1"}
    page, found = client.get("/collections", query_string=parameters).json, []
    last = page
    while page:
        found += [collection["id"] for collection in page["collections"]]
        assert all(collection.keys() == {"type", "id", "links"} for collection in page["collections"])
        last = page
        links = [link["href"] for link in page["links"] if link["rel"] == "next"]
        page = client.get(links[0]).json if links else None
    assert found == ["alps", "fiji", "air", "buoy", "parts"]
    (back,) = [link["href"] for link in last["links"] if link["rel"] == "prev"]
    assert [collection["id"] for collection in client.get(back).json["collections"]] == found[2:4]


def test_fields(client: Client) -> None:
    """``fields`` selects the members of collections; if empty, a valid collection is left."""
    (returned,) = client.get("/collections?q=alps&fields=title,extent.spatial,-description").json["collections"]
    assert returned.keys() == {"type", "id", "links", "title", "extent"}
    assert returned["extent"].keys() == {"spatial"}
    (returned,) = client.get("/collections?q=alps&fields=-title").json["collections"]
    assert returned.keys() == {"type", "stac_version", "id", "description", "license", "extent", "links"}


WRONG = [
    *("bbox=1,2,3", "bbox=0,10,1,0", "bbox=[0,0,1,1]", "bbox=0,0,x,1", "datetime=2024", "datetime=/", "limit=0"),
    *("limit=x", "sortby=", "sortby=geometry", "filter=x <", "filter=nosuch(1)=1", "filter-lang=cql", "filter-crs=x"),
    *("query=x", "query=[]", 'query={"a":{"x":1}}', "q=(", 'q="a', "q=AND", "token=x", "bbox=0,0,1,1&bbox=0,0,1,1"),
]


def test_invalid_parameters_are_400(client: Client) -> None:
    """Errors are the same as for items, and name the parameter."""
    for parameters in WRONG:
        response = client.get(f"/collections?{parameters}")
        assert (response.status_code, response.json["code"]) == (400, "InvalidParameterValue"), parameters
        assert response.json["description"].startswith(parameters.partition("=")[0] + ": "), response.json


def test_hidden_collections_are_not_found(plug: Callable[..., Client]) -> None:
    """No parameter finds a collection that a policy hides, and no link reveals it."""
    from stacflask import hookimpl

    class Hides:
        @hookimpl
        def restrict(self, of: str) -> Any:
            return {"op": "<>", "args": [{"property": "id"}, "world"]} if of == "collections" else None

    client = plug(Hides())
    for parameters in (
        {},
        {"bbox": "-180,-90,180,90"},
        {"q": "everything,alps"},
        {"filter": "TRUE"},
        {"sortby": "-eo:rank"},
    ):
        assert "world" not in find(client, **parameters)
        assert "world" not in client.get("/collections", query_string={**parameters, "limit": 1}).text


def test_extents_that_widen_are_found(client: Client, publish: Publish) -> None:
    """An item outside of its collection's extent widens it, and the collection is found there."""
    assert "buoy" not in find(client, bbox="100,70,101,71")
    place = {"geometry": {"type": "Point", "coordinates": [100.5, 70.5]}, "bbox": [100.5, 70.5, 100.5, 70.5]}
    publish(an_item("far", "buoy", **place, properties={"datetime": "2001-06-01T00:00:00Z"}))
    assert "buoy" in find(client, bbox="100,70,101,71")
    assert "buoy" in find(client, datetime="2001-01-01T00:00:00Z/2002-01-01T00:00:00Z")


def test_changes_are_found(editor: Client) -> None:
    """A replaced collection is found by its new values and no longer by its old ones."""
    changed = a_collection("alps", title="Glaciers", extent=extent([[80, 20, 81, 21]], THIS_YEAR))
    assert editor.put("/collections/alps", json=changed).status_code == 204
    assert find(editor, q="glaciers", bbox="80,20,80,20", datetime="2024-02-01T00:00:00Z") == ["alps"]
    assert find(editor, q="snow") == []
    assert "alps" not in find(editor, bbox="6,45,6,45")


def test_conformance_classes_are_declared(client: Client) -> None:
    """The conformance classes of collection search are declared."""
    classes = set(client.get("/conformance").json["conformsTo"])
    base = "https://api.stacspec.org/v1.0.0-rc.1/collection-search"
    parts = ("", "#free-text", "#advanced-free-text", "#filter", "#query", "#sort", "#fields")
    assert {f"{base}{part}" for part in parts} <= classes
    assert "http://www.opengis.net/spec/ogcapi-common-2/1.0/conf/simple-query" in classes
