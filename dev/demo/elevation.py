"""The elevation collection: tiles with the difficult cases that STAC allows."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from shapely import force_3d, to_geojson
from shapely.geometry import shape

from dev.demo import names
from dev.demo.documents import Bucket, Content, Document, item_document, metadata, raster
from dev.demo.ground import KINDS, Ground, generator, ground, hills, shading
from dev.demo.rasters import grid_around

VOID = -9999
PLUMBLINE = (
    "Plumbline elevation tiles (synthetic)",
    "Invented heights, with difficult cases: the antimeridian, heights in the bbox, no geometry, special characters.",
    ("CC0-1.0", "elevation"),
)
# The id of each tile, its title, position and kind, and the height of its highest pixel in metres.
TILES = [
    ("plumbline-taveuni", "Taveuni, across the antimeridian", 179.97, -16.85, "islands", 1241),
    ("plumbline-kresta-bay", "Kresta Bay, across the antimeridian, with heights", 179.8, 66.1, "coast", 890),
    ("plumbline-puncak-jaya", "Puncak Jaya, with heights", 137.2, -4.1, "alps", 4884),
    ("plumbline-Þingvellir", "Þingvellir", -21.1, 64.25, "coast", 768),
    ("plumbline-北岳", "北岳 (Kita-dake)", 138.24, 35.67, "alps", 3193),
    ("plumbline-دماوند", "دماوند (Damavand)", 52.11, 35.95, "alps", 5609),
    ("plumbline-Re\u0301union", "Réunion, its id in decomposed Unicode", 55.5, -21.1, "islands", 3070),
    ("plumbline-void-filled-100%-aoraki", "Aoraki, all voids filled", 170.14, -43.6, "alps", 3724),
    ("plumbline-mont%20blanc", "Mont Blanc, its id escaped by its producer", 6.86, 45.83, "alps", 4806),
    ("plumbline tristan da cunha", "Tristan da Cunha, with spaces in its id", -12.28, -37.11, "islands", 2062),
    ("urn:plumbline:tile:0042", "Table Mountain, with colons in its id", 18.4, -33.97, "coast", 1086),
    ("plumbline-kilimanjaro.v1.2", "Kilimanjaro, with dots in its id", 37.35, -3.07, "savanna", 5895),
    ("plumbline-andes+puna", "Puna de Atacama, with a plus in its id", -68.5, -26.1, "desert", 6739),
    ("plumbline-dead-sea", "Dead Sea, below the oceans", 35.5, 31.5, "desert", -210),
]
HEIGHTS = raster("Heights above the geoid", "elevation", ["height"], "int16", nodata=VOID, unit="m")
MASK = raster("1 measured, 2 void", "classification", ["class"])
HANDBOOK = b"# Plumbline elevation tiles\n\nEvery height is invented: whole metres above the geoid; -9999 is a void.\n"


def items(bucket: Bucket) -> Iterator[Document]:
    """Yield every item of the collection, and add its objects to the bucket."""
    for tile in TILES:
        yield _item(bucket, *tile)
    handbook = bucket.put(f"{names.EDGES}/handbook.md", HANDBOOK, metadata("Product handbook", "text/markdown"))
    properties = _properties("Plumbline product handbook, without a place", 2023)
    yield item_document(names.EDGES, "plumbline-handbook", None, properties, {"handbook": handbook})


def _item(bucket: Bucket, item_id: str, title: str, lon: float, lat: float, kind: str, peak: float) -> Document:
    grid, random = grid_around(lon, lat, 200), generator(item_id)
    place = ground(item_id, KINDS[kind], grid.size)
    upward, lowest = np.maximum(place.height, 0), min(peak - 220, 0)
    heights = np.round(lowest + (peak - lowest) * upward / upward.max())
    voids = (hills(grid.size, 1.5, item_id, "voids") > 2.4) & ("void-filled" not in item_id)
    measured = np.where(voids, VOID, heights).astype(np.int16)
    counts, edges = np.histogram(heights, 20)
    histogram = {"metres": edges.round(1).tolist(), "pixels": counts.tolist()}
    accuracy = "\n".join(["error_m", *(f"{error:.2f}" for error in random.normal(0.2, 1.4, 12)), ""]).encode()
    # Keys in the bucket have a plus and an umlaut, so that signatures with them are tested.
    contents: dict[str, Content] = {
        "elevation.tif": ("elevation+geoid.tif", measured[None], HEIGHTS),
        "void mask": ("lücken.tif", (voids + 1).astype(np.uint8)[None], MASK),
        "stats:heights": ("heights.json", histogram, metadata("Distribution of the heights")),
        "report/accuracy": ("report/accuracy.csv", accuracy, metadata("Accuracy report", "text/csv")),
    }
    properties = _properties(title, int(random.integers(2023, 2026)))
    item = bucket.item(names.EDGES, item_id, grid, properties, _picture(place), **contents)
    return _raised(item, float(heights.min()), float(heights.max())) if "with heights" in title else item


def _properties(title: str, first: int) -> Document:
    """Return properties with a time range and no instant, as heights are measured over a period."""
    span = {"start_datetime": f"{first}-03-01T00:00:00Z", "end_datetime": f"{first + 1}-10-31T23:59:59Z"}
    return {"title": title, "datetime": None, "instruments": ["laser altimeter"], "processing:level": "L4", **span}


def _raised(item: Document, lowest: float, highest: float) -> Document:
    """Return an item whose bbox and geometry have heights in metres. The outline has the lowest height."""
    west, south, east, north = item["bbox"]
    lifted = json.loads(to_geojson(force_3d(shape(item["geometry"]), lowest)))
    return item | {"geometry": lifted, "bbox": [west, south, lowest, east, north, highest]}


def _picture(place: Ground) -> Any:
    """Return tints by height, from green through brown to white, with light from the north-west."""
    tints = ((96, 140, 84), (206, 196, 128), (160, 134, 120), (250, 250, 250))
    at = place.height / place.height.max()
    tinted = np.asarray([np.interp(at, (0, 0.25, 0.7, 1), channel) for channel in zip(*tints, strict=True)])
    tinted = tinted * (0.5 + 0.5 * shading(place, 315, 45))
    tinted[:, place.height <= 0] = np.asarray([[150], [190], [215]])
    return np.clip(tinted, 1, 255).astype(np.uint8)
