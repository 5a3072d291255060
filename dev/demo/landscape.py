"""Invented landscapes, which all sensors of the demo observe."""

from dataclasses import dataclass

import numpy as np

from dev.demo.noise import Field, fractal, normalised, patches, ridged, smoothstep


@dataclass(frozen=True, slots=True)
class Climate:
    """The parameters of a kind of landscape. Values are from 0 to 1 unless noted."""

    land: float
    """Share of the picture above the water."""
    relief: float = 0.3
    """From plain (0) to alpine (1)."""
    wet: float = 0.5
    """From desert (0) to rain forest (1)."""
    snow: float | None = None
    """Height of the snow line, in deviations above the mean of the land."""
    farmed: float = 0.0
    """Share of the plain that is fields."""
    built: float = 0.0
    """Share of the plain that is streets and roofs."""
    river: float = 0.0
    """Width of the rivers."""


CLIMATES = {
    "alps": Climate(land=1.0, relief=1.0, wet=0.6, snow=0.7, river=0.03),
    "coast": Climate(land=0.6, relief=0.4, wet=0.55, farmed=0.5),
    "delta": Climate(land=0.8, relief=0.05, wet=0.7, farmed=0.7, river=0.1),
    "desert": Climate(land=1.0, relief=0.45, wet=0.0),
    "farmland": Climate(land=1.0, relief=0.12, wet=0.5, farmed=1.0, built=0.05, river=0.04),
    "forest": Climate(land=0.98, relief=0.25, wet=1.0, river=0.07),
    "ice": Climate(land=0.62, relief=0.6, wet=0.3, snow=-1.2),
    "islands": Climate(land=0.22, relief=0.6, wet=0.9),
    "port": Climate(land=0.55, relief=0.08, wet=0.4, farmed=0.3, built=0.55, river=0.06),
    "savanna": Climate(land=0.97, relief=0.25, wet=0.3, farmed=0.2, river=0.04),
    "sea": Climate(land=0.0, relief=0.2),
}


@dataclass(frozen=True, slots=True)
class Landscape:
    """A square of ground as fields with one value per pixel, from 0 to 1 except `height`."""

    relief: float
    """Steepness, from plain (0) to alpine (1)."""
    height: Field
    """Deviations above the waterline, negative under water."""
    water: Field
    moisture: Field
    plots: Field
    farmed: Field
    built: Field
    snow: Field
    grain: Field
    """Fine texture around 0."""


def landscape(site: str, climate: Climate, size: int) -> Landscape:
    """Return the ground of a site. It is the same for every date and sensor."""
    height = _height(site, climate, size)
    water = _water(site, climate, height)
    plain = 1 - smoothstep(0.2, 0.9, np.abs(_slope(height)) + 0.25 * np.maximum(height, 0) * climate.relief)
    spread = fractal(size, size / 3, 4, site, "spread")
    built = _share(spread, climate.built) * plain * (1 - water)
    return Landscape(
        relief=climate.relief,
        height=height,
        water=water,
        moisture=np.clip(climate.wet + 0.16 * fractal(size, size / 2.5, 6, site, "moisture"), 0, 1),
        plots=patches(size, size / 22, site) if climate.farmed or climate.built else np.full_like(height, 0.5),
        farmed=_share(-spread, climate.farmed) * plain * (1 - built) * (1 - water),
        built=built,
        snow=_snow(site, climate, height),
        grain=fractal(size, 6, 3, site, "grain", gain=0.8),
    )


def shading(ground: Landscape, azimuth: float, elevation: float) -> Field:
    """Return the light on the slopes, 1 on level ground. Angles are in degrees, azimuth clockwise from north."""
    down, right = np.gradient(ground.height * (0.015 + 0.1 * ground.relief) * len(ground.height))
    towards, up = np.radians(azimuth), np.radians(max(elevation, 15))
    lit = np.sin(up) + np.cos(up) * (down * np.cos(towards) - right * np.sin(towards))
    return np.asarray(np.clip(lit / np.sqrt(1 + down**2 + right**2) / np.sin(up), 0.15, 1.9), np.float32)


def clouds(cover: float, size: int, *seed: object) -> Field:
    """Return the opacity of clouds from 0 to 1. It is above one half in exactly the share `cover` of the picture."""
    if cover <= 0:
        return np.zeros((size, size), np.float32)
    field = fractal(size, size / 3.5, 7, *seed, "clouds", gain=0.58)
    edge = float(np.quantile(field, 1 - cover))
    return smoothstep(edge - 0.45, edge + 0.45, field)


def _height(site: str, climate: Climate, size: int) -> Field:
    rolling = fractal(size, size / 2.2, 7, site, "height")
    crests = ridged(size, size / 2.5, 7, site)
    height = normalised(rolling * (1.1 - climate.relief) + crests * climate.relief)
    if climate.land <= 0:
        waterline = float(height.max()) + 1
    elif climate.land >= 1:
        waterline = float(height.min()) - 0.05
    else:
        waterline = float(np.quantile(height, 1 - climate.land))
    return np.asarray(height - waterline, np.float32)


def _water(site: str, climate: Climate, height: Field) -> Field:
    sea = 1 - smoothstep(-0.015, 0.015, height)
    if not climate.river:
        return sea
    size = len(height)
    course = fractal(size, size / 1.6, 6, site, "river", gain=0.42)
    bed = 1 - smoothstep(climate.river * 0.7, climate.river, np.abs(course))
    return np.maximum(sea, bed * (height < np.quantile(height, 0.9)))


def _snow(site: str, climate: Climate, height: Field) -> Field:
    if climate.snow is None:
        return np.zeros_like(height)
    above = height - height[height > -0.5].mean() if (height > -0.5).any() else height
    ragged = above + 0.25 * fractal(len(height), len(height) / 12, 4, site, "snow")
    return smoothstep(climate.snow - 0.15, climate.snow + 0.15, ragged)


def _slope(height: Field) -> Field:
    down, right = np.gradient(height * len(height) / 40)
    return np.asarray(np.hypot(down, right), np.float32)


def _share(field: Field, share: float) -> Field:
    if share <= 0:
        return np.zeros_like(field)
    edge = float(np.quantile(field, 1 - share))
    return smoothstep(edge - 0.1, edge + 0.1, field)
