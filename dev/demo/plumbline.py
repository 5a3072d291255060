"""The items of the elevation collection: tiles with the difficult cases that STAC allows."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np

from dev.demo import names
from dev.demo.bucket import THUMBNAIL, Bucket, folder_of, public_assets
from dev.demo.grids import Grid, footprint, grid_around, raised
from dev.demo.landscape import CLIMATES, Landscape, landscape, shading
from dev.demo.noise import Field, fractal, generator
from dev.demo.places import Place
from dev.demo.rasters import COG, PNG, png
from dev.demo.stac import Document, item_document, timestamp

PIXELS, METRES = 256, 200
VOID = -9999
"""Height of pixels without a measurement."""


class Tile(NamedTuple):
    """One elevation tile."""

    item: str
    place: Place
    peak: float
    """Height of the highest pixel in metres."""
    stored: bool = False
    """Whether its objects are in the bucket."""
    raised: bool = False
    """Whether its bbox and geometry have heights."""


TILES = [
    Tile(
        "plumbline-taveuni",
        Place("taveuni", "Taveuni, across the antimeridian", 179.97, -16.85, "islands"),
        1241,
        stored=True,
    ),
    Tile(
        "plumbline-wrangel",
        Place("wrangel", "Wrangel Island, across the antimeridian", 179.95, 71.2, "ice"),
        1096,
        stored=True,
    ),
    Tile(
        "plumbline-amchitka-pass",
        Place("amchitka-pass", "Amchitka Pass, across the antimeridian", -179.9, 51.9, "islands"),
        310,
    ),
    Tile(
        "plumbline-kresta-bay",
        Place("kresta-bay", "Kresta Bay, across the antimeridian, with heights", 179.8, 66.1, "coast"),
        890,
        raised=True,
    ),
    Tile(
        "plumbline-puncak-jaya",
        Place("puncak-jaya", "Puncak Jaya, with heights", 137.2, -4.1, "alps"),
        4884,
        stored=True,
        raised=True,
    ),
    Tile("plumbline-Þingvellir", Place("thingvellir", "Þingvellir", -21.1, 64.25, "coast"), 768, stored=True),
    Tile("plumbline-São-Jorge", Place("sao-jorge", "São Jorge", -28.0, 38.6, "islands"), 1053),
    Tile("plumbline-北岳", Place("kita-dake", "北岳 (Kita-dake)", 138.24, 35.67, "alps"), 3193, stored=True),
    Tile("plumbline-Μετέωρα", Place("meteora", "Μετέωρα (Meteora)", 21.63, 39.71, "savanna"), 1320),
    Tile("plumbline-دماوند", Place("damavand", "دماوند (Damavand)", 52.11, 35.95, "alps"), 5609),
    Tile(
        "plumbline-Re\u0301union",
        Place("reunion", "Réunion, its id in decomposed Unicode as its producer wrote it", 55.5, -21.1, "islands"),
        3070,
    ),
    Tile(
        "plumbline-void-filled-100%-aoraki",
        Place("aoraki", "Aoraki, all voids filled", 170.14, -43.6, "alps"),
        3724,
        stored=True,
    ),
    Tile(
        "plumbline-mont%20blanc",
        Place("mont-blanc", "Mont Blanc, its id escaped as its producer wrote it", 6.86, 45.83, "alps"),
        4806,
        stored=True,
    ),
    Tile(
        "plumbline tristan da cunha",
        Place("tristan-da-cunha", "Tristan da Cunha, with spaces in its id", -12.28, -37.11, "islands"),
        2062,
        stored=True,
    ),
    Tile(
        "urn:plumbline:tile:0042",
        Place("table-mountain", "Table Mountain, with colons in its id", 18.4, -33.97, "coast"),
        1086,
    ),
    Tile(
        "plumbline-kilimanjaro.v1.2",
        Place("kilimanjaro", "Kilimanjaro, with dots in its id", 37.35, -3.07, "savanna"),
        5895,
    ),
    Tile(
        "plumbline-andes+puna",
        Place("puna-de-atacama", "Puna de Atacama, with a plus in its id", -68.5, -26.1, "desert"),
        6739,
    ),
    Tile("plumbline-denali", Place("denali", "Denali", -151.0, 63.07, "alps"), 6190),
    Tile("plumbline-grand-canyon", Place("grand-canyon", "Grand Canyon", -112.1, 36.1, "desert"), 2683),
    Tile(
        "plumbline-dead-sea", Place("dead-sea", "Dead Sea, below the level of the oceans", 35.5, 31.5, "desert"), -210
    ),
    Tile("plumbline-netherlands", Place("ijsselmeer", "IJsselmeer", 5.4, 52.7, "delta"), 24),
    Tile("plumbline-dronning-maud-land", Place("dronning-maud-land", "Dronning Maud Land", 8.0, -72.0, "ice"), 3148),
    Tile("plumbline-everest", Place("everest", "Everest", 86.9, 27.98, "alps"), 8849),
]

ASSETS: dict[str, Document] = {
    "elevation.tif": {
        "title": "Heights above the geoid",
        "type": COG,
        "roles": ["data", "elevation"],
        "data_type": "int16",
        "nodata": VOID,
        "unit": "m",
        "raster:sampling": "point",
        "bands": [{"name": "height", "description": "Metres above the geoid"}],
    },
    "void mask": {
        "title": "Where heights were measured",
        "description": "1 measured, 2 void",
        "type": COG,
        "roles": ["data", "classification"],
        "data_type": "uint8",
        "nodata": 0,
        "raster:sampling": "point",
        "bands": [{"name": "class"}],
    },
    "stats:heights": {"title": "Distribution of the heights", "type": "application/json", "roles": ["metadata"]},
    "report/accuracy": {"title": "Accuracy report", "type": "text/csv", "roles": ["metadata"]},
    "thumbnail": THUMBNAIL,
}

_STEPS = (0, 0.08, 0.25, 0.5, 0.75, 1)
_TINTS = ((96, 140, 84), (142, 170, 100), (206, 196, 128), (186, 146, 98), (160, 134, 120), (250, 250, 250))

_HANDBOOK = """# Plumbline elevation tiles: handbook

