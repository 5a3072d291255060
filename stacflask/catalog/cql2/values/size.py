"""Check the size of an expression against the limits."""

from stacflask.catalog.cql2.values.limits import MAXIMUM_NAMES, MAXIMUM_OPERATIONS, MAXIMUM_POSITIONS, MAXIMUM_VALUES
from stacflask.catalog.cql2.values.problems import NodeLocation
from stacflask.model.json_types import Json

_MAX_COUNTED_DOTS = 4
"""Further dots do not add ways to read a name."""


def check_size(expression: Json, location: NodeLocation) -> None:
    """Check an expression against all limits. Raises BadQuery.

    The function is not recursive, because a client chooses the depth.
    """
    operations, values, positions, names = 0, 1, 0, 0
    waiting = [(expression, location)]
    while waiting:
        node, at = waiting.pop()
        at = at.of(node)
        at.check_depth()
        parts, steps = children_of(node)
        operations += isinstance(node, dict) and "op" in node
        values += len(parts)
        positions += _positions(node)
        if positions > MAXIMUM_POSITIONS:
            raise at.error(f"expected at most {MAXIMUM_POSITIONS} positions in all geometries")
        names += readings_of(node)
        if names > MAXIMUM_NAMES:
            raise location.error(
                f"expected at most {MAXIMUM_NAMES} property names; a name with dots counts several times"
            )
        if operations > MAXIMUM_OPERATIONS or values > MAXIMUM_VALUES:
            raise location.error(f"expected at most {MAXIMUM_OPERATIONS} operators and {MAXIMUM_VALUES} values")
        waiting += [
            (part, at.below(*steps, index)) for index, part in enumerate(parts) if isinstance(part, dict | list)
        ]


def positions_in(expression: Json) -> int:
    """Count the positions of all geometries in an expression, valid or not."""
    count, waiting = 0, [expression]
    while waiting:
        node = waiting.pop()
        count += _positions(node)
        waiting += [part for part in children_of(node)[0] if isinstance(part, dict | list)]
    return count


def _positions(node: Json) -> int:
    """Count the positions in one geometry."""
    if not isinstance(node, dict):
        return 0
    count, waiting = 0, [node.get("coordinates"), node.get("geometries")]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            inner = [one for one in part if isinstance(one, dict | list)]
            count += not inner
            waiting += inner
        elif isinstance(part, dict):
            waiting += [part.get("coordinates"), part.get("geometries")]
    return count


def readings_of(node: Json) -> int:
    """Return the number of ways in which a property name can be read. Each is a part of the SQL statement."""
    name = node.get("property") if isinstance(node, dict) else None
    return 1 << min(name.count("."), _MAX_COUNTED_DOTS) if isinstance(name, str) else 0


def children_of(node: Json) -> tuple[list[Json], tuple[str, ...]]:
    """Return the operands, ends or elements of a node, and the member that contains them."""
    if isinstance(node, list):
        return node, ()
    for member in ("args", "interval"):
        if isinstance(node, dict) and isinstance(node.get(member), list):
            return node[member], (member,)
    return [], ()
