"""Aggregations of the items that a search would find and the user may see."""

from collections.abc import Callable
from typing import Any

import pytest

from stacflask import Principal, Request, hookimpl
from stacflask.testing import an_item

Publish = Callable[..., None]
Client = Any


@pytest.fixture
def client(plug: Callable[..., Client]) -> Client:
    """Return a client of an application without plugins."""
    return plug()


def scene(name: str, collection: str, when: str, place: tuple[float, float], **properties: Any) -> dict[str, Any]:
    """Return an item with a time and a position."""
    longitude, latitude = place
    return an_item(
        name,
        collection,
        properties={"datetime": when, **properties},
        geometry={"type": "Point", "coordinates": [longitude, latitude]},
        bbox=[longitude, latitude, longitude, latitude],
    )


@pytest.fixture(autouse=True)
def _scenes(publish: Publish) -> None:
    publish(
        scene("a", "one", "2023-01-15T00:00:00Z", (11, 48), **{"eo:cloud_cover": 3, "platform": "x", "n": [1, 1]}),
        scene("b", "one", "2023-01-20T10:00:00Z", (11.1, 48.1), **{"eo:cloud_cover": 55.5, "platform": "x", "n": [2]}),
        scene("c", "two", "2023-03-01T00:00:00Z", (-70, -33), **{"eo:cloud_cover": 100, "platform": "y", "n": [1, 2]}),
        scene("d", "two", "2024-03-01T00:00:00Z", (179, 89), flag=True, made="2020-01-01T00:00:00Z"),
    )


def aggregate(client: Client, *names: str, path: str = "/aggregate", **parameters: Any) -> list[dict[str, Any]]:
    """Aggregate by POST, and check that GET with the same parameters has the same result."""
    body = {"aggregations": list(names), **parameters}
    posted = client.post(path, json=body)
    assert (posted.status_code, posted.content_type) == (200, "application/json"), posted.text
    assert posted.json["type"] == "AggregationCollection"
    got = client.get(path, query_string={name: _as_text(value) for name, value in body.items()})
    assert got.json["aggregations"] == posted.json["aggregations"], got.text
    aggregations: list[dict[str, Any]] = posted.json["aggregations"]
    return aggregations


def _as_text(value: Any) -> str:
    import json

    if isinstance(value, list):
        return ",".join(map(str, value))
    return json.dumps(value) if isinstance(value, dict) else str(value)


def frequencies(client: Client, name: str, **parameters: Any) -> dict[str, int]:
    """Return the buckets of one distribution."""
    [aggregation] = aggregate(client, name, **parameters)
    assert aggregation["data_type"] == "frequency_distribution"
    return {bucket["key"]: bucket["frequency"] for bucket in aggregation["buckets"]}


def test_single_values(client: Client) -> None:
    """The count, the minimum and the maximum of datetime."""
    assert aggregate(client, "total_count", "datetime_min", "datetime_max") == [
        {"name": "total_count", "data_type": "integer", "value": 4},
        {"name": "datetime_min", "data_type": "datetime", "value": "2023-01-15T00:00:00Z"},
        {"name": "datetime_max", "data_type": "datetime", "value": "2024-03-01T00:00:00Z"},
    ]


def _total(aggregation: dict[str, Any]) -> int:
    return sum(bucket["frequency"] for bucket in aggregation.get("buckets", ()))


def test_no_items(client: Client) -> None:
    """Without items, the count is 0, values are null and there are no buckets; without names, there are no results."""
    nothing: dict[str, Any] = {"ids": ["nosuch"]}
    names = ["total_count", "datetime_min", "datetime_frequency", "eo:cloud_cover_frequency", "grid_geohash_frequency"]
    values = [one.get("value", _total(one)) for one in aggregate(client, *names, **nothing)]
    assert values == [0, None, 0, 0, 0]
    assert client.get("/aggregate").json["aggregations"] == []