Every height is invented. Tiles have 256 by 256 pixels of 200 m in the UTM zone of their middle.

- Heights are whole metres above the geoid; -9999 is a void.
- A tile has no instant: it has the first and the last day of its campaign.
- Tiles over the antimeridian have two outlines and a box whose west is greater than its east.
"""


def items(bucket: Bucket) -> Iterator[Document]:
    """Yield every item of the collection. Objects of stored items are added to the bucket."""
    for tile in TILES:
        yield _stored_item(tile, bucket) if tile.stored else _bare_item(tile)
    yield _handbook(bucket)


def scene(item: str, size: int) -> Any:
    """Return a tinted relief of a tile."""
    tile = next(tile for tile in TILES if tile.item == item)
    ground = _ground(tile, size)
    return _picture(ground, _heights(tile, ground))


def _stored_item(tile: Tile, bucket: Bucket) -> Document:
    grid, ground, folder = _grid(tile), _ground(tile, PIXELS), folder_of(names.EDGES, tile.item)
    heights = _heights(tile, ground)
    measured = np.where(_voids(tile), VOID, heights).astype(np.int16)
    mask = np.where(measured == VOID, 2, 1).astype(np.uint8)
    thumbnail = bucket.put(folder, "thumbnail.png", png(_picture(ground, heights)), PNG)
    # Keys in the bucket have a plus and an umlaut, so that signatures with them are tested.
    assets = {
        "elevation.tif": bucket.put_raster(
            folder, "elevation+geoid.tif", measured[None], grid, ASSETS["elevation.tif"]
        ),
        "void mask": bucket.put_raster(folder, "lücken.tif", mask[None], grid, ASSETS["void mask"]),
        "stats:heights": _kept(bucket, folder, "stats:heights", "heights.json", _histogram(heights)),
        "report/accuracy": _kept(bucket, folder, "report/accuracy", "report/accuracy.csv", _accuracy(tile)),
        "thumbnail": THUMBNAIL | thumbnail,
    }
    return _item(tile, assets)


def _bare_item(tile: Tile) -> Document:
    return _item(tile, public_assets(names.EDGES, tile.item, {"thumbnail.png": THUMBNAIL}))


def _handbook(bucket: Bucket) -> Document:
    """Return an item without a place: it has a null geometry and no bbox."""
    item_id = "plumbline-handbook"
    text = _HANDBOOK.encode()
    asset = {"title": "Product handbook", "roles": ["metadata", "documentation"]}
    stored = asset | bucket.put(folder_of(names.EDGES, item_id), "handbook.md", text, "text/markdown")
    properties = {"title": "Plumbline product handbook, without a place", **_campaign(2023, 2026)}
    return item_document(names.EDGES, item_id, None, properties, {"handbook": stored})


def _item(tile: Tile, assets: dict[str, Document]) -> Document:
    grid = _grid(tile)
    item = item_document(names.EDGES, tile.item, footprint(grid), _properties(tile, grid), assets)
    if tile.raised:
        heights = _heights(tile, _ground(tile, PIXELS))
        lowest, highest = float(heights.min()), float(heights.max())
        item["geometry"], item["bbox"] = raised(item["geometry"], item["bbox"], lowest, highest)
    return item


def _properties(tile: Tile, grid: Grid) -> Document:
    first = int(generator(tile.item, "campaign").integers(2023, 2026))
    return {
        "title": tile.place.name,
        **_campaign(first, first + 1),
        "instruments": ["laser altimeter", "stereo camera"],
        "gsd": METRES,
        "proj:code": grid.crs,
        "proj:bbox": grid.bounds,
        "processing:level": "L4",
    }


def _campaign(first: int, last: int) -> Document:
    """Return a time range without an instant, as heights are measured over a period."""
    start, end = datetime(first, 3, 1, tzinfo=UTC), datetime(last, 10, 31, 23, 59, 59, tzinfo=UTC)
    return {
        "datetime": None,
        "start_datetime": timestamp(start),
        "end_datetime": timestamp(end),
        "created": timestamp(end + timedelta(days=12)),
    }


def _grid(tile: Tile) -> Grid:
    return grid_around(tile.place.lon, tile.place.lat, METRES, PIXELS)


def _ground(tile: Tile, size: int) -> Landscape:
    return landscape(tile.place.slug, CLIMATES[tile.place.climate], size)


def _heights(tile: Tile, ground: Landscape) -> Field:
    """Return heights in whole metres, up to the tile's peak. The sea is at 0. Land can be below it."""
    upward = np.maximum(ground.height, 0)
    lowest = min(tile.peak - 220, 0)
    return np.asarray(np.round(lowest + (tile.peak - lowest) * upward / upward.max()), np.float32)


