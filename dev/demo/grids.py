"""The grid of a raster in the UTM zone of its centre, and its footprint in longitude and latitude."""

from dataclasses import dataclass
from typing import Any

import antimeridian
from affine import Affine
from rasterio.warp import transform
from shapely.geometry import Polygon, mapping, shape

DIGITS = 6
"""Decimal digits of a degree, for a precision of a decimetre."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A square of pixels in a UTM zone."""

    epsg: int
    west: float
    north: float
    resolution: float
    """Metres per pixel."""
    size: int
    """Pixels along each side."""

    @property
    def crs(self) -> str:
        """The code of the coordinate reference system."""
        return f"EPSG:{self.epsg}"

    @property
    def transform(self) -> Affine:
        """The transformation from column and row to easting and northing."""
        return Affine(self.resolution, 0, self.west, 0, -self.resolution, self.north)

    @property
    def bounds(self) -> list[float]:
        """West, south, east and north in metres."""
        side = self.resolution * self.size
        return [self.west, self.north - side, self.west + side, self.north]

    def projection(self) -> dict[str, Any]:
        """Return the fields of the projection extension for a raster on this grid."""
        return {"proj:shape": [self.size, self.size], "proj:transform": list(self.transform)[:6]}


def grid_around(lon: float, lat: float, resolution: float, size: int) -> Grid:
    """Return the grid with its centre at a place. Its corner is snapped to whole pixels."""
    zone = int((lon + 180) % 360 // 6) + 1
    epsg = (32600 if lat >= 0 else 32700) + zone
    (east,), (north,) = transform("EPSG:4326", f"EPSG:{epsg}", [lon], [lat])
    half = resolution * size / 2
    return Grid(epsg, _snapped(east - half, resolution), _snapped(north + half, resolution), resolution, size)


def footprint(grid: Grid) -> dict[str, Any]:
    """Return the outline of a grid as GeoJSON: a Polygon, or a MultiPolygon if it crosses the antimeridian."""
    west, south, east, north = grid.bounds
    lons, lats = transform(grid.crs, "EPSG:4326", [west, east, east, west, west], [south, south, north, north, south])
    outline = Polygon(zip(lons, lats, strict=True))
    crosses = max(lons) - min(lons) > 180
    geometry: dict[str, Any] = _rounded(mapping(antimeridian.fix_polygon(outline) if crosses else outline))
    return geometry


def bounding_box(geometry: dict[str, Any]) -> list[float]:
    """Return west, south, east and north. West is greater than east across the antimeridian (RFC 7946, 5.2)."""
    outline = shape(geometry)
    edges = antimeridian.bbox(outline) if geometry["type"] == "MultiPolygon" else outline.bounds
    return [float(edge) for edge in edges]


def raised(
    outline: dict[str, Any], box: list[float], lowest: float, highest: float
) -> tuple[dict[str, Any], list[float]]:
    """Return an outline and a bbox with heights in metres. The outline has the lowest height."""
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
