"""Small checks of JSON values, and functions that combine them into the check of a document.

A check takes a value and raises BadDocument with a pointer that starts at that value. The check of the enclosing object
or array adds its key in front. Pointers therefore cost nothing unless there is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Any, TypeAlias

from stacflask.errors import BadDocument

Check: TypeAlias = Callable[[Any], None]

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
"""Control characters. Terminals interpret them, and some of them end a line."""
_MAX_QUOTED_LENGTH = 60
SMALLEST_INTEGER, LARGEST_INTEGER = -(2**63), 2**64 - 1
"""The integers that orjson can write."""


def step(key: str | int) -> str:
    """Return the JSON Pointer of one key or index (RFC 6901)."""
    return "/" + str(key).replace("~", "~0").replace("/", "~1")


def describe(value: Any) -> str:
    """Describe a JSON value for a message. Short strings and numbers are quoted."""
    if isinstance(value, str):
        return ascii(value) if len(value) <= _MAX_QUOTED_LENGTH else f"a string of {len(value)} characters"
    if value is None or isinstance(value, bool):
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return f"an array of {len(value)}"
    return "an object" if isinstance(value, dict) else str(value)[:_MAX_QUOTED_LENGTH]


def unexpected(expected: str, value: Any) -> BadDocument:
    """Return the error for a value that was not expected."""
    return BadDocument("", f"expected {expected}, got {describe(value)}")


def check_at(pointer: str, check: Check, value: Any) -> None:
    """Check the value at ``pointer``."""
    try:
        check(value)
    except BadDocument as problem:
        raise problem.below(pointer) from None


def check_each(steps: Iterable[tuple[str | int, Check, Any]]) -> None:
    """Check the values of an object or array, in order."""
    key: str | int = ""
    try:
        for key, check, value in steps:  # noqa: B007 - the key is for the error
            check(value)
    except BadDocument as problem:
        raise problem.below(step(key)) from None


# --- Values without parts ---------------------------------------------------------------------------------------------


def text(value: Any) -> None:
    """Check that the value is a string of any length."""
    if not isinstance(value, str):
        raise unexpected("a string", value)


def line(value: Any) -> None:
    """Check that the value is a non-empty string without control characters, which headers and URLs can contain."""
    if not isinstance(value, str) or not value:
        raise unexpected("a non-empty string", value)
    if CONTROL.search(value):
        raise unexpected("a string without control characters", value)


def number(value: Any) -> None:
    """Check that the value is a number that can be written as JSON: finite, and of at most 64 bits if it is whole."""
    if type(value) is float and isfinite(value):
        return
    if type(value) is not int or not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
        raise unexpected("a finite number, of at most 64 bits if it is whole", value)


def between(low: float, high: float, name: str) -> Check:
    """Return the check for a number from ``low`` to ``high``, both included."""

    def check(value: Any) -> None:
        if type(value) not in (int, float) or not low <= value <= high:
            raise unexpected(f"{name} from {low} to {high}", value)

    return check


def number_of_bytes(value: Any) -> None:
    """Check that the value is a whole number of bytes. In JSON, 12.0 and 1.2e1 are the number 12."""
    if type(value) not in (int, float) or not 0 <= value < 2**63 or value != int(value):
        raise unexpected("a whole number of bytes", value)


def constant(expected: str) -> Check:
    """Return the check for one string."""

    def check(value: Any) -> None:
        if value != expected:
            raise unexpected(ascii(expected), value)

    return check


def or_null(check: Check) -> Check:
    """Return a check that accepts null, too."""

    def checked(value: Any) -> None:
        if value is not None:
            check(value)

    return checked


# --- Arrays and objects -----------------------------------------------------------------------------------------------


def array_of(check: Check, *, minimum: int = 0) -> Check:
    """Return the check for an array of at least ``minimum`` such values."""
    expected = f"an array of at least {minimum}" if minimum else "an array"

    def checked(value: Any) -> None:
        if not isinstance(value, list) or len(value) < minimum:
            raise unexpected(expected, value)
        index = 0
        try:
            for index, entry in enumerate(value):  # noqa: B007
                check(entry)
        except BadDocument as problem:
            raise problem.below(step(index)) from None

    return checked


def an_object(value: Any) -> None:
    """Check that the value is an object."""
    if not isinstance(value, dict):
        raise unexpected("an object", value)


def object_of(check: Check, *, key: Check = text) -> Check:
    """Return the check for an object of such values. ``key`` checks its keys."""

    def checked(value: Any) -> None:
        an_object(value)
        check_each([(name, key, name) for name in value])
        check_each([(name, check, entry) for name, entry in value.items()])

    return checked


def members(required: Mapping[str, Check], optional: Mapping[str, Check]) -> Check:
    """Return the check for an object with these members. Other members are not checked."""
    checks = {**required, **optional}

    def checked(value: Any) -> None:
        an_object(value)
        for name in required:
            if name not in value:
                raise BadDocument(step(name), "is missing")
        check_each([(name, checks[name], value[name]) for name in value if name in checks])

    return checked
