"""Uses of counted links."""

from typing import Any

from stacflask import (
    Asset,
    ByteRange,
    Decision,
    Principal,
)

from .table import LinkUse

MAX_COUNTED_BYTES = 10**14
"""The largest number of bytes that is counted of one download. No store has larger objects."""


def use_key(principal: Principal, asset: Asset) -> dict[str, Any]:
    """Return the key of an opening. All files of a directory asset belong to one opening."""
    return {
        "link": principal.reference,
        "collection": asset.collection,
        "item": asset.item or "",
        "asset": asset.key,
        "address": principal.claims["address"],
    }


def link_use(principal: Principal, asset: Asset, byte_range: ByteRange) -> LinkUse:
    """Return the use of a link by one download."""
    file = f"{asset.key}/{asset.path}" if asset.path else asset.key
    opening = byte_range.opening and not asset.path
    return LinkUse(
        use_key(principal, asset), file, opening, min(byte_range.length or 0, MAX_COUNTED_BYTES), _whole(byte_range)
    )


def _whole(byte_range: ByteRange) -> int | None:
    return None if byte_range.size is None else min(byte_range.size, MAX_COUNTED_BYTES)


def used_up() -> Decision:
    """Return the denial for a link whose downloads are used up."""
    return Decision.deny("link used up", detail="All downloads of this link have been used.", code="LinkUsedUp")
