"""Whether an expression keeps to the limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stacflask.catalog.cql2.limits import MAXIMUM_OPERATIONS, MAXIMUM_VALUES

if TYPE_CHECKING:
    from stacflask.catalog.cql2.problems import Place
    from stacflask.values import Json


def check_size(expression: Json, place: Place) -> None:
    """Check all of these but for geometries. Not recursive: the depth is not ours. Raises BadQuery."""
    operations, values = 0, 1
    waiting = [(expression, place)]
    while waiting:
        node, at = waiting.pop()
        at = at.of(node)
        at.check_depth()
        parts, steps = _parts(node)
        operations += isinstance(node, dict) and "op" in node
        values += len(parts)
        if operations > MAXIMUM_OPERATIONS or values > MAXIMUM_VALUES:
            raise place.refuse(f"expected at most {MAXIMUM_OPERATIONS} operators and {MAXIMUM_VALUES} values")
        waiting += [
            (part, at.below(*steps, index)) for index, part in enumerate(parts) if isinstance(part, dict | list)
        ]


def _parts(node: Json) -> tuple[list[Json], tuple[str, ...]]:
    if isinstance(node, list):
        return node, ()
    for member in ("args", "interval"):
        if isinstance(node, dict) and isinstance(node.get(member), list):
            return node[member], (member,)
    return [], ()
