"""The items of the open collection: surface reflectance of an invented optical mission."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np

from dev.demo import names
from dev.demo.grids import Grid, footprint, grid_around
from dev.demo.landscape import CLIMATES, Landscape, landscape
from dev.demo.noise import generator
from dev.demo.optics import CLASS_NAMES, Bands, Sky, classes, picture, reflectance
from dev.demo.places import CALIBRATION_FIELD, SCENES, Place
from dev.demo.rasters import COG, PNG, png
from dev.demo.shelf import THUMBNAIL, VISUAL, Shelf, folder_of, public_assets
from dev.demo.stac import Document, item_document, timestamp
from dev.demo.sun import passing, sun_position

PIXELS, METRES = 256, 200
MOSAIC_PIXELS, MOSAIC_METRES = 1024, 50
VISITS = 4
"""Acquisitions of each place besides the stored ones."""


class Visit(NamedTuple):
    """One look at one place."""

    item: str
    place: Place
    moment: datetime
    cover: float
    """Share of the picture under clouds, from 0 to 1."""


# day, place, clouds: the scenes whose bytes are in the bucket.
_STORED = [
    ("2024-06-11", "danube-delta", 0.06),
    ("2023-07-02", "lofoten", 0.22),
    ("2024-08-19", "valais", 0.1),
    ("2025-05-04", "beauce", 0.15),
    ("2026-03-28", "iceland-south", 0.18),
    ("2023-11-15", "great-sand-sea", 0.0),
    ("2025-01-21", "gulf-of-guinea", 0.35),
    ("2024-07-30", "congo-basin", 0.41),
    ("2026-02-09", "okavango", 0.03),
    ("2025-10-12", "ganges-delta", 0.08),
    ("2024-09-05", "karakoram", 0.12),
    ("2026-06-17", "riau", 0.48),
    ("2025-04-26", "visayas", 0.2),
    ("2026-09-03", "tasmania", 0.27),
    ("2023-12-08", "bahamas", 0.13),
    ("2026-10-29", "atacama", 0.0),
]
_PLACES = {place.slug: place for place in SCENES}

BANDS = [
    {"name": "blue", "eo:common_name": "blue", "eo:center_wavelength": 0.49, "eo:full_width_half_max": 0.065},
    {"name": "green", "eo:common_name": "green", "eo:center_wavelength": 0.56, "eo:full_width_half_max": 0.035},
    {"name": "red", "eo:common_name": "red", "eo:center_wavelength": 0.665, "eo:full_width_half_max": 0.03},
    {"name": "nir", "eo:common_name": "nir", "eo:center_wavelength": 0.842, "eo:full_width_half_max": 0.115},
]

COMPOSITE: Document = {
    "title": "Median surface reflectance in four bands",
    "type": COG,
    "roles": ["data", "reflectance"],
    "data_type": "uint16",
    "nodata": 0,
    "raster:sampling": "area",
    "raster:scale": 0.0001,
    "raster:offset": 0,
    "bands": BANDS,
}

ASSETS: dict[str, Document] = {
    "visual": VISUAL,
    "reflectance": {
        "title": "Surface reflectance in four bands",
        "type": COG,
        "roles": ["data", "reflectance"],
        "data_type": "uint16",
        "nodata": 0,
        "raster:sampling": "area",
        "raster:scale": 0.001,
        "raster:offset": 0,
        "bands": BANDS,
    },
    "classes": {
        "title": "Scene classification",
        "description": ", ".join(f"{number} {name}" for number, name in enumerate(CLASS_NAMES, 1)),
        "type": COG,
        "roles": ["data", "classification"],
        "data_type": "uint8",
        "nodata": 0,
        "raster:sampling": "area",
        "bands": [{"name": "class"}],
    },
    "thumbnail": THUMBNAIL,
    "metadata": {"title": "Product metadata", "type": "application/json", "roles": ["metadata"]},
}
_PUBLIC = {"thumbnail.png": ASSETS["thumbnail"], "metadata.json": ASSETS["metadata"]}


def items(shelf: Shelf) -> Iterator[Document]:
    """Every item of the collection; the bytes of the stored ones go to the shelf."""
    for visit in _stored_visits():
        yield _stored_item(visit, shelf)
    for visit in _random_visits():
        yield _item(visit, _grid(visit.place), public_assets(names.OPEN, visit.item, _PUBLIC))
    yield _missing_item(shelf.bucket)
    yield _mosaic_item(shelf)


def scene(slug: str, size: int) -> Any:
    """A cloudless picture of one place."""
    return picture(reflectance(_ground(_PLACES[slug], size), Sky(0, 150, 50)))


def _stored_visits() -> Iterator[Visit]:
    yield _visit(CALIBRATION_FIELD, date(2025, 6, 18), 0.0)._replace(item=names.CALIBRATION)
    for day, slug, cover in _STORED:
        yield _visit(_PLACES[slug], date.fromisoformat(day), cover)


def _random_visits() -> Iterator[Visit]:
    taken = {visit.item for visit in _stored_visits()}
    for place in SCENES:
        random, wanted = generator(names.OPEN, place.slug), len(taken) + VISITS
        while len(taken) < wanted:
            day = date(2023, 1, 1) + timedelta(days=int(random.integers(0, 1415)))
            visit = _visit(place, day, round(float(random.beta(0.7, 1.2)), 4))
            if visit.item not in taken and sun_position(visit.moment, place.lon, place.lat)[1] > 12:
                taken.add(visit.item)
                yield visit


def _visit(place: Place, day: date, cover: float) -> Visit:
    jitter = float(generator(place.slug, day, "time").uniform(-9, 9))
    return Visit(f"fl2-{day:%Y%m%d}-{place.slug}", place, passing(day, place.lon, 10.5, jitter), cover)


def _grid(place: Place) -> Grid:
    return grid_around(place.lon, place.lat, METRES, PIXELS)


def _stored_item(visit: Visit, shelf: Shelf) -> Document:
    grid, folder = _grid(visit.place), folder_of(names.OPEN, visit.item)
    ground, sky = _ground(visit.place, grid.size), _sky(visit)
    bands, classified = reflectance(ground, sky, None, visit.item), classes(ground, sky, visit.item)
    rasters = {"visual": picture(bands), "reflectance": _counts(bands), "classes": classified[None]}
    assets = {key: shelf.put_raster(folder, f"{key}.tif", pixels, grid, ASSETS[key]) for key, pixels in rasters.items()}
    assets["thumbnail"] = THUMBNAIL | shelf.put(folder, "thumbnail.png", png(rasters["visual"]), PNG)
    report = json.dumps(_report(visit, classified), indent=1, ensure_ascii=False).encode()
    assets["metadata"] = ASSETS["metadata"] | shelf.put(folder, "metadata.json", report, "application/json")
    return _item(visit, grid, assets)


def _ground(place: Place, size: int) -> Landscape:
    return landscape(place.slug, CLIMATES[place.climate], size)


def _sky(visit: Visit) -> Sky:
    return Sky(visit.cover, *sun_position(visit.moment, visit.place.lon, visit.place.lat))


def _counts(bands: Bands) -> Any:
    return np.round(bands * 1000).astype(np.uint16)


def _report(visit: Visit, classified: Any) -> Document:
    shares = {name: round(100 * float((classified == at).mean()), 2) for at, name in enumerate(CLASS_NAMES, 1)}
    azimuth, elevation = sun_position(visit.moment, visit.place.lon, visit.place.lat)
    return {
        "product": visit.item,
        "notice": "Synthetic data: no satellite took this picture.",
        "place": visit.place.name,
        "acquired": timestamp(visit.moment),
        "sun": {"azimuth": azimuth, "elevation": elevation},
        "percent_of_pixels": shares,
    }


def _missing_item(bucket: str) -> Document:
    """An item whose object was lost: size and checksum are those the object had."""
    item_id = names.MISSING_DOWNLOAD.item
    visit = _visit(_PLACES["chesapeake"], date(2023, 3, 2), 0.11)._replace(item=item_id)
    once = _stored_item(visit, Shelf(bucket))["assets"]["visual"]
    item = _item(visit, _grid(visit.place), {"visual": once} | public_assets(names.OPEN, item_id, _PUBLIC))
    item["properties"]["title"] = "Chesapeake Bay, 2 March 2023: an item whose object is missing from the bucket"
    return item


def _mosaic_item(shelf: Shelf) -> Document:
    """A season's cloudless composite: one large file over a span of time."""
    item_id, place = names.LARGE_DOWNLOAD.item, _PLACES["andalusia"]
    start, end = datetime(2025, 4, 1, tzinfo=UTC), datetime(2025, 6, 30, 23, 59, 59, tzinfo=UTC)
    visit = Visit(item_id, place, passing(date(2025, 5, 16), place.lon, 10.5), 0.0)
    grid, folder = grid_around(place.lon, place.lat, MOSAIC_METRES, MOSAIC_PIXELS), folder_of(names.OPEN, item_id)
    bands = reflectance(_ground(place, grid.size), _sky(visit))
    finer = np.round(bands * 10000).astype(np.uint16)
    item = _item(
        visit,
        grid,
        {
            "visual": shelf.put_raster(folder, "visual.tif", picture(bands), grid, VISUAL),
            "composite": shelf.put_raster(folder, "composite.tif", finer, grid, COMPOSITE),
            "thumbnail": THUMBNAIL | shelf.put(folder, "thumbnail.png", png(picture(bands)), PNG),
        },
    )
    item["properties"] |= {
        "title": f"{place.name}, cloudless composite of April to June 2025",
        "start_datetime": timestamp(start),
        "end_datetime": timestamp(end),
    }
    return item


