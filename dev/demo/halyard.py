"""The items of the members' collection: spotlight scenes of an invented radar mission."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from dev.demo import names, radar
from dev.demo.bucket import THUMBNAIL, Bucket, folder_of, public_assets
from dev.demo.grids import Grid, footprint, grid_around
from dev.demo.landscape import CLIMATES, landscape
from dev.demo.noise import generator
from dev.demo.places import CALIBRATION_FIELD, HARBOURS, Place
from dev.demo.rasters import COG, PNG, png
from dev.demo.stac import Document, item_document, timestamp
from dev.demo.sun import passing

PIXELS, METRES = 320, 10
RANDOM_ACQUISITIONS = 4
"""Number of acquisitions of each place, in addition to the stored ones."""


class Acquisition(NamedTuple):
    """One acquisition of one place."""

    item: str
    place: Place
    moment: datetime
    polarizations: tuple[str, ...]

    @property
    def ascending(self) -> bool:
        """Whether the satellite flies northward. The radar observes to the right, so from the west."""
        return self.moment.hour % 2 == 0


# Day, place and polarisations of the scenes with objects in the bucket.
_STORED = [
    ("2025-03-09", "rotterdam", ("VV", "VH")),
    ("2023-05-27", "gibraltar", ("VV",)),
    ("2024-02-14", "suez", ("HH",)),
    ("2024-10-03", "hormuz", ("VV", "VH")),
    ("2025-08-22", "singapore", ("VV",)),
    ("2026-01-16", "sydney", ("HH", "HV")),
    ("2026-05-30", "magellan", ("VV",)),
    ("2023-09-19", "nuuk", ("HH",)),
    ("2026-08-08", "aland", ("VV",)),
    ("2026-11-04", "maasvlakte-fields", ("VV", "VH")),
]
_PLACES = {place.slug: place for place in HARBOURS}


def _amplitude(polarization: str) -> Document:
    return {
        "title": f"Calibrated amplitude, {polarization}",
        "type": COG,
        "roles": ["data", "amplitude"],
        "data_type": "uint16",
        "nodata": 0,
        "raster:sampling": "area",
        "raster:scale": 0.001,
        "raster:offset": 0,
        "sar:polarizations": [polarization],
        "bands": [{"name": polarization, "description": f"Square root of sigma nought, {polarization}"}],
    }


ASSETS: dict[str, Document] = {
    **{polarization.lower(): _amplitude(polarization) for polarization in ("VV", "VH", "HH", "HV")},
    "thumbnail": THUMBNAIL,
    "product": {"title": "Product annotation", "type": "application/xml", "roles": ["metadata"]},
}
_PUBLIC = {"thumbnail.png": THUMBNAIL, "product.xml": ASSETS["product"]}


def items(bucket: Bucket) -> Iterator[Document]:
    """Yield every item of the collection. Objects of stored items are added to the bucket."""
    for acquisition in _stored_acquisitions():
        yield _item(acquisition, _stored_assets(acquisition, bucket))
    for acquisition in _random_acquisitions():
        yield _item(acquisition, public_assets(names.MEMBERS, acquisition.item, _PUBLIC))


def scene(slug: str, size: int) -> Any:
    """Return a picture of a place in two polarisations."""
    ground = landscape(slug, CLIMATES[_PLACES[slug].climate], size)
    return radar.picture([radar.amplitude(ground, polarization, 80, slug) for polarization in ("VV", "VH")])


def _stored_acquisitions() -> Iterator[Acquisition]:
    yield _acquisition(CALIBRATION_FIELD, date(2025, 6, 18), ("VV",))._replace(item=names.CALIBRATION)
    for day, slug, polarizations in _STORED:
        yield _acquisition(_PLACES[slug], date.fromisoformat(day), polarizations)


def _random_acquisitions() -> Iterator[Acquisition]:
    ids = {acquisition.item for acquisition in _stored_acquisitions()}
    for place in HARBOURS:
        random = generator(names.MEMBERS, place.slug)
        for offset in random.choice(1415, RANDOM_ACQUISITIONS, replace=False):
            day = date(2023, 1, 1) + timedelta(days=int(offset))
            acquisition = _acquisition(place, day, ("VV", "VH") if random.random() < 0.4 else ("HH",))
            if acquisition.item not in ids:
                yield acquisition


def _acquisition(place: Place, day: date, polarizations: tuple[str, ...]) -> Acquisition:
    random = generator(place.slug, day, "pass")
    hour = random.choice([6.0, 18.0]).item()
    return Acquisition(
        f"hx-{day:%Y%m%d}-{place.slug}",
        place,
        passing(day, place.lon, hour, float(random.uniform(-12, 12))),
        polarizations,
    )


def _grid(place: Place) -> Grid:
    return grid_around(place.lon, place.lat, METRES, PIXELS)


def _stored_assets(acquisition: Acquisition, bucket: Bucket) -> dict[str, Document]:
    grid, folder = _grid(acquisition.place), folder_of(names.MEMBERS, acquisition.item)
    ground = landscape(acquisition.place.slug, CLIMATES[acquisition.place.climate], grid.size)
    azimuth = 260 if acquisition.ascending else 100
    bands = [
        radar.amplitude(ground, polarization, azimuth, acquisition.item) for polarization in acquisition.polarizations
    ]
    assets = {
        key: bucket.put_raster(folder, f"{key}.tif", band[None], grid, ASSETS[key])
        for key, band in zip(map(str.lower, acquisition.polarizations), bands, strict=True)
    }
    thumbnail = bucket.put(folder, "thumbnail.png", png(radar.picture(bands)), PNG)
    product = bucket.put(folder, "product.xml", _annotation(acquisition), "application/xml")
    return assets | {"thumbnail": THUMBNAIL | thumbnail, "product": ASSETS["product"] | product}


def _annotation(acquisition: Acquisition) -> bytes:
    root = Element("product", id=acquisition.item, synthetic="true")
    SubElement(root, "place").text = acquisition.place.name
    SubElement(root, "acquired").text = timestamp(acquisition.moment)
    for polarization in acquisition.polarizations:
        SubElement(root, "channel", polarization=polarization, looks=str(radar.LOOKS), scale="0.001")
    indent(root)
    return bytes(tostring(root, encoding="utf-8", xml_declaration=True))


def _item(acquisition: Acquisition, assets: dict[str, Document]) -> Document:
    grid = _grid(acquisition.place)
    return item_document(names.MEMBERS, acquisition.item, footprint(grid), _properties(acquisition, grid), assets)


def _properties(acquisition: Acquisition, grid: Grid) -> Document:
    random, moment = generator(acquisition.item, "geometry"), acquisition.moment
    orbit = 1207 + int((moment - datetime(2023, 1, 1, tzinfo=UTC)) / timedelta(days=1) * 15.2)
    return {
        "title": f"{acquisition.place.name}, {moment.day} {moment:%B %Y}, {'+'.join(acquisition.polarizations)}",
        "datetime": timestamp(moment),
        "created": timestamp((moment + timedelta(hours=3)).replace(microsecond=0)),
        "platform": "halyard-x1",
        "constellation": "halyard-x",
        "instruments": ["hxsar"],
        "gsd": METRES,
        **_radar_properties(acquisition),
        "view:incidence_angle": round(float(random.uniform(22, 48)), 2),
        "view:azimuth": 260 if acquisition.ascending else 100,
        "sat:orbit_state": "ascending" if acquisition.ascending else "descending",
        "sat:absolute_orbit": orbit,
        "sat:relative_orbit": orbit % 167 + 1,
        "proj:code": grid.crs,
        "proj:bbox": grid.bounds,
        "processing:level": "L1",
        "processing:software": {"halyard-focus": "2.7"},
    }


def _radar_properties(acquisition: Acquisition) -> Document:
    return {
        "sar:instrument_mode": "SPOT",
        "sar:product_type": "GEC",
        "sar:frequency_band": "X",
        "sar:center_frequency": 9.65,
        "sar:polarizations": list(acquisition.polarizations),
        "sar:observation_direction": "right",
        "sar:resolution_range": 12,
        "sar:resolution_azimuth": 12,
        "sar:pixel_spacing_range": METRES,
        "sar:pixel_spacing_azimuth": METRES,
        "sar:looks_equivalent_number": radar.LOOKS,
    }
