"""Radar images of a landscape: amplitudes with slopes, speckle, roofs and ships."""

import numpy as np
from numpy.typing import NDArray

from dev.demo.landscape import Landscape, shading
from dev.demo.noise import Field, fractal, generator, smoothstep

LOOKS = 5
"""Number of independent looks that are averaged in each pixel. More looks cause less speckle."""


def amplitude(ground: Landscape, polarization: str, look_azimuth: float, *seed: object) -> NDArray[np.uint16]:
    """Return calibrated amplitudes of one acquisition, in thousandths."""
    cross = polarization in ("VH", "HV")
    power = _roughness(ground, cross)
    power *= shading(ground, look_azimuth, 50) ** 2 * (1 - ground.water) + ground.water * _swell(ground, *seed)
    power += _roofs(ground) * (0.35 if cross else 1) + _ships(ground, *seed) * (0.3 if cross else 1)
    speckle = generator(*seed, polarization, "speckle").standard_gamma(LOOKS, power.shape) / LOOKS
    return np.asarray(np.clip(np.sqrt(power * speckle) * 1000, 1, 65535), np.uint16)


def picture(bands: list[NDArray[np.uint16]]) -> NDArray[np.uint8]:
    """Return a grey picture of one polarisation, or a colour picture of two (co, cross, their ratio)."""
    co = bands[0] / 1000
    if len(bands) == 1:
        return np.asarray([_tone(co)] * 3)
    cross = bands[1] / 1000
    return np.asarray([_tone(co), _tone(cross * 2), _tone(0.09 * co / np.maximum(cross, 0.02))])


def _roughness(ground: Landscape, cross: bool) -> Field:
    """Return the backscatter without slopes. Still water reflects, leaves scatter in every polarisation."""
    leaves = 0.05 + 0.07 * ground.moisture
    crops = 0.02 + 0.2 * ground.plots**2
    land = leaves + (crops - leaves) * ground.farmed + 0.02 * ground.snow
    level = land * (0.28 if cross else 1) * (1 + 0.12 * np.clip(ground.grain, -2, 2))
    return np.asarray(np.where(ground.water > 0.5, 0.004 if cross else 0.012, level), np.float32)


def _swell(ground: Landscape, *seed: object) -> Field:
    """Return the effect of wind on water: broad patches with waves."""
    size = len(ground.height)
    gusts = np.exp(0.45 * fractal(size, size / 3, 5, *seed, "wind"))
    rows, columns = np.mgrid[0:size, 0:size]
    bend = 4 * fractal(size, size / 4, 3, *seed, "waves")
    return np.asarray(gusts * (1 + 0.15 * np.sin(rows * 0.75 + columns * 0.4 + bend)), np.float32)


def _roofs(ground: Landscape) -> Field:
    """Return the bright corners of buildings, each of one or two pixels, which reflect the beam."""
    corners = smoothstep(0.9, 2.5, fractal(len(ground.built), 2.5, 2, "corners", gain=0.9))
    return np.asarray(ground.built * (1 - ground.water) * (0.08 + 2.5 * corners), np.float32)


def _ships(ground: Landscape, *seed: object) -> Field:
    """Return ships: bright dashes on open water, with the cross-shaped side lobes of steel."""
    random, size = generator(*seed, "ships"), len(ground.water)
    scene = np.zeros((size, size), np.float32)
    for row, column in random.integers(12, size - 12, (12, 2)):
        half, lane = random.integers(1, 5), random.integers(0, 2)
        if ground.water[row - 5 : row + 6, column - 5 : column + 6].min() > 0.9:
            scene[row, column - 7 : column + 8] += 0.04
            scene[row - 7 : row + 8, column] += 0.04
            long, wide = (half, 1) if lane else (1, half)
            scene[row - long : row + long, column - wide : column + wide] += 3
    return scene


def _tone(field: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.asarray(np.clip(field / 0.75, 0, 1) ** 0.75 * 254 + 1, np.uint8)
