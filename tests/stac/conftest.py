"""Valid documents in which a test changes one value."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

ITEM = {
    "type": "Feature",
    "stac_version": "1.1.0",
    "stac_extensions": ["https://stac-extensions.github.io/eo/v1.1.0/schema.json"],
    "id": "scene 1 ä%2F",
    "collection": "scenes",
    "geometry": {"type": "Polygon", "coordinates": [[[10, 50], [11, 50], [11, 51], [10, 51], [10, 50]]]},
    "bbox": [10, 50, 11, 51],
    "properties": {"datetime": "2024-05-01T10:00:00Z", "eo:cloud_cover": 12.5},
    "links": [{"rel": "license", "href": "https://example.com/licence", "type": "text/html"}],
    "assets": {
        "data/B 04.v1:x": {
            "href": "s3://bucket/scene 1/b04.tif",
            "type": "image/tiff; application=geotiff",
            "roles": ["data"],
            "file:size": 1024,
        },
        "metadata": {"href": "./metadata.xml"},
    },
}

COLLECTION = {
    "type": "Collection",
    "stac_version": "1.0.0",
    "id": "scenes",
    "title": "Scenes",
    "description": "Scenes for tests",
    "license": "CC-BY-4.0",
    "keywords": ["scene"],
    "providers": [{"name": "Tests", "roles": ["host"]}],
    "extent": {
        "spatial": {"bbox": [[-180, -90, 180, 90], [170, -10, -170, 10], [1, 2, 3, 4]]},
        "temporal": {"interval": [["2024-01-01T00:00:00Z", None]]},
    },
    "summaries": {"platform": ["a", "b"]},
    "links": [],
    "assets": {"thumbnail": {"href": "https://example.com/thumbnail.png"}},
    "item_assets": {"data": {"type": "image/tiff", "roles": ["data"]}},
}


class Template:
    """A fresh document, and methods that change one value of it."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = deepcopy(document)

    def changed(self, *path: str | int, to: Any) -> dict[str, Any]:
        """Return the document with another value at ``path``."""
        parent = self._parent(path)
        parent[path[-1]] = to
        return self.document

    def without(self, *path: str | int) -> dict[str, Any]:
        """Return the document without the member at ``path``."""
        del self._parent(path)[path[-1]]
        return self.document

    def _parent(self, path: tuple[str | int, ...]) -> Any:
        parent: Any = self.document
        for step in path[:-1]:
            parent = parent[step]
        return parent


@pytest.fixture
def item() -> Template:
    """A valid item."""
    return Template(ITEM)


@pytest.fixture
def collection() -> Template:
    """A valid collection."""
    return Template(COLLECTION)
