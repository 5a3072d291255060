"""Documents and assets for tests."""

from __future__ import annotations

from typing import Any

from stacflask.model.asset import Asset
from stacflask.model.json_types import Document


def an_item(item: str = "item", collection: str = "collection", **members: Any) -> Document:
    """Return an item document for a test.

    Args:
        item: Identifier of the item.
        collection: Identifier of its collection.
        members: Members that replace the default ones, such as ``properties`` and ``assets``.
    """
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": item,
        "collection": collection,
        "geometry": {"type": "Point", "coordinates": [11.0, 48.0]},
        "bbox": [11.0, 48.0, 11.0, 48.0],
        "properties": {"datetime": "2024-06-01T12:00:00Z"},
        "links": [],
        "assets": {"data": {"href": f"s3://bucket/{collection}/{item}/data.tif", "type": "image/tiff"}},
        **members,
    }


def a_collection(collection: str = "collection", **members: Any) -> Document:
    """Return a collection document for a test.

    Args:
        collection: Identifier of the collection.
        members: Members that replace the default ones.
    """
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": collection,
        "description": f"The collection {collection}",
        "license": "other",
        "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
        "links": [],
        **members,
    }


def an_asset(document: Document | None = None, key: str = "data") -> Asset:
    """Return an asset of a document, in the form in which plugins receive it.

    Args:
        document: An item or a collection. The default is ``an_item()``.
        key: Key of the asset. For a file in a directory asset, its path follows after a slash.

    Raises:
        KeyError: The document has no such asset, or its href is a public URL, which stacflask does not deliver.
    """
    from stacflask.catalog.documents.assets import Directories, asset_of
    from stacflask.catalog.documents.documents import Managed, body_of

    document = an_item() if document is None else document
    is_item = document["type"] == "Feature"
    collection, item = (document["collection"], document["id"]) if is_item else (document["id"], None)
    asset = asset_of(body_of(document, Managed()), collection, item, key, Directories())
    if asset is None:
        raise KeyError(key)
    return asset