def _item(visit: Visit, grid: Grid, assets: dict[str, Document]) -> Document:
    return item_document(names.OPEN, visit.item, footprint(grid), _properties(visit, grid), assets)


def _properties(visit: Visit, grid: Grid) -> Document:
    random = generator(visit.item, "orbit")
    azimuth, elevation = sun_position(visit.moment, visit.place.lon, visit.place.lat)
    orbit = 4021 + int((visit.moment - datetime(2023, 1, 1, tzinfo=UTC)) / timedelta(days=1) * 14.3)
    return {
        "title": f"{visit.place.name}, {visit.moment.day} {visit.moment:%B %Y}",
        "datetime": timestamp(visit.moment),
        "created": timestamp((visit.moment + timedelta(hours=20)).replace(microsecond=0)),
        "platform": random.choice(["fenlark-2a", "fenlark-2b"]).item(),
        "constellation": "fenlark-2",
        "instruments": ["wsi"],
        "gsd": MOSAIC_METRES,
        "eo:cloud_cover": round(100 * visit.cover, 2),
        "view:off_nadir": round(float(random.uniform(0, 9)), 2),
        "view:sun_azimuth": azimuth,
        "view:sun_elevation": elevation,
        "sat:orbit_state": "descending",
        "sat:absolute_orbit": orbit,
        "sat:relative_orbit": orbit % 143 + 1,
        "proj:code": grid.crs,
        "proj:bbox": grid.bounds,
        "processing:level": "L2",
        "processing:software": {"fenlark-sr": "4.1"},
    }
