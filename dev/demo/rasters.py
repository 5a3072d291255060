"""Raster files on a grid: cloud-optimised GeoTIFFs and PNG pictures."""

import json
from dataclasses import dataclass
from typing import Any
from warnings import catch_warnings

import antimeridian
import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import MemoryFile
from rasterio.warp import transform
from shapely import to_geojson
from shapely.geometry import Polygon, shape

Pixels = NDArray[Any]
"""Values by band, row and column."""
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
PNG = "image/png"
SIZE = 160
"""Pixels along each side, unless noted."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A square of pixels in a UTM zone, each as wide as a number of metres."""

    crs: str
    west: float
    north: float
    metres: float
    size: int = SIZE

    @property
    def bounds(self) -> list[float]:
        """West, south, east and north in metres."""
        side = self.metres * self.size
        return [self.west, self.north - side, self.west + side, self.north]

    @property
    def transform(self) -> Affine:
        """The transformation from column and row to easting and northing."""
        return Affine(self.metres, 0, self.west, 0, -self.metres, self.north)

    def footprint(self) -> dict[str, Any]:
        """Return the outline of the grid as GeoJSON. It is cut at the antimeridian."""
        west, south, east, north = self.bounds
        lons, lats = transform(self.crs, "EPSG:4326", [west, east, east, west], [south, south, north, north])
        outline = Polygon([(round(lon, 6), round(lat, 6)) for lon, lat in zip(lons, lats, strict=True)])
        crosses = max(lons) - min(lons) > 180
        return dict(json.loads(to_geojson(antimeridian.fix_polygon(outline) if crosses else outline)))


def grid_around(lon: float, lat: float, metres: float, size: int = SIZE) -> Grid:
    """Return the grid with its centre at a place."""
    crs = f"EPSG:{(32600 if lat >= 0 else 32700) + int((lon + 180) % 360 // 6) + 1}"
    (east,), (north,) = transform("EPSG:4326", crs, [lon], [lat])
    half = size // 2
    return Grid(crs, (round(east / metres) - half) * metres, (round(north / metres) + half) * metres, metres, size)


def bounding_box(geometry: dict[str, Any]) -> list[float]:
    """Return west, south, east and north. West is greater than east across the antimeridian (RFC 7946, 5.2)."""
    outline = shape(geometry)
    return list(antimeridian.bbox(outline) if geometry["type"] == "MultiPolygon" else outline.bounds)


def cog(pixels: Pixels, grid: Grid, asset: dict[str, Any]) -> bytes:
    """Return a cloud-optimised GeoTIFF with overviews. ``asset`` has its bands and its value without data."""
    profile = {"count": len(pixels), "height": grid.size, "width": grid.size, "dtype": pixels.dtype}
    place = {"crs": grid.crs, "transform": grid.transform, "nodata": asset["nodata"]}
    resampling = "NEAREST" if "classification" in asset["roles"] else "AVERAGE"
    layout = {"compress": "DEFLATE", "predictor": "YES", "blocksize": 128}
    with MemoryFile() as file:
        with file.open(driver="COG", overview_resampling=resampling, **profile, **place, **layout) as raster:
            raster.write(pixels)
            raster.descriptions = [band["name"] for band in asset["bands"]]
        return bytes(file.read())


def png(picture: NDArray[np.uint8]) -> bytes:
    """Return a picture in red, green and blue as PNG."""
    count, height, width = picture.shape
    with catch_warnings(action="ignore"), MemoryFile() as file:
        with file.open(driver="PNG", count=count, height=height, width=width, dtype="uint8") as raster:
            raster.write(picture)
        return bytes(file.read())
