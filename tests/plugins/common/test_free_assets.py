"""Free assets: the roles in a document make only small files of known media types free."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from plugins import local_files, open_access
from plugins.collection_groups import CollectionGroups
from plugins.collection_groups import create_plugin as create_groups
from plugins.licence import create_plugin as create_licences
from stacflask import Principal, Redirect, Services, SettingError, Storage, hookimpl
from stacflask.testing import Plug, Publish, an_item

BASE = "/collections/radar/items/scene/download"
SMALL, LARGE = 1000, 1001
ROLES = ["metadata"]


@pytest.fixture
def published(tmp_path: Path, publish: Publish) -> Path:
    """Publish an item whose assets all claim the role metadata, with files of both sizes."""
    for name, size in (("small", SMALL), ("large", LARGE)):
        (tmp_path / name).write_bytes(b"x" * size)
    kinds: dict[str, dict[str, Any]] = {
        "small": {},
        "large": {},
        "lying": {"file:size": SMALL},
        "honest": {"file:size": LARGE},
        "parameters": {"type": "Image/PNG; charset=x"},
        "raster": {"type": "image/tiff; application=geotiff"},
        "untyped": {"type": None},
        "data": {"roles": ["metadata", "data"]},
    }
    files = {"large": "large", "lying": "large", "honest": "large"}
    assets = {
        key: {
            "href": f"file://{tmp_path}/{files.get(key, 'small')}",
            "type": "image/png",
            "roles": ["metadata"],
            **more,
        }
        for key, more in kinds.items()
    }
    del assets["untyped"]["type"]
    publish(an_item("scene", "radar", assets=assets))
    return tmp_path


FREE = {"small", "parameters"}
"""The assets that are free because of what their document claims."""


def files(folder: Path) -> object:
    return local_files.create_plugin({local_files.VARIABLE: f'{{"{folder}": ["radar"]}}'})


def delivered(client: Any, path: str = "", **options: Any) -> set[str]:
    """Return the keys of the assets that are delivered."""
    keys = ("small", "large", "lying", "honest", "parameters", "raster", "untyped", "data")
    return {key for key in keys if client.open(f"{BASE}/{key}{path}", **options).status_code == 200}


def groups(storage: Storage) -> CollectionGroups:
    """Return the plugin with `see` and `preview` granted to everybody."""
    plugin = create_groups({"STACFLASK_COLLECTION_GROUPS_PREVIEW_BYTES": str(SMALL)})
    plugin.startup(Services(storage))
    for action in ("see", "preview"):
        plugin.table.grant("radar", action, ["*"])
    return plugin


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_previews_are_small_files_of_known_types(plug: Plug, storage: Storage, published: Path, method: str) -> None:
    """`preview` delivers no object that is larger than the limit, even if its document claims a smaller size."""
    client = plug(groups(storage), files(published))
    assert delivered(client, method=method) == FREE


def test_free_of_licences_are_small_files_of_known_types(plug: Plug, storage: Storage, published: Path) -> None:
    """Before the licence is accepted, nothing larger than the limit is delivered; afterwards everything is."""
    environ = {"STACFLASK_LICENCE_FREE_ROLES": "metadata", "STACFLASK_LICENCE_FREE_BYTES": str(SMALL)}
    licences = create_licences(environ)
    client = plug(open_access, Authenticates(), licences, files(published))
    licences.table.add(id="terms", version="1", title="Terms", text="text", url=None)
    licences.table.require("radar", "terms")
    assert delivered(client) == FREE
    licences.table.accept("jane", "terms", "1")
    assert len(delivered(client)) == 8


def test_a_claimed_size_opens_no_archive_and_signs_no_href(plug: Plug, storage: Storage, published: Path) -> None:
    """An archive is refused and an href is not signed if only the document's claim makes an asset free."""
    client = plug(groups(storage), files(published), PresignsAll())
    archive = f"{BASE}.zip?assets="
    assert client.get(f"{archive}small,parameters").status_code == 200
    assert client.get(f"{archive}small,lying").status_code == 401
    signed = client.get("/collections/radar/items/scene?hrefs=signed").json["assets"]
    assert [asset["href"] for asset in signed.values() if "signed.example" in asset["href"]] == []


class Authenticates:
    """Authenticates every request as jane."""

    @hookimpl
    def authenticate(self) -> Principal:
        """Return jane."""
        return Principal("jane", scheme="test")


class PresignsAll:
    """Presigns every asset."""

    @hookimpl
    def presign(self, assets: Any) -> list[Redirect]:
        """Return a URL for each asset."""
        return [Redirect("https://signed.example/", timedelta(minutes=1))] * len(assets)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STACFLASK_COLLECTION_GROUPS_PREVIEW_TYPES", "png"),
        ("STACFLASK_COLLECTION_GROUPS_PREVIEW_BYTES", "5 MB"),
        ("STACFLASK_COLLECTION_GROUPS_PREVIEW_BYTES", "0"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    """A wrong media type or size prevents the start, and the error names the variable."""
    with pytest.raises(SettingError, match=f"^{name}: expected"):
        create_groups({name: value})


def test_check_reports_what_is_free() -> None:
    """`stacflask check` reports the assets that need neither the right to download nor a licence."""
    (note,) = create_groups({"STACFLASK_COLLECTION_GROUPS_PREVIEW_TYPES": "image/png"}).check_setup()
    assert "a media type of image/png, and at most 5000000 bytes" in note
    assert create_licences({}).check_setup() == []
    (note,) = create_licences({"STACFLASK_LICENCE_FREE_ROLES": "thumbnail"}).check_setup()
    assert "only the roles thumbnail" in note
