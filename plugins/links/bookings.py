"""Downloads through a link, as they are counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plugins.links.table import Use
from stacflask import (
    Decision,
    Principal,
)

if TYPE_CHECKING:
    from stacflask import Asset, ByteRange
SIZE = 10**14
"""Bytes that are counted of one download, at most: no store has larger objects."""


def place_of_use(principal: Principal, asset: Asset) -> dict[str, Any]:
    """Return what an opening is known by. All files of a directory asset are parts of one."""
    return {
        "link": principal.reference,
        "collection": asset.collection,
        "item": asset.item or "",
        "asset": asset.key,
        "address": principal.claims["address"],
    }


def use_of(principal: Principal, asset: Asset, byte_range: ByteRange) -> Use:
    """Return what is counted of one download."""
    file = f"{asset.key}/{asset.path}" if asset.path else asset.key
    opening = byte_range.opening and not asset.path
    return Use(place_of_use(principal, asset), file, opening, min(byte_range.length or 0, SIZE), _whole(byte_range))


def _whole(byte_range: ByteRange) -> int | None:
    return None if byte_range.size is None else min(byte_range.size, SIZE)


def used_up() -> Decision:
    """Deny because all downloads of the link have been used."""
    return Decision.deny("link used up", detail="The link has been used as often as it may be.", code="LinkUsedUp")
