"""The text of a collection for free-text searches."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stacflask.model.json_types import Document
COLLECTION_MEMBERS = ("id", "title", "description", "keywords")


def free_text(collection: Document) -> str:
    """Return the strings of a collection as one text, case-folded, with single spaces."""
    values = (collection.get(name) for name in COLLECTION_MEMBERS)
    return "\n".join(" ".join(text.split()) for text in _strings(values)).casefold()


def _strings(values: Iterable[object]) -> Iterable[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from _strings(value)
