"""``sortby``: the names that a list is sorted by. Which there are, and which can be sorted by, the catalogue knows."""

from __future__ import annotations

from typing import Any

from stacflask.api.parameters.parse import expected
from stacflask.model.query import SortKey

DIRECTIONS = {"asc": False, "desc": True}


def sort(value: Any) -> tuple[SortKey, ...]:
    """Read an array of objects with ``field`` and ``direction``, which is ``asc`` unless said."""
    if not isinstance(value, list) or not value:
        raise expected("an array of one or more objects with field and direction")
    return tuple(map(_key, value))


def _key(value: Any) -> SortKey:
    if not isinstance(value, dict) or not isinstance(value.get("field"), str) or not value["field"]:
        raise expected("an object with a field, which is a name")
    direction = value.get("direction", "asc")
    if not isinstance(direction, str) or direction not in DIRECTIONS:
        raise ValueError(f"expected direction asc or desc, got {str(direction)[:40]!r}")
    return SortKey(value["field"], DIRECTIONS[direction])


def sort_text(text: str) -> tuple[SortKey, ...]:
    """Read names with commas between them: those with - in front descend. A + has become a space on its way."""
    return tuple(_key_text(name.strip()) for name in text.split(","))


def _key_text(name: str) -> SortKey:
    descending = name.startswith("-")
    bare = name[1:] if descending else name.removeprefix("+")
    if not bare:
        raise expected("names with commas between them, each with + or - in front or neither")
    return SortKey(bare, descending)
