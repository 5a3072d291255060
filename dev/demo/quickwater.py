"""The items of the hidden collection: maps of invented disasters for the response group."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
from rasterio.features import shapes, sieve
from rasterio.warp import transform_geom

from dev.demo import names
from dev.demo.bucket import THUMBNAIL, VISUAL, Bucket, folder_of, public_assets
from dev.demo.grids import DIGITS, Grid, footprint, grid_around
from dev.demo.landscape import CLIMATES, Landscape, landscape
from dev.demo.noise import Field, fractal, smoothstep
from dev.demo.optics import Damage, Sky, picture, reflectance
from dev.demo.places import CALIBRATION_FIELD, Place
from dev.demo.rasters import COG, PNG, png
from dev.demo.stac import Document, item_document, timestamp
from dev.demo.sun import passing, sun_position

PIXELS, METRES = 256, 40
GEOJSON = "application/geo+json"


@dataclass(frozen=True, slots=True)
class Event:
    """One disaster, with maps of some of the days after it."""

    id: str
    place: Place
    kind: str
    """flood or fire"""
    struck: date
    days: tuple[int, ...]
    """Days of the maps, counted from the disaster; -1 is the state before."""
    stored: tuple[int, ...]
    """The days with objects in the bucket."""


_EXERCISE = Event("qw-000-exercise", CALIBRATION_FIELD, "flood", date(2025, 6, 18), (0,), (0,))

EVENTS = [
    _EXERCISE,
    Event(
        "qw-001-mara-flood",
        Place("mara-flood", "Mara lowland flood", 33.95, -1.5, "farmland"),
        "flood",
        struck=date(2024, 4, 21),
        days=(-1, 0, 1, 2, 4, 7, 12, 20),
        stored=(-1, 2, 7),
    ),
    Event(
        "qw-002-axios-flood",
        Place("axios-flood", "Axios plain flood", 22.65, 40.65, "delta"),
        "flood",
        struck=date(2025, 11, 28),
        days=(-1, 0, 1, 3, 6, 10, 15),
        stored=(1, 6),
    ),
    Event(
        "qw-003-ribatejo-fire",
        Place("ribatejo-fire", "Ribatejo wildfire", -8.3, 39.5, "savanna"),
        "fire",
        struck=date(2025, 8, 6),
        days=(-1, 1, 2, 3, 5, 9, 16),
        stored=(-1, 5),
    ),
    Event(
        "qw-004-beira-flood",
        Place("beira-flood", "Beira cyclone flood", 34.75, -19.75, "coast"),
        "flood",
        struck=date(2023, 2, 24),
        days=(-1, 1, 2, 3, 5, 8, 14),
        stored=(),
    ),
    Event(
        "qw-005-okanagan-fire",
        Place("okanagan-fire", "Okanagan wildfire", -119.5, 49.7, "forest"),
        "fire",
        struck=date(2026, 7, 19),
        days=(-1, 0, 1, 2, 4, 7, 11),
        stored=(),
    ),
]

ASSETS: dict[str, Document] = {
    "visual": VISUAL,
    "extent": {
        "title": "Extent of the damage",
        "description": "1 untouched, 2 permanent water, 3 damaged",
        "type": COG,
        "roles": ["data", "classification"],
        "data_type": "uint8",
        "nodata": 0,
        "raster:sampling": "area",
        "bands": [{"name": "class"}],
    },
    "outline": {"title": "Outline of the damage", "type": GEOJSON, "roles": ["data", "vector"]},
    "thumbnail": THUMBNAIL,
    "situation": {"title": "Situation report", "type": "application/json", "roles": ["metadata"]},
}
_PUBLIC = {"thumbnail.png": THUMBNAIL, "situation.json": ASSETS["situation"]}


def items(bucket: Bucket) -> Iterator[Document]:
    """Yield every item of the collection. Objects of stored items are added to the bucket."""
    for event in EVENTS:
        for day in event.days:
            yield _stored_item(event, day, bucket) if day in event.stored else _bare_item(event, day)


def scene(slug: str, day: int, size: int) -> Any:
    """Return a cloudless picture of an event."""
    event = next(event for event in EVENTS if event.place.slug == slug)
    ground = landscape(slug, CLIMATES[event.place.climate], size)
    return picture(reflectance(ground, Sky(0, 150, 50), _damage(event, day, ground)))


def _item_id(event: Event, day: int) -> str:
    if event is _EXERCISE:
        return names.CALIBRATION
    return f"{event.id}-before" if day < 0 else f"{event.id}-day-{day}"


def _stored_item(event: Event, day: int, bucket: Bucket) -> Document:
    grid, item_id = _grid(event.place), _item_id(event, day)
    ground = landscape(event.place.slug, CLIMATES[event.place.climate], grid.size)
    damage, folder = _damage(event, day, ground), folder_of(names.HIDDEN, item_id)
    visual = picture(reflectance(ground, _sky(event, day), damage, item_id))
    struck = _struck(ground, damage)
    report = json.dumps(_situation(event, day, struck), indent=1).encode()
    assets = {
        "visual": bucket.put_raster(folder, "visual.tif", visual, grid, VISUAL),
        "extent": bucket.put_raster(folder, "extent.tif", _extent(ground, struck), grid, ASSETS["extent"]),
        "outline": ASSETS["outline"]
        | bucket.put(folder, "outline.geojson", json.dumps(_outline(struck, grid)).encode(), GEOJSON),
        "thumbnail": THUMBNAIL | bucket.put(folder, "thumbnail.png", png(visual), PNG),
        "situation": ASSETS["situation"] | bucket.put(folder, "situation.json", report, "application/json"),
    }
    return item_document(names.HIDDEN, item_id, footprint(grid), _properties(event, day, grid), assets)


def _bare_item(event: Event, day: int) -> Document:
    grid, item_id = _grid(event.place), _item_id(event, day)
    assets = public_assets(names.HIDDEN, item_id, _PUBLIC)
    return item_document(names.HIDDEN, item_id, footprint(grid), _properties(event, day, grid), assets)


def _grid(place: Place) -> Grid:
    return grid_around(place.lon, place.lat, METRES, PIXELS)


def _moment(event: Event, day: int) -> datetime:
    return passing(event.struck + timedelta(days=day), event.place.lon, 11.2)


def _sky(event: Event, day: int) -> Sky:
    cover = 0.05 if day < 0 else 0.14 / (1 + day)
    return Sky(round(cover, 4), *sun_position(_moment(event, day), event.place.lon, event.place.lat))


def _damage(event: Event, day: int, ground: Landscape) -> Damage:
    """Return the damage on a day. A flood comes at once and drains, a fire spreads and leaves a scar."""
    size, nothing = len(ground.height), np.zeros_like(ground.height)
    if day < 0:
        return Damage(nothing, nothing)
    hollow = fractal(size, size / 2.2, 7, event.id, "hollow", gain=0.55) - 0.3 * ground.height
    if event.kind == "flood":
        return Damage(_highest(hollow, 0.34 * 0.93**day), nothing)
    return Damage(nothing, _highest(hollow, 0.3 * (1 - 0.6 ** (day + 1))))


def _highest(field: Field, share: float) -> Field:
    edge = float(np.quantile(field, 1 - share))
    return smoothstep(edge - 0.03, edge + 0.03, field)


def _struck(ground: Landscape, damage: Damage) -> Any:
    """Return 1 for damaged dry land, without areas of a few pixels."""
    struck = (np.maximum(damage.flooded, damage.burnt) > 0.5) & (ground.water <= 0.5)
    return sieve(struck.astype(np.uint8), 12)


def _extent(ground: Landscape, struck: Any) -> Any:
    return np.where(struck == 1, 3, np.where(ground.water > 0.5, 2, 1)).astype(np.uint8)[None]


def _outline(struck: Any, grid: Grid) -> Document:
    outlines = shapes(struck, mask=struck == 1, transform=grid.transform)
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "properties": {"class": "damaged"},
                "geometry": transform_geom(grid.crs, "EPSG:4326", outline, precision=DIGITS),
            }
            for outline, _ in outlines
        ],
    }


def _situation(event: Event, day: int, struck: Any) -> Document:
    return {
        "event": event.id,
        "notice": "Exercise data: this disaster is invented.",
        "kind": event.kind,
        "mapped": timestamp(_moment(event, day)),
        "damaged_km2": round(float(struck.sum()) * METRES**2 / 1e6, 2),
    }


def _properties(event: Event, day: int, grid: Grid) -> Document:
    moment, sky = _moment(event, day), _sky(event, day)
    when = "before the event" if day < 0 else f"day {day}"
    return {
        "title": f"{event.place.name}, {when}",
        "datetime": timestamp(moment),
        "created": timestamp((moment + timedelta(hours=2)).replace(microsecond=0)),
        "platform": "quickwater-1",
        "instruments": ["qwcam"],
        "gsd": METRES,
        "event_id": event.id,
        "event_kind": event.kind,
        "eo:cloud_cover": round(100 * sky.cover, 2),
        "view:sun_azimuth": sky.sun_azimuth,
        "view:sun_elevation": sky.sun_elevation,
        "proj:code": grid.crs,
        "proj:bbox": grid.bounds,
        "processing:level": "L3",
    }
