"""Numbers of JSON and cql2-text with their exact value. A float alone rounds numbers of more than 17 digits."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, Self

_EXACT_LENGTH = 15
"""A decimal number of at most this many characters, without an exponent, is exact as a float."""


class ExactFloat(float):
    """A decimal number that no float equals: the nearest float, with the exact value as an attribute.

    JSON encoders refuse this type, so it is never written rounded.
    """

    __slots__ = ("exact",)

    exact: Decimal

    def __new__(cls, exact: Decimal) -> Self:
        """Create the number from its exact value."""
        number = super().__new__(cls, exact)
        number.exact = exact
        return number

    def __neg__(self) -> ExactFloat:
        """Return the number with the other sign, still exact."""
        return ExactFloat(self.exact.copy_negate())

    def __eq__(self, other: object) -> bool:
        """Compare exact values; an ExactFloat equals no plain number."""
        return isinstance(other, ExactFloat) and self.exact == other.exact

    def __hash__(self) -> int:
        """Return the hash of the exact value."""
        return hash(self.exact)


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number. Python's booleans are integers, but not numbers in JSON."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def read_decimal(text: str) -> float:
    """Return the number that a JSON text with a fraction or an exponent stands for, as a float if a float equals it."""
    if len(text) <= _EXACT_LENGTH and "e" not in text and "E" not in text:
        return float(text)
    try:
        exact = Decimal(text)
    except InvalidOperation:  # an exponent of dozens of digits
        return float(text)
    rounded = float(text)
    return rounded if exact == Decimal(repr(rounded)) else ExactFloat(exact)


def exact_value(number: float) -> Decimal:
    """Return the decimal value of a number as it was written: 0.1, not the nearest binary fraction."""
    if isinstance(number, ExactFloat):
        return number.exact
    return Decimal(number) if isinstance(number, int) else Decimal(repr(number))
