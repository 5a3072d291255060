"""``query``: comparisons by property (STAC Query extension). They become CQL2 with their place for error messages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from stacflask.api.http import bodies
from stacflask.api.parameters.parse import expected
from stacflask.catalog.cql2 import SubExpression
from stacflask.errors import BadDocument
from stacflask.model.json_types import Cql2, Json
from stacflask.stac.json_checks import step
from stacflask.stac.numbers import read_decimal
from stacflask.stac.times import parse_instant

Operator = Callable[[dict[str, str], Any], Cql2]

ORDERED = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
PATTERNS = {"startsWith": "{}%", "endsWith": "%{}", "contains": "%{}%"}
NAMES = frozenset({"id", "collection"})
TIMES = frozenset({"datetime", "start_datetime", "end_datetime"})
TYPED = NAMES | TIMES
"""Names with a fixed type. Values of all other names can have different types in each item."""


def comparisons(value: Any) -> tuple[Cql2, ...]:
    """Read comparisons: for each property a value, or an object of operators. Raises ValueError."""
    if not isinstance(value, dict):
        raise expected("an object of properties")
    return tuple(_part(name, one) for name, members in value.items() for one in _comparisons_of(name, members))


def comparisons_text(text: str) -> tuple[Cql2, ...]:
    """Read comparisons from JSON text. Raises ValueError."""
    try:
        return comparisons(bodies.decoded(text.encode(), exact=True))
    except BadDocument as error:
        raise ValueError(f"expected an object of properties: {error.problem}") from error


def _comparisons_of(name: str, members: Json) -> Iterator[tuple[str, Json]]:
    if not isinstance(members, dict):
        yield "eq", members
        return
    if not members:
        raise ValueError(f"at {step(name)}: expected one of {', '.join(OPERATORS)}")
    yield from members.items()


def _part(name: str, comparison: tuple[str, Json]) -> Cql2:
    operator, value = comparison
    place = f"{step(name)}{step(operator)}"
    if operator not in OPERATORS:
        raise ValueError(f"at {step(name)}: expected one of {', '.join(OPERATORS)}, got {operator[:40]!r}")
    try:
        condition = OPERATORS[operator]({"property": name}, value)
    except ValueError as error:
        raise ValueError(f"at {place}: {error}") from None
    return SubExpression(condition, "query", place) if isinstance(condition, dict) else condition


# --- Operators --------------------------------------------------------------------------------------------------------


def _operation(name: str, *args: Json) -> dict[str, Json]:
    return {"op": name, "args": list(args)}


def _either(conditions: Sequence[Cql2]) -> Cql2:
    return conditions[0] if len(conditions) == 1 else _operation("or", *conditions)


def _equal(name: dict[str, str], value: Json) -> Cql2:
    """Return the condition of equality; strings are compared case-insensitively, null means absent."""
    return _operation("isNull", name) if value is None else _either(list(_same("=", name, value)))


def _unequal(name: dict[str, str], value: Json) -> Cql2:
    if value is None:
        return _operation("not", _operation("isNull", name))
    if _is_time(name, value):
        return _either([_operation("<>", name, {"timestamp": value}), _other_text(name, value)])
    return _either(list(_same("<>", name, value)))


def _other_text(name: dict[str, str], value: str) -> Cql2:
    """Return the condition of strings that are not times: they are unequal to a time."""
    no_time = _operation("isNull", _operation("to_datetime", name))
    return _operation("and", no_time, _operation("<>", name, value))


def _ordered(symbol: str) -> Operator:
    def ordered(name: dict[str, str], value: Json) -> Cql2:
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise expected("a number or a string")
        return _either([_operation(symbol, name, reading) for reading in _readings(name, value)])

    return ordered


def _same(symbol: str, name: dict[str, str], value: Json) -> Iterator[Cql2]:
    if not isinstance(value, str | int | float):
        raise expected("a string, a number, a boolean or null")
    for reading in _readings(name, value):
        if _is_folded(name, reading):
            yield _operation(symbol, _operation("casei", name), _operation("casei", reading))
        else:
            yield _operation(symbol, name, reading)


def _is_folded(name: dict[str, str], reading: Json) -> bool:
    return isinstance(reading, str) and name["property"].removeprefix("properties.") not in TIMES


def _like(pattern: str) -> Operator:
    def like(name: dict[str, str], value: Json) -> Cql2:
        if not isinstance(value, str):
            raise expected("a string")
        escaped = value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        return _operation("like", _operation("casei", name), _operation("casei", pattern.format(escaped)))

    return like


def _in(name: dict[str, str], value: Json) -> Cql2:
    """Return the condition that the value is one of these, with one list for each way of comparison."""
    if not isinstance(value, list) or not all(isinstance(one, str | int | float) for one in value):
        raise expected("an array of strings and numbers")
    readings = [reading for one in value for reading in _readings(name, one)]
    folded = [_operation("casei", one) for one in readings if _is_folded(name, one)]
    others = [one for one in readings if not _is_folded(name, one)]
    lists = [("in", name, others), ("in", _operation("casei", name), folded)]
    return _either([_operation(*one) for one in lists if one[-1]]) if readings else False


OPERATORS: dict[str, Operator] = {
    "eq": _equal,
    "neq": _unequal,
    **{name: _ordered(symbol) for name, symbol in ORDERED.items()},
    **{name: _like(form) for name, form in PATTERNS.items()},
    "in": _in,
}

# --- Values that a string can represent -------------------------------------------------------------------------------


def _readings(name: dict[str, str], value: str | float) -> list[Json]:
    """Return the values to compare with: for a numeric string also the number, for a time only the timestamp.

    A stored value is compared with the reading of its own type, and is unequal to readings of other types.
    """
    if not isinstance(value, str) or _is_typed(name):
        return [value]
    if _is_time(name, value):
        return [{"timestamp": value}]
    return [value, read_decimal(value)] if _NUMBER(value) else [value]


_NUMBER = re.compile(r"-?[0-9]{1,99}(\.[0-9]{1,99})?", re.ASCII).fullmatch


def _is_typed(name: dict[str, str]) -> bool:
    return name["property"].removeprefix("properties.") in TYPED


def _is_time(name: dict[str, str], value: Json) -> bool:
    """Return whether a string is a time and the name has no fixed type."""
    if not isinstance(value, str) or _is_typed(name):
        return False
    try:
        parse_instant(value)
    except ValueError:
        return False
    return True
