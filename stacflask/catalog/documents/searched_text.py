"""The text of a collection that free-text search reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stacflask.model.json_types import Document
COLLECTION_MEMBERS = ("id", "title", "description", "keywords")


def words_of(collection: Document) -> str:
    """Give a collection's texts as one, in one case, any white space as one space."""
    values = (collection.get(name) for name in COLLECTION_MEMBERS)
    return "\n".join(" ".join(text.split()) for text in _strings(values)).casefold()


def _strings(values: Iterable[object]) -> Iterable[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from _strings(value)
