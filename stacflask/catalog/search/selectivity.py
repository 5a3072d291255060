"""The area that a query asks for, and how much of all that there is lies in it."""

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


def areas(query: ItemQuery) -> list[bytes]:
    """Give the geometries to meet: none, one, or two for a box that crosses the antimeridian. Raises BadQuery."""
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
    # A box without width or height becomes the line or point that it is; as a polygon it would meet nothing.
    return {"type": "Polygon", "coordinates": [corners]}


_ROUGHLY = sa.text("SELECT greatest(reltuples, 1) FROM pg_class WHERE oid = to_regclass('items')")
_SOME = sa.text("""
    SELECT ST_XMin(geometry), ST_YMin(geometry), ST_XMax(geometry), ST_YMax(geometry)
    FROM items TABLESAMPLE SYSTEM (:percent) REPEATABLE (1) WHERE geometry IS NOT NULL LIMIT :most
""")


class SelectivityEstimator:
    """Knows where many items lie, from some of them: always the same, so that they are in memory the next time."""

    SAMPLE = 1024
    REST, LOOK = 600.0, 5.0
    """Seconds after which they are looked at again; and for which all others go by what was known while one looks."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._boxes: Any = np.empty((0, 4))
        self._until = 0.0

    def share(self, there: Sequence[bytes]) -> float:
        """Give the part of all items whose boxes meet that of one of these areas, between 0 and 1."""
        if time.monotonic() >= self._until:
            self._until = time.monotonic() + self.LOOK
            self._boxes, self._until = self._look(), time.monotonic() + self.REST
        west, south, east, north = self._boxes.T
        met = np.zeros(len(west), dtype=bool)
        for own in shapely.bounds(shapely.from_wkb(there)):
            met |= (west <= own[2]) & (east >= own[0]) & (south <= own[3]) & (north >= own[1])
        return float(met.mean()) if len(met) else 0.0

    def _look(self) -> Any:
        number = self._database.read(lambda connection: connection.execute(_ROUGHLY).scalar_one())
        # Before it was analyzed for the first time, a table seems to be empty.
        some = {"percent": min(100.0, 100 * self.SAMPLE / number), "most": 4 * self.SAMPLE}
        rows = self._database.read(lambda connection: connection.execute(_SOME, some).all())
        return np.array([tuple(row) for row in rows], dtype=float).reshape(-1, 4)
