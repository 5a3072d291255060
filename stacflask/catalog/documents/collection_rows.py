"""Columns of a collection for searches, computed from its document."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from geoalchemy2 import WKBElement
from sqlalchemy.dialects.postgresql import Range

from stacflask.catalog.documents import documents
from stacflask.catalog.documents.rows import heights
from stacflask.errors import BadDocument
from stacflask.model.json_types import Document
from stacflask.stac.geometry import SRID, boxes_to_wkb
from stacflask.stac.times import parse_instant


def searched(document: Document) -> dict[str, Any]:
    """Return the columns for searches of a checked document."""
    boxes = document["extent"]["spatial"]["bbox"]
    lows, highs = zip(*(heights(box) for box in boxes), strict=True)
    tall = any(low is not None for low in lows)
    return {
        "document": documents.searchable(document),
        "footprint": WKBElement(_footprint(boxes), srid=SRID, extended=True),
        "min_height": min(low or 0 for low in lows) if tall else None,
        "max_height": max(high or 0 for high in highs) if tall else None,
        "intervals": [_period(*interval) for interval in document["extent"]["temporal"]["interval"]],
        "search_text": _free_text(document),
    }


def _footprint(boxes: Sequence[Sequence[float]]) -> bytes:
    try:
        return boxes_to_wkb(boxes)
    except BadDocument as error:
        raise error.below("/extent/spatial/bbox") from None


def _period(start: str | None, end: str | None) -> Range[datetime]:
    first, last = (None if moment is None else parse_instant(moment) for moment in (start, end))
    return Range(first, last, bounds="[]")


TEXT_MEMBERS = ("id", "title", "description", "keywords")
"""Members that free text searches."""


def _free_text(collection: Document) -> str:
    """Return the strings of a collection as one text, case-folded, with single spaces."""
    values = (collection.get(name) for name in TEXT_MEMBERS)
    return "\n".join(" ".join(text.split()) for text in _strings(values)).casefold()


def _strings(values: Iterable[object]) -> Iterable[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from _strings(value)
