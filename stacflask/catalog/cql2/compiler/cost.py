"""The cost of a condition for each row, in units of the cheapest operator.

A unit is about 0.1 microseconds of CPU time, measured with PostgreSQL 15 and PostGIS 3.3.
"""

from collections.abc import Mapping

from stacflask.catalog.cql2.values.size import children_of, positions_in, readings_of
from stacflask.model.json_types import Json

MAXIMUM_COST = 1_000
"""Units for each row that a request can use."""
COSTLY = 250
"""Units beyond which ``STACFLASK_COSTLY_TIMEOUT`` applies to a search."""
PREPARED_POSITIONS = 20
"""Positions per unit if PostGIS prepares the geometry once for all rows."""
OTHER_POSITIONS = 2
"""Positions per unit if each row's geometry is compared with all lines of the geometry."""
PREPARED = frozenset({"s_contains", "s_disjoint", "s_equals", "s_intersects", "s_within"})
"""Operators for which PostGIS prepares the geometry, or compares boxes first."""
LITERAL_UNITS = 2
"""Units per position if an operator has only literal geometries. The planner computes it, where no timeout applies, and
the intersection of two geometries can have as many parts as the product of their positions."""
SPATIAL = frozenset(
    {"area", "centroid", "distance", "intersection", "s_contains", "s_crosses", "s_disjoint", "s_equals"}
    | {"s_intersects", "s_overlaps", "s_touches", "s_within"}
)
COLUMNS = frozenset({"id", "collection", "geometry", "datetime", "start_datetime", "end_datetime"})

OPERATORS: Mapping[str, int] = {
    "casei": 100,
    "accenti": 50,
    "lower": 20,
    "upper": 20,
    "to_number": 10,
    "to_datetime": 10,
    "^": 10,
    **dict.fromkeys(("s_contains", "s_crosses", "s_disjoint", "s_equals", "s_intersects", "s_overlaps"), 4),
    **dict.fromkeys(("s_touches", "s_within"), 4),
    **dict.fromkeys(("area", "centroid", "distance", "intersection"), 40),
}
"""Operators that cost more than one unit. A property without a column costs ``PROPERTY``."""
PROPERTY = 4


def cost_of(expression: Json) -> int:
    """Return the units of an expression, valid or not.

    Parts without a property cost nothing for each row. If they compute geometries, they have a cost for the statement.
    """
    cost, waiting = 0, [expression]
    while waiting:
        node = waiting.pop()
        cost += _operator(node) + _property(node)
        waiting += [part for part in children_of(node)[0] if isinstance(part, dict | list)]
    return cost


def _operator(node: Json) -> int:
    name = node.get("op") if isinstance(node, dict) else None
    if not isinstance(name, str):
        return 0
    name = name.lower()
    if name in SPATIAL and not _has_property(node):
        return LITERAL_UNITS * sum(map(positions_in, children_of(node)[0]))
    if not _reads_row(node):
        return 0
    own = OPERATORS.get(name, 1)
    if own == 1:
        return own
    positions = sum(map(positions_in, children_of(node)[0]))
    return own + positions // (PREPARED_POSITIONS if name in PREPARED else OTHER_POSITIONS)


def _has_property(expression: Json) -> bool:
    """Whether an expression, valid or not, contains a property."""
    waiting = [expression]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict) and "property" in node:
            return True
        waiting += [part for part in children_of(node)[0] if isinstance(part, dict | list)]
    return False


def _reads_row(node: Json) -> bool:
    """Whether an operand of an operator is computed for each row."""
    return any(isinstance(part, dict) and ("property" in part or "op" in part) for part in children_of(node)[0])


def _property(node: Json) -> int:
    name = node.get("property") if isinstance(node, dict) else None
    if not isinstance(name, str) or name.removeprefix("properties.") in COLUMNS:
        return 0
    return PROPERTY * readings_of(node)
