"""The members' collection: spotlight scenes of an invented radar mission."""

from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from dev.demo import names
from dev.demo.documents import Bucket, Document, metadata, passing, raster
from dev.demo.ground import CALIBRATION, KINDS, Ground, Scene, generator, ground, hills, shading
from dev.demo.rasters import grid_around

LOOKS = 5
HALYARD = (
    "Halyard-X spotlight (synthetic)",
    f"Radar amplitudes. Everyone can see them; members can download them after they accept {names.LICENCE.title}.",
    ("other", "radar"),
)
HARBOURS = [
    Scene("rotterdam", "Rotterdam", 4.12, 51.95, "port"),
    Scene("gibraltar", "Strait of Gibraltar", -5.55, 35.97, "coast"),
    Scene("hormuz", "Strait of Hormuz", 56.4, 26.5, "islands"),
    Scene("singapore", "Singapore Strait", 103.8, 1.22, "port"),
    Scene("magellan", "Strait of Magellan", -70.8, -53.6, "alps"),
    Scene("nuuk", "Nuuk fjord", -51.6, 64.2, "ice"),
]


def items(bucket: Bucket) -> Iterator[Document]:
    """Yield every item of the collection, and add its objects to the bucket."""
    yield _item(CALIBRATION, date(2025, 6, 18), ["VV"], bucket, names.CALIBRATION)
    yield _item(HARBOURS[0], date(2025, 3, 9), ["VV", "VH"], bucket)
    for scene in HARBOURS:
        random = generator(names.MEMBERS, scene.slug)
        for offset in random.choice(1415, 3, replace=False):
            polarizations = ["VV", "VH"] if random.random() < 0.4 else ["HH"]
            yield _item(scene, date(2023, 1, 1) + timedelta(days=int(offset)), polarizations, bucket)


def _item(scene: Scene, day: date, polarizations: list[str], bucket: Bucket, item_id: str = "") -> Document:
    item_id = item_id or f"hx-{day:%Y%m%d}-{scene.slug}"
    orbit = generator(item_id).choice(["ascending", "descending"]).item()
    place = ground(scene.slug, KINDS[scene.kind], 160)
    bands = {name: _observed(place, name, 260 if orbit == "ascending" else 100, item_id) for name in polarizations}
    text = f'<product id="{item_id}" synthetic="true" looks="{LOOKS}"><place>{scene.name}</place></product>\n'
    properties = {
        "title": f"{scene.name}, {day.day} {day:%B %Y}, {'+'.join(polarizations)}",
        "datetime": passing(day, scene.lon, 18.0),
        "platform": "halyard-x1",
        "instruments": ["hxsar"],
        "sar:frequency_band": "X",
        "sar:polarizations": polarizations,
        "sat:orbit_state": orbit,
        "processing:level": "L1",
    }
    rasters = {name.lower(): (f"{name.lower()}.tif", band[None], _amplitude(name)) for name, band in bands.items()}
    product = ("product.xml", text.encode(), metadata("Product annotation", "application/xml"))
    grid, shown = grid_around(scene.lon, scene.lat, 12), _picture(list(bands.values()))
    return bucket.item(names.MEMBERS, item_id, grid, properties, shown, **rasters, product=product)


def _amplitude(polarization: str) -> Document:
    more = {"raster:scale": 0.001, "raster:offset": 0, "sar:polarizations": [polarization]}
    return raster(f"Calibrated amplitude, {polarization}", "amplitude", [polarization], "uint16", **more)


def _observed(place: Ground, polarization: str, azimuth: float, item_id: str) -> NDArray[np.uint16]:
    """Return calibrated amplitudes in thousandths: slopes, wind on water, ships, and speckle."""
    random, size = generator(item_id, polarization), len(place.height)
    land = (0.04 + 0.15 * place.moisture) * shading(place, azimuth, 50) ** 2 * np.exp(0.3 * place.grain)
    power = np.where(place.height < 0, 0.012 * np.exp(0.4 * hills(size, 1.5, item_id, "wind")), land)
    for row, column in generator(item_id, "ships").integers(5, size - 5, (12, 2)):
        power[row - 1 : row + 1, column - 4 : column + 4] += 3 * (place.height[row, column] < 0)
    power *= (0.25 if polarization == "VH" else 1) * random.standard_gamma(LOOKS, power.shape) / LOOKS
    return np.asarray(np.clip(np.sqrt(power) * 1000, 1, 65535), np.uint16)


def _picture(bands: list[NDArray[np.uint16]]) -> NDArray[np.uint8]:
    """Return a grey picture of one polarisation, or a colour picture of two."""
    layers = (bands[0], bands[-1] * len(bands), bands[0])
    return np.asarray([np.clip(band / 750, 0, 1) ** 0.75 * 254 + 1 for band in layers], np.uint8)
