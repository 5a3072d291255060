"""Grid cells of the centre of an item's footprint: geohashes and map tiles."""

from typing import Any

import sqlalchemy as sa

from stacflask.catalog.database.tables import items
from stacflask.stac.bbox import MAX_LONGITUDE as HALF

GEOHASH_MAX, GEOHASH_DEFAULT = 12, 2
GEOTILE_MAX, GEOTILE_DEFAULT = 24, 5
POLE = 85.0511287798066
"""Latitude, in degrees, of the northern and southern edge of the tiles. What lies beyond is in the last row."""

_ONE_SIDE, _OTHER_SIDE = sa.func.ST_XMin(items.c.geometry), sa.func.ST_XMax(items.c.geometry)


def _centre() -> Any:
    """Return the centroid of the footprint. The parts of one that was cut at the antimeridian are joined first."""
    cut = sa.and_(_ONE_SIDE == -HALF, _OTHER_SIDE == HALF, sa.func.ST_NumGeometries(items.c.geometry) > 1)
    together = sa.func.ST_Centroid(sa.func.ST_ShiftLongitude(items.c.geometry))
    return sa.case((cut, sa.func.ST_WrapX(together, HALF, -2 * HALF)), else_=sa.func.ST_Centroid(items.c.geometry))


def geohash(precision: int) -> Any:
    """Return the geohash with this number of characters."""
    return sa.func.ST_GeoHash(_centre(), precision, type_=sa.Text)


def geotile(zoom: int) -> Any:
    """Return the tile of a web map at this zoom as ``zoom/x/y``."""
    size = 2**zoom
    x, y = sa.func.ST_X(_centre(), type_=sa.Double), sa.func.ST_Y(_centre(), type_=sa.Double)
    north = sa.func.least(sa.func.greatest(y, -POLE), POLE, type_=sa.Double)
    down = (1 - sa.func.asinh(sa.func.tan(sa.func.radians(north)), type_=sa.Double) / sa.func.pi(type_=sa.Double)) / 2
    tile = sa.func.concat(zoom, "/", _cell((x + 180) / 360, size), "/", _cell(down, size), type_=sa.Text)
    # concat, greatest and least ignore nulls: without the condition, an item without geometry gets a tile.
    return sa.case((items.c.geometry.is_not(None), tile))


def _cell(part: Any, size: int) -> Any:
    return sa.cast(sa.func.least(sa.func.greatest(sa.func.floor(part * size), 0), size - 1), sa.BigInteger)
