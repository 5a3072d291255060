"""Errors in expressions and their locations."""

from __future__ import annotations

from dataclasses import dataclass

from stacflask.catalog.cql2.values.limits import MAXIMUM_DEPTH
from stacflask.errors import BadQuery
from stacflask.model.json_types import Condition
from stacflask.stac.json_checks import step


class Problem(Exception):
    """An error in an expression, without its location. The compiler converts it to BadQuery.

    ``argument`` is the index of the wrong operand, if only one operand is wrong.
    """

    def __init__(self, message: str, argument: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.argument = argument


class Node(dict[str, object]):
    """A JSON object that was parsed from text, and its position in that text."""

    __slots__ = ("position",)

    def __init__(self, members: dict[str, object], position: int) -> None:
        super().__init__(members)
        self.position = position


class SubExpression(dict[str, object]):
    """An expression that the server put into a larger one. Messages name the parameter and pointer of the client."""

    __slots__ = ("parameter", "pointer")

    def __init__(self, members: dict[str, object], parameter: str, pointer: str = "") -> None:
        super().__init__(members)
        self.parameter = parameter
        self.pointer = pointer


@dataclass(frozen=True, slots=True)
class NodeLocation:
    """A location in an expression: a JSON Pointer, or the position in the text. ``depth`` is the nesting depth."""

    parameter: str
    pointer: str = ""
    position: int | None = None
    depth: int = 0

    def below(self, *keys: str | int, deeper: int = 1) -> NodeLocation:
        """Return the location of a member or an element."""
        return NodeLocation(self.parameter, self.pointer + "".join(map(step, keys)), self.position, self.depth + deeper)

    def of(self, node: object) -> NodeLocation:
        """Return the more precise location of ``node``, if it was parsed from text or has its own location."""
        if isinstance(node, Node):
            return NodeLocation(self.parameter, self.pointer, node.position, self.depth)
        if isinstance(node, SubExpression):
            return NodeLocation(node.parameter, node.pointer, None, self.depth)
        if isinstance(node, Condition):
            return NodeLocation(f"plugin {node.by}, hook restrict", "", None, self.depth)
        return self

    def check_depth(self) -> None:
        """Check the nesting depth. Raises BadQuery."""
        if self.depth > MAXIMUM_DEPTH:
            raise self.error(f"expected at most {MAXIMUM_DEPTH} levels of nesting")

    def error(self, message: str) -> BadQuery:
        """Return an error with this location."""
        return BadQuery(self.parameter, f"{self}: {message}")

    def __str__(self) -> str:
        if self.position is not None:
            return f"at character {self.position + 1}"
        return f"at {self.pointer}" if self.pointer else "the expression"
