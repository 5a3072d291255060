"""The objects of the private bucket, and the STAC assets that speak of them."""

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from dev.demo.grids import Grid
from dev.demo.rasters import COG, PNG, Pixels, cog, statistics

PUBLIC_HOST = "https://data.example.org"
"""Where the ordinary hrefs point: a reserved name that leads nowhere."""

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
    """What stands in the bucket under one key."""

    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class Shelf:
    """The objects of one bucket, as they are made."""

    bucket: str
    objects: dict[str, StoredObject] = field(default_factory=dict)

    def put(self, folder: str, name: str, data: bytes, media_type: str) -> dict[str, Any]:
        """Keep one object and say what an asset says of it: address, type, size, checksum, local path."""
        key = f"{folder}/{name}"
        if key in self.objects:
            raise ValueError(f"two objects with the key {key}")
        self.objects[key] = StoredObject(data, media_type)
        return {
            "href": f"s3://{self.bucket}/{key}",
            "type": media_type,
            "file:size": len(data),
            "file:checksum": multihash(data),
            "file:local_path": key,
        }

    def put_raster(self, folder: str, name: str, pixels: Pixels, grid: Grid, asset: dict[str, Any]) -> dict[str, Any]:
        """Keep pixels as a cloud-optimised GeoTIFF; the asset's bands say how many and gain their statistics."""
        nodata, bands = asset.get("nodata"), asset["bands"]
        names = [band["name"] for band in bands]
        data = cog(pixels, grid, names=names, nodata=nodata, smooth="classification" not in asset["roles"])
        measured = [band | {"statistics": statistics(layer, nodata)} for band, layer in zip(bands, pixels, strict=True)]
        placed = grid.projection() | {"raster:spatial_resolution": grid.resolution}
        return asset | self.put(folder, name, data, COG) | placed | {"bands": measured}


def folder_of(collection: str, item: str) -> str:
    """Where an item's objects lie. What an s3 address cannot hold unescaped (spaces, percent signs) becomes `_`."""
    safe = re.sub(r"[^\w.-]", "_", item)
    return f"{collection}/{safe}"


def public_assets(collection: str, item: str, files: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Assets by file name at their producer's, with ordinary https addresses; the keys are the names' stems."""
    folder = f"{PUBLIC_HOST}/{quote(collection)}/{quote(item, safe='')}"
    return {name.partition(".")[0]: asset | {"href": f"{folder}/{quote(name)}"} for name, asset in files.items()}


def multihash(data: bytes) -> str:
    """SHA2-256 as a multihash in hexadecimal, as `file:checksum` has it."""
    return "1220" + hashlib.sha256(data).hexdigest()
