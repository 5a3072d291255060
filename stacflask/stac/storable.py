"""Check that PostgreSQL can store a JSON value and orjson can write it."""

from collections.abc import Iterator
from typing import Any

import orjson

from stacflask.errors import BadDocument
from stacflask.stac.json_checks import check_at, number, step

MAXIMUM_DEPTH = 250
"""Levels of nested objects and arrays. orjson writes 254, and a page of items adds some of them."""
_NUL = "\0"


def check_storable(document: Any) -> bytes:
    r"""Check a document that was parsed from JSON, and return it as compact JSON text.

    Raises:
        BadDocument: A string contains ``\u0000`` or half of a surrogate pair, an integer needs more than 64 bits, or
            the document is nested too deep.
    """
    try:
        text = orjson.dumps([[[[document]]]])
    except TypeError as error:
        _explain(document)
        raise BadDocument("", f"cannot be written as JSON: {error}") from None
    # Most texts have no backslash, and a search for one byte is faster than for six.
    if b"\\" in text and rb"\u0000" in text:  # an escaped backslash before u0000 is found, too
        _explain(document)
    return text[4:-4]


def _explain(document: Any) -> None:
    for pointer, depth, value in _walk(document):
        if depth >= MAXIMUM_DEPTH and isinstance(value, dict | list):
            raise BadDocument(pointer, f"expected at most {MAXIMUM_DEPTH} nested objects and arrays")
        if isinstance(value, str):
            _check_text(pointer, value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            check_at(pointer, number, value)


def _walk(document: Any) -> Iterator[tuple[str, int, Any]]:
    """Return every value and every key; a key has the pointer of its value.

    The function is not recursive, because a client chooses the depth.
    """
    waiting: list[tuple[str, int, Any]] = [("", 0, document)]
    while waiting:
        pointer, depth, value = waiting.pop()
        yield pointer, depth, value
        if isinstance(value, dict):
            yield from ((pointer, depth, key) for key in value)
        entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        waiting += [(pointer + step(key), depth + 1, entry) for key, entry in entries]


def _check_text(pointer: str, value: str) -> None:
    if _NUL in value:
        raise BadDocument(pointer, r"expected no \u0000 in strings and names")
    if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise BadDocument(pointer, "expected no half of a surrogate pair in strings and names")
