"""JSON values, and conditions in CQL2."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from stacflask.model.readonly import EMPTY, read_only

Json: TypeAlias = Any
Document: TypeAlias = dict[str, Any]
Cql2: TypeAlias = dict[str, Any] | bool
"""A condition in CQL2 JSON (OGC 21-065r2); ``True`` and ``False`` are conditions, too."""

NOTHING = EMPTY


def _empty_mapping() -> Mapping[str, Any]:
    return EMPTY


def _protect(record: object, name: str) -> None:
    """Make a mapping of a frozen record read-only, because several plugins share it."""
    object.__setattr__(record, name, read_only(getattr(record, name)))


class Condition(dict[str, Any]):
    """A condition of the plugin ``by``. Errors in the condition are logged with this name."""

    __slots__ = ("by",)

    def __init__(self, members: dict[str, Any], by: str) -> None:
        super().__init__(members)
        self.by = by
