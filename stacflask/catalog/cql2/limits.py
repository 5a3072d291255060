"""How much an expression may ask for. What asks for more is refused before any of it is worked on."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stacflask.catalog.cql2.problems import Place
    from stacflask.values import Json

MAXIMUM_LENGTH = 200_000
"""Characters of cql2-text."""
MAXIMUM_DEPTH = 100
"""Operators, intervals and lists within each other. A chain of AND or OR, however long, is one."""
MAXIMUM_OPERATIONS = 1_000
MAXIMUM_VALUES = 20_000
"""Values of all kinds; a geometry is one."""
MAXIMUM_POSITIONS = 10_000
"""Positions in one geometry."""
LARGEST = Decimal("1e300")
"""The largest number that takes part in arithmetic; what exceeds it is unknown."""


def check_size(expression: Json, place: Place) -> None:
    """Check all of these but for geometries. Not recursive: the depth is not ours. Raises BadQuery."""
    operations = values = 0
    waiting = [(expression, place, 0)]
    while waiting:
        node, at, depth = waiting.pop()
        at = at.of(node)
        if depth > MAXIMUM_DEPTH:
            raise at.refuse(f"expected nothing nested deeper than {MAXIMUM_DEPTH}")
        parts, steps = _parts(node)
        waiting += [(part, at.below(*steps, index), depth + 1) for index, part in enumerate(parts)]
        values += 1
        operations += isinstance(node, dict) and "op" in node
        if operations > MAXIMUM_OPERATIONS or values > MAXIMUM_VALUES:
            raise place.refuse(f"expected at most {MAXIMUM_OPERATIONS} operators and {MAXIMUM_VALUES} values")


def _parts(node: Json) -> tuple[list[Json], tuple[str, ...]]:
    if isinstance(node, list):
        return node, ()
    for member in ("args", "interval"):
        if isinstance(node, dict) and isinstance(node.get(member), list):
            return node[member], (member,)
    return [], ()
