"""Compile CQL2 JSON to a condition in SQL, with one table of operators."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa
from sqlalchemy.sql.elements import Grouping

from stacflask.catalog.cql2.compiler import arithmetic, arrays, comparison, spatial, strings, temporal
from stacflask.catalog.cql2.compiler.functions import FUNCTIONS
from stacflask.catalog.cql2.values import coercion, literals
from stacflask.catalog.cql2.values.fields import Fields
from stacflask.catalog.cql2.values.problems import NodeLocation, Problem
from stacflask.catalog.cql2.values.size import check_size
from stacflask.catalog.cql2.values.types import Array, BooleanValue, InstantValue, IntervalValue, Value, every, some
from stacflask.model.json_types import Cql2, Json


def condition(expression: Cql2, fields: Fields, parameter: str = "filter") -> sa.ColumnElement[bool]:
    """Return an expression in CQL2 JSON as a condition for a WHERE clause.

    Args:
        expression: The expression.
        fields: The properties that it can use.
        parameter: The query parameter of the expression, for messages.

    Raises:
        BadQuery: The expression is not valid. The message says where, and what is expected there.
    """
    return truth_of(expression, fields, parameter).where


def truth_of(expression: Cql2, fields: Fields, parameter: str = "filter") -> BooleanValue:
    """Return an expression as true, false or unknown for a row. Raises BadQuery, as ``condition`` does."""
    location = NodeLocation(parameter)
    check_size(expression, location)
    try:
        value = _Compiler(fields).value(expression, location)
        return value if isinstance(value, BooleanValue) else BooleanValue(coercion.truth(value, None))
    except Problem as problem:
        raise location.of(expression).error(problem.message) from None


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator: its function and its number of operands (``max_operands`` is None: unlimited).

    ``weight`` is the nesting depth of its SQL. SQLAlchemy is recursive, so the depth must be limited.
    """

    apply: Callable[..., Value]
    min_operands: int = 2
    max_operands: int | None = 2
    weight: int = 1

    def check(self, name: str, given: int) -> None:
        """Check the number of operands. Raises Problem."""
        if given < self.min_operands or (self.max_operands is not None and given > self.max_operands):
            expected = (
                f"{self.min_operands}" if self.min_operands == self.max_operands else f"{self.min_operands} or more"
            )
            raise Problem(f"expected {expected} operands of {name}, got {given}")


def _conjunction(*values: Value) -> BooleanValue:
    return every(_truths(values))


def _disjunction(*values: Value) -> BooleanValue:
    return some(_truths(values))


def _truths(values: Sequence[Value]) -> list[BooleanValue]:
    return [
        value if isinstance(value, BooleanValue) else BooleanValue(coercion.truth(value, index))
        for index, value in enumerate(values)
    ]


def _negation(value: Value) -> BooleanValue:
    # SQLAlchemy writes NOT f(x) IS NULL without brackets, which PostgreSQL parses as NOT (f(x) IS NULL).
    return BooleanValue(Grouping(sa.not_(coercion.truth(value))))


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
class _Compiler:
    """Compiles an expression from its leaves to its root."""

    fields: Fields

    def value(self, node: Json, location: NodeLocation) -> Value:
        """Return the value of a part of the expression. Raises BadQuery."""
        location = location.of(node)
        location.check_depth()
        try:
            return self._value(node, location)
        except Problem as problem:
            operand = location if problem.argument is None else location.below("args", problem.argument)
            raise operand.error(problem.message) from None

    def _value(self, node: Json, location: NodeLocation) -> Value:
        match node:
            case {"op": str(name), "args": list(args)}:
                return self._operation(name, args, location)
            case {"property": str(name)}:
                return self.fields.value(name)
            case {"interval": [start, end]}:
                return self._interval(start, end, location)
            case dict():
                return literals.tagged(node)
            case list() | tuple():
                return self._array(list(node), location)
        return literals.scalar(node)

    def _operation(self, name: str, args: list[Json], location: NodeLocation) -> Value:
        operator = _CALLABLE.get(name.lower())
        if operator is None:
            raise Problem(f"there is no function {name[:40]!r}; available are {', '.join(sorted(FUNCTIONS))}")
        operator.check(name, len(args))
        locations = (location.below("args", index, deeper=operator.weight) for index in range(len(args)))
        return operator.apply(*map(self.value, args, locations))

    def _array(self, node: list[Json], location: NodeLocation) -> Array:
        return Array(tuple(self.value(member, location.below(index)) for index, member in enumerate(node)), node)

    def _interval(self, start: Json, end: Json, location: NodeLocation) -> IntervalValue:
        first = self._end(start, "-", location.below("interval", 0))
        last = self._end(end, "", location.below("interval", 1))
        if isinstance(start, str) and isinstance(end, str) and literals.OPEN not in (start, end):
            literals.check_order(start, end)
        return IntervalValue(first, last)

    def _end(self, node: Json, sign: str, location: NodeLocation) -> InstantValue:
        if node == literals.OPEN:
            return literals.infinity(sign)
        return coercion.moment(self.value(node, location))
