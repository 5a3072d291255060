"""The optical collections: scenes of an invented mission, and maps of invented disasters."""

from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray
from rasterio.features import shapes, sieve
from rasterio.warp import transform_geom

from dev.demo import names
from dev.demo.documents import VISUAL, Bucket, Content, Document, metadata, passing, raster
from dev.demo.ground import CALIBRATION, KINDS, Field, Ground, Scene, generator, ground, highest, hills, ramp, shading
from dev.demo.rasters import grid_around

FENLARK = (
    "Fenlark-2 surface reflectance (synthetic)",
    "Reflectance in four bands from the invented optical mission Fenlark-2. Every pixel is invented.",
    ("CC-BY-4.0", "optical"),
)
SCENES = [
    Scene("danube-delta", "Danube delta", 29.35, 45.12, "delta"),
    Scene("valais", "Valais Alps", 7.7, 46.05, "alps"),
    Scene("gulf-of-guinea", "Gulf of Guinea", 0.0, 0.0, "sea"),
    Scene("congo-basin", "Congo basin", 22.5, 0.6, "forest"),
    Scene("ganges-delta", "Sundarbans", 89.2, 21.9, "delta"),
    Scene("tasmania", "South-west Tasmania", 146.1, -43.0, "coast"),
    Scene("atacama", "Atacama", -69.3, -24.1, "desert"),
    Scene("disko-bay", "Disko Bay", -51.6, 69.1, "ice"),
]
CHESAPEAKE = Scene("chesapeake", "Chesapeake Bay: an item whose object is missing", -76.2, 38.0, "coast")
ANDALUSIA = Scene("andalusia", "Lower Guadalquivir", -5.9, 37.2, "farmland")

BANDS = ["blue", "green", "red", "nir"]
REFLECTANCE = raster("Surface reflectance", "reflectance", BANDS, "uint16", **{"raster:scale": 0.0001})


def fenlark_items(bucket: Bucket) -> Iterator[Document]:
    """Yield every item of the collection, and add its objects to the bucket."""
    yield _scene_item(CALIBRATION, date(2025, 6, 18), 0.0, bucket, names.CALIBRATION)
    yield _scene_item(SCENES[0], date(2024, 6, 11), 0.06, bucket)
    for scene in SCENES:
        random = generator(names.OPEN, scene.slug)
        for offset in random.choice(1415, 3, replace=False):
            cover = round(float(random.beta(0.7, 1.8)), 4)
            yield _scene_item(scene, date(2023, 1, 1) + timedelta(days=int(offset)), cover, bucket)
    missing = _scene_item(CHESAPEAKE, date(2023, 3, 2), 0.11, Bucket(bucket.name), names.MISSING_DOWNLOAD.item)
    yield missing | {"assets": {"visual": missing["assets"]["visual"]}}
    yield _mosaic(bucket)


def _scene_item(scene: Scene, day: date, cover: float, bucket: Bucket, item_id: str = "") -> Document:
    item_id = item_id or f"fl2-{day:%Y%m%d}-{scene.slug}"
    grid = grid_around(scene.lon, scene.lat, 200)
    bands = with_clouds(reflectance(ground(scene.slug, KINDS[scene.kind], grid.size)), cover, item_id)
    report = {"product": item_id, "notice": "Synthetic data: no satellite took this picture."}
    contents: dict[str, Content] = {
        "visual": ("visual.tif", picture(bands), VISUAL),
        "reflectance": ("reflectance.tif", np.round(bands * 500).astype(np.uint16) * 20, REFLECTANCE),
        "metadata": ("metadata.json", report, metadata("Product metadata")),
    }
    return bucket.item(names.OPEN, item_id, grid, _properties(scene, day, cover), picture(bands), **contents)


