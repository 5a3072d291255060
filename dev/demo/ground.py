"""Invented ground: random hills that are the same in every run. All sensors of the demo observe them."""

import hashlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
"""Values by row and column."""


class Kind(NamedTuple):
    """A kind of landscape. Values are from 0 to 1, except ``snow``, the height of the snow line in deviations."""

    land: float
    relief: float
    wet: float
    farmed: float = 0.0
    snow: float = 9.0


KINDS = {
    "alps": Kind(1.0, 1.0, 0.55, snow=2.6),
    "coast": Kind(0.6, 0.4, 0.55, 0.3),
    "delta": Kind(0.8, 0.05, 0.6, 0.4),
    "desert": Kind(1.0, 0.45, 0.0),
    "farmland": Kind(0.97, 0.1, 0.45, 0.6),
    "forest": Kind(0.95, 0.25, 0.9),
    "ice": Kind(0.62, 0.6, 0.3, snow=0.3),
    "islands": Kind(0.22, 0.6, 0.8),
    "port": Kind(0.55, 0.1, 0.3, 0.5),
    "savanna": Kind(0.97, 0.25, 0.3, 0.1),
    "sea": Kind(0.02, 0.2, 0.4),
}


class Scene(NamedTuple):
    """A place, of which only the name and the position are real."""

    slug: str
    name: str
    lon: float
    lat: float
    kind: str


CALIBRATION = Scene("calibration-field", "Joint calibration field", -115.69, 38.5, "desert")


class Ground(NamedTuple):
    """A square of ground: deviations above the waterline, moisture from 0 to 1, and a fine texture around 0."""

    kind: Kind
    height: Field
    moisture: Field
    grain: Field


def generator(*seed: object) -> np.random.Generator:
    """Return random numbers that depend only on the seed."""
    digest = hashlib.sha256("/".join(map(str, seed)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def hills(size: int, fall: float, *seed: object) -> Field:
    """Return random hills with mean 0 and deviation 1. The larger ``fall``, the smoother they are."""
    frequencies = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size))
    frequencies[0, 0] = np.inf
    noise = np.fft.rfft2(generator(*seed).standard_normal((size, size)))
    field = np.fft.irfft2(noise / frequencies**fall, (size, size))
    return np.asarray(field / field.std(), np.float32)


def ground(site: str, kind: Kind, size: int) -> Ground:
    """Return the ground of a site. It is the same for every date and sensor."""
    crests = 1 - 2 * np.abs(hills(size, 1.9, site, "crests"))
    height = (1 - kind.relief) * hills(size, 1.9, site, "height") + kind.relief * crests
    waterline = float(np.quantile(height, 1 - kind.land)) - 0.01
    rows, columns = np.mgrid[0:size, 0:size] + size / 20 * hills(size, 2, site, "bend")
    plot = (rows / size * 20).astype(int) % 64, (columns / size * 13).astype(int) % 64
    plots = generator(site, "plots").random((64, 64))[plot]
    moisture = kind.wet + kind.farmed * (plots - 0.5) + 0.15 * hills(size, 1.6, site, "moisture")
    above, moist = (height - waterline).astype(np.float32), np.clip(moisture, 0, 1).astype(np.float32)
    return Ground(kind, above, moist, hills(size, 0.7, site, "grain"))


def ramp(low: float, high: float, field: NDArray[Any]) -> Field:
    """Return values that rise from 0 to 1 while the field rises from ``low`` to ``high``."""
    return np.clip((field - low) / (high - low), 0, 1).astype(np.float32)


def highest(share: float, soft: float, field: Field) -> Field:
    """Return 1 for the highest part of a field and 0 for the rest, with a soft edge."""
    edge = float(np.quantile(field, 1 - share))
    return ramp(edge - soft, edge + soft, field)


def shading(place: Ground, azimuth: float, elevation: float) -> Field:
    """Return the light on the slopes, 1 on level ground. Angles are in degrees."""
    land = np.maximum(place.height, 0) * len(place.height) * (0.02 + 0.06 * place.kind.relief)
    down, right = np.gradient(land)
    towards, up = np.radians(azimuth), np.radians(elevation)
    lit = np.sin(up) + np.cos(up) * (down * np.cos(towards) - right * np.sin(towards))
    return np.asarray(np.clip(lit / np.sqrt(1 + down**2 + right**2) / np.sin(up), 0.15, 1.9), np.float32)
