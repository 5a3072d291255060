"""The fifteen relations of instants and intervals."""

from collections.abc import Mapping

import sqlalchemy as sa

from stacflask.catalog.cql2.compiler.comparison import compare_times
from stacflask.catalog.cql2.values import coercion
from stacflask.catalog.cql2.values.problems import Problem
from stacflask.catalog.cql2.values.types import BooleanValue, InstantValue, IntervalValue, Stored, Value, every, some

RELATIONS: Mapping[str, tuple[str, ...]] = {
    "t_after": ("start > end",),
    "t_before": ("end < start",),
    "t_equals": ("start = start", "end = end"),
    "t_intersects": ("start <= end", "end >= start"),
    "t_contains": ("start < start", "end > end"),
    "t_during": ("start > start", "end < end"),
    "t_finishedBy": ("start < start", "end = end"),
    "t_finishes": ("start > start", "end = end"),
    "t_meets": ("end = start",),
    "t_metBy": ("start = end",),
    "t_overlappedBy": ("start > start", "start < end", "end > end"),
    "t_overlaps": ("start < start", "end > start", "end < end"),
    "t_startedBy": ("start = start", "end > end"),
    "t_starts": ("start = start", "end < end"),
}
"""Comparisons between the ends of the first interval (left) and the second (right). All of them must be true."""

OF_INSTANTS = {"t_after", "t_before", "t_equals", "t_intersects"}
"""Relations of instants. The standard allows the others for intervals only."""


def relate(name: str, first: Value, second: Value) -> BooleanValue:
    """Return whether a relation holds for two times.

    A stored value is never an interval, so a relation of intervals is unknown for it.

    Raises:
        Problem: The relation is one of intervals, and an operand is not an interval.
    """
    if name not in OF_INSTANTS:
        _check_intervals(name, first, second)
        if isinstance(first, Stored) or isinstance(second, Stored):
            return BooleanValue(sa.cast(sa.null(), sa.Boolean))
    one, other = coercion.period(first), coercion.period(second, 1)
    return every([compare_times(*_sides(rule, one, other)) for rule in RELATIONS[name]])


def disjoint(first: Value, second: Value) -> BooleanValue:
    """Return whether two times have no common instant."""
    return some([relate("t_before", first, second), relate("t_after", first, second)])


def _check_intervals(name: str, *values: Value) -> None:
    for index, value in enumerate(values):
        if not isinstance(value, IntervalValue | Stored):
            raise Problem(
                f"{name} compares two intervals; with an instant use t_intersects, t_after or t_before", index
            )


def _sides(rule: str, one: IntervalValue, other: IntervalValue) -> tuple[str, InstantValue, InstantValue]:
    left, symbol, right = rule.split()
    return symbol, getattr(one, left), getattr(other, right)
