"""Where a raster lies: a grid in the UTM zone of its middle, and what it covers in longitude and latitude."""

from dataclasses import dataclass
from typing import Any

import antimeridian
from affine import Affine
from rasterio.warp import transform
from shapely.geometry import Polygon, mapping, shape

DIGITS = 6
"""Digits after the point of a degree: a decimetre."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A square of pixels in a UTM zone."""

    epsg: int
    west: float
    north: float
    resolution: float
    """Metres a pixel."""
    size: int
    """Pixels along each side."""

    @property
    def crs(self) -> str:
        """The coordinate reference system as its authority names it."""
        return f"EPSG:{self.epsg}"

    @property
    def transform(self) -> Affine:
        """From column and row to easting and northing."""
        return Affine(self.resolution, 0, self.west, 0, -self.resolution, self.north)

    @property
    def bounds(self) -> list[float]:
        """West, south, east and north in metres."""
        side = self.resolution * self.size
        return [self.west, self.north - side, self.west + side, self.north]

    def projection(self) -> dict[str, Any]:
        """The fields of the projection extension for a raster on this grid."""
        return {"proj:shape": [self.size, self.size], "proj:transform": list(self.transform)[:6]}


def grid_around(lon: float, lat: float, resolution: float, size: int) -> Grid:
    """The grid whose middle lies at the given place, its corner on a whole number of pixels."""
    zone = int((lon + 180) % 360 // 6) + 1
    epsg = (32600 if lat >= 0 else 32700) + zone
    (east,), (north,) = transform("EPSG:4326", f"EPSG:{epsg}", [lon], [lat])
    half = resolution * size / 2
    return Grid(epsg, _snapped(east - half, resolution), _snapped(north + half, resolution), resolution, size)


def footprint(grid: Grid) -> dict[str, Any]:
    """The grid's outline as GeoJSON: a Polygon, or a MultiPolygon where the antimeridian cuts it."""
    west, south, east, north = grid.bounds
    lons, lats = transform(grid.crs, "EPSG:4326", [west, east, east, west, west], [south, south, north, north, south])
    outline = Polygon(zip(lons, lats, strict=True))
    crosses = max(lons) - min(lons) > 180
    geometry: dict[str, Any] = _rounded(mapping(antimeridian.fix_polygon(outline) if crosses else outline))
    return geometry


def bounding_box(geometry: dict[str, Any]) -> list[float]:
    """West, south, east, north; west is greater than east over the antimeridian (RFC 7946, 5.2)."""
    outline = shape(geometry)
    edges = antimeridian.bbox(outline) if geometry["type"] == "MultiPolygon" else outline.bounds
    return [float(edge) for edge in edges]


def raised(
    outline: dict[str, Any], box: list[float], lowest: float, highest: float
) -> tuple[dict[str, Any], list[float]]:
    """Outline and box with heights in metres: the outline lies on the box's floor."""
    west, south, east, north = box
    lifted = outline | {"coordinates": _lifted(outline["coordinates"], lowest)}
    return lifted, [west, south, lowest, east, north, highest]


def _snapped(coordinate: float, resolution: float) -> float:
    return round(coordinate / resolution) * resolution


def _lifted(coordinates: list[Any], height: float) -> list[Any]:
    if isinstance(coordinates[0], float):
        return [*coordinates, height]
    return [_lifted(part, height) for part in coordinates]


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return round(value, DIGITS) + 0.0 if isinstance(value, float) else value
