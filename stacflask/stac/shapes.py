"""Shapely geometries taken apart, put together and mended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import shapely

if TYPE_CHECKING:
    from collections.abc import Sequence

_TOGETHER = {"Point": shapely.multipoints, "LineString": shapely.multilinestrings, "Polygon": shapely.multipolygons}
_MIXTURE = "GeometryCollection"
_AREA = 2


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


def mended(shape: Any) -> Any:
    """Mend rings that cross themselves: what they enclose stays, and what has no area becomes its outline."""
    if shapely.is_valid(shape):
        return shape
    if shape.geom_type == _MIXTURE:
        return assembled([piece for part in parts(shape) for piece in parts(mended(part))])
    whole = shapely.make_valid(shape, method="structure", keep_collapsed=False)
    if whole.is_empty:
        outline = shape.boundary if shapely.get_dimensions(shape) == _AREA else shape
        whole = shapely.make_valid(outline, method="structure", keep_collapsed=True)
    # GEOS now and then gives polygons that share an edge, which is not valid either.
    return whole if shapely.is_valid(whole) else shapely.union_all(parts(whole))