def _mosaic(bucket: Bucket) -> Document:
    """Return a cloudless composite of a season: one large file with a time range."""
    scene = ANDALUSIA
    grid = grid_around(scene.lon, scene.lat, 50, 1024)
    bands = reflectance(ground(scene.slug, KINDS[scene.kind], grid.size))
    composite = ("composite.tif", np.round(bands * 10000).astype(np.uint16), REFLECTANCE)
    span = {"start_datetime": "2025-04-01T00:00:00Z", "end_datetime": "2025-06-30T23:59:59Z"}
    properties = _properties(scene, date(2025, 5, 16), 0.0) | {"title": f"{scene.name}, cloudless composite"} | span
    return bucket.item(names.OPEN, names.LARGE_DOWNLOAD.item, grid, properties, picture(bands), composite=composite)


def _properties(scene: Scene, day: date, cover: float) -> Document:
    return {
        "title": f"{scene.name}, {day.day} {day:%B %Y}",
        "datetime": passing(day, scene.lon, 10.5),
        "platform": "fenlark-2a" if day.toordinal() % 2 else "fenlark-2b",
        "instruments": ["wsi"],
        "eo:cloud_cover": round(100 * cover, 2),
        "processing:level": "L2",
    }


QUICKWATER = (
    "Quickwater disaster response (synthetic, restricted)",
    "Maps of invented floods and fires. Users outside of the response group can neither see nor download them.",
    ("other", "disaster response"),
)
MARA = Scene("mara-flood", "Mara lowland flood", 33.95, -1.5, "farmland")
RIBATEJO = Scene("ribatejo-fire", "Ribatejo wildfire", -8.3, 39.5, "savanna")
# The id of each disaster, its place and day, and the days of its maps after it. Day -1 is the state before.
EVENTS = [
    ("qw-000-exercise", CALIBRATION, date(2025, 6, 18), (0,)),
    ("qw-001-mara-flood", MARA, date(2024, 4, 21), (-1, 0, 2, 4, 7)),
    ("qw-003-ribatejo-fire", RIBATEJO, date(2025, 8, 6), (-1, 1, 3, 5)),
]
EXTENT = raster("1 untouched, 2 permanent water, 3 damaged", "classification", ["class"])
OUTLINE: Document = {"title": "Outline of the damage", "type": "application/geo+json", "roles": ["data", "vector"]}


def quickwater_items(bucket: Bucket) -> Iterator[Document]:
    """Yield every item of the collection, and add its objects to the bucket."""
    for event, scene, struck, days in EVENTS:
        for day in days:
            yield _event_item(event, scene, struck, day, bucket)


def _event_item(event: str, scene: Scene, struck: date, day: int, bucket: Bucket) -> Document:
    when, floods, cover = "before" if day < 0 else f"day-{day}", "fire" not in event, 0.1 / (2 + day)
    grid, item_id = grid_around(scene.lon, scene.lat, 40), f"{event}-{when}"
    place = ground(scene.slug, KINDS[scene.kind], grid.size)
    # A flood comes at once and drains, a fire spreads and leaves a scar.
    share = 0 if day < 0 else 0.34 * 0.93**day if floods else 0.3 * (1 - 0.6 ** (day + 1))
    hollow = hills(grid.size, 1.8, event) - 0.3 * place.height
    damage = highest(share, 0.03, hollow) if share else np.zeros_like(hollow)
    damaged = sieve(((damage > 0.5) & (place.height > 0)).astype(np.uint8), 12)
    seen = picture(with_clouds(reflectance(place, (FLOOD if floods else BURNT, damage)), cover, item_id))
    extent = np.where(damaged == 1, 3, np.where(place.height < 0, 2, 1)).astype(np.uint8)
    outlines = [outline for outline, _ in shapes(damaged, mask=damaged == 1, transform=grid.transform)]
    lonlat = transform_geom(grid.crs, "EPSG:4326", outlines, precision=6)
    features = [{"type": "Feature", "properties": {}, "geometry": outline} for outline in lonlat]
    report = {"event": event, "notice": "This disaster is invented.", "damaged_km2": int(damaged.sum()) * 0.0016}
    properties = {
        "title": f"{scene.name}, {when}",
        "datetime": passing(struck + timedelta(days=day), scene.lon, 11.2),
        "platform": "quickwater-1",
        "instruments": ["qwcam"],
        "event_id": event,
        "event_kind": "flood" if floods else "fire",
        "eo:cloud_cover": round(100 * cover, 2),
        "processing:level": "L3",
    }
    contents: dict[str, Content] = {
        "visual": ("visual.tif", seen, VISUAL),
        "extent": ("extent.tif", extent[None], EXTENT),
        "outline": ("outline.geojson", {"type": "FeatureCollection", "features": features}, OUTLINE),
        "situation": ("situation.json", report, metadata("Situation report")),
    }
    item_id = names.CALIBRATION if scene is CALIBRATION else item_id
    return bucket.item(names.HIDDEN, item_id, grid, properties, seen, **contents)


