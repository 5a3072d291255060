"""The cost of geometries is bounded for all parameters and documents, before they reach the database."""

import json
import math
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from stacflask.testing import a_collection, an_item

Client = Any
Json = dict[str, Any]
Ask = Callable[[Client, Json], Any]
Publish = Callable[..., None]

COLLECTION = "/collections/collection"
ITEMS = f"{COLLECTION}/items"


def polygon(*positions: list[float]) -> Json:
    return {"type": "Polygon", "coordinates": [[*positions, positions[0]]]}


def zigzag(number: int, shift: float = 0) -> Json:
    """Return a ring of ``number`` positions that crosses itself a quarter of their square times."""
    half = number // 2
    lines = [[shift + (-80 if n % 2 else 80), -80 + 160 * n / half] for n in range(half)]
    across = [[shift - 80 + 160 * n / half, -80 if n % 2 else 80] for n in range(half)]
    return polygon(*lines, *across)


def star(number: int) -> Json:
    """Return a valid ring of ``number`` positions whose spikes are side by side in the middle."""
    turns = [(2 * math.pi * n / number, 80 if n % 2 else 0.001) for n in range(number)]
    return polygon(*([reach * math.cos(turn), reach * math.sin(turn)] for turn, reach in turns))


def scribble(number: int) -> Json:
    """Return a line beyond 180 degrees that crosses itself about a tenth of the square of ``number`` times."""
    return {
        "type": "LineString",
        "coordinates": [[110 + 80 * math.sin(n * n), 80 * math.cos(n)] for n in range(number)],
    }


def wkt(geometry: Json) -> str:
    positions = geometry["coordinates"]
    rings = [positions] if geometry["type"] == "LineString" else positions
    texts = [f"({', '.join(f'{x} {y}' for x, y in ring)})" for ring in rings]
    return f"LINESTRING{texts[0]}" if geometry["type"] == "LineString" else f"POLYGON({', '.join(texts)})"


def condition(geometry: Json, name: str = "geometry") -> Json:
    return {"op": "s_intersects", "args": [{"property": name}, geometry]}


def by_post(path: str, parameters: Callable[[Json], Json]) -> Ask:
    return lambda client, geometry: client.post(path, json=parameters(geometry))


def by_get(path: str, parameters: Callable[[Json], Json]) -> Ask:
    return lambda client, geometry: client.get(f"{path}?{urlencode(parameters(geometry))}")


def by_text(geometry: Json) -> Json:
    return {"filter": f"S_INTERSECTS(geometry, {wkt(geometry)})", "filter-lang": "cql2-text"}


def by_json(geometry: Json) -> Json:
    return {"filter": json.dumps(condition(geometry)), "filter-lang": "cql2-json"}


SEARCHES: dict[str, Ask] = {
    "search, intersects": by_post("/search", lambda geometry: {"intersects": geometry}),
    "search by GET, intersects": by_get("/search", lambda geometry: {"intersects": json.dumps(geometry)}),
    "search, text": by_post("/search", by_text),
    "search, json": by_post("/search", lambda geometry: {"filter": condition(geometry)}),
    "search by GET, json": by_get("/search", by_json),
    "search by GET, text": by_get("/search", by_text),
    "search, in a collection": by_post(
        "/search", lambda geometry: {"intersects": {"type": "GeometryCollection", "geometries": [geometry]}}
    ),
    "items": by_get(ITEMS, by_text),
    "aggregation": by_post("/aggregate", lambda geometry: {"aggregations": ["total_count"], "intersects": geometry}),
    "aggregation by GET": by_get("/aggregate", lambda geometry: {"aggregations": "total_count", **by_json(geometry)}),
    "downloads": by_post("/downloads", lambda geometry: {"intersects": geometry}),
    "downloads, filter": by_post("/downloads", lambda geometry: {"filter": condition(geometry)}),
    "collections": by_get("/collections", by_json),
}
WRITES: dict[str, Ask] = {
    "an item": by_post(ITEMS, lambda geometry: placed("new", geometry)),
    "several": by_post(ITEMS, lambda geometry: {"type": "FeatureCollection", "features": [placed("new", geometry)]}),
    "PUT": lambda client, geometry: client.put(f"{ITEMS}/item", json=placed("item", geometry)),
    "PATCH": lambda client, geometry: client.patch(
        f"{ITEMS}/item",
        json={"geometry": geometry, "bbox": [-180, -90, 180, 90]},
        content_type="application/merge-patch+json",
    ),
}