def _voids(tile: Tile) -> Any:
    """Return the pixels without a measurement."""
    if "void-filled" in tile.item:
        return np.zeros((PIXELS, PIXELS), bool)
    return fractal(PIXELS, 40, 5, tile.item, "voids") > 2.4


def _picture(ground: Landscape, heights: Field) -> Any:
    """Return tints by height, from green through brown to white, with light from the north-west."""
    at = np.clip(heights / max(float(heights.max()), 1), 0, 1)
    tinted = np.asarray([np.interp(at, _STEPS, channel) for channel in zip(*_TINTS, strict=True)])
    tinted[:, ground.height <= 0] = np.asarray([[150], [190], [215]])
    light = np.where(ground.height > 0, 0.5 + 0.5 * shading(ground, 315, 45), 1)
    return np.clip(tinted * light, 1, 255).astype(np.uint8)


def _histogram(heights: Field) -> bytes:
    counts, edges = np.histogram(heights, 20)
    return json.dumps({"metres": edges.round(1).tolist(), "pixels": counts.tolist()}).encode()


def _accuracy(tile: Tile) -> bytes:
    errors = generator(tile.item, "accuracy").normal(0.2, 1.4, 12)
    rows = [f"{number},{error:.2f}" for number, error in enumerate(errors, 1)]
    return "\n".join(["checkpoint,error_m", *rows, ""]).encode()


def _kept(bucket: Bucket, folder: str, key: str, name: str, data: bytes) -> Document:
    return ASSETS[key] | bucket.put(folder, name, data, ASSETS[key]["type"])
