"""The order status of assets in items (STAC Order extension)."""

from collections.abc import Mapping

import orjson

EXTENSION = "https://stac-extensions.github.io/order/v1.1.0/schema.json"


def with_order_status(item: bytes, states: Mapping[str, str]) -> bytes:
    """Add ``order:status`` to assets, and to the item, which succeeds when all of its ordered assets have."""
    document = orjson.loads(item)
    status_by_key = {key: status for key, status in states.items() if key in document["assets"]}
    if not status_by_key:
        return item
    for key, status in status_by_key.items():
        document["assets"][key]["order:status"] = status
    unfinished = [status for status in status_by_key.values() if status != "succeeded"]
    document["properties"]["order:status"] = unfinished[0] if unfinished else "succeeded"
    extensions = document.setdefault("stac_extensions", [])
    if not any("/order/" in extension for extension in extensions):
        extensions.append(EXTENSION)
    return orjson.dumps(document)
