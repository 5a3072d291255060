"""The whole demo catalogue: documents with their objects."""

from dataclasses import dataclass

from dev.demo import fenlark, halyard, plumbline, quickwater
from dev.demo.bucket import Bucket, StoredObject
from dev.demo.collections import edges_collection, hidden_collection, members_collection, open_collection
from dev.demo.stac import Document

_PARTS = (
    (fenlark.items, open_collection),
    (halyard.items, members_collection),
    (quickwater.items, hidden_collection),
    (plumbline.items, edges_collection),
)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The documents and objects of the demo."""

    collections: list[Document]
    items: list[Document]
    objects: dict[str, StoredObject]
    """The objects of the bucket, by key."""


def catalogue(bucket_name: str) -> Catalogue:
    """Return the demo catalogue. It is the same on every call. It takes some ten seconds and writes nothing."""
    bucket, collections, items = Bucket(bucket_name), [], []
    for items_of, collection_of in _PARTS:
        own_items = list(items_of(bucket))
        items += own_items
        collections.append(collection_of(own_items, bucket))
    return Catalogue(collections, items, bucket.objects)
