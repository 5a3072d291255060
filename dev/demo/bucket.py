"""The objects of the private bucket, and their STAC assets."""

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from dev.demo.grids import Grid
from dev.demo.rasters import COG, PNG, Pixels, cog, statistics

PUBLIC_HOST = "https://data.example.org"
"""Host of the public hrefs: a reserved name that does not resolve."""

VISUAL: dict[str, Any] = {
    "title": "True colour picture",
    "type": COG,
    "roles": ["visual", "overview"],
    "data_type": "uint8",
    "nodata": 0,
    "raster:sampling": "area",
    "bands": [{"name": name, "eo:common_name": name} for name in ("red", "green", "blue")],
}
THUMBNAIL: dict[str, Any] = {"title": "Thumbnail", "type": PNG, "roles": ["thumbnail"]}


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object in the bucket."""

    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class Bucket:
    """The objects of one bucket, in memory."""

    name: str
    objects: dict[str, StoredObject] = field(default_factory=dict)

    def put(self, folder: str, name: str, data: bytes, media_type: str) -> dict[str, Any]:
        """Add an object. Return its asset fields: href, type, size, checksum and local path."""
        key = f"{folder}/{name}"
        if key in self.objects:
            raise ValueError(f"two objects with the key {key}")
        self.objects[key] = StoredObject(data, media_type)
        return {
            "href": f"s3://{self.name}/{key}",
            "type": media_type,
            "file:size": len(data),
            "file:checksum": multihash(data),
            "file:local_path": key,
        }

    def put_raster(self, folder: str, name: str, pixels: Pixels, grid: Grid, asset: dict[str, Any]) -> dict[str, Any]:
        """Add pixels as a cloud-optimised GeoTIFF. Return the asset, with statistics in each of its bands."""
        nodata, bands = asset.get("nodata"), asset["bands"]
        names = [band["name"] for band in bands]
        data = cog(pixels, grid, names=names, nodata=nodata, smooth="classification" not in asset["roles"])
        described = [
            band | {"statistics": statistics(layer, nodata)} for band, layer in zip(bands, pixels, strict=True)
        ]
        fields = grid.projection() | {"raster:spatial_resolution": grid.resolution}
        return asset | self.put(folder, name, data, COG) | fields | {"bands": described}


def folder_of(collection: str, item: str) -> str:
    """Return the folder of an item's objects. `_` replaces characters that an s3 href cannot have unescaped."""
    safe = re.sub(r"[^\w.-]", "_", item)
    return f"{collection}/{safe}"


def public_assets(collection: str, item: str, files: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return assets with public https hrefs. `files` has them by file name; their keys are the stems of the names."""
    folder = f"{PUBLIC_HOST}/{quote(collection)}/{quote(item, safe='')}"
    return {name.partition(".")[0]: asset | {"href": f"{folder}/{quote(name)}"} for name, asset in files.items()}


def multihash(data: bytes) -> str:
    """Return the SHA2-256 multihash in hexadecimal, the form of `file:checksum`."""
    return "1220" + hashlib.sha256(data).hexdigest()
