"""Repair geometries that cross themselves."""

from typing import Any

import shapely

from stacflask.stac.geometry_cost import check_crossings
from stacflask.stac.geometry_parts import from_parts, parts

_POLYGON_DIMENSION = 2


def repair_geometry(shape: Any) -> Any:
    """Return a valid geometry. The area enclosed by its rings stays; a polygon without area becomes its outline.

    Raises:
        BadDocument: The rings cross in too many places.
    """
    if shapely.is_valid(shape):
        return shape
    check_crossings(shape, f"crosses itself in too many places to be repaired: {shapely.is_valid_reason(shape)}")
    return _repaired(shape)


def _repaired(shape: Any) -> Any:
    if shape.geom_type == "GeometryCollection":
        return from_parts([piece for part in parts(shape) for piece in parts(repair_geometry(part))])
    whole = shapely.make_valid(shape, method="structure", keep_collapsed=False)
    if whole.is_empty:
        outline = shape.boundary if shapely.get_dimensions(shape) == _POLYGON_DIMENSION else shape
        whole = shapely.make_valid(outline, method="structure", keep_collapsed=True)
    # GEOS sometimes returns polygons that share an edge, which is not valid.
    return whole if shapely.is_valid(whole) else shapely.union_all(parts(whole))
