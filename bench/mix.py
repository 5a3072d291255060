"""The search mix: typical kinds of requests to a catalogue, drawn from the items in it.

The same number of items produces the same requests. Each is near existing items, so that few responses are empty.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from bench import catalogue
from bench.catalogue import COLLECTIONS, Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EACH = 100
"""Number of requests of a kind."""
DEPTH = 30
"""Number of pages that the deep kinds follow."""
CONTINENTS = ((-18, -35, 51, 37), (-125, 15, -66, 60), (-81, -55, -35, 12), (61, 6, 144, 54), (113, -44, 153, -11))
ONE = COLLECTIONS[0]
SMALL, MEDIUM = 1.0, 10.0
DAY, MONTH, YEAR = (timedelta(days=days) for days in (1, 30, 365))
CLOUDS = "eo:cloud_cover"


@dataclass(frozen=True)
class MixRequest:
    """A path, and a body if the request is a POST."""

    path: str
    body: str = ""


@dataclass(frozen=True)
class Place:
    """The place and time of an item."""

    collection: str
    item: str
    center: tuple[float, float]
    moment: datetime


def places(items: int) -> list[Place]:
    """Return a random sample of the items."""
    numbers = random.Random(items).sample(range(items), min(items, 4 * EACH))
    return [_place(Scene(number)) for number in numbers]


def _place(scene: Scene) -> Place:
    document = catalogue.item(scene, "bucket")
    west, south, east, north = document["bbox"]
    moment = datetime.fromisoformat(document["properties"]["datetime"])
    return Place(scene.collection, scene.item, ((west + east) / 2, (south + north) / 2), moment)


def requests_by_kind(items: int) -> dict[str, list[MixRequest]]:
    """Return the requests by kind, without the deep kinds."""
    draw, sample = random.Random(7), places(items)
    return {kind: [make(draw, draw.choice(sample)) for _ in range(EACH)] for kind, make in KINDS.items()}


def deep(kind: str, fetch: Callable[[str], bytes]) -> list[MixRequest]:
    """Follow the next links of pages. Return the requests for the second half of the pages."""
    requests, path = [], DEEP[kind]
    for _ in range(DEPTH):
        requests.append(MixRequest(path))
        links = json.loads(fetch(path))["links"]
        following = next((link["href"] for link in links if link["rel"] == "next"), None)
        if following is None:
            break
        url = urlsplit(following)
        path = f"{url.path}?{url.query}"
    return requests[len(requests) // 2 :]


# --- The parts of a request ------------------------------------------------------------------------------------------


def _search(**parameters: object) -> MixRequest:
    query = {name.replace("_", "-"): value for name, value in parameters.items() if value is not None}
    return MixRequest(f"/search?{urlencode({'limit': 10, **query}, safe=',:/')}")


def _box(draw: random.Random, place: Place, size: float) -> str:
    lon, lat = (axis + draw.uniform(-0.4, 0.4) * size for axis in place.center)
    west, south = max(-180, min(180 - size, lon - size / 2)), max(-90, min(90 - size, lat - size / 2))
    return f"{west:.3f},{south:.3f},{west + size:.3f},{south + size:.3f}"


def _during(place: Place, length: timedelta) -> str:
    start = place.moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return f"{start:%Y-%m-%dT%H:%M:%SZ}/{start + length:%Y-%m-%dT%H:%M:%SZ}"


def _continent(draw: random.Random) -> str:
    return ",".join(map(str, draw.choice(CONTINENTS)))


def _shape(place: Place) -> dict[str, object]:
    lon, lat = max(-176, min(176, place.center[0])), max(-86, min(86, place.center[1]))
    ring = [(lon - 2, lat - 1), (lon + 1.5, lat - 1.5), (lon + 2, lat + 1), (lon, lat + 2), (lon - 2, lat - 1)]
    return {"type": "Polygon", "coordinates": [[[round(x, 4), round(y, 4)] for x, y in ring]]}


def _posted(place: Place, **members: object) -> MixRequest:
    return MixRequest("/search", json.dumps({"limit": 10, "intersects": _shape(place), **members}))


def _clouds(draw: random.Random) -> str:
    return f'"{CLOUDS}" < {draw.choice((5, 10, 20))}'


def _boxed(
    draw: random.Random, at: Place, size: float, length: timedelta | None = None, *, one: bool = False
) -> MixRequest:
    interval, collection = _during(at, length) if length else None, at.collection if one else None
    return _search(bbox=_box(draw, at, size), datetime=interval, collections=collection)


KINDS: dict[str, Callable[[random.Random, Place], MixRequest]] = {
    "item": lambda _, at: MixRequest(f"/collections/{at.collection}/items/{at.item}"),
    "collection": lambda _, at: MixRequest(f"/collections/{at.collection}"),
    "collections": lambda *_: MixRequest("/collections"),
    "items, 10": lambda _, at: MixRequest(f"/collections/{at.collection}/items?limit=10"),
    "items, 100": lambda _, at: MixRequest(f"/collections/{at.collection}/items?limit=100"),
    "box, small": partial(_boxed, size=SMALL),
    "box, small, one collection": partial(_boxed, size=SMALL, one=True),
    "box, medium": partial(_boxed, size=MEDIUM),
    "box, medium, one collection": partial(_boxed, size=MEDIUM, one=True),
    "box, medium, and a day": partial(_boxed, size=MEDIUM, length=DAY),
    "box, medium, and a month": partial(_boxed, size=MEDIUM, length=MONTH),
    "box, medium, and a year": partial(_boxed, size=MEDIUM, length=YEAR),
    "continent": lambda draw, _: _search(bbox=_continent(draw)),
    "continent and a year": lambda draw, at: _search(bbox=_continent(draw), datetime=_during(at, YEAR)),
    "a day": lambda _, at: _search(datetime=_during(at, DAY)),
    "a day, 100 items": lambda _, at: _search(datetime=_during(at, DAY), limit=100),
    "polygon, posted": lambda _, at: _posted(at),
    "polygon and a year, posted": lambda _, at: _posted(at, collections=[at.collection], datetime=_during(at, YEAR)),
    "ids": lambda draw, _: _search(ids=",".join(Scene(draw.randrange(50)).item for _ in range(10))),
    "clouds": lambda draw, _: _search(filter=_clouds(draw)),
    "clouds, box and a year": lambda draw, at: _search(
        filter=_clouds(draw), bbox=_box(draw, at, MEDIUM), datetime=_during(at, YEAR), collections=at.collection
    ),
    "platform": lambda draw, _: _search(filter=f"platform = 'merlin-2{draw.choice('ab')}'"),
    "sorted by clouds": lambda draw, at: _search(sortby=f"{draw.choice('+-')}{CLOUDS}", collections=at.collection),
    "nothing there": lambda draw, _: _search(bbox=f"{draw.uniform(-179, -178):.3f},-89.9,-177,-89"),
}
DEEP = {
    "deep pages": "/search?limit=10",
    "deep pages of a box": f"/search?limit=10&bbox={','.join(map(str, CONTINENTS[0]))}",
    "deep pages sorted by clouds": f"/search?limit=10&collections={ONE}&sortby=-{CLOUDS}",
}


def paths_and_bodies(requests: Sequence[MixRequest]) -> tuple[list[str], list[str]]:
    """Return the paths and the bodies of requests, as the load generator needs them."""
    return [request.path for request in requests], [request.body for request in requests]
