"""The demo catalogue keeps what it promises: valid documents, true sizes and checksums, real COGs."""

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
def made() -> Catalogue:
    return demo.catalogue("assets")


def managed(made: Catalogue) -> dict[Download, dict[str, Any]]:
    return {
        Download(document.get("collection", document["id"]), document["id"], key): asset
        for document in [*made.collections, *made.items]
        for key, asset in document["assets"].items()
        if asset["href"].startswith(S3)
    }


def test_every_document_is_valid(made: Catalogue) -> None:
    """Collections and items pass the house's own checks and every schema they name."""
    schemas = SchemaChecker()
    for collection in made.collections:
        check_collection(collection)
        schemas.check(collection)
    for item in made.items:
        check_item(item)
        schemas.check(item)


def test_sizes_and_checksums_are_true(made: Catalogue) -> None:
    """Each managed asset's type, size and checksum are those of its object; only the one named so has none."""
    without = set()
    for name, asset in managed(made).items():
        stored = made.objects.get(asset["href"].removeprefix(S3))
        if stored is None:
            without.add(name)
            continue
        told = (asset["type"], asset["file:size"], asset["file:checksum"])
        assert told == (stored.media_type, len(stored.data), "1220" + hashlib.sha256(stored.data).hexdigest())
    assert without == {demo.MISSING_DOWNLOAD}


def test_every_object_is_an_asset(made: Catalogue) -> None:
    """No object lies in the bucket that no document speaks of, and all together are small."""
    assert {asset["href"].removeprefix(S3) for asset in managed(made).values()} >= set(made.objects)
    assert sum(len(stored.data) for stored in made.objects.values()) <= 25_000_000


def test_rasters_are_cloud_optimised_and_lie_where_they_say(made: Catalogue) -> None:
    """Every GeoTIFF has the COG layout, overviews, and the grid its item tells."""
    properties = {(item["collection"], item["id"]): item["properties"] for item in made.items}
    for name, asset in managed(made).items():
        stored = made.objects.get(asset["href"].removeprefix(S3))
        if stored is None or "geotiff" not in asset["type"]:
            continue
        with MemoryFile(stored.data) as file, file.open() as raster:
            assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert raster.overviews(1)
            assert list(raster.shape) == asset["proj:shape"]
            assert list(raster.bounds) == properties[name.collection, name.item]["proj:bbox"]
            assert raster.crs.to_string() == properties[name.collection, name.item]["proj:code"]


def test_the_named_downloads_exist(made: Catalogue) -> None:
    """What README and the walk download is a managed asset of the catalogue."""
    named = {
        demo.FIRST_DOWNLOAD,
        demo.LARGE_DOWNLOAD,
        demo.MEMBERS_DOWNLOAD,
        demo.HIDDEN_DOWNLOAD,
        demo.MISSING_DOWNLOAD,
    }
    assert named <= set(managed(made))


def test_one_id_in_three_collections(made: Catalogue) -> None:
    """The same item id stands for three different items."""
    held = {item["collection"] for item in made.items if item["id"] == demo.CALIBRATION}
    assert held == {demo.OPEN, demo.MEMBERS, demo.HIDDEN}


def test_a_second_run_gives_the_same_bytes(made: Catalogue) -> None:
    """Nothing in the catalogue depends on the hour or on chance."""
    assert demo.catalogue("assets") == made


@pytest.mark.parametrize("key", demo.KEYS.values(), ids=demo.KEYS)
def test_keys_are_marked_as_demo(key: str) -> None:
    """Whoever meets a demo key in a log sees that it is one."""
    assert re.fullmatch(r"sfk_[0-9a-f]{8}_DemoOnly[0-9A-Za-z]{24,}", key)
