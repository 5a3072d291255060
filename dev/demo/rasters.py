"""Raster files: cloud-optimised GeoTIFFs and PNG pictures."""

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rasterio.io import MemoryFile

from dev.demo.grids import Grid

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
PNG = "image/png"

THUMBNAIL_SIZE = 192
"""Pixels along each side."""

Pixels = NDArray[Any]
"""Values by band, row and column."""


def cog(pixels: Pixels, grid: Grid, *, names: list[str], nodata: float | None = 0, smooth: bool = True) -> bytes:
    """Return a cloud-optimised GeoTIFF with overviews. `smooth` is False for classes, which cannot be averaged."""
    profile = {
        "driver": "COG",
        "count": len(pixels),
        "height": grid.size,
        "width": grid.size,
        "dtype": pixels.dtype,
        "crs": grid.crs,
        "transform": grid.transform,
        "nodata": nodata,
        "compress": "DEFLATE",
        "level": 6,
        "predictor": "YES",
        "blocksize": 128 if grid.size <= 512 else 256,
        "overview_resampling": "AVERAGE" if smooth else "NEAREST",
    }
    with MemoryFile() as file:
        with file.open(**profile) as raster:
            raster.write(pixels)
            raster.descriptions = names
        return bytes(file.read())


def png(picture: NDArray[np.uint8], size: int = THUMBNAIL_SIZE) -> bytes:
    """Return a small PNG of a picture in red, green and blue."""
    image = Image.fromarray(np.ascontiguousarray(np.moveaxis(picture, 0, -1)))
    file = BytesIO()
    image.resize((size, size), Image.Resampling.LANCZOS).save(file, "PNG", compress_level=4)
    return file.getvalue()


def statistics(band: Pixels, nodata: float | None = 0) -> dict[str, Any]:
    """Return the statistics of a band in the form of STAC's `statistics`."""
    valid = band[band != nodata] if nodata is not None else band.ravel()
    return {
        "minimum": _plain(valid.min()),
        "maximum": _plain(valid.max()),
        "mean": round(float(valid.mean(dtype=np.float64)), 3),
        "stddev": round(float(valid.std(dtype=np.float64)), 3),
        "count": int(band.size),
        "valid_percent": round(100 * valid.size / band.size, 3),
    }


def _plain(value: Any) -> float | int:
    number: float | int = value.item()
    return number
