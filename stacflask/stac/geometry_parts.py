"""Split Shapely geometries into parts and join parts."""

from collections.abc import Sequence
from typing import Any

import shapely

_JOIN = {"Point": shapely.multipoints, "LineString": shapely.multilinestrings, "Polygon": shapely.multipolygons}
_COLLECTION = "GeometryCollection"


def parts(shape: Any) -> list[Any]:
    """Split a shape into points, lines and polygons."""
    if not hasattr(shape, "geoms"):
        return [shape]
    return [piece for part in shape.geoms for piece in parts(part)]


def from_parts(pieces: Sequence[Any]) -> Any:
    """Join points, lines or polygons. Only parts of several types become a geometry collection."""
    if len(pieces) == 1:
        return pieces[0]
    kinds = {piece.geom_type for piece in pieces}
    return _JOIN[kinds.pop()](pieces) if len(kinds) == 1 else shapely.geometrycollections(pieces)


def flattened(shape: Any) -> Any:
    """Return the same shape without nested collections, and without a collection if all parts have one type."""
    return from_parts(parts(shape)) if shape.geom_type == _COLLECTION else shape
