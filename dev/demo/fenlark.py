"""The items of the open collection: surface reflectance of an invented optical mission."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np

from dev.demo import names
from dev.demo.bucket import THUMBNAIL, VISUAL, Bucket, folder_of, public_assets
from dev.demo.grids import Grid, footprint, grid_around
from dev.demo.landscape import CLIMATES, Landscape, landscape
from dev.demo.noise import generator
from dev.demo.optics import CLASS_NAMES, Bands, Sky, classes, picture, reflectance
from dev.demo.places import CALIBRATION_FIELD, SCENES, Place
from dev.demo.rasters import COG, PNG, png
from dev.demo.stac import Document, item_document, timestamp
from dev.demo.sun import passing, sun_position

PIXELS, METRES = 256, 200
MOSAIC_PIXELS, MOSAIC_METRES = 1024, 50
RANDOM_ACQUISITIONS = 4
"""Number of acquisitions of each place, in addition to the stored ones."""


class Acquisition(NamedTuple):
    """One acquisition of one place."""

    item: str
    place: Place
    moment: datetime
    cover: float
    """Share of the picture under clouds, from 0 to 1."""


# Day, place and cloud cover of the scenes with objects in the bucket.
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


def items(bucket: Bucket) -> Iterator[Document]:
    """Yield every item of the collection. Objects of stored items are added to the bucket."""
    for acquisition in _stored_acquisitions():
        yield _stored_item(acquisition, bucket)
    for acquisition in _random_acquisitions():
        yield _item(acquisition, _grid(acquisition.place), public_assets(names.OPEN, acquisition.item, _PUBLIC))
    yield _missing_item(bucket.name)
    yield _mosaic_item(bucket)


def scene(slug: str, size: int) -> Any:
    """Return a cloudless picture of a place."""
    return picture(reflectance(_ground(_PLACES[slug], size), Sky(0, 150, 50)))


def _stored_acquisitions() -> Iterator[Acquisition]:
    yield _acquisition(CALIBRATION_FIELD, date(2025, 6, 18), 0.0)._replace(item=names.CALIBRATION)
    for day, slug, cover in _STORED:
        yield _acquisition(_PLACES[slug], date.fromisoformat(day), cover)


def _random_acquisitions() -> Iterator[Acquisition]:
    ids = {acquisition.item for acquisition in _stored_acquisitions()}
    for place in SCENES:
        random, total = generator(names.OPEN, place.slug), len(ids) + RANDOM_ACQUISITIONS
        while len(ids) < total:
            day = date(2023, 1, 1) + timedelta(days=int(random.integers(0, 1415)))
            acquisition = _acquisition(place, day, round(float(random.beta(0.7, 1.2)), 4))
            if acquisition.item not in ids and sun_position(acquisition.moment, place.lon, place.lat)[1] > 12:
                ids.add(acquisition.item)
                yield acquisition


def _acquisition(place: Place, day: date, cover: float) -> Acquisition:
    jitter = float(generator(place.slug, day, "time").uniform(-9, 9))
    return Acquisition(f"fl2-{day:%Y%m%d}-{place.slug}", place, passing(day, place.lon, 10.5, jitter), cover)


def _grid(place: Place) -> Grid:
    return grid_around(place.lon, place.lat, METRES, PIXELS)


def _stored_item(acquisition: Acquisition, bucket: Bucket) -> Document:
    grid, folder = _grid(acquisition.place), folder_of(names.OPEN, acquisition.item)
    ground, sky = _ground(acquisition.place, grid.size), _sky(acquisition)
    bands, classified = reflectance(ground, sky, None, acquisition.item), classes(ground, sky, acquisition.item)
    rasters = {"visual": picture(bands), "reflectance": _counts(bands), "classes": classified[None]}
    assets = {
        key: bucket.put_raster(folder, f"{key}.tif", pixels, grid, ASSETS[key]) for key, pixels in rasters.items()
    }
    assets["thumbnail"] = THUMBNAIL | bucket.put(folder, "thumbnail.png", png(rasters["visual"]), PNG)
    report = json.dumps(_report(acquisition, classified), indent=1, ensure_ascii=False).encode()
    assets["metadata"] = ASSETS["metadata"] | bucket.put(folder, "metadata.json", report, "application/json")
    return _item(acquisition, grid, assets)


def _ground(place: Place, size: int) -> Landscape:
    return landscape(place.slug, CLIMATES[place.climate], size)


def _sky(acquisition: Acquisition) -> Sky:
    return Sky(acquisition.cover, *sun_position(acquisition.moment, acquisition.place.lon, acquisition.place.lat))


def _counts(bands: Bands) -> Any:
    return np.round(bands * 1000).astype(np.uint16)


def _report(acquisition: Acquisition, classified: Any) -> Document:
    shares = {name: round(100 * float((classified == at).mean()), 2) for at, name in enumerate(CLASS_NAMES, 1)}
    azimuth, elevation = sun_position(acquisition.moment, acquisition.place.lon, acquisition.place.lat)
    return {
        "product": acquisition.item,
        "notice": "Synthetic data: no satellite took this picture.",
        "place": acquisition.place.name,
        "acquired": timestamp(acquisition.moment),
        "sun": {"azimuth": azimuth, "elevation": elevation},
        "percent_of_pixels": shares,
    }


def _missing_item(bucket_name: str) -> Document:
    """Return an item whose object is missing. Its size and checksum are those of the lost object."""
    item_id = names.MISSING_DOWNLOAD.item
    acquisition = _acquisition(_PLACES["chesapeake"], date(2023, 3, 2), 0.11)._replace(item=item_id)
    visual = _stored_item(acquisition, Bucket(bucket_name))["assets"]["visual"]
    item = _item(
        acquisition, _grid(acquisition.place), {"visual": visual} | public_assets(names.OPEN, item_id, _PUBLIC)
    )
    item["properties"]["title"] = "Chesapeake Bay, 2 March 2023: an item whose object is missing from the bucket"
    return item


def _mosaic_item(bucket: Bucket) -> Document:
    """Return a cloudless composite of a season: one large file with a time range."""
    item_id, place = names.LARGE_DOWNLOAD.item, _PLACES["andalusia"]
    start, end = datetime(2025, 4, 1, tzinfo=UTC), datetime(2025, 6, 30, 23, 59, 59, tzinfo=UTC)
    acquisition = Acquisition(item_id, place, passing(date(2025, 5, 16), place.lon, 10.5), 0.0)
    grid, folder = grid_around(place.lon, place.lat, MOSAIC_METRES, MOSAIC_PIXELS), folder_of(names.OPEN, item_id)
    bands = reflectance(_ground(place, grid.size), _sky(acquisition))
    finer = np.round(bands * 10000).astype(np.uint16)
    item = _item(
        acquisition,
        grid,
        {
            "visual": bucket.put_raster(folder, "visual.tif", picture(bands), grid, VISUAL),
            "composite": bucket.put_raster(folder, "composite.tif", finer, grid, COMPOSITE),
            "thumbnail": THUMBNAIL | bucket.put(folder, "thumbnail.png", png(picture(bands)), PNG),
        },
    )
    item["properties"] |= {
        "title": f"{place.name}, cloudless composite of April to June 2025",
        "start_datetime": timestamp(start),
        "end_datetime": timestamp(end),
    }
    return item


def _item(acquisition: Acquisition, grid: Grid, assets: dict[str, Document]) -> Document:
    return item_document(names.OPEN, acquisition.item, footprint(grid), _properties(acquisition, grid), assets)


def _properties(acquisition: Acquisition, grid: Grid) -> Document:
    random = generator(acquisition.item, "orbit")
    azimuth, elevation = sun_position(acquisition.moment, acquisition.place.lon, acquisition.place.lat)
    orbit = 4021 + int((acquisition.moment - datetime(2023, 1, 1, tzinfo=UTC)) / timedelta(days=1) * 14.3)
    return {
        "title": f"{acquisition.place.name}, {acquisition.moment.day} {acquisition.moment:%B %Y}",
        "datetime": timestamp(acquisition.moment),
        "created": timestamp((acquisition.moment + timedelta(hours=20)).replace(microsecond=0)),
        "platform": random.choice(["fenlark-2a", "fenlark-2b"]).item(),
        "constellation": "fenlark-2",
        "instruments": ["wsi"],
        "gsd": MOSAIC_METRES,
        "eo:cloud_cover": round(100 * acquisition.cover, 2),
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
