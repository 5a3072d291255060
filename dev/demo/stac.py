"""Parts that all documents of the demo have."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from dev.demo.grids import bounding_box

Document = dict[str, Any]

STAC_VERSION = "1.1.0"

# From the prefix of fields to the name and release of their extension.
_SCHEMAS = {
    "eo": "eo/v2.0.0",
    "file": "file/v2.1.0",
    "proj": "projection/v2.0.0",
    "processing": "processing/v1.2.0",
    "raster": "raster/v2.0.0",
    "sar": "sar/v1.3.0",
    "sat": "sat/v1.2.0",
    "view": "view/v1.1.0",
}


def extensions(*prefixes: str) -> list[str]:
    """Return the schema URLs of the extensions with these field prefixes."""
    return [f"https://stac-extensions.github.io/{_SCHEMAS[prefix]}/schema.json" for prefix in prefixes]


def timestamp(moment: datetime) -> str:
    """Return a time in UTC in the form of RFC 3339, with milliseconds if it has any."""
    digits = "milliseconds" if moment.microsecond else "seconds"
    return moment.astimezone(UTC).isoformat(timespec=digits).replace("+00:00", "Z")


def item_document(
    collection: str, item_id: str, geometry: Document | None, properties: Document, assets: dict[str, Document]
) -> Document:
    """Return an item. Its extensions are those of its fields, its bbox that of its geometry."""
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": extensions(*_used(properties, *assets.values())),
        "id": item_id,
        "collection": collection,
        "geometry": geometry,
        **({"bbox": bounding_box(geometry)} if geometry else {}),
        "properties": properties,
        "links": [
            {
                "rel": "collection",
                "href": f"https://catalogue.example.org/collections/{collection}",
                "type": "application/json",
            }
        ],
        "assets": assets,
    }


def extent(items: Sequence[Document]) -> Document:
    """Return the extent of all items."""
    boxes = [_flat_box(item["bbox"]) for item in items if "bbox" in item]
    if any(west > east for west, _, east, _ in boxes):
        boxes.append((-180.0, boxes[0][1], 180.0, boxes[0][3]))
    west, south, east, north = zip(*boxes, strict=True)
    starts, ends = zip(*map(_span, items), strict=True)
    return {
        "spatial": {"bbox": [[min(west), min(south), max(east), max(north)]]},
        "temporal": {"interval": [[min(starts), max(ends)]]},
    }


def value_range(items: Iterable[Document], name: str) -> Document:
    """Return the minimum and maximum of a property, as a summary."""
    values = [item["properties"][name] for item in items if name in item["properties"]]
    return {"minimum": min(values), "maximum": max(values)}


def value_set(items: Iterable[Document], name: str) -> list[Any]:
    """Return all values of a property, or all members of its lists, as a summary."""
    found: set[Any] = set()
    for item in items:
        value = item["properties"].get(name)
        found.update(value if isinstance(value, list) else [] if value is None else [value])
    return sorted(found)


def _used(*parts: Document) -> list[str]:
    return sorted({field.partition(":")[0] for part in parts for field in part if ":" in field})


def _flat_box(box: list[float]) -> tuple[float, float, float, float]:
    half = len(box) // 2
    return box[0], box[1], box[half], box[half + 1]


def _span(item: Document) -> tuple[str, str]:
    properties = item["properties"]
    return properties.get("start_datetime") or properties["datetime"], properties.get("end_datetime") or properties[
        "datetime"
    ]
