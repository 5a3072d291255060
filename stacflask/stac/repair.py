"""Repair of geometries that cross themselves."""

from __future__ import annotations

from typing import Any

import shapely

from stacflask.stac.cost import check_crossings
from stacflask.stac.shapes import assembled, parts

_AREA = 2


def mended(shape: Any) -> Any:
    """Mend rings that cross themselves: what they enclose stays, and what has no area becomes its outline.

    Raises BadDocument: they cross in too many places.
    """
    if shapely.is_valid(shape):
        return shape
    check_crossings(shape, f"crosses itself in too many places to be repaired: {shapely.is_valid_reason(shape)}")
    return _mended(shape)


def _mended(shape: Any) -> Any:
    if shape.geom_type == "GeometryCollection":
        return assembled([piece for part in parts(shape) for piece in parts(mended(part))])
    whole = shapely.make_valid(shape, method="structure", keep_collapsed=False)
    if whole.is_empty:
        outline = shape.boundary if shapely.get_dimensions(shape) == _AREA else shape
        whole = shapely.make_valid(outline, method="structure", keep_collapsed=True)
    # GEOS now and then gives polygons that share an edge, which is not valid either.
    return whole if shapely.is_valid(whole) else shapely.union_all(parts(whole))
