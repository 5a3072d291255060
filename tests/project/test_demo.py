"""The demo catalogue has valid documents, correct sizes and checksums, and COGs."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import pytest
from rasterio.io import MemoryFile

from dev import demo
from dev.demo import Catalogue, Download
from stacflask.stac.checks import check_collection, check_item
from stacflask.stac.schemas import SchemaChecker

S3 = "s3://assets/"


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return demo.catalogue("assets")


def managed(catalogue: Catalogue) -> dict[Download, dict[str, Any]]:
    return {
        Download(document.get("collection", document["id"]), document["id"], key): asset
        for document in [*catalogue.collections, *catalogue.items]
        for key, asset in document["assets"].items()
        if asset["href"].startswith(S3)
    }


def test_every_document_is_valid(catalogue: Catalogue) -> None:
    """Collections and items pass the checks of stacflask and the schemas of their extensions."""
    schemas = SchemaChecker()
    for collection in catalogue.collections:
        check_collection(collection)
        schemas.check(collection)
    for item in catalogue.items:
        check_item(item)
        schemas.check(item)


def test_sizes_and_checksums_are_correct(catalogue: Catalogue) -> None:
    """Each managed asset has the type, size and checksum of its object. Only MISSING_DOWNLOAD has no object."""
    without = set()
    for name, asset in managed(catalogue).items():
        data, media_type = catalogue.objects.get(asset["href"].removeprefix(S3), (b"", ""))
        if not data:
            without.add(name)
            continue
        documented = (asset["type"], asset["file:size"], asset["file:checksum"])
        assert documented == (media_type, len(data), "1220" + hashlib.sha256(data).hexdigest())
    assert without == {demo.MISSING_DOWNLOAD}


def test_every_item_has_data(catalogue: Catalogue) -> None:
    """Each asset of each item is an object in the bucket, besides the named one that is missing."""
    assets = {Download(item["collection"], item["id"], key) for item in catalogue.items for key in item["assets"]}
    assert all(item["assets"] for item in catalogue.items)
    assert assets <= set(managed(catalogue))


def test_every_object_is_an_asset(catalogue: Catalogue) -> None:
    """Each object in the bucket is the asset of a document, and their total size is at most 25 MB."""
    assert {asset["href"].removeprefix(S3) for asset in managed(catalogue).values()} >= set(catalogue.objects)
    assert sum(len(data) for data, _ in catalogue.objects.values()) <= 25_000_000


def test_rasters_are_cloud_optimised_and_match_their_items(catalogue: Catalogue) -> None:
    """Every GeoTIFF has the COG layout, overviews, and the grid of its item."""
    properties = {(item["collection"], item["id"]): item["properties"] for item in catalogue.items}
    for name, asset in managed(catalogue).items():
        data, _ = catalogue.objects.get(asset["href"].removeprefix(S3), (b"", ""))
        if not data or "geotiff" not in asset["type"]:
            continue
        with MemoryFile(data) as file, file.open() as raster:
            assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert raster.overviews(1)
            assert list(raster.shape) == asset["proj:shape"]
            assert list(raster.bounds) == properties[name.collection, name.item]["proj:bbox"]
            assert raster.crs.to_string() == properties[name.collection, name.item]["proj:code"]


def test_the_named_downloads_exist(catalogue: Catalogue) -> None:
    """The downloads in README and in the tests of the whole server are managed assets of the catalogue."""
    named = {
        demo.FIRST_DOWNLOAD,
        demo.LARGE_DOWNLOAD,
        demo.MEMBERS_DOWNLOAD,
        demo.HIDDEN_DOWNLOAD,
        demo.MISSING_DOWNLOAD,
    }
    assert named <= set(managed(catalogue))


def test_one_id_in_three_collections(catalogue: Catalogue) -> None:
    """Three collections have an item with the same id."""
    collections = {item["collection"] for item in catalogue.items if item["id"] == demo.CALIBRATION}
    assert collections == {demo.OPEN, demo.MEMBERS, demo.HIDDEN}


def test_the_catalogue_is_reproducible(catalogue: Catalogue) -> None:
    """A second run creates the same bytes: the catalogue does not depend on time or chance."""
    assert demo.catalogue("assets") == catalogue


@pytest.mark.parametrize("key", demo.KEYS.values(), ids=demo.KEYS)
def test_keys_are_marked_as_demo(key: str) -> None:
    """A demo key in a log can be recognised as one."""
    assert re.fullmatch(r"sfk_[0-9a-f]{8}_DemoOnly[0-9A-Za-z]{24,}", key)
