"""The area of a query, and an estimate of the share of all items that lies in it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
import sqlalchemy as sa

from stacflask.errors import BadDocument, BadQuery
from stacflask.stac.geometry import SearchGeometry, to_wkb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stacflask.catalog.database.engine import Database
    from stacflask.model.json_types import Document
    from stacflask.model.query import ItemQuery


def search_areas(query: ItemQuery) -> list[bytes]:
    """Return the geometries of a query as WKB: none, one, or two if a box crosses the antimeridian. Raises BadQuery."""
    try:
        return [_wkb(geometry) for geometry in _geometries(query)]
    except BadDocument as error:
        raise BadQuery("intersects", error.problem) from error


def _wkb(geometry: Document) -> bytes:
    return geometry.wkb if isinstance(geometry, SearchGeometry) else to_wkb(geometry)


def _geometries(query: ItemQuery) -> list[Document]:
    if query.intersects is not None:
        return [query.intersects]
    if query.bbox is None:
        return []
    half = len(query.bbox) // 2
    (west, south), (east, north) = query.bbox[:2], query.bbox[half : half + 2]
    if west <= east:
        return [_box(west, south, east, north)]
    return [_box(west, south, 180, north), _box(-180, south, east, north)]


def _box(west: float, south: float, east: float, north: float) -> Document:
    corners = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    # ``to_wkb`` turns a box without width or height into a line or a point. As a polygon it would intersect nothing.
    return {"type": "Polygon", "coordinates": [corners]}


_ESTIMATED_ROWS = sa.text("SELECT greatest(reltuples, 1) FROM pg_class WHERE oid = to_regclass('items')")
_SAMPLED_BOXES = sa.text("""
    SELECT ST_XMin(geometry), ST_YMin(geometry), ST_XMax(geometry), ST_YMax(geometry)
    FROM items TABLESAMPLE SYSTEM (:percent) REPEATABLE (1) WHERE geometry IS NOT NULL LIMIT :most
""")


class SelectivityEstimator:
    """Estimates shares from the boxes of a sample. The sample is the same each time, so its pages stay in memory."""

    SAMPLE_ITEMS = 1024
    LIFETIME_SECONDS, REFRESH_SECONDS = 600.0, 5.0
    """Seconds until the sample is read again, and seconds for which other threads use the old one while it is read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._boxes: Any = np.empty((0, 4))
        self._until = 0.0

    def share(self, areas: Sequence[bytes]) -> float:
        """Return the share, from 0 to 1, of all items whose boxes intersect the box of one of these areas (WKB)."""
        if time.monotonic() >= self._until:
            self._until = time.monotonic() + self.REFRESH_SECONDS
            self._boxes, self._until = self._sample_boxes(), time.monotonic() + self.LIFETIME_SECONDS
        west, south, east, north = self._boxes.T
        met = np.zeros(len(west), dtype=bool)
        for bounds in shapely.bounds(shapely.from_wkb(areas)):
            met |= (west <= bounds[2]) & (east >= bounds[0]) & (south <= bounds[3]) & (north >= bounds[1])
        return float(met.mean()) if len(met) else 0.0

    def _sample_boxes(self) -> Any:
        number = self._database.read(lambda connection: connection.execute(_ESTIMATED_ROWS).scalar_one())
        # Before the first ANALYZE, PostgreSQL estimates a table as empty.
        parameters = {"percent": min(100.0, 100 * self.SAMPLE_ITEMS / number), "most": 4 * self.SAMPLE_ITEMS}
        rows = self._database.read(lambda connection: connection.execute(_SAMPLED_BOXES, parameters).all())
        return np.array([tuple(row) for row in rows], dtype=float).reshape(-1, 4)
