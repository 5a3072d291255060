"""The demo catalogue as a whole: documents and objects that fit each other."""

from dataclasses import dataclass

from dev.demo import collections, fenlark, halyard, plumbline, quickwater
from dev.demo.shelf import Shelf, StoredObject
from dev.demo.stac import Document

_PARTS = (
    (fenlark.items, collections.open_collection),
    (halyard.items, collections.members_collection),
    (quickwater.items, collections.hidden_collection),
    (plumbline.items, collections.edges_collection),
)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Everything the demo consists of."""

    collections: list[Document]
    items: list[Document]
    objects: dict[str, StoredObject]
    """What belongs into the bucket, by key."""


def catalogue(bucket: str) -> Catalogue:
    """The demo catalogue with its bytes, the same on every call; it takes some ten seconds and touches nothing."""
    shelf, collections_made, items_made = Shelf(bucket), [], []
    for items_of, collection_of in _PARTS:
        items = list(items_of(shelf))
        items_made += items
        collections_made.append(collection_of(items, shelf))
    return Catalogue(collections_made, items_made, shelf.objects)
