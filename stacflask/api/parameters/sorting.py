"""``sortby``: the names by which a list is sorted. The catalog checks later that they exist and are sortable."""

from typing import Any

from stacflask.api.parameters.parse import expected
from stacflask.model.query import SortKey

DIRECTIONS = {"asc": False, "desc": True}


def sort(value: Any) -> tuple[SortKey, ...]:
    """Read an array of objects with ``field`` and ``direction`` (default ``asc``)."""
    if not isinstance(value, list) or not value:
        raise expected("an array of one or more objects with field and direction")
    return tuple(map(_key, value))


def _key(value: Any) -> SortKey:
    if not isinstance(value, dict) or not isinstance(value.get("field"), str) or not value["field"]:
        raise expected("an object with a field, which is a string")
    direction = value.get("direction", "asc")
    if not isinstance(direction, str) or direction not in DIRECTIONS:
        raise ValueError(f"expected direction asc or desc, got {str(direction)[:40]!r}")
    return SortKey(value["field"], DIRECTIONS[direction])


def sort_text(text: str) -> tuple[SortKey, ...]:
    """Read comma-separated names; a leading - means descending. URL decoding has turned a leading + into a space."""
    return tuple(_key_text(name.strip()) for name in text.split(","))


def _key_text(name: str) -> SortKey:
    descending = name.startswith("-")
    bare = name[1:] if descending else name.removeprefix("+")
    if not bare:
        raise expected("comma-separated names with an optional leading + or -")
    return SortKey(bare, descending)
