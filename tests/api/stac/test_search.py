"""Item search: each parameter by GET and by POST."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from stacflask.testing import a_collection, an_item

Publish = Callable[..., None]
Client = Any
Response = Any
Search = Callable[..., Response]


def get(client: Client, **parameters: Any) -> Response:
    """Search by GET, with comma-separated lists and geometries as JSON."""
    texts = {
        name: ",".join(map(str, value))
        if isinstance(value, list | tuple)
        else value
        if isinstance(value, str | int)
        else json.dumps(value)
        for name, value in parameters.items()
    }
    return client.get(f"/search?{urlencode(texts)}")


def post(client: Client, **parameters: Any) -> Response:
    """Search by POST."""
    return client.post("/search", json=parameters)


BOTH = pytest.mark.parametrize("search", [get, post])


def found(response: Response) -> set[str]:
    assert response.status_code == 200, response.text
    return {feature["id"] for feature in response.json["features"]}


def point(item: str, longitude: float, latitude: float, **members: Any) -> dict[str, Any]:
    place = [longitude, latitude]
    return an_item(item, geometry={"type": "Point", "coordinates": place}, bbox=place * 2, **members)


def box(west: float, south: float, east: float, north: float) -> list[list[list[float]]]:
    return [[[west, south], [east, south], [east, north], [west, north], [west, south]]]


@pytest.fixture
def places(publish: Publish) -> None:
    """Publish items at many places: points, a box over the antimeridian, one with heights, one without geometry."""
    both_sides = {"type": "MultiPolygon", "coordinates": [box(178, -5, 180, 5), box(-180, -5, -178, 5)]}
    publish(
        point("origin", 0, 0),
        point("munich", 11.5, 48),
        point("fiji", 179, -18),
        point("samoa", -172, -14),
        point("pole", 0, 90),
        an_item("dateline", geometry=both_sides, bbox=[178, -5, -178, 5]),
        an_item("air", geometry={"type": "Point", "coordinates": [20, 20, 900]}, bbox=[20, 20, 900, 20, 20, 1100]),
        {key: value for key, value in an_item("nowhere", geometry=None).items() if key != "bbox"},
    )


BOXES = [
    ([-180, -90, 180, 90], {"origin", "munich", "fiji", "samoa", "pole", "dateline", "air"}),
    ([11, 47, 12, 49], {"munich"}),
    ([170, -20, -170, 10], {"fiji", "samoa", "dateline"}),
    ([179.5, -1, 180, 1], {"dateline"}),
    ([-179, -1, -178.5, 1], {"dateline"}),
    ([100, -1, 177, 1], set()),
    ([0, 0, 0, 0], {"origin"}),
    ([11.5, 48, 11.5, 48], {"munich"}),
    ([0, -10, 0, 10], {"origin"}),
    ([-5, 0, 5, 0], {"origin"}),
    ([180, -1, 180, 1], {"dateline"}),
    ([0, 90, 0, 90], {"pole"}),
    ([19, 19, 21, 21], {"air"}),
    ([19, 19, 1000, 21, 21, 2000], {"air"}),
    ([19, 19, -10, 21, 21, 899.5], set()),
    ([11, 47, -5, 12, 49, 5], {"munich"}),
    ([11, 47, 5, 12, 49, 10], set()),
    ([170, -20, 0, -170, 10, 0], {"fiji", "samoa", "dateline"}),
    ([0.0, 0.0, 0.0, 0.0, 0.0, 0.0], {"origin"}),
    ([1.1e1, 47, 12, 49], {"munich"}),
]


@BOTH
def test_bbox(client: Client, places: None, search: Search) -> None:
    """Boxes of 4 and 6 numbers, also across the antimeridian or without width or height; not items without geometry."""
    for bbox, expected in BOXES:
        assert found(search(client, bbox=bbox)) == expected, bbox


HIGH: dict[str, dict[str, Any]] = {
    "point": {"geometry": {"type": "Point", "coordinates": [1, 1, 100.5]}, "bbox": [1, 1, 1, 1]},
    "no box": {"geometry": {"type": "Point", "coordinates": [1, 1, -20]}, "bbox": None},
    "line": {"geometry": {"type": "LineString", "coordinates": [[1, 1, 50], [2, 2, 60]]}, "bbox": [1, 1, 2, 2]},
    "some": {"geometry": {"type": "LineString", "coordinates": [[1, 1], [2, 2, 60]]}, "bbox": [1, 1, 2, 2]},
    "mixture": {
        "geometry": {
            "type": "GeometryCollection",
            "geometries": [
                {"type": "Point", "coordinates": [1, 1, 500]},
                {"type": "MultiPolygon", "coordinates": [[[[1, 1, 400], [2, 1, 400], [2, 2, 400], [1, 1, 400]]]]},
            ],
        },
        "bbox": [1, 1, 2, 2],
    },
    "tall box": {"geometry": {"type": "Point", "coordinates": [1, 1]}, "bbox": [1, 1, 1000, 1, 1, 2000]},
    "taller box": {"geometry": {"type": "Point", "coordinates": [1, 1, 1500]}, "bbox": [1, 1, 1000, 1, 1, 2000]},
    "flat": {"geometry": {"type": "Point", "coordinates": [1, 1]}, "bbox": [1, 1, 1, 1]},
    "zero": {"geometry": {"type": "Point", "coordinates": [1, 1, 0]}, "bbox": [1, 1, 1, 1]},
    "nowhere": {"geometry": None, "bbox": None},
}


@BOTH
@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (100, 101, {"point"}),
        (-1, 1, {"some", "flat", "zero"}),
        (-30, -10, {"no box"}),
        (55, 55, {"line", "some"}),
        (450, 450, {"mixture"}),
        (1100, 1100, {"tall box", "taller box"}),
        (-1e9, 1e9, HIGH.keys() - {"nowhere"}),
    ],
)
def test_heights(client: Client, publish: Publish, search: Search, low: float, high: float, expected: set[str]) -> None:
    """A box of six numbers finds items by the heights of their geometries and of their bboxes."""
    documents = [an_item(name, **given) for name, given in HIGH.items()]
    publish(*({key: value for key, value in one.items() if key != "bbox" or value} for one in documents))
    bbox = [0, 0, low, 10, 10, high]
    assert found(search(client, bbox=bbox)) == expected
    assert found(search(client, bbox=[0, 0, 10, 10])) == HIGH.keys() - {"nowhere"}
    count = client.post("/aggregate", json={"aggregations": ["total_count"], "bbox": bbox}).json["aggregations"]
    assert count[0]["value"] == len(expected)


NO_BOXES = [
    [],
    [0],
    [0, 0, 1],
    [0, 0, 0, 1, 1],
    [0] * 7,
    [0, 1, 1, 0],
    [0, 0, 2, 1, 1, 1],
    [0, -91, 1, 1],
    [181, 0, 182, 1],
]


@BOTH
def test_an_invalid_bbox_is_400(client: Client, search: Search) -> None:
    """A box of another length, with swapped latitudes or outside of the Earth is 400 and names the parameter."""
    for bbox in NO_BOXES:
        response = search(client, bbox=bbox)
        assert (response.status_code, response.json["code"]) == (400, "InvalidParameterValue"), bbox
        assert response.json["description"].startswith("bbox: ")


NO_BOX_TEXTS = [
    "[0,0,1,1]",
    "0 0 1 1",
    "a,b,c,d",
    "0,0,nan,1",
    "0,0,inf,1",
    "0,0,1e400,1",
    "1_0,0,20,1",
    "\N{ARABIC-INDIC DIGIT ZERO},0,1,1",
    "0,0,,1",
    "0x1,0,2,2",
]


def test_an_invalid_bbox_by_get_is_400(client: Client, publish: Publish) -> None:
    """By GET, a bbox is comma-separated JSON numbers."""
    for text in NO_BOX_TEXTS:
        assert client.get(f"/search?{urlencode({'bbox': text})}").status_code == 400, text


NO_BOX_VALUES = ["0,0,1,1", {"west": 0}, 1, [0, 0, "1", 1], [0, 0, None, 1], [0, 0, True, 1], [0, 0, 10**400, 1]]


def test_an_invalid_bbox_by_post_is_400(client: Client, publish: Publish) -> None:
    """By POST, a bbox is an array of numbers."""
    for value in NO_BOX_VALUES:
        assert post(client, bbox=value).status_code == 400, value


SHAPES = [
    ("Point", [11.5, 48], {"munich"}),
    ("Point", [11.5, 48, 1000], {"munich"}),
    ("MultiPoint", [[11.5, 48], [0, 0]], {"munich", "origin"}),
    ("LineString", [[-1, 0], [1, 0]], {"origin"}),
    ("MultiLineString", [[[-1, 0], [1, 0]], [[11, 48], [12, 48]]], {"origin", "munich"}),
    ("Polygon", box(10, 40, 30, 50), {"munich"}),
    ("Polygon", [*box(10, 40, 30, 50), *box(11, 47, 12, 49)], set()),
    ("MultiPolygon", [box(10, 40, 30, 50), box(-1, -1, 1, 1)], {"munich", "origin"}),
    ("Polygon", box(170, -20, 190, 10), {"fiji", "samoa", "dateline"}),
]


@BOTH
def test_intersects(client: Client, places: None, search: Search) -> None:
    """All geometry types of GeoJSON find items that they intersect, also beyond 180 degrees."""
    for kind, coordinates, expected in SHAPES:
        geometry = {"type": kind, "coordinates": coordinates}
        assert found(search(client, intersects=geometry)) == expected, geometry
        collection = {"type": "GeometryCollection", "geometries": [geometry, {"type": "Point", "coordinates": [0, 90]}]}
        assert found(search(client, intersects=collection)) == expected | {"pole"}, collection


NO_SHAPES = [
    {},
    {"type": "Circle", "coordinates": [0, 0]},
    {"type": "Point"},
    {"type": "Point", "coordinates": []},
    {"type": "Point", "coordinates": ["0", "0"]},
    {"type": "Point", "coordinates": [0, 91]},
    {"type": "LineString", "coordinates": [[0, 0]]},
    {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]]},
    {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [0, 0]]]},
    {"type": "GeometryCollection", "geometries": []},
    {"type": "GeometryCollection"},
    {"type": "Feature", "geometry": {"type": "Point", "coordinates": [0, 0]}},
    {"type": ["Point"], "coordinates": [0, 0]},
]


@BOTH
def test_an_invalid_geometry_is_400(client: Client, publish: Publish, search: Search) -> None:
    """An invalid geometry is 400 and names the parameter."""
    for geometry in NO_SHAPES:
        response = search(client, intersects=geometry)
        assert (response.status_code, response.json["description"][:12]) == (400, "intersects: "), geometry


@BOTH
def test_a_self_intersecting_ring_is_repaired(client: Client, places: None, search: Search) -> None:
    """A ring that crosses itself is searched by the area that it encloses, a flat ring by its outline."""
    bow = {"type": "Polygon", "coordinates": [[[-1, -1], [1, 1], [1, -1], [-1, 1], [-1, -1]]]}
    flat = {"type": "Polygon", "coordinates": [[[-1, 0], [1, 0], [0, 0], [-1, 0]]]}
    assert found(search(client, intersects=bow)) == found(search(client, intersects=flat)) == {"origin"}


@BOTH
def test_bbox_with_intersects_is_400(client: Client, publish: Publish, search: Search) -> None:
    """A search with bbox and intersects is 400."""
    response = search(client, bbox=[0, 0, 1, 1], intersects={"type": "Point", "coordinates": [0, 0]})
    assert response.status_code == 400


@pytest.fixture
def times(publish: Publish) -> None:
    """Publish items at several times: instants, one with microseconds, ranges with and without an instant."""
    publish(
        an_item("new year", properties={"datetime": "2024-01-01T00:00:00Z"}),
        an_item("exact", properties={"datetime": "2024-02-01T12:00:00.123456Z"}),
        an_item(
            "spring",
            properties={
                "datetime": None,
                "start_datetime": "2024-03-01T00:00:00Z",
                "end_datetime": "2024-06-01T00:00:00+02:00",
            },
        ),
        an_item(
            "both",
            properties={
                "datetime": "2023-06-15T00:00:00Z",
                "start_datetime": "2023-06-01T00:00:00Z",
                "end_datetime": "2023-07-01T00:00:00Z",
            },
        ),
    )


MOMENTS = [
    ("2024-01-01T00:00:00Z", {"new year"}),
    ("2024-01-01t00:00:00z", {"new year"}),
    ("2024-01-01T01:00:00+01:00", {"new year"}),
    ("2023-12-31T19:00:00-05:00", {"new year"}),
    ("2024-01-01T00:00:00.000Z", {"new year"}),
    ("2024-01-01T00:00:00.000000001Z", {"new year"}),
    ("2024-02-01T12:00:00.123456Z", {"exact"}),
    ("2024-02-01T12:00:00.123456789Z", {"exact"}),
    ("2024-02-01T12:00:00.123455Z", set()),
    ("2024-02-01T12:00:00Z", set()),
    ("2024-04-01T00:00:00Z", {"spring"}),
    ("2024-05-31T22:00:00Z", {"spring"}),
    ("2024-05-31T22:00:00.000001Z", set()),
    ("2023-06-30T00:00:00Z", {"both"}),
    ("2024-01-01T00:00:00Z/2024-03-01T00:00:00Z", {"new year", "exact", "spring"}),
    ("2024-01-01T00:00:00Z/2024-01-01T00:00:00Z", {"new year"}),
    ("2024-01-15T00:00:00Z/..", {"exact", "spring"}),
    ("2024-01-15T00:00:00Z/", {"exact", "spring"}),
    ("../2024-01-15T00:00:00Z", {"new year", "both"}),
    ("/2024-01-15T00:00:00Z", {"new year", "both"}),
    ("2016-12-31T23:59:60Z", set()),
    ("0001-01-01T00:00:00Z/9999-12-31T23:59:59Z", {"new year", "exact", "spring", "both"}),
]


@BOTH
def test_datetime(client: Client, times: None, search: Search) -> None:
    """Every form of an instant and an interval finds items whose instant or range intersects it."""
    for datetime, expected in MOMENTS:
        assert found(search(client, datetime=datetime)) == expected, datetime


NO_MOMENTS = [
    "",
    "2024",
    "2024-01-01",
    "2024-01-01T00:00:00",
    "2024-01-01 00:00:00Z",
    "2024-01-01T00:00:00+0100",
    "2024-01-01T00:00:00,5Z",
    "2024-01-01T00:00:00.Z",
    "2024-13-01T00:00:00Z",
    "2024-02-30T00:00:00Z",
    "2024-01-01T25:00:00Z",
    "2024-01-01T24:00:00Z",
    "2024-01-01T00:00:61Z",
    "2024-01-01T00:00:00Z/2023-01-01T00:00:00Z",
    "/",
    "../..",
    "/..",
    "../",
    "2024-01-01T00:00:00Z/2024-01-02T00:00:00Z/2024-01-03T00:00:00Z",
    "2024-01-01T00:00:00Z/x",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "٢٠٢٤-01-01T00:00:00Z",
    "null",
]


@BOTH
def test_an_invalid_datetime_is_400(client: Client, publish: Publish, search: Search) -> None:
    """A datetime that is neither RFC 3339 nor an interval with at most one open end is 400."""
    for datetime in NO_MOMENTS:
        response = search(client, datetime=datetime)
        assert (response.status_code, response.json["description"][:10]) == (400, "datetime: "), datetime


@BOTH
def test_ids_and_collections(client: Client, publish: Publish, search: Search) -> None:
    """Ids and collections are combined with each other and with other parameters by AND."""
    publish(an_item("a", "one"), an_item("b", "one"), an_item("a", "two"), an_item("c", "two"), an_item("a", "three"))
    assert found(search(client, ids=["a", "b", "zzz"])) == {"a", "b"}
    assert found(search(client, collections=["two"])) == {"a", "c"}
    assert len(search(client, ids=["a"], collections=["one", "two"]).json["features"]) == 2
    assert found(search(client, ids=["b"], collections=["two"])) == set()
    assert found(search(client, ids=["a"], bbox=[0, 0, 1, 1])) == set()
    assert found(search(client, ids=["a"], bbox=[0, 0, 90, 90], datetime="../2000-01-01T00:00:00Z")) == set()


@BOTH
def test_unknown_names_find_nothing(client: Client, publish: Publish, search: Search) -> None:
    """An unknown collection or id has an empty page."""
    publish(an_item("a", "one"))
    assert found(search(client, collections=["nosuch"])) == set()
    assert found(search(client, ids=["ä%/\\ 'x"])) == set()


def test_ids_with_commas_by_post(client: Client, publish: Publish) -> None:
    """An id with a comma can be searched by POST, not by GET."""
    publish(an_item("a,b"), an_item("a"))
    assert found(post(client, ids=["a,b"])) == {"a,b"}


LIMITS = [(1, 1), (3, 3), (5, 4), (1000, 4), (10000, 4), (10**6, 4), (10**30, 4)]


@BOTH
def test_limit_is_clamped(plug: Callable[..., Client], publish: Publish, search: Search) -> None:
    """A page has at most ``limit`` items; a limit above the maximum is clamped."""
    publish(*[an_item(f"i{number}") for number in range(6)])
    client = plug(environ={"STACFLASK_MAX_LIMIT": "4", "STACFLASK_DEFAULT_LIMIT": "2"})
    for limit, count in LIMITS:
        response = search(client, limit=limit)
        assert (len(response.json["features"]), response.json["numberReturned"]) == (count, count), limit


NO_LIMIT_TEXTS = ["0", "-1", "a", "", "1.5", "1.0", "1_0", "٣", "0x3", " 3", "1e2", "9" * 5000]


def test_an_invalid_limit_by_get_is_400(client: Client, publish: Publish) -> None:
    """By GET, a limit is digits, and at least 1."""
    for limit in NO_LIMIT_TEXTS:
        response = client.get(f"/search?{urlencode({'limit': limit})}")
        assert (response.status_code, response.json["description"][:7]) == (400, "limit: "), limit


NO_LIMITS = [0, -1, 1.5, True, "3", [3], {}]


def test_an_invalid_limit_by_post_is_400(client: Client, publish: Publish) -> None:
    """By POST, a limit is an integer of at least 1."""
    for limit in NO_LIMITS:
        assert post(client, limit=limit).status_code == 400, limit


def test_defaults_are_the_same(client: Client, publish: Publish) -> None:
    """GET and POST without parameters find the same items in the same order."""
    publish(*[an_item(f"i{number}") for number in range(12)])
    by_get, by_post = client.get("/search").json, client.post("/search", json={}).json
    assert by_get["features"] == by_post["features"]
    assert len(by_get["features"]) == 10


def test_null_members_are_ignored(client: Client, publish: Publish) -> None:
    """By POST, a member that is null is ignored."""
    publish(an_item("a"))
    nulls = dict.fromkeys(["bbox", "intersects", "datetime", "ids", "collections", "limit", "token"])
    assert found(post(client, **nulls)) == {"a"}


NO_BODIES = [
    b"",
    b"{",
    b"[]",
    b"1",
    b'"x"',
    b"null",
    b"nan",
    b'{"limit": NaN}',
    b"\xff",
    b'{"ids": ["\\ud800"]}',
    b"\xef\xbb\xbf{}",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"ids": ["a\\u0000"]}',
    b'{"ids": "a"}',
    b'{"ids": [1]}',
    b'{"collections": {}}',
    b'{"datetime": 2024}',
    b'{"intersects": "x"}',
    b'{"intersects": []}',
    b'{"token": 1}',
    b"{} {}",
]


def test_an_invalid_body_is_400(client: Client, publish: Publish) -> None:
    """A body that is not a JSON object with valid members is 400 with the place."""
    for body in NO_BODIES:
        response = client.post("/search", data=body, content_type="application/json")
        assert (response.status_code, response.json.keys()) == (400, {"code", "description"}), body[:80]


OTHER_TYPES = [None, "text/plain", "application/x-www-form-urlencoded", "application/geo+json"]


def test_other_media_types_are_415(client: Client, publish: Publish) -> None:
    """A body without the media type of JSON is 415."""
    for media_type in OTHER_TYPES:
        response = client.post("/search", data=b"{}", content_type=media_type)
        assert (response.status_code, response.json["code"]) == (415, "UnsupportedMediaType"), media_type


def test_compressed_body_is_415(client: Client, publish: Publish) -> None:
    """A compressed body is 415 with the reason."""
    response = client.post(
        "/search", data=b"\x1f\x8b", content_type="application/json", headers={"Content-Encoding": "gzip"}
    )
    assert response.status_code == 415


@pytest.mark.parametrize("chunked", [False, True])
def test_a_too_large_body_is_413(plug: Callable[..., Client], publish: Publish, chunked: bool) -> None:
    """A body above the limit is 413, also if its size is not sent beforehand."""
    import io

    client = plug(environ={"STACFLASK_MAX_BODY": "1000"})
    body = json.dumps({"ids": ["x" * 2000]}).encode()
    given: dict[str, Any] = (
        {"input_stream": io.BytesIO(body), "environ_overrides": {"wsgi.input_terminated": True}}
        if chunked
        else {"data": body}
    )
    response = client.post("/search", content_type="application/json", **given)
    assert (response.status_code, response.json["code"]) == (413, "ContentTooLarge")


def test_a_repeated_parameter_is_400(client: Client, publish: Publish) -> None:
    """A parameter that occurs twice is 400, and not partly ignored."""
    publish(an_item("a", "one"), an_item("b", "two"))
    response = client.get("/search?collections=one&collections=two")
    assert (response.status_code, response.json["description"]) == (400, "collections: expected one value, got 2")


def test_unknown_parameters(plug: Callable[..., Client], publish: Publish) -> None:
    """An unknown parameter is ignored, or by a setting 400 on every path."""
    publish(an_item("item"))
    lenient, strict = plug(), plug(environ={"STACFLASK_STRICT_PARAMETERS": "true"})
    paths = ["/", "/conformance", "/search", "/collections", "/collections/collection", "/collections/collection/items"]
    for path in [*paths, "/collections/collection/items/item"]:
        assert lenient.get(f"{path}?nosuch=1").status_code == 200
        response = strict.get(f"{path}?nosuch=1")
        assert (response.status_code, response.json["description"][:8]) == (400, "nosuch: ")
        assert strict.get(path).status_code == 200
        assert strict.head(path).status_code == 200
    assert strict.get("/search?limit=1&bbox=0,0,90,90&collections=collection").status_code == 200
    assert lenient.post("/search", json={"nosuch": 1}).status_code == 200
    response = strict.post("/search", json={"nosuch": 1})
    assert (response.status_code, response.json["description"]) == (
        400,
        "nosuch: unknown parameter. The OpenAPI document at /api lists the parameters",
    )
    assert strict.post("/search?limit=1", json={}).status_code == 400


def test_nul_in_a_url_is_400(client: Client, publish: Publish) -> None:
    """A NUL anywhere in a URL is 400, and does not reach the database."""
    for path in ("/search?ids=%00", "/collections/%00", "/collections/a/items/%00", "/search?token=%00"):
        assert client.get(path).status_code == 400


def test_order_is_newest_first(client: Client, publish: Publish) -> None:
    """Newest items come first; an item with a range is sorted by its start."""
    publish(
        an_item("old", properties={"datetime": "2020-01-01T00:00:00Z"}),
        an_item("new", properties={"datetime": "2024-01-01T00:00:00Z"}),
        an_item(
            "range",
            properties={
                "datetime": None,
                "start_datetime": "2022-01-01T00:00:00Z",
                "end_datetime": "2025-01-01T00:00:00Z",
            },
        ),
    )
    assert [feature["id"] for feature in client.get("/search").json["features"]] == ["new", "range", "old"]


def test_the_self_link_is_the_request_url(client: Client, publish: Publish) -> None:
    """The self link is the URL of the request, character for character."""
    for url in (
        "http://localhost/search",
        "http://localhost/search?bbox=0,0,1,1&limit=1",
        "http://localhost/search?ids=a%2Cb&datetime=2024-01-01T00%3A00%3A00Z/..",
    ):
        (link,) = [link for link in client.get(url).json["links"] if link["rel"] == "self"]
        assert link["href"] == url


def test_hidden_items_are_not_found(plug: Callable[..., Client], publish: Publish) -> None:
    """For all parameters, a search finds only visible items."""
    from stacflask import hookimpl

    publish(a_collection("open"), a_collection("hidden"), an_item("a", "open"), an_item("b", "hidden"))

    class Hides:
        @hookimpl
        def restrict(self, of: str) -> Any:
            return {"op": "=", "args": [{"property": "id"}, "open"]} if of == "collections" else None

    client = plug(Hides())
    for parameters in ({}, {"ids": ["b"]}, {"collections": ["hidden"]}, {"bbox": [-180, -90, 180, 90]}):
        assert "b" not in found(post(client, **parameters))


def test_geometries_and_lists_are_bounded(client: Client) -> None:
    """A geometry with too many positions and a list with too many ids are 400."""
    line = {"type": "LineString", "coordinates": [[n / 1000, n % 7] for n in range(10_001)]}
    many = [str(n) for n in range(10_001)]
    for body in ({"intersects": line}, {"ids": many}, {"collections": many}):
        response = client.post("/search", json=body)
        assert response.status_code == 400
        assert response.json["description"].startswith(f"{next(iter(body))}: ")
    assert client.post("/search", json={"ids": many[:-1]}).status_code == 200


@BOTH
def test_a_line_finds_items_of_all_collections(client: Client, publish: Publish, search: Search) -> None:
    """A line and a box without height find all items with a point or an area on them, in all collections."""
    parts = [
        {"type": "Point", "coordinates": [9, 19]},
        {"type": "LineString", "coordinates": [[9, 18], [9, 20]]},
        {"type": "Polygon", "coordinates": [[[0, 10], [20, 10], [20, 30], [0, 30], [0, 10]]]},
    ]
    far = [{"type": "Point", "coordinates": [-60, -10]}, {"type": "LineString", "coordinates": [[-60, 0], [-50, 0]]}]
    shapes = [{"type": "GeometryCollection", "geometries": [part, far[n % 2]]} for n in range(5) for part in parts]
    whole = [-60, -10, 20, 30]
    publish(*(an_item(f"i{n:02}", geometry=shape, bbox=whole) for n, shape in enumerate(shapes)))
    names = {f"i{n:02}" for n in range(len(shapes))}
    line = [[2, 19], [12, 19]]
    assert found(search(client, limit=20, intersects={"type": "LineString", "coordinates": line})) == names
    several = {"type": "MultiLineString", "coordinates": [line, [[100, 0], [101, 0]]]}
    assert found(search(client, limit=20, intersects=several)) == names
    assert found(search(client, limit=20, bbox=[2, 19, 12, 19])) == names