def test_collections_strings_and_arrays(client: Client) -> None:
    """Items are counted by collection, strings, booleans and elements of arrays, the most frequent first."""
    assert list(frequencies(client, "collection_frequency").items()) == [("one", 2), ("two", 2)]
    assert list(frequencies(client, "platform_frequency").items()) == [("x", 2), ("y", 1)]
    assert frequencies(client, "flag_frequency") == {"true": 1}
    assert frequencies(client, "n_frequency") == {"1": 2, "2": 2}
    assert aggregate(client, "platform_frequency")[0]["overflow"] == 1


def test_times(client: Client) -> None:
    """Times are counted by a chosen or a requested interval, also for other properties that are times."""
    assert frequencies(client, "datetime_frequency", datetime_frequency_interval="year") == {
        "2023-01-01T00:00:00Z": 3,
        "2024-01-01T00:00:00Z": 1,
    }
    [chosen] = aggregate(client, "datetime_frequency", ids=["a", "b"])
    assert (chosen["interval"], len(chosen["buckets"]), chosen["overflow"]) == ("day", 2, 0)
    assert frequencies(client, "made_frequency") == {"2020-01-01T00:00:00Z": 1}


def test_numbers(client: Client) -> None:
    """Numbers are counted in round ranges, in ranges of a requested width, or between requested boundaries."""
    assert {low: n for low, n in frequencies(client, "eo:cloud_cover_frequency").items() if n} == {
        "0.0-5.0": 1,
        "55.0-60.0": 1,
        "100.0-105.0": 1,
    }
    assert len(frequencies(client, "eo:cloud_cover_frequency")) == 21
    wide = frequencies(client, "cloud_cover_frequency", ranges={"eo:cloud_cover": 50})
    assert wide == {"0.0-50.0": 1, "50.0-100.0": 1, "100.0-150.0": 1}
    [aggregation] = aggregate(client, "cloud_cover_frequency", ranges={"eo:cloud_cover": [10, 100]})
    assert aggregation["buckets"] == [
        {"key": "*-10.0", "data_type": "numeric", "frequency": 1, "to": 10},
        {"key": "10.0-100.0", "data_type": "numeric", "frequency": 1, "from": 10, "to": 100},
        {"key": "100.0-*", "data_type": "numeric", "frequency": 1, "from": 100},
    ]
    assert aggregation["overflow"] == 1


def test_grids(client: Client) -> None:
    """Items are counted by the cell of their centroid, with a default or a requested size."""
    geohash = "centroid_geohash_grid_frequency"
    assert frequencies(client, geohash, **{f"{geohash}_precision": 1}) == {"u": 2, "6": 1, "z": 1}
    assert frequencies(client, "grid_geohash_frequency") == {"u0": 2, "66": 1, "zz": 1}
    geotile = "grid_geotile_frequency"
    assert frequencies(client, geotile, **{f"{geotile}_precision": 2}) == {"2/2/1": 2, "2/1/2": 1, "2/3/0": 1}


GRIDS = ["grid_geohash_frequency", "grid_geotile_frequency"]


@pytest.mark.parametrize(
    "name",
    [*GRIDS, *(f"centroid_{name.replace('_frequency', '_grid_frequency').removeprefix('grid_')}" for name in GRIDS)],
)
def test_items_without_geometry_are_in_no_cell(client: Client, publish: Publish, name: str) -> None:
    """Every grid counts items without geometry in overflow, and all other items in cells."""
    nowhere = [
        {key: value for key, value in an_item(f"n{n}", "nowhere", geometry=None).items() if key != "bbox"}
        for n in (1, 2)
    ]
    places = {"pole": (0, 90), "south": (180, -90), "edge": (-180, 0), "north": (12, 86)}
    publish(*nowhere, *(scene(f"p-{key}", "nowhere", "2024-01-01T00:00:00Z", place) for key, place in places.items()))
    [cells] = aggregate(client, name, collections=["nowhere"])
    assert (cells["overflow"], sum(bucket["frequency"] for bucket in cells["buckets"])) == (2, 4)
    [cells] = aggregate(client, name, ids=["n1", "n2"])
    assert (cells["overflow"], cells["buckets"]) == (2, [])


