"""Assets, and changes of items and collections."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from stacflask.model.json_types import _empty_mapping, _protect
from stacflask.model.readonly import ReadOnlyDict


@dataclass(frozen=True, slots=True)
class Interval:
    """From the first to the last moment of an item, in UTC. Both are equal for an instant.

    Attributes:
        start: The first moment.
        end: The last moment.
    """

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Asset:
    """An asset of an item, or of a collection.

    Attributes:
        collection: Identifier of the collection.
        item: Identifier of the item; None for an asset of the collection itself.
        key: Key of the asset in ``assets``.
        href: The stored href. Responses have a download URL instead.
        media_type: The asset's ``type``.
        size: Size in bytes from ``file:size``, if the document has it.
        roles: The asset's ``roles``.
        properties: The properties of the item, or the members of the collection, overridden by those of the asset.
        path: For a file in a directory asset, its path below the directory; else empty.
        geometry: The item's geometry (GeoJSON, RFC 7946); None if it is null, and for an asset of a collection.
        bbox: The item's bbox of 4 or 6 numbers; None if it has none, and for an asset of a collection.
        interval: From the first to the last of the item's ``datetime``, ``start_datetime`` and ``end_datetime``, in
            UTC; None for an asset of a collection.
    """

    collection: str
    item: str | None
    key: str
    href: str
    media_type: str | None = None
    size: int | None = None
    roles: tuple[str, ...] = ()
    properties: Mapping[str, Any] = field(default_factory=_empty_mapping)
    path: str = ""
    geometry: Mapping[str, Any] | None = None
    bbox: tuple[float, ...] | None = None
    interval: Interval | None = None

    def __post_init__(self) -> None:
        """Make properties and geometry read-only."""
        if type(self.properties) is not ReadOnlyDict:
            _protect(self, "properties")
        if type(self.geometry) is not ReadOnlyDict:
            _protect(self, "geometry")


@dataclass(frozen=True, slots=True)
class Change:
    """A change to the catalog that a client requests over HTTP, or that was committed.

    Attributes:
        action: ``create`` (POST), ``replace`` (PUT), ``update`` (PATCH) or ``delete`` (DELETE). A committed change can
            also be ``bulk``: many items of the collection were loaded or deleted, or its document was loaded.
        collection: Identifier of the collection; empty for a new collection whose document has no valid identifier.
        item: Identifier of the item; None for the collection itself, and for new items that are not committed yet.
        new_collection: True if ``create`` is for the collection itself, False if it is for items in it.
    """

    action: Literal["create", "replace", "update", "delete", "bulk"]
    collection: str
    item: str | None = None
    new_collection: bool = False
