"""Random fields that are the same in every run."""

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
"""Values by row and column."""


def generator(*seed: object) -> np.random.Generator:
    """Return random numbers that depend only on the seed."""
    digest = hashlib.sha256("/".join(map(str, seed)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def fractal(size: int, cell: float, octaves: int, *seed: object, gain: float = 0.5) -> Field:
    """Return smooth fractal hills with mean 0 and deviation 1. `cell` is the width of the largest hill in pixels."""
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        total += np.float32(gain**octave) * _hills(size, cell / 2**octave, generator(*seed, octave))
    return normalised(total)


def ridged(size: int, cell: float, octaves: int, *seed: object) -> Field:
    """Return sharp crests between valleys, with mean 0 and deviation 1."""
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        hills = _hills(size, cell / 2**octave, generator(*seed, "ridge", octave))
        total += 0.5**octave * (1 - np.abs(hills))
    return normalised(total)


def patches(size: int, cell: float, *seed: object) -> Field:
    """Return plots as in farmland, each with one value between 0 and 1, with slightly bent borders."""
    bend = 0.5 * cell * fractal(size, 6 * cell, 3, *seed, "bend")
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float32)
    turned = (rows + 0.35 * columns + bend) / cell, (columns - 0.35 * rows + bend) / (1.7 * cell)
    plots = generator(*seed, "plots").random((64, 64), np.float32)
    picked: Field = plots[turned[0].astype(int) % 64, turned[1].astype(int) % 64]
    return picked


def normalised(field: Field) -> Field:
    """Return the field scaled to mean 0 and deviation 1."""
    mean, deviation = field.mean(dtype=np.float64), field.std(dtype=np.float64)
    return np.asarray((field - mean) / deviation, np.float32)


def smoothstep(low: float, high: float, field: NDArray[Any]) -> Field:
    """Return values that rise smoothly from 0 to 1 while the field rises from `low` to `high`."""
    ramp = np.clip((field - low) / (high - low), 0, 1)
    return (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)


def _hills(size: int, cell: float, random: np.random.Generator) -> Field:
    knots = int(size / cell) + 5
    lattice = random.standard_normal((knots, knots), np.float32)
    return _stretched(np.ascontiguousarray(_stretched(lattice, size, cell).T), size, cell)


def _stretched(lattice: Field, size: int, cell: float) -> Field:
    """Return a cubic B-spline through the rows of a lattice. One axis at a time is cheap."""
    left, weights = _taps(size, cell)
    rows: Field = weights[0] * lattice[left]
    for step in (1, 2, 3):
        rows += weights[step] * lattice[left + step]
    return rows


@lru_cache
def _taps(size: int, cell: float) -> tuple[NDArray[np.intp], Field]:
    """Return for each pixel the first of its four knots, and the weights of the knots."""
    at = np.arange(size) / cell
    left = at.astype(np.intp)
    t = (at - left)[:, None]
    weights = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 3 * (t + t**2 - t**3) + 1, t**3]
    return left, (np.stack(weights) / 6).astype(np.float32)
