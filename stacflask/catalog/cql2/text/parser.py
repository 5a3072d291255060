"""Parse cql2-text to cql2-json, by recursive descent.

Types are not checked here: the compiler checks them for text and JSON.
"""

from collections.abc import Callable
from typing import Any

from stacflask.catalog.cql2.compiler.compile import OPERATORS
from stacflask.catalog.cql2.text import wkt
from stacflask.catalog.cql2.text.tokens import Token, Tokens, identifier, number, string
from stacflask.catalog.cql2.values.limits import MAXIMUM_DEPTH, MAXIMUM_LENGTH
from stacflask.catalog.cql2.values.problems import Node, NodeLocation
from stacflask.catalog.cql2.values.size import check_size
from stacflask.errors import BadQuery
from stacflask.model.json_types import Cql2, Json
from stacflask.stac.numbers import is_number


def parse(text: str, parameter: str = "filter") -> Cql2:
    """Return an expression in cql2-text as cql2-json.

    Raises:
        BadQuery: The text is not valid. The message says at which character, and what is expected there.
    """
    if len(text) > MAXIMUM_LENGTH:
        raise BadQuery(parameter, f"expected at most {MAXIMUM_LENGTH} characters, got {len(text)}")
    expression = _read(text, parameter)
    check_size(expression, NodeLocation(parameter))
    return expression


def _read(text: str, parameter: str) -> Cql2:
    r"""Parse a text. The grammar is ambiguous: ``\'`` is a quote, or a backslash and the end of a string."""
    expression: Cql2
    try:
        expression = _Parser(Tokens(text, parameter)).whole()
    except BadQuery as error:
        if "\\'" not in text:
            raise
        try:
            expression = _Parser(Tokens(text, parameter, escapes=False)).whole()
        except BadQuery:
            raise error from None
    return expression


OR, AND, NOT, PREDICATE, SUM, PRODUCT, POWER, OPERAND = range(8)
"""Precedence of operators."""
_BINDING = {
    "OR": OR,
    "AND": AND,
    **dict.fromkeys(("=", "<>", "<", "<=", ">", ">=", "NOT", "LIKE", "BETWEEN", "IN", "IS"), PREDICATE),
    **dict.fromkeys(("+", "-"), SUM),
    **dict.fromkeys(("*", "/", "%", "DIV"), PRODUCT),
    "^": POWER,
}
_NOT_ASSOCIATIVE = {PREDICATE, POWER}
"""Levels on which one operator cannot follow another without brackets."""
_LITERALS: dict[str, Callable[[str], Json]] = {
    "number": number,
    "string": string,
    "TRUE": lambda _: True,
    "FALSE": lambda _: False,
}
_NAMES = {name.lower(): name for name in OPERATORS}


class _Group(list[Any]):
    """Values in brackets. A single value is an array or only that value, which depends on the operator."""


def _single(value: Json) -> Json:
    """Return the content of brackets: one value, or an array of any other number of values."""
    if not isinstance(value, _Group):
        return value
    return value[0] if len(value) == 1 else list(value)


def _array(value: Json) -> Json:
    return list(value) if isinstance(value, _Group) else value


def _operation(name: str, at: Token, *args: Json) -> Node:
    return Node({"op": name, "args": [_single(arg) for arg in args]}, at.position)


