"""Free assets: the roles that a document names free nothing but small files of known media types."""

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
    """An item whose assets all claim to be metadata, with files of both sizes behind them."""
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
"""The assets that nothing but their claim makes free, and that are free."""


def files(folder: Path) -> object:
    return local_files.create_plugin({local_files.VARIABLE: f'{{"{folder}": ["radar"]}}'})


def taken(client: Any, path: str = "", **options: Any) -> set[str]:
    """Return the keys of the assets that are handed out."""
    keys = ("small", "large", "lying", "honest", "parameters", "raster", "untyped", "data")
    return {key for key in keys if client.open(f"{BASE}/{key}{path}", **options).status_code == 200}


def groups(storage: Storage) -> CollectionGroups:
    """Return the plugin, with `see` and `preview` granted to everybody."""
    plugin = create_groups({"STACFLASK_COLLECTION_GROUPS_PREVIEW_BYTES": str(SMALL)})
    plugin.startup(Services(storage))
    for action in ("see", "preview"):
        plugin.table.grant("radar", action, ["*"])
    return plugin


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_previews_are_small_files_of_known_types(plug: Plug, storage: Storage, published: Path, method: str) -> None:
    """`preview` hands out no object that is larger than the limit, whatever its document says of its size."""
    client = plug(groups(storage), files(published))
    assert taken(client, method=method) == FREE


def test_free_of_licences_are_small_files_of_known_types(plug: Plug, storage: Storage, published: Path) -> None:
    """Without its licence, nothing larger than the limit is handed out; with it accepted, everything is."""
    environ = {"STACFLASK_LICENCE_FREE_ROLES": "metadata", "STACFLASK_LICENCE_FREE_BYTES": str(SMALL)}
    licences = create_licences(environ)
    client = plug(open_access, Known(), licences, files(published))
    licences.table.add(id="terms", version="1", title="Terms", text="text", url=None)
    licences.table.require("radar", "terms")
    assert taken(client) == FREE
    licences.table.accept("jane", "terms", "1")
    assert len(taken(client)) == 8


def test_no_other_way_to_a_large_preview(plug: Plug, storage: Storage, published: Path) -> None:
    """An archive is refused, and a ready href is not signed, if all that frees an asset is what its document claims."""
    client = plug(groups(storage), files(published), Signs())
    archive = f"{BASE}.zip?assets="
    assert client.get(f"{archive}small,parameters").status_code == 200
    assert client.get(f"{archive}small,lying").status_code == 401
    signed = client.get("/collections/radar/items/scene?hrefs=signed").json["assets"]
    assert [asset["href"] for asset in signed.values() if "signed.example" in asset["href"]] == []


class Known:
    """Takes every request for jane's."""

    @hookimpl
    def authenticate(self) -> Principal:
        """Return jane."""
        return Principal("jane", scheme="test")


class Signs:
    """Signs whatever it is asked to."""

    @hookimpl
    def presign(self) -> Redirect:
        """Return an address."""
        return Redirect("https://signed.example/", timedelta(minutes=1))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STACFLASK_COLLECTION_GROUPS_PREVIEW_TYPES", "png"),
        ("STACFLASK_COLLECTION_GROUPS_PREVIEW_BYTES", "5 MB"),
        ("STACFLASK_COLLECTION_GROUPS_PREVIEW_BYTES", "0"),
    ],
)
def test_wrong_settings(name: str, value: str) -> None:
    """A wrong media type or size stops the start, and the complaint names the variable."""
    with pytest.raises(SettingError, match=f"^{name}: expected"):
        create_groups({name: value})


def test_check_reports_what_is_free() -> None:
    """`stacflask check` reports which assets need neither the right to download nor a licence."""
    (note,) = create_groups({"STACFLASK_COLLECTION_GROUPS_PREVIEW_TYPES": "image/png"}).check_setup()
    assert "of media type image/png, up to 5000000 bytes" in note
    assert create_licences({}).check_setup() == []
    (note,) = create_licences({"STACFLASK_LICENCE_FREE_ROLES": "thumbnail"}).check_setup()
    assert "no other roles than thumbnail" in note