def test_tiles_at_the_edges(client: Client, publish: Publish) -> None:
    """Poles are in the first and last row, the antimeridian is in the first or last column."""
    places = {"a": (0, 90), "b": (180, -90), "c": (-180, 0), "d": (12, 86), "e": (179.99, 85.06)}
    publish(*(scene(f"p-{key}", "edges", "2024-01-01T00:00:00Z", place) for key, place in places.items()))
    parameters = {"collections": ["edges"], "grid_geotile_frequency_precision": 1}
    assert frequencies(client, "grid_geotile_frequency", **parameters) == {"1/1/0": 3, "1/1/1": 1, "1/0/1": 1}


def test_the_centroid_of_a_geometry_over_the_antimeridian(client: Client, publish: Publish) -> None:
    """The centroid of a geometry that crosses the antimeridian is near the antimeridian."""
    box = [[[178, 0], [-178, 0], [-178, 2], [178, 2], [178, 0]]]
    publish(an_item("x", geometry={"type": "Polygon", "coordinates": box}, bbox=[178, 0, -178, 2]))
    parameters = {"collections": ["collection"], "grid_geotile_frequency_precision": 3}
    cells = frequencies(client, "grid_geotile_frequency", **parameters)
    assert set(cells) <= {"3/0/3", "3/7/3"}


@pytest.mark.parametrize(
    "parameters",
    [
        {"bbox": [10, 47, 12, 49]},
        {"intersects": {"type": "Point", "coordinates": [11, 48]}},
        {"datetime": "2023-01-01T00:00:00Z/2023-01-31T00:00:00Z"},
        {"ids": ["a"]},
        {"collections": ["one"]},
        {"query": {"platform": {"eq": "x"}}},
        {"filter": "platform = 'x'", "filter-lang": "cql2-text"},
        {"filter": {"op": "=", "args": [{"property": "platform"}, "x"]}, "filter-lang": "cql2-json"},
    ],
    ids=lambda parameters: next(iter(parameters)),
)
def test_parameters_of_a_search(client: Client, parameters: dict[str, Any]) -> None:
    """Every parameter of a search selects the items to aggregate."""
    found = len(client.post("/search", json=parameters).json["features"])
    assert 0 < found < 4
    assert aggregate(client, "total_count", **parameters)[0]["value"] == found


def test_one_collection(client: Client) -> None:
    """The endpoint of a collection aggregates only its items; names that they do not have are unknown."""
    path = "/collections/one/aggregate"
    [total, by] = aggregate(client, "total_count", "collection_frequency", path=path)
    assert (total["value"], by["buckets"][0]["key"], len(by["buckets"])) == (2, "one", 1)
    assert client.get(f"{path}?aggregations=flag_frequency").status_code == 400
    assert client.get("/aggregate?aggregations=flag_frequency").status_code == 200
    assert client.get("/collections/nosuch/aggregate").status_code == 404
    assert client.get("/collections/nosuch/aggregations").status_code == 404


def test_list_of_aggregations(client: Client) -> None:
    """The list has every aggregation with its type, and each of them can be requested."""
    for path in ("", "/collections/one"):
        listed = client.get(f"{path}/aggregations").json["aggregations"]
        for one in listed:
            assert aggregate(client, one["name"], path=f"{path}/aggregate")[0].items() >= one.items()
    names = {one["name"] for one in listed}
    assert {"total_count", "cloud_cover_frequency", "eo:cloud_cover_frequency", "platform_frequency"} <= names
    assert "flag_frequency" not in names


def test_links(client: Client) -> None:
    """The landing page, collections and results link to the list and to the aggregation by GET and by POST."""
    for document, start in [
        (client.get("/").json, "http://localhost"),
        (client.get("/collections/one").json, "http://localhost/collections/one"),
        (client.get("/collections/one/aggregations").json, "http://localhost/collections/one"),
        (client.get("/aggregate").json, "http://localhost"),
    ]:
        links = [(link["rel"], link["href"], link.get("method")) for link in document["links"]]
        assert ("aggregations", f"{start}/aggregations", None) in links
        assert {("aggregate", f"{start}/aggregate", method) for method in ("GET", "POST")} <= set(links)


