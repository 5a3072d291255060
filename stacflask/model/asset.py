"""Assets, and changes of items and collections."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from stacflask.model.json_types import _nothing, _protect
from stacflask.model.readonly import ReadOnlyDict

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Asset:
    """One asset of an item, or of a collection when ``item`` is None.

    ``href`` is where the bytes truly are; it never leaves the house. ``size`` is ``file:size`` in bytes, where given.
    ``properties`` are the item's (or the collection's own members), overlaid with the asset's. ``path`` leads from a
    directory asset to the file below it that is meant; else it is empty.
    """

    collection: str
    item: str | None
    key: str
    href: str
    media_type: str | None = None
    size: int | None = None
    roles: tuple[str, ...] = ()
    properties: Mapping[str, Any] = field(default_factory=_nothing)
    path: str = ""

    def __post_init__(self) -> None:
        """Make the properties read-only."""
        if type(self.properties) is not ReadOnlyDict:
            _protect(self, "properties")


@dataclass(frozen=True, slots=True)
class Change:
    """One change asked for over HTTP. ``item`` is None when the collection itself is meant; a POST has no id yet.

    ``new_collection``: the collection itself is to be created; otherwise ``create`` is about items in it.
    """

    action: Literal["create", "replace", "update", "delete"]
    collection: str
    item: str | None = None
    new_collection: bool = False
