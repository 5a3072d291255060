"""Shapely geometries taken apart and put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import shapely

if TYPE_CHECKING:
    from collections.abc import Sequence

_TOGETHER = {"Point": shapely.multipoints, "LineString": shapely.multilinestrings, "Polygon": shapely.multipolygons}
_MIXTURE = "GeometryCollection"


def parts(shape: Any) -> list[Any]:
    """Take a shape apart into points, lines and polygons."""
    if not hasattr(shape, "geoms"):
        return [shape]
    return [piece for part in shape.geoms for piece in parts(part)]


def assembled(pieces: Sequence[Any]) -> Any:
    """Put points, lines or polygons together again; only a mixture becomes a collection."""
    if len(pieces) == 1:
        return pieces[0]
    kinds = {piece.geom_type for piece in pieces}
    return _TOGETHER[kinds.pop()](pieces) if len(kinds) == 1 else shapely.geometrycollections(pieces)


def simplified(shape: Any) -> Any:
    """Give the same shape without collections in collections, and without any where all parts are alike."""
    return assembled(parts(shape)) if shape.geom_type == _MIXTURE else shape
