"""The eight relations of geometries, in the plane."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import sqlalchemy as sa
from sqlalchemy.sql.elements import Grouping

from stacflask.catalog.cql2.values import coercion
from stacflask.catalog.cql2.values.sql import Sql
from stacflask.catalog.cql2.values.types import BooleanValue, Value


def meets(one: Sql, other: Sql) -> Sql:
    """Return whether two geometries have a common point.

    An index compares their boxes, and the function compares the geometries. The function is correct for prepared lines,
    for which ST_Intersects is wrong, and has a lower cost than the one that PostGIS declares.
    """
    boxes = one.op("&&", is_comparison=True, return_type=sa.Boolean())(other)
    return sa.and_(boxes, sa.not_(sa.func.stacflask_is_disjoint(one, other, type_=sa.Boolean())))


def _function(name: str) -> Callable[..., Sql]:
    return partial(getattr(sa.func, name), type_=sa.Boolean())


def _prefiltered(name: str) -> Callable[..., Sql]:
    """Return a relation for which PostGIS prepares no geometry, after tests for which it does.

    The relation is false if the geometries are disjoint or one contains the other. A large filter geometry is therefore
    compared in full only with items near its boundary.
    """

    def relation(one: Sql, other: Sql) -> Sql:
        contained = (
            sa.func.ST_Contains(one, other, type_=sa.Boolean()),
            sa.func.ST_Contains(other, one, type_=sa.Boolean()),
        )
        exact = sa.case((sa.or_(*contained), sa.false()), else_=_function(name)(one, other))
        return Grouping(sa.and_(meets(one, other), exact))

    return relation


RELATIONS: Mapping[str, Callable[..., Sql]] = {
    "s_contains": _function("ST_Contains"),
    "s_crosses": _prefiltered("ST_Crosses"),
    "s_equals": _function("ST_Equals"),
    "s_disjoint": lambda one, other: Grouping(sa.not_(Grouping(meets(one, other)))),
    "s_intersects": lambda one, other: Grouping(meets(one, other)),
    "s_overlaps": _prefiltered("ST_Overlaps"),
    "s_touches": _prefiltered("ST_Touches"),
    "s_within": _function("ST_Within"),
}


def relate(name: str, first: Value, second: Value) -> BooleanValue:
    """Return whether a relation holds for two geometries."""
    return BooleanValue(RELATIONS[name](coercion.shape(first), coercion.shape(second, 1)))
