"""``query``: comparisons by property, of before there was CQL2. They become CQL2, and each knows where it stood."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from stacflask.api.http import bodies
from stacflask.api.parameters.parse import expected
from stacflask.catalog.cql2 import SubExpression
from stacflask.errors import BadDocument
from stacflask.stac.json_checks import step
from stacflask.stac.numbers import read_decimal
from stacflask.stac.times import parse_instant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from stacflask.model.json_types import Cql2, Json

    Make = Callable[[dict[str, str], Any], Cql2]

ORDERED = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
PATTERNS = {"startsWith": "{}%", "endsWith": "%{}", "contains": "%{}%"}
NAMES = frozenset({"id", "collection"})
TIMES = frozenset({"datetime", "start_datetime", "end_datetime"})
TYPED = NAMES | TIMES
"""Names whose type is known: of all others, each stored value has its own."""


def comparisons(value: Any) -> tuple[Cql2, ...]:
    """Read comparisons: for each property a value, or an object of operators. Raises ValueError."""
    if not isinstance(value, dict):
        raise expected("an object of properties")
    return tuple(_part(name, given) for name, several in value.items() for given in _given(name, several))


def comparisons_text(text: str) -> tuple[Cql2, ...]:
    """Read comparisons from JSON text. Raises ValueError."""
    try:
        return comparisons(bodies.decoded(text.encode(), exact=True))
    except BadDocument as error:
        raise ValueError(f"expected an object of properties: {error.problem}") from error


def _given(name: str, several: Json) -> Iterator[tuple[str, Json]]:
    if not isinstance(several, dict):
        yield "eq", several
        return
    if not several:
        raise ValueError(f"at {step(name)}: expected one of {', '.join(OPERATORS)}")
    yield from several.items()


def _part(name: str, given: tuple[str, Json]) -> Cql2:
    operator, value = given
    place = f"{step(name)}{step(operator)}"
    if operator not in OPERATORS:
        raise ValueError(f"at {step(name)}: there is no operator {operator[:40]!r}; there are {', '.join(OPERATORS)}")
    try:
        made = OPERATORS[operator]({"property": name}, value)
    except ValueError as error:
        raise ValueError(f"at {place}: {error}") from None
    return SubExpression(made, "query", place) if isinstance(made, dict) else made


# --- Operators --------------------------------------------------------------------------------------------------------


def _operation(name: str, *args: Json) -> dict[str, Json]:
    return {"op": name, "args": list(args)}


def _either(conditions: Sequence[Cql2]) -> Cql2:
    return conditions[0] if len(conditions) == 1 else _operation("or", *conditions)


def _equal(name: dict[str, str], value: Json) -> Cql2:
    """Whether it is equal; strings without regard to case. Null is what is not there."""
    return _operation("isNull", name) if value is None else _either(list(_same("=", name, value)))


def _unequal(name: dict[str, str], value: Json) -> Cql2:
    if value is None:
        return _operation("not", _operation("isNull", name))
    if _is_time(name, value):
        return _either([_operation("<>", name, {"timestamp": value}), _other_text(name, value)])
    return _either(list(_same("<>", name, value)))


def _other_text(name: dict[str, str], value: str) -> Cql2:
    """Return the condition of strings that spell no time: they are unequal to one that does."""
    no_time = _operation("isNull", _operation("to_datetime", name))
    return _operation("and", no_time, _operation("<>", name, value))


def _ordered(symbol: str) -> Make:
    def ordered(name: dict[str, str], value: Json) -> Cql2:
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise expected("a number, a time or another string")
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


def _like(form: str) -> Make:
    def like(name: dict[str, str], value: Json) -> Cql2:
        if not isinstance(value, str):
            raise expected("a string")
        plain = value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        return _operation("like", _operation("casei", name), _operation("casei", form.format(plain)))

    return like


def _among(name: dict[str, str], value: Json) -> Cql2:
    """Whether it is one of these: those of each kind in one list."""
    if not isinstance(value, list) or not all(isinstance(one, str | int | float) for one in value):
        raise expected("an array of strings and numbers")
    readings = [reading for one in value for reading in _readings(name, one)]
    folded = [_operation("casei", one) for one in readings if _is_folded(name, one)]
    others = [one for one in readings if not _is_folded(name, one)]
    lists = [("in", name, others), ("in", _operation("casei", name), folded)]
    return _either([_operation(*one) for one in lists if one[-1]]) if readings else False


OPERATORS: dict[str, Make] = {
    "eq": _equal,
    "neq": _unequal,
    **{name: _ordered(symbol) for name, symbol in ORDERED.items()},
    **{name: _like(form) for name, form in PATTERNS.items()},
    "in": _among,
}

# --- What a string may stand for --------------------------------------------------------------------------------------


def _readings(name: dict[str, str], value: str | float) -> list[Json]:
    """Give what a value is compared as: a string that spells a number, as that too; and one that spells a time as one.

    Which of them counts, the stored value says: it is compared with what is of its own type, and unlike all else.
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
    """Whether a string spells a time, and the name has no type of its own."""
    if not isinstance(value, str) or _is_typed(name):
        return False
    try:
        parse_instant(value)
    except ValueError:
        return False
    return True
