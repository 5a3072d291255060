"""The items of the members' collection: spotlight scenes of an invented radar mission."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from dev.demo import names, radar
from dev.demo.grids import Grid, footprint, grid_around
from dev.demo.landscape import CLIMATES, landscape
from dev.demo.noise import generator
from dev.demo.places import CALIBRATION_FIELD, HARBOURS, Place
from dev.demo.rasters import COG, PNG, png
from dev.demo.shelf import THUMBNAIL, Shelf, folder_of, public_assets
from dev.demo.stac import Document, item_document, timestamp
from dev.demo.sun import passing

PIXELS, METRES = 320, 10
VISITS = 4
"""Acquisitions of each place besides the stored ones."""


class Pass(NamedTuple):
    """One look at one place."""

    item: str
    place: Place
    moment: datetime
    polarizations: tuple[str, ...]

    @property
    def ascending(self) -> bool:
        """Whether the satellite flew northward; it looks to the right, so from the west."""
        return self.moment.hour % 2 == 0


# day, place, polarisations: the scenes whose bytes are in the bucket.
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


def items(shelf: Shelf) -> Iterator[Document]:
    """Every item of the collection; the bytes of the stored ones go to the shelf."""
    for look in _stored_passes():
        yield _item(look, _stored_assets(look, shelf))
    for look in _random_passes():
        yield _item(look, public_assets(names.MEMBERS, look.item, _PUBLIC))


def scene(slug: str, size: int) -> Any:
    """A picture of one place in two polarisations."""
    ground = landscape(slug, CLIMATES[_PLACES[slug].climate], size)
    return radar.picture([radar.amplitude(ground, polarization, 80, slug) for polarization in ("VV", "VH")])


def _stored_passes() -> Iterator[Pass]:
    yield _pass(CALIBRATION_FIELD, date(2025, 6, 18), ("VV",))._replace(item=names.CALIBRATION)
    for day, slug, polarizations in _STORED:
        yield _pass(_PLACES[slug], date.fromisoformat(day), polarizations)


def _random_passes() -> Iterator[Pass]:
    taken = {look.item for look in _stored_passes()}
    for place in HARBOURS:
        random = generator(names.MEMBERS, place.slug)
        for offset in random.choice(1415, VISITS, replace=False):
            day = date(2023, 1, 1) + timedelta(days=int(offset))
            look = _pass(place, day, ("VV", "VH") if random.random() < 0.4 else ("HH",))
            if look.item not in taken:
                yield look


def _pass(place: Place, day: date, polarizations: tuple[str, ...]) -> Pass:
    random = generator(place.slug, day, "pass")
    hour = random.choice([6.0, 18.0]).item()
    return Pass(
        f"hx-{day:%Y%m%d}-{place.slug}",
        place,
        passing(day, place.lon, hour, float(random.uniform(-12, 12))),
        polarizations,
    )


def _grid(place: Place) -> Grid:
    return grid_around(place.lon, place.lat, METRES, PIXELS)


def _stored_assets(look: Pass, shelf: Shelf) -> dict[str, Document]:
    grid, folder = _grid(look.place), folder_of(names.MEMBERS, look.item)
    ground = landscape(look.place.slug, CLIMATES[look.place.climate], grid.size)
    azimuth = 260 if look.ascending else 100
    bands = [radar.amplitude(ground, polarization, azimuth, look.item) for polarization in look.polarizations]
    assets = {
        key: shelf.put_raster(folder, f"{key}.tif", band[None], grid, ASSETS[key])
        for key, band in zip(map(str.lower, look.polarizations), bands, strict=True)
    }
    thumbnail = shelf.put(folder, "thumbnail.png", png(radar.picture(bands)), PNG)
    product = shelf.put(folder, "product.xml", _annotation(look), "application/xml")
    return assets | {"thumbnail": THUMBNAIL | thumbnail, "product": ASSETS["product"] | product}


def _annotation(look: Pass) -> bytes:
    root = Element("product", id=look.item, synthetic="true")
    SubElement(root, "place").text = look.place.name
    SubElement(root, "acquired").text = timestamp(look.moment)
    for polarization in look.polarizations:
        SubElement(root, "channel", polarization=polarization, looks=str(radar.LOOKS), scale="0.001")
    indent(root)
    return bytes(tostring(root, encoding="utf-8", xml_declaration=True))


def _item(look: Pass, assets: dict[str, Document]) -> Document:
    grid = _grid(look.place)
    return item_document(names.MEMBERS, look.item, footprint(grid), _properties(look, grid), assets)


def _properties(look: Pass, grid: Grid) -> Document:
    random = generator(look.item, "geometry")
    orbit = 1207 + int((look.moment - datetime(2023, 1, 1, tzinfo=UTC)) / timedelta(days=1) * 15.2)
    return {
        "title": f"{look.place.name}, {look.moment.day} {look.moment:%B %Y}, {'+'.join(look.polarizations)}",
        "datetime": timestamp(look.moment),
        "created": timestamp((look.moment + timedelta(hours=3)).replace(microsecond=0)),
        "platform": "halyard-x1",
        "constellation": "halyard-x",
        "instruments": ["hxsar"],
        "gsd": METRES,
        **_radar_properties(look),
        "view:incidence_angle": round(float(random.uniform(22, 48)), 2),
        "view:azimuth": 260 if look.ascending else 100,
        "sat:orbit_state": "ascending" if look.ascending else "descending",
        "sat:absolute_orbit": orbit,
        "sat:relative_orbit": orbit % 167 + 1,
        "proj:code": grid.crs,
        "proj:bbox": grid.bounds,
        "processing:level": "L1",
        "processing:software": {"halyard-focus": "2.7"},
    }


def _radar_properties(look: Pass) -> Document:
    return {
        "sar:instrument_mode": "SPOT",
        "sar:product_type": "GEC",
        "sar:frequency_band": "X",
        "sar:center_frequency": 9.65,
        "sar:polarizations": list(look.polarizations),
        "sar:observation_direction": "right",
        "sar:resolution_range": 12,
        "sar:resolution_azimuth": 12,
        "sar:pixel_spacing_range": METRES,
        "sar:pixel_spacing_azimuth": METRES,
        "sar:looks_equivalent_number": radar.LOOKS,
    }
