"""The eight relations of geometries, in the plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from stacflask.catalog.cql2 import coercion
from stacflask.catalog.cql2.values import Truth, Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RELATIONS: Mapping[str, Callable[..., sa.Function[bool]]] = {
    "s_contains": sa.func.ST_Contains,
    "s_crosses": sa.func.ST_Crosses,
    "s_disjoint": sa.func.ST_Disjoint,
    "s_equals": sa.func.ST_Equals,
    "s_intersects": sa.func.ST_Intersects,
    "s_overlaps": sa.func.ST_Overlaps,
    "s_touches": sa.func.ST_Touches,
    "s_within": sa.func.ST_Within,
}


def relate(name: str, first: Value, second: Value) -> Truth:
    """Whether two geometries are in a relation."""
    return Truth(RELATIONS[name](coercion.shape(first), coercion.shape(second, 1), type_=sa.Boolean()))
