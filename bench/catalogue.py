"""A deterministic catalogue for benchmarks: two collections, items of about 10 KB with sixteen assets each.

The objects of some scenes are in the bucket, under three prefixes. The server has a different setting for the
verification of objects under each prefix, see ``bench.servers``.
"""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Document = dict[str, Any]

COLLECTIONS = ("merlin-2-l2a", "merlin-2-l3")
STORED = 64
"""Number of items, from the first, with objects in the bucket."""
CHECKED, EACH_TIME, UNCHECKED = "scenes/", "audited/", "trusted/"
"""Prefixes of keys in the bucket."""
BIG = "scenes/archive.bin"

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
SCHEMAS = ("eo/v2.0.0", "file/v2.1.0", "grid/v1.1.0", "projection/v2.0.0", "raster/v2.0.0", "view/v1.1.0")
BANDS = (
    ("coastal", 0.443, 60),
    ("blue", 0.49, 10),
    ("green", 0.56, 10),
    ("red", 0.665, 10),
    ("rededge071", 0.705, 20),
    ("rededge075", 0.74, 20),
    ("rededge078", 0.783, 20),
    ("nir", 0.842, 10),
    ("nir08", 0.865, 20),
    ("nir09", 0.945, 60),
    ("swir16", 1.61, 20),
    ("swir22", 2.19, 20),
)
FIRST, LAST = datetime(2017, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Scene:
    """An item, with its id, its path, and the keys of its objects."""

    number: int

    @property
    def collection(self) -> str:
        """The collection of the item."""
        return COLLECTIONS[self.number % len(COLLECTIONS)]

    @property
    def item(self) -> str:
        """The item's id."""
        return f"M2_{self.number:07d}_{self.number * 7919 % 46656:05d}_R{self.number % 143:03d}_V0214"

    @property
    def path(self) -> str:
        """The URL path of the item."""
        return f"/collections/{self.collection}/items/{self.item}"

    def key(self, prefix: str) -> str:
        """Return the key of the object in the bucket."""
        return f"{prefix}{self.item}/visual.tif"


def collection(name: str) -> Document:
    """Return a collection."""
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": name,
        "title": f"Merlin-2 ({name})",
        "description": "Scenes of an invented satellite, for benchmarks of a catalogue.",
        "license": "other",
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [["2017-01-01T00:00:00Z", "2026-01-01T00:00:00Z"]]},
        },
        "links": [],
    }


def item(scene: Scene, bucket: str) -> Document:
    """Return an item."""
    draw = random.Random(scene.number)
    lon, lat = draw.uniform(-178, 178), math.degrees(math.asin(draw.uniform(-0.95, 0.95)))
    ring = _footprint(lon, lat, draw)
    zone = int((lon + 180) // 6) + 1
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [f"https://stac-extensions.github.io/{name}/schema.json" for name in SCHEMAS],
        "id": scene.item,
        "collection": scene.collection,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [f(place[axis] for place in ring) for f in (min, max) for axis in (0, 1)],
        "properties": _properties(zone, lat, draw),
        "links": [{"rel": "license", "href": "https://merlin.example.org/licence", "type": "text/html"}],
        "assets": _assets(scene, f"s3://{bucket}/", draw),
    }


def write(folder: Path, items: int, bucket: str) -> tuple[Path, Path]:
    """Write the collections and ``items`` items to files for ``stacflask load``. Return the paths of the files."""
    collections, scenes = folder / "collections.ndjson", folder / "items.ndjson"
    collections.write_text("".join(_lines(map(collection, COLLECTIONS))), "utf-8")
    with scenes.open("w", encoding="utf-8") as file:
        file.writelines(_lines(item(Scene(number), bucket) for number in range(items)))
    return collections, scenes


def _lines(documents: Iterator[Document]) -> Iterator[str]:
    return (json.dumps(document, separators=(",", ":")) + "\n" for document in documents)


def _footprint(lon: float, lat: float, draw: random.Random) -> list[list[float]]:
    """Return a slightly turned square of 110 km, as a closed ring."""
    turn, wide = math.radians(draw.uniform(-12, 12)), 0.5 / max(0.2, math.cos(math.radians(lat)))
    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)]
    cos, sin = math.cos(turn), math.sin(turn)
    places = ((lon + (x * cos - y * sin) * wide, lat + (x * sin + y * cos) * 0.5) for x, y in corners)
    return [[round(min(180, max(-180, east)), 6), round(min(90, max(-90, north)), 6)] for east, north in places]


def _properties(zone: int, lat: float, draw: random.Random) -> Document:
    moment = FIRST + (LAST - FIRST) * draw.random()
    shares = ("dark", "shadow", "vegetation", "bare", "water", "unclassified", "haze", "cirrus", "snow", "saturated")
    return {
        "datetime": _timestamp(moment),
        "created": _timestamp(moment + timedelta(hours=draw.uniform(4, 30))),
        "updated": _timestamp(moment + timedelta(days=draw.uniform(2, 60))),
        "platform": draw.choice(("merlin-2a", "merlin-2b")),
        "constellation": "merlin-2",
        "instruments": ["msi"],
        "gsd": 10,
        "eo:cloud_cover": round(draw.betavariate(0.5, 0.6) * 100, 4),
        "grid:code": f"MGRS-{zone:02d}XAA",
        "proj:code": f"EPSG:{(32600 if lat > 0 else 32700) + zone}",
        "view:sun_azimuth": round(draw.uniform(20, 170), 5),
        "view:sun_elevation": round(draw.uniform(15, 70), 5),
        "view:incidence_angle": round(draw.uniform(0, 12), 5),
        "merlin:processing_baseline": "02.14",
        "merlin:datatake": f"DT{draw.getrandbits(64):016x}",
        **{f"merlin:{share}_percentage": round(draw.random() * 20, 5) for share in shares},
    }


def _assets(scene: Scene, root: str, draw: random.Random) -> Document:
    assets = {name: _band(scene, root, draw, name, wavelength, gsd) for name, wavelength, gsd in BANDS}
    visual = {"title": "True colour", "type": COG, "roles": ["visual"], "gsd": 10, "file:size": 1 << 20}
    for key, prefix in (("visual", CHECKED), ("audited", EACH_TIME), ("trusted", UNCHECKED)):
        assets[key] = {"href": root + scene.key(prefix), **visual}
    assets["archive"] = {"href": root + BIG, "title": "All", "type": "application/octet-stream", "roles": ["data"]}
    return assets


def _band(scene: Scene, root: str, draw: random.Random, name: str, wavelength: float, gsd: int) -> Document:
    pixels = 109800 // gsd
    return {
        "href": f"{root}{CHECKED}{scene.item}/{name}.tif",
        "title": f"Surface reflectance, {name}, {gsd} m",
        "type": COG,
        "roles": ["data", "reflectance"],
        "gsd": gsd,
        "data_type": "uint16",
        "nodata": 0,
        "unit": "1",
        "bands": [{"name": name, "eo:common_name": name, "eo:center_wavelength": wavelength}],
        "raster:scale": 0.0001,
        "raster:offset": -0.1,
        "raster:spatial_resolution": gsd,
        "proj:shape": [pixels, pixels],
        "proj:transform": [gsd, 0, 300000 + 20 * draw.randrange(5000), 0, -gsd, 5000020 + 20 * draw.randrange(5000)],
        "file:size": draw.randrange(2_000_000, 250_000_000),
        "file:checksum": f"1220{draw.getrandbits(256):064x}",
    }


def _timestamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
