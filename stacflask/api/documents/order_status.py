"""The order status of assets in items (STAC Order extension)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping


EXTENSION = "https://stac-extensions.github.io/order/v1.1.0/schema.json"


def shown(item: bytes, states: Mapping[str, str]) -> bytes:
    """Put ``order:status`` into an item: of its assets, and of the whole, which waits for the last of them."""
    document = orjson.loads(item)
    known = {key: status for key, status in states.items() if key in document["assets"]}
    if not known:
        return item
    for key, status in known.items():
        document["assets"][key]["order:status"] = status
    waiting = [status for status in known.values() if status != "succeeded"]
    document["properties"]["order:status"] = waiting[0] if waiting else "succeeded"
    extensions = document.setdefault("stac_extensions", [])
    if not any("/order/" in extension for extension in extensions):
        extensions.append(EXTENSION)
    return orjson.dumps(document)