class _Parser:
    """Parses an expression from left to right in one pass. Only brackets and NOT recurse."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._depth = 0

    def whole(self) -> Json:
        """Parse the whole text."""
        value = _single(self._expression())
        self._tokens.take("end", "an operator or the end")
        return value

    # --- Operators ----------------------------------------------------------------------------------------------------

    def _expression(self, min_binding: int = OR) -> Json:
        """Parse an operand and the operators after it whose precedence is at least ``min_binding``."""
        self._depth += 1
        if self._depth > MAXIMUM_DEPTH:
            raise self._tokens.error(f"expected at most {MAXIMUM_DEPTH} levels of nesting")
        negated = self._tokens.next.kind == "NOT"
        value, max_binding = (self._negation(), NOT) if negated else (self._operand(), OPERAND)
        while min_binding <= (binding := _BINDING.get(self._tokens.next.kind, -1)) <= max_binding:
            value = self._operator(value, binding)
            max_binding = binding - (binding in _NOT_ASSOCIATIVE)
        self._depth -= 1
        return value

    def _negation(self) -> Node:
        return _operation("not", self._tokens.read(), self._expression(NOT))

    def _operator(self, left: Json, binding: int) -> Node:
        if binding in (OR, AND):
            return self._chain(left, binding)
        operator = self._tokens.read()
        match operator.kind:
            case "IS":
                return self._null(left, operator)
            case "NOT":
                return _operation("not", operator, self._predicate(left, self._tokens.read()))
            case "LIKE" | "BETWEEN" | "IN":
                return self._predicate(left, operator)
        return _operation(operator.kind.lower(), operator, left, self._expression(binding + 1))

    def _chain(self, left: Json, binding: int) -> Node:
        operator, args = self._tokens.next, [left]
        while self._tokens.accept(operator.kind):
            args.append(self._expression(binding + 1))
        return _operation(operator.kind.lower(), operator, *args)

    def _null(self, left: Json, operator: Token) -> Node:
        negated = self._tokens.accept("NOT")
        self._tokens.take("NULL", "NULL" if negated else "NULL or NOT NULL")
        node = _operation("isNull", operator, left)
        return _operation("not", operator, node) if negated else node

    def _predicate(self, left: Json, operator: Token) -> Node:
        match operator.kind:
            case "LIKE":
                return _operation("like", operator, left, self._expression(SUM))
            case "BETWEEN":
                low = self._expression(SUM)
                self._tokens.take("AND", "AND and an upper bound")
                return _operation("between", operator, left, low, self._expression(SUM))
            case "IN":
                self._tokens.take("(", "a list in brackets")
                return _operation("in", operator, left, self._members())
        raise self._tokens.unexpected("LIKE, BETWEEN or IN", operator)

    # --- Operands -----------------------------------------------------------------------------------------------------

    def _operand(self) -> Json:
        token = self._tokens.read()
        if token.kind in _LITERALS:
            return _LITERALS[token.kind](token.text)
        match token.kind:
            case "name":
                return self._named(token)
            case "quoted":
                return Node({"property": identifier(token.text)}, token.position)
            case "(":
                return self._group()
            case "-" | "+" if self._tokens.next.kind not in ("-", "+"):
                return self._signed(token)
        raise self._tokens.unexpected("a value", token)

    def _signed(self, sign: Token) -> Json:
        value = _single(self._operand())
        if sign.kind == "+":
            return value
        return -value if is_number(value) else _operation("*", sign, -1, value)

    def _group(self) -> _Group:
        return _Group([] if self._tokens.accept(")") else self._members())

    def _values(self) -> list[Json]:
        """Parse one or more values, separated by commas, up to the closing bracket."""
        values = [self._expression()]
        while self._tokens.accept(","):
            values.append(self._expression())
        self._tokens.take(")", "an operator, ',' or ')'")
        return values

    def _members(self) -> list[Json]:
        return [_single(value) for value in self._values()]

    def _named(self, name: Token) -> Node:
        if wkt.begins(self._tokens, name):
            return wkt.geometry(self._tokens, name)
        if not self._tokens.accept("("):
            return Node({"property": name.text}, name.position)
        match name.text.upper():
            case "DATE" | "TIMESTAMP":
                return self._instant(name)
            case "INTERVAL":
                return self._interval(name)
            case "BBOX":
                return wkt.bbox(self._tokens, name)
        return self._function(name)

    def _function(self, name: Token) -> Node:
        operator = _NAMES.get(name.text.lower(), name.text)
        args = [] if self._tokens.accept(")") else self._values()
        return _operation(operator, name, *(map(_array, args) if operator.startswith("a_") else args))

    def _instant(self, name: Token) -> Node:
        text = string(self._tokens.take("string", "a string in single quotes").text)
        self._tokens.take(")", "')'")
        return Node({name.text.lower(): text}, name.position)

    def _interval(self, name: Token) -> Node:
        start = self._end()
        self._tokens.take(",", "',' and the end of the interval")
        end = self._end()
        self._tokens.take(")", "')'")
        return Node({"interval": [start, end]}, name.position)

    def _end(self) -> Json:
        if self._tokens.next.kind not in ("string", "name", "quoted"):
            raise self._tokens.unexpected("a date or time in single quotes, '..' or a property")
        return self._operand()