def placed(item: str, geometry: Json) -> Json:
    return an_item(item, geometry=geometry, bbox=[-180, -90, 180, 90])


@pytest.fixture
def published(publish: Publish) -> None:
    """Publish an item."""
    publish(an_item())


@pytest.mark.parametrize("ask", SEARCHES.values(), ids=SEARCHES)
@pytest.mark.parametrize("shape", [zigzag, star, scribble])
def test_a_search_geometry_that_costs_too_much_is_refused(
    client: Client, published: None, ask: Ask, shape: Callable[[int], Json]
) -> None:
    """A geometry that would take GEOS seconds is 400 with the reason, in every parameter that takes a geometry."""
    response = ask(client, shape(9000 if shape is star else 1200))
    assert response.status_code == 400, response.text


@pytest.mark.parametrize("ask", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("geometry", [zigzag(1600), star(9000), scribble(1200), zigzag(1600, 120)])
def test_an_item_geometry_that_costs_too_much_is_refused(
    editor: Client, published: None, ask: Ask, geometry: Json
) -> None:
    """A geometry that would take GEOS seconds is 400 with its place, in every request that writes an item."""
    response = ask(editor, geometry)
    assert (response.status_code, "/geometry" in response.json["description"]) == (400, True), response.text


def test_small_crossings_are_repaired_and_named_in_filters(editor: Client, published: None) -> None:
    """A few crossings are repaired, except in a filter, for which they are 400 with the place."""
    small = zigzag(20)
    assert editor.post("/search", json={"intersects": small}).status_code == 200
    assert editor.put(f"{ITEMS}/item", json=placed("item", small)).status_code in (200, 204)
    refused = editor.post("/search", json={"filter": condition(small)})
    assert refused.status_code == 400
    assert "Self-intersection[" in refused.json["description"]


def test_positions_are_bounded_for_all_geometries_together(plug: Callable[..., Client], published: None) -> None:
    """All geometries of a request together can have at most the positions of one, in a filter and with intersects."""
    # A busy machine needs more than the default time for a permitted condition.
    client = plug(environ={"STACFLASK_COSTLY_TIMEOUT": "30"})
    ring = {"type": "LineString", "coordinates": [[n / 100, 0] for n in range(4000)]}
    several = {"op": "or", "args": [condition(ring)] * 3}
    assert client.post("/search", json={"filter": several}).status_code == 400
    beside = {"filter": {"op": "or", "args": [condition(ring)] * 2}, "intersects": ring}
    assert client.post("/search", json=beside).status_code == 400
    assert client.post("/search", json={**beside, "filter": condition(ring)}).status_code == 200


def test_many_geometries_of_one_request_are_bounded_together(editor: Client, published: None) -> None:
    """Items that cost little each are refused if they cost too much together."""
    items = [placed(str(number), zigzag(80)) for number in range(200)]
    response = editor.post(ITEMS, json={"type": "FeatureCollection", "features": items})
    assert (response.status_code, "fewer" in response.json["description"]) == (400, True)


def test_the_boxes_of_an_extent_are_bounded(editor: Client) -> None:
    """A collection can have many or overlapping boxes within bounds."""
    columns = [[-80 + n / 2, -80, -80 + n / 2 + 0.1, 80] for n in range(200)]
    rows = [[-80, -80 + n / 2, 80, -80 + n / 2 + 0.1] for n in range(200)]
    for boxes, status in ((columns, 201), (columns + rows, 400), (columns * 6, 400)):
        document = a_collection(f"of {len(boxes)}", extent=extent(boxes))
        response = editor.post("/collections", json=document)
        assert response.status_code == status, response.text


def extent(boxes: list[list[float]]) -> Json:
    return {"spatial": {"bbox": boxes}, "temporal": {"interval": [["2020-01-01T00:00:00Z", None]]}}


def test_many_crossings_of_the_antimeridian_are_refused(editor: Client, published: None) -> None:
    """A ring that crosses the antimeridian a thousand times is 400, without endless recursion."""
    jumps = [[170 if n % 2 else -170, -80 + 160 * n / 1000] for n in range(1000)]
    geometry = polygon(*jumps, [-160, 80], [-160, -80], [-170, -80])
    response = editor.put(f"{ITEMS}/item", json=an_item("item", geometry=geometry, bbox=[160, -90, -150, 90]))
    assert response.status_code == 400