Colour = tuple[float, float, float, float]
"""Reflectances in blue, green, red and near infrared, from 0 to 1."""
Bands = NDArray[np.float32]
"""Values by band, row and column."""

SAND: Colour = (0.17, 0.24, 0.33, 0.39)
BURNT: Colour = (0.045, 0.042, 0.045, 0.07)
FLOOD: Colour = (0.075, 0.115, 0.15, 0.05)
CLOUD: Colour = (0.78, 0.78, 0.79, 0.76)
# What covers the ground: its colour, the field that it depends on, and the values at which it begins and is complete.
COVERS: list[tuple[Colour, str, float, float]] = [
    ((0.09, 0.125, 0.145, 0.24), "moisture", 0.05, 0.35),  # steppe
    ((0.045, 0.085, 0.058, 0.34), "moisture", 0.3, 0.65),  # grass
    ((0.025, 0.05, 0.03, 0.27), "moisture", 0.55, 0.85),  # forest
    ((0.13, 0.14, 0.15, 0.19), "rock", 0.8, 2.6),
    ((0.86, 0.88, 0.88, 0.8), "snow", -0.15, 0.15),
    ((0.095, 0.105, 0.065, 0.015), "depth", 0, 0.02),  # shallow water
    ((0.07, 0.042, 0.018, 0.006), "depth", 0.1, 0.9),  # deep water
]


def reflectance(place: Ground, damage: tuple[Colour, Field] | None = None) -> Bands:
    """Return blue, green, red and near infrared from 0 to 1. ``damage`` is a colour and its share in each pixel."""
    fields = _fields(place)
    bands = np.asarray(SAND, np.float32)[:, None, None]
    for colour, name, low, high in COVERS:
        bands = _mixed(bands, colour, ramp(low, high, fields[name]))
    if damage:
        bands = _mixed(bands, *damage)
    light = 1 + 0.75 * (shading(place, 150, 45) - 1)
    return np.asarray(np.clip(bands * light * (1 + 0.05 * place.grain), 0.001, 1), np.float32)


def with_clouds(bands: Bands, cover: float, item_id: str) -> Bands:
    """Return the bands with clouds on the share ``cover`` of them, and the shadows of the clouds."""
    if cover <= 0:
        return bands
    opacity = highest(cover, 0.45, hills(len(bands[0]), 1.7, item_id, "clouds"))
    shadow = np.roll(opacity, (len(opacity) // 25, len(opacity) // 40), (0, 1))
    return _mixed(bands * (1 - 0.5 * shadow), CLOUD, opacity)


def picture(bands: Bands) -> NDArray[np.uint8]:
    """Return a brightened picture in red, green and blue."""
    lit = np.clip((bands[[2, 1, 0]] - 0.012) / 0.9, 0, 1)
    return np.asarray(lit**0.45 * 254 + 1, np.uint8)


def _fields(place: Ground) -> dict[str, Field]:
    height, moist = place.height, place.moisture + 0.03 * place.grain
    snow, rock = height - place.kind.snow, height * place.kind.relief
    return {"moisture": moist, "rock": rock, "snow": snow, "depth": -height}


def _mixed(under: Bands, over: Colour, share: Field) -> Bands:
    return under + (np.asarray(over, np.float32)[:, None, None] - under) * share
