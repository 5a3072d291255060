"""Small checks of JSON values, and how to join them into the check of a document.

A check takes a value and raises BadDocument with a pointer that starts at that value; whoever took a step down to get
the value puts the step in front. So nothing is paid for pointers as long as all is well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Any, TypeAlias

from stacflask.errors import BadDocument

Check: TypeAlias = Callable[[Any], None]

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
"""What a terminal would obey, or take for another line."""
_SHOWN = 60
SMALLEST_INTEGER, LARGEST_INTEGER = -(2**63), 2**64 - 1
"""The whole numbers that can be written again as JSON (orjson's bounds)."""


def step(key: str | int) -> str:
    """Give the pointer of one step down (RFC 6901)."""
    return "/" + str(key).replace("~", "~0").replace("/", "~1")


def kind(value: Any) -> str:
    """Name a JSON value for a message, short texts and numbers by themselves."""
    if isinstance(value, str):
        return ascii(value) if len(value) <= _SHOWN else f"a text of {len(value)} characters"
    if value is None or isinstance(value, bool):
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return f"an array of {len(value)}"
    return "an object" if isinstance(value, dict) else str(value)[:_SHOWN]


def unlike(expected: str, value: Any) -> BadDocument:
    """Give the error for a value that is not what was expected."""
    return BadDocument("", f"expected {expected}, got {kind(value)}")


def check_at(pointer: str, check: Check, value: Any) -> None:
    """Check the value that stands at ``pointer``."""
    try:
        check(value)
    except BadDocument as problem:
        raise problem.below(pointer) from None


def check_each(steps: Iterable[tuple[str | int, Check, Any]]) -> None:
    """Check the values that stand one step down, in order."""
    key: str | int = ""
    try:
        for key, check, value in steps:  # noqa: B007 - the key is for the error
            check(value)
    except BadDocument as problem:
        raise problem.below(step(key)) from None


# --- Values without parts ---------------------------------------------------------------------------------------------


def text(value: Any) -> None:
    """Check that it is a text, of any length."""
    if not isinstance(value, str):
        raise unlike("a text", value)


def line(value: Any) -> None:
    """Check that it is a text that is not empty and has no control characters: fit for a header or an address."""
    if not isinstance(value, str) or not value:
        raise unlike("a text that is not empty", value)
    if CONTROL.search(value):
        raise unlike("a text without control characters", value)


def number(value: Any) -> None:
    """Check that it is a number that can be written again: finite, and within 64 bits when whole."""
    if type(value) is float and isfinite(value):
        return
    if type(value) is not int or not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
        raise unlike("a finite number, of at most 64 bits if it is whole", value)


def between(low: float, high: float, name: str) -> Check:
    """Give the check for a number from ``low`` to ``high``, both included."""

    def check(value: Any) -> None:
        if type(value) not in (int, float) or not low <= value <= high:
            raise unlike(f"{name} from {low} to {high}", value)

    return check


def number_of_bytes(value: Any) -> None:
    """Check that it is a whole number of bytes. In JSON, 12.0 and 1.2e1 are the number 12."""
    if type(value) not in (int, float) or not 0 <= value < 2**63 or value != int(value):
        raise unlike("a whole number of bytes", value)


def constant(expected: str) -> Check:
    """Give the check for one text and no other."""

    def check(value: Any) -> None:
        if value != expected:
            raise unlike(ascii(expected), value)

    return check


def or_null(check: Check) -> Check:
    """Give the check that also takes null."""

    def checked(value: Any) -> None:
        if value is not None:
            check(value)

    return checked


# --- Arrays and objects -----------------------------------------------------------------------------------------------


def array_of(check: Check, *, minimum: int = 0) -> Check:
    """Give the check for an array of at least ``minimum`` such values."""
    expected = f"an array of at least {minimum}" if minimum else "an array"

    def checked(value: Any) -> None:
        if not isinstance(value, list) or len(value) < minimum:
            raise unlike(expected, value)
        index = 0
        try:
            for index, entry in enumerate(value):  # noqa: B007
                check(entry)
        except BadDocument as problem:
            raise problem.below(step(index)) from None

    return checked


def an_object(value: Any) -> None:
    """Check that it is an object."""
    if not isinstance(value, dict):
        raise unlike("an object", value)


def object_of(check: Check, *, key: Check = text) -> Check:
    """Give the check for an object of such values under keys that pass ``key``."""

    def checked(value: Any) -> None:
        an_object(value)
        check_each([(name, key, name) for name in value])
        check_each([(name, check, entry) for name, entry in value.items()])

    return checked


def members(required: Mapping[str, Check], optional: Mapping[str, Check]) -> Check:
    """Give the check for an object with these members; others are nobody's business."""
    known = {**required, **optional}

    def checked(value: Any) -> None:
        an_object(value)
        for name in required:
            if name not in value:
                raise BadDocument(step(name), "is missing")
        check_each([(name, known[name], value[name]) for name in value if name in known])

    return checked
