"""What any JSON value must be to be kept by PostgreSQL and written again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from stacflask.errors import BadDocument
from stacflask.stac.grammar import check_at, number, step

if TYPE_CHECKING:
    from collections.abc import Iterator

MAXIMUM_DEPTH = 250
"""How many objects and arrays may stand in each other: orjson writes 254, and a page of items takes some of them."""
_NUL = "\0"


def check_storable(document: Any) -> bytes:
    r"""Check a document as parsed from JSON, and return it as compact JSON text.

    Raises BadDocument: a text holds ``\u0000`` or half a surrogate pair, a whole number needs more than 64 bits, or
    things are nested too deep.
    """
    try:
        text = orjson.dumps([[[[document]]]])
    except TypeError as error:
        _explain(document)
        raise BadDocument("", f"cannot be written as JSON: {error}") from None
    # Most texts have no backslash, and one byte is found far sooner than six.
    if b"\\" in text and rb"\u0000" in text:  # or a backslash of its own before these letters
        _explain(document)
    return text[4:-4]


def _explain(document: Any) -> None:
    for pointer, depth, value in _walk(document):
        if depth >= MAXIMUM_DEPTH and isinstance(value, dict | list):
            raise BadDocument(pointer, f"expected at most {MAXIMUM_DEPTH} objects and arrays in each other")
        if isinstance(value, str):
            _check_text(pointer, value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            check_at(pointer, number, value)


def _walk(document: Any) -> Iterator[tuple[str, int, Any]]:
    """Give every value and every key; a key stands where its value does. Not recursive: the depth is not ours."""
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
        raise BadDocument(pointer, r"expected no \u0000 in a text or a name")
    if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise BadDocument(pointer, "expected no half of a surrogate pair in a text or a name")