@pytest.mark.parametrize(
    ("parameters", "results"),
    [
        ({"aggregations": ["totl_count"]}, "aggregations: there is no aggregation 'totl_count' here; is 'total_count'"),
        ({"aggregations": ["total_count"] * 33}, "aggregations: expected at most 32 aggregations, got 33"),
        ({"datetime_frequency_interval": "fortnight"}, "datetime_frequency_interval: expected one of second"),
        ({"grid_geohash_frequency_precision": 13}, "grid_geohash_frequency_precision: expected an integer from 1"),
        ({"grid_geotile_frequency_precision": 25}, "grid_geotile_frequency_precision: expected an integer from 0"),
        ({"ranges": {"a": 0}}, "ranges: a: expected a number above 0"),
        ({"ranges": {"a": [2, 1]}}, "ranges: a: expected numbers in ascending order"),
        ({"ranges": []}, "ranges: expected an object of properties"),
        (
            {"aggregations": ["cloud_cover_frequency"], "ranges": {"eo:cloud_cover": 1e-9}},
            "ranges: expected at most",
        ),
        ({"bbox": [1, 2]}, "bbox: expected 4 or 6 numbers"),
        ({"filter": {"op": "nosuch", "args": []}}, "filter: "),
    ],
)
def test_invalid_parameters_are_400(client: Client, parameters: dict[str, Any], results: str) -> None:
    """The description of an error begins with the name of the parameter."""
    response = client.post("/aggregate", json=parameters)
    assert response.status_code == 400
    assert response.json["description"].startswith(results)


def test_too_many_time_buckets_are_400(client: Client) -> None:
    """An interval that would yield too many buckets is 400, and the description names the parameter."""
    from stacflask.catalog.aggregation import aggregate

    monkey = pytest.MonkeyPatch()
    with monkey.context() as patched:
        patched.setattr(aggregate, "MAX_BUCKETS", 2)
        response = client.get("/aggregate?aggregations=datetime_frequency&datetime_frequency_interval=day")
    assert (response.status_code, "datetime_frequency_interval" in response.json["description"]) == (400, True)


class Visibility:
    """Restricts users by the header X-Sees."""

    @hookimpl
    def authenticate(self, request: Request) -> Principal:
        """Return a principal whose id is the header."""
        return Principal(request.headers.get("X-Sees", ""), scheme="test")

    @hookimpl
    def restrict(self, principal: Principal, of: str) -> Any:
        """Hide collection ``two``, or items that are not of platform ``x``."""
        if principal.id == "one" and of == "collections":
            return {"op": "=", "args": [{"property": "id"}, "one"]}
        if principal.id == "x" and of == "items":
            return {"op": "=", "args": [{"property": "platform"}, "x"]}
        return None


@pytest.mark.parametrize("visible", ["one", "x"])
def test_hidden_items_are_not_aggregated(plug: Callable[..., Client], visible: str) -> None:
    """Hidden items are in no number and no bucket, and names of hidden properties are unknown."""
    client = plug(Visibility())
    headers = {"X-Sees": visible}
    names = [one["name"] for one in client.get("/aggregations", headers=headers).json["aggregations"]]
    assert "flag_frequency" not in names
    response = client.get("/aggregate", query_string={"aggregations": ",".join(names)}, headers=headers)
    results = {one["name"]: one for one in response.json["aggregations"]}
    assert results["total_count"]["value"] == 2
    assert results["datetime_max"]["value"] == "2023-01-20T10:00:00Z"
    for one in results.values():
        assert sum(bucket["frequency"] for bucket in one.get("buckets", [])) <= 2, one
    assert client.get("/aggregate?aggregations=flag_frequency", headers=headers).status_code == 400


def test_numbers_outside_the_sampled_range_are_counted(plug: Callable[..., Client]) -> None:
    """If only a sample of the visible items was read, numbers outside of its range are in ranges with an open end."""
    client = plug(Visibility(), environ={"STACFLASK_QUERYABLES_SAMPLE": "1"})
    response = client.get("/aggregate?aggregations=cloud_cover_frequency", headers={"X-Sees": "x"})
    [results] = response.json["aggregations"]
    assert {bucket["key"]: bucket["frequency"] for bucket in results["buckets"]} == {"*-55.0": 1, "55.0-56.0": 1}
    assert results["overflow"] == 0
