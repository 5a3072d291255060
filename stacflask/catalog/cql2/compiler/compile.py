"""From CQL2 in JSON to a condition in SQL: one walk, and one table of operators."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.sql.elements import Grouping

from stacflask.catalog.cql2.compiler import arithmetic, arrays, comparison, spatial, strings, temporal
from stacflask.catalog.cql2.compiler.functions import FUNCTIONS
from stacflask.catalog.cql2.values import coercion, literals
from stacflask.catalog.cql2.values.problems import Place, Problem
from stacflask.catalog.cql2.values.size import check_size
from stacflask.catalog.cql2.values.types import Array, Moment, Period, Truth, Value, every, some

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from stacflask.catalog.cql2.values.fields import Fields
    from stacflask.model.json_types import Cql2, Json


def condition(expression: Cql2, fields: Fields, parameter: str = "filter") -> sa.ColumnElement[bool]:
    """Give the condition that an expression in CQL2 JSON sets on a row, for a WHERE clause.

    Raises BadQuery: it is no such expression; the message says where, and what was expected there.
    """
    return truth_of(expression, fields, parameter).where


def truth_of(expression: Cql2, fields: Fields, parameter: str = "filter") -> Truth:
    """Return whether an expression holds for a row, or that it is unknown. Raises BadQuery, as ``condition``."""
    place = Place(parameter)
    check_size(expression, place)
    try:
        value = _Walk(fields).value(expression, place)
        return value if isinstance(value, Truth) else Truth(coercion.truth(value, None))
    except Problem as problem:
        raise place.of(expression).refuse(problem.message) from None


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator: what it makes of its operands' values, and how many it takes (``most`` is None: any number).

    ``weight`` says how deep its SQL is nested: SQLAlchemy is recursive, and must not run out of stack.
    """

    apply: Callable[..., Value]
    least: int = 2
    most: int | None = 2
    weight: int = 1

    def check(self, name: str, given: int) -> None:
        """Check the number of operands. Raises Problem."""
        if given < self.least or (self.most is not None and given > self.most):
            expected = f"{self.least}" if self.least == self.most else f"{self.least} or more"
            raise Problem(f"expected {expected} operands of {name}, got {given}")


def _conjunction(*values: Value) -> Truth:
    return every(_truths(values))


def _disjunction(*values: Value) -> Truth:
    return some(_truths(values))


def _truths(values: Sequence[Value]) -> list[Truth]:
    return [
        value if isinstance(value, Truth) else Truth(coercion.truth(value, index)) for index, value in enumerate(values)
    ]


def _negation(value: Value) -> Truth:
    # In brackets: SQLAlchemy writes NOT f(x) IS NULL, which PostgreSQL reads the other way round.
    return Truth(Grouping(sa.not_(coercion.truth(value))))


def _named(function: Callable[..., Value], names: Iterable[str], weight: int = 1) -> dict[str, Operator]:
    return {name: Operator(partial(function, name), weight=weight) for name in names}


OPERATORS: Mapping[str, Operator] = {
    "and": Operator(_conjunction, 1, None),
    "or": Operator(_disjunction, 1, None),
    "not": Operator(_negation, 1, 1),
    **_named(comparison.compare, comparison.PLAIN),
    "between": Operator(comparison.between, 2, 3),
    "in": Operator(comparison.is_in),
    "like": Operator(comparison.like),
    "isNull": Operator(comparison.is_null, 1, 1),
    "casei": Operator(strings.casei, 1, 1, weight=7),
    "accenti": Operator(strings.accenti, 1, 1, weight=4),
    **_named(arithmetic.compute, ("+", "-", "*")),
    **_named(arithmetic.compute, ("/", "%", "div"), weight=2),
    **_named(arithmetic.compute, ("^",), weight=5),
    **_named(spatial.relate, spatial.RELATIONS),
    **_named(temporal.relate, temporal.RELATIONS),
    "t_disjoint": Operator(temporal.disjoint),
    "a_equals": Operator(arrays.equals),
    "a_contains": Operator(arrays.contains),
    "a_containedBy": Operator(arrays.contained_by),
    "a_overlaps": Operator(arrays.overlaps),
}


_CALLABLE = {
    **{name.lower(): operator for name, operator in OPERATORS.items()},
    **{
        name: Operator(function.apply, len(function.args), len(function.args), weight=4)
        for name, function in FUNCTIONS.items()
    },
}


@dataclass(frozen=True, slots=True)
class _Walk:
    """Goes through an expression from its leaves to its root."""

    fields: Fields

    def value(self, node: Json, place: Place) -> Value:
        """Give what a part of the expression stands for. Raises BadQuery."""
        place = place.of(node)
        place.check_depth()
        try:
            return self._value(node, place)
        except Problem as problem:
            where = place if problem.argument is None else place.below("args", problem.argument)
            raise where.refuse(problem.message) from None

    def _value(self, node: Json, place: Place) -> Value:
        match node:
            case {"op": str(name), "args": list(args)}:
                return self._operation(name, args, place)
            case {"property": str(name)}:
                return self.fields.value(name)
            case {"interval": [start, end]}:
                return self._interval(start, end, place)
            case dict():
                return literals.tagged(node)
            case list() | tuple():
                return self._array(list(node), place)
        return literals.scalar(node)

    def _operation(self, name: str, args: list[Json], place: Place) -> Value:
        operator = _CALLABLE.get(name.lower())
        if operator is None:
            raise Problem(f"there is no function {name[:40]!r}; there are {', '.join(sorted(FUNCTIONS))}")
        operator.check(name, len(args))
        places = (place.below("args", index, deeper=operator.weight) for index in range(len(args)))
        return operator.apply(*map(self.value, args, places))

    def _array(self, node: list[Json], place: Place) -> Array:
        return Array(tuple(self.value(member, place.below(index)) for index, member in enumerate(node)), node)

    def _interval(self, start: Json, end: Json, place: Place) -> Period:
        first = self._end(start, "-", place.below("interval", 0))
        last = self._end(end, "", place.below("interval", 1))
        if isinstance(start, str) and isinstance(end, str) and literals.OPEN not in (start, end):
            literals.check_order(start, end)
        return Period(first, last)

    def _end(self, node: Json, sign: str, place: Place) -> Moment:
        if node == literals.OPEN:
            return literals.infinity(sign)
        return coercion.moment(self.value(node, place))
