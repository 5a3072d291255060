"""What is wrong with an expression, and where."""

from __future__ import annotations

from dataclasses import dataclass

from stacflask.catalog.cql2.values.limits import MAXIMUM_DEPTH
from stacflask.errors import BadQuery
from stacflask.model.json_types import Condition
from stacflask.stac.json_checks import step


class Problem(Exception):
    """Something does not fit. Whoever knows the place turns it into BadQuery.

    ``argument`` is the index of the operand that is wrong, where one of them alone is.
    """

    def __init__(self, message: str, argument: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.argument = argument


class Node(dict[str, object]):
    """A JSON object that was made from text, and where in that text it began."""

    __slots__ = ("position",)

    def __init__(self, members: dict[str, object], position: int) -> None:
        super().__init__(members)
        self.position = position


class Part(dict[str, object]):
    """An expression within a larger one that whoever asks has never seen: they know it by another parameter and way."""

    __slots__ = ("parameter", "pointer")

    def __init__(self, members: dict[str, object], parameter: str, pointer: str = "") -> None:
        super().__init__(members)
        self.parameter = parameter
        self.pointer = pointer


@dataclass(frozen=True, slots=True)
class Place:
    """Where in an expression we are: the way down the JSON, or the position in the text that it was made from.

    ``depth`` is how deep that is nested.
    """

    parameter: str
    pointer: str = ""
    position: int | None = None
    depth: int = 0

    def below(self, *keys: str | int, deeper: int = 1) -> Place:
        """Give the place of a member or an element."""
        return Place(self.parameter, self.pointer + "".join(map(step, keys)), self.position, self.depth + deeper)

    def of(self, node: object) -> Place:
        """Give the same place, known better where ``node`` was made from text or is a part."""
        if isinstance(node, Node):
            return Place(self.parameter, self.pointer, node.position, self.depth)
        if isinstance(node, Part):
            return Place(node.parameter, node.pointer, None, self.depth)
        if isinstance(node, Condition):
            return Place(f"plugin {node.by}, hook restrict", "", None, self.depth)
        return self

    def check_depth(self) -> None:
        """Check that this is not too deep. Raises BadQuery."""
        if self.depth > MAXIMUM_DEPTH:
            raise self.refuse(f"expected nothing nested deeper than {MAXIMUM_DEPTH}")

    def refuse(self, message: str) -> BadQuery:
        """Give the error that says what is wrong here."""
        return BadQuery(self.parameter, f"{self}: {message}")

    def __str__(self) -> str:
        if self.position is not None:
            return f"at character {self.position + 1}"
        return f"at {self.pointer}" if self.pointer else "the expression"
