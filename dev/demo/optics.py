"""Optical images of a landscape: reflectances, true-colour pictures, classes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dev.demo.landscape import Landscape, clouds, shading
from dev.demo.noise import Field, fractal, smoothstep

WATER, VEGETATION, BARE, SNOW, CLOUD, SHADOW, BUILT = range(1, 8)
CLASS_NAMES = ("water", "vegetation", "bare", "snow", "cloud", "shadow", "built")

# Reflectances in blue, green, red, near infrared.
_DEEP = (0.07, 0.042, 0.018, 0.006)
_SHALLOW = (0.095, 0.105, 0.065, 0.015)
_SILT = (0.12, 0.135, 0.115, 0.03)
_SAND = (0.17, 0.24, 0.33, 0.39)
_STEPPE = (0.09, 0.125, 0.145, 0.24)
_GRASS = (0.045, 0.085, 0.058, 0.34)
_FOREST = (0.025, 0.05, 0.03, 0.27)
_ROCK = (0.13, 0.14, 0.15, 0.19)
_CROP = (0.04, 0.095, 0.045, 0.46)
_STUBBLE = (0.11, 0.15, 0.18, 0.27)
_ROOFS = (0.15, 0.16, 0.17, 0.22)
_ICE = (0.86, 0.88, 0.88, 0.8)
_BURNT = (0.045, 0.042, 0.045, 0.07)
_FLOOD = (0.075, 0.115, 0.15, 0.05)
_VAPOUR = (0.78, 0.78, 0.79, 0.76)

Bands = NDArray[np.float32]
"""Values by band, row and column."""


@dataclass(frozen=True, slots=True)
class Sky:
    """The cloud cover and the position of the sun."""

    cover: float
    """Share of the picture under clouds, from 0 to 1."""
    sun_azimuth: float
    sun_elevation: float


@dataclass(frozen=True, slots=True)
class Damage:
    """The damage of a disaster, from 0 to 1 for each pixel."""

    flooded: Field
    burnt: Field


def reflectance(ground: Landscape, sky: Sky, damage: Damage | None = None, *seed: object) -> Bands:
    """Return blue, green, red and near infrared from 0 to 1, including clouds."""
    surface = _surface(ground)
    if damage:
        surface = _mixed(surface, _BURNT, damage.burnt * (1 - ground.water))
        silt = _plane(_FLOOD, ground.height) * (0.75 + 0.5 * ground.moisture + 0.04 * ground.grain)
        surface = _mixed(surface, silt, damage.flooded)
    land = 1 - (np.maximum(ground.water, damage.flooded) if damage else ground.water)
    light = 1 + (shading(ground, sky.sun_azimuth, sky.sun_elevation) - 1) * 0.75 * land
    surface *= light * (1 + 0.05 * ground.grain * land)
    if not sky.cover:
        return np.clip(surface, 0.001, 1)
    opacity = clouds(sky.cover, len(ground.water), *seed)
    surface *= 1 - 0.55 * _shadow(opacity, sky)
    billows = 0.97 + 0.07 * fractal(len(opacity), len(opacity) / 6, 6, *seed, "billows")
    return np.clip(_mixed(surface, np.asarray(_VAPOUR)[:, None, None] * billows, opacity), 0.001, 1)


def picture(bands: Bands) -> NDArray[np.uint8]:
    """Return a brightened picture in red, green and blue."""
    lit = np.clip((bands[[2, 1, 0]] - 0.012) / 0.9, 0, 1)
    stretched = lit**0.45
    return np.asarray(stretched * 254 + 1, np.uint8)


def classes(ground: Landscape, sky: Sky, *seed: object) -> NDArray[np.uint8]:
    """Return the class of each pixel, an index of CLASS_NAMES that starts at 1."""
    found = np.where(ground.moisture + 0.5 * ground.farmed > 0.33, VEGETATION, BARE)
    found[ground.built > 0.5] = BUILT
    found[ground.snow > 0.5] = SNOW
    found[ground.water > 0.5] = WATER
    opacity = clouds(sky.cover, len(found), *seed)
    found[_shadow(opacity, sky) > 0.5] = SHADOW
    found[opacity > 0.5] = CLOUD
    return found.astype(np.uint8)


def _surface(ground: Landscape) -> Bands:
    base = _mixed(_plane(_SAND, ground.height), _STEPPE, smoothstep(0.05, 0.35, ground.moisture))
    base = _mixed(base, _GRASS, smoothstep(0.3, 0.65, ground.moisture))
    base = _mixed(base, _FOREST, smoothstep(0.55, 0.85, ground.moisture + 0.04 * ground.grain))
    base = _mixed(base, _ROCK, smoothstep(0.5, 1.6, ground.height * ground.relief) * 0.85)
    crops = _mixed(_plane(_CROP, ground.height), _STUBBLE, smoothstep(0.2, 0.8, ground.plots))
    base = _mixed(base, crops, ground.farmed * 0.9)
    base = _mixed(base, _streets(ground), ground.built)
    base = _mixed(base, _ICE, ground.snow)
    return _mixed(base, _sea(ground), ground.water)


def _sea(ground: Landscape) -> Bands:
    depth = smoothstep(0.0, 0.9, -ground.height)
    shallows = _mixed(_plane(_SILT, depth), _SHALLOW, smoothstep(0, 0.2, depth))
    currents = 1 + 0.05 * ground.grain + 0.12 * (ground.moisture - ground.moisture.mean())
    return np.asarray(_mixed(shallows, _DEEP, smoothstep(0.1, 0.9, depth)) * currents, np.float32)


def _streets(ground: Landscape) -> Bands:
    blocks = 1 + 0.35 * ground.grain + 0.5 * (ground.plots - 0.5)
    return np.asarray(_plane(_ROOFS, ground.height) * np.clip(blocks, 0.4, 2), np.float32)


def _shadow(opacity: Field, sky: Sky) -> Field:
    """Return the shadow of the clouds: their shape, moved away from the sun."""
    reach = len(opacity) / 40 / np.tan(np.radians(max(sky.sun_elevation, 20)))
    towards = np.radians(sky.sun_azimuth)
    rows, columns = (np.arange(len(opacity)) + round(reach * way) for way in (-np.cos(towards), np.sin(towards)))
    return np.asarray(opacity.take(rows, 0, mode="clip").take(columns, 1, mode="clip"))


def _plane(colour: tuple[float, ...], like: Field) -> Bands:
    return np.broadcast_to(np.asarray(colour, np.float32)[:, None, None], (len(colour), *like.shape))


def _mixed(under: Bands, over: Bands | tuple[float, ...], share: Field) -> Bands:
    colour = np.asarray(over, np.float32)
    if colour.ndim == 1:
        colour = colour[:, None, None]
    return under + (colour - under) * share
