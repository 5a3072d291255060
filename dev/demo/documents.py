"""Items, collections and the objects of the private bucket that they describe."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
from shapely import total_bounds
from shapely.geometry import shape

from dev.demo.rasters import COG, PNG, Grid, Pixels, bounding_box, cog, png

Document = dict[str, Any]
AGENCY = {"name": "Stillwater Demonstration Agency (invented)", "roles": ["producer", "licensor", "processor", "host"]}
SCHEMAS = {"eo": "eo/v2.0.0", "file": "file/v2.1.0", "proj": "projection/v2.0.0", "raster": "raster/v2.0.0"}
SCHEMAS |= {"sar": "sar/v1.3.0", "sat": "sat/v1.2.0", "processing": "processing/v1.2.0"}
"""From the prefix of fields to the name and release of their extension."""


def passing(day: date, lon: float, local_hour: float) -> str:
    """Return the time (RFC 3339) at which a satellite passes, for a local solar hour of a day."""
    moment = datetime(day.year, day.month, day.day) + timedelta(hours=local_hour - lon / 15)  # noqa: DTZ001 - UTC
    return moment.isoformat(timespec="seconds") + "Z"


def item_document(
    collection: str, item_id: str, grid: Grid | None, properties: Document, assets: dict[str, Document]
) -> Document:
    """Return an item. Its extensions are those of its fields. Without a grid, it has no geometry and no bbox."""
    place: Document = {"geometry": None}
    if grid:
        properties = properties | {"proj:code": grid.crs, "proj:bbox": grid.bounds, "gsd": grid.metres}
        place = {"geometry": grid.footprint(), "bbox": bounding_box(grid.footprint())}
    used = {field.partition(":")[0] for part in (properties, *assets.values()) for field in part if ":" in field}
    schemas = [f"https://stac-extensions.github.io/{SCHEMAS[prefix]}/schema.json" for prefix in sorted(used)]
    head = {"type": "Feature", "stac_version": "1.1.0", "stac_extensions": schemas, "id": item_id}
    return head | place | {"collection": collection, "properties": properties, "links": [], "assets": assets}


def collection_document(
    collection: str, items: Sequence[Document], thumbnail: Document, title: str, description: str, more: tuple[str, str]
) -> Document:
    """Return a collection with the extent of its items. ``more`` is its licence and a keyword."""
    # Without stac_extensions, because a validating client would fetch each schema and the demo works offline.
    head = {"type": "Collection", "stac_version": "1.1.0", "id": collection, "title": title, "license": more[0]}
    about = {"description": description, "keywords": ["synthetic", more[1]], "providers": [AGENCY], "links": []}
    return head | about | {"extent": _extent(items), "assets": {"thumbnail": thumbnail}}


def _extent(items: Sequence[Document]) -> Document:
    box = total_bounds([shape(item["geometry"]) for item in items if item["geometry"]]).tolist()
    times = [item["properties"] for item in items]
    start = min(time.get("start_datetime") or time["datetime"] for time in times)
    end = max(time.get("end_datetime") or time["datetime"] for time in times)
    return {"spatial": {"bbox": [box]}, "temporal": {"interval": [[start, end]]}}


THUMBNAIL: Document = {"title": "Thumbnail", "type": PNG, "roles": ["thumbnail"]}
Content = tuple[str, Pixels | bytes | Document, Document]
"""The file name of an object, its pixels, bytes or JSON, and the fields of its asset."""


def metadata(title: str, media_type: str = "application/json") -> Document:
    """Return the fields of an asset that describes its item."""
    return {"title": title, "type": media_type, "roles": ["metadata"]}


def raster(title: str, role: str, bands: list[str], kind: str = "uint8", **more: Any) -> Document:
    """Return the fields of an asset that is a cloud-optimised GeoTIFF."""
    fields: Document = {"title": title, "type": COG, "roles": [role], "data_type": kind, "nodata": 0} | more
    return fields | {"raster:sampling": "area", "bands": [{"name": name} for name in bands]}


VISUAL = raster("True colour picture", "visual", ["red", "green", "blue"])


@dataclass(frozen=True, slots=True)
class Bucket:
    """The objects of one bucket, in memory."""

    name: str
    objects: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    """Bytes and media type by key."""
    pictures: dict[str, list[Pixels]] = field(default_factory=dict)
    """The thumbnails of each collection."""

    def item(
        self, collection: str, item_id: str, grid: Grid, properties: Document, picture: Pixels, **contents: Content
    ) -> Document:
        """Return an item with assets, and add their objects and a thumbnail of ``picture``."""
        # An s3 href cannot have all characters of an id unescaped.
        folder = f"{collection}/{re.sub(r'[^a-zA-Z0-9.-]', '_', item_id)}"
        step = len(picture[0]) // 160
        small = picture[:, ::step, ::step]
        self.pictures.setdefault(collection, []).append(small)
        assets = {key: self._put(folder, grid, *content) for key, content in contents.items()}
        assets["thumbnail"] = self.put(f"{folder}/thumbnail.png", png(small), THUMBNAIL)
        return item_document(collection, item_id, grid, properties, assets)

    def overview(self, collection: str) -> Document:
        """Add a picture of four thumbnails of a collection. Return its asset."""
        first, second, third, fourth = self.pictures[collection][1:5]
        quarters = np.concatenate([np.concatenate(pair, 2) for pair in ((first, second), (third, fourth))], 1)
        return self.put(f"{collection}/thumbnail.png", png(quarters), THUMBNAIL)

    def put(self, key: str, data: bytes, fields: Document) -> Document:
        """Add an object. Return its asset."""
        self.objects[key] = (data, fields["type"])
        checksum = "1220" + hashlib.sha256(data).hexdigest()
        return fields | {"href": f"s3://{self.name}/{key}", "file:size": len(data), "file:checksum": checksum}

    def _put(self, folder: str, grid: Grid, name: str, data: Pixels | bytes | Document, fields: Document) -> Document:
        if isinstance(data, dict):
            data = json.dumps(data, ensure_ascii=False).encode()
        if isinstance(data, bytes):
            return self.put(f"{folder}/{name}", data, fields)
        where = {"proj:shape": [grid.size, grid.size], "proj:transform": list(grid.transform)[:6]}
        return self.put(f"{folder}/{name}", cog(data, grid, fields), fields | where)
