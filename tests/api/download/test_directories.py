"""Directory assets: their files are downloaded by path, and no files outside of them."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from minio import Minio

from dev.stack import Stack
from plugins import local_files
from stacflask import Decision, hookimpl
from stacflask.testing import an_item

Client = Any
ZARR = "application/vnd+zarr"
ITEM = "/collections/collection/items/item"
DOWN = f"{ITEM}/download"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with two directories, a neighbor with the same prefix, and symbolic links."""
    files = {
        "cube.zarr/.zgroup": b'{"zarr_format":2}',
        "cube.zarr/band/0.0": b"0123456789",
        "cube.zarr/ä b/%2e%2e": b"odd",
        "cube.zarr/inner/x": b"outer's",
        "inner/x": b"inner's",
        "cube.zarr-secret/x": b"secret",
        "secret": b"secret",
    }
    for name, data in files.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "root/cube.zarr/out").symlink_to(tmp_path / "root/secret")
    (tmp_path / "root/cube.zarr/folder").symlink_to(tmp_path / "root/cube.zarr-secret")
    (tmp_path / "root/cube.zarr/about").symlink_to(tmp_path / "root/cube.zarr/band")
    return tmp_path / "root"


@pytest.fixture
def client(plug: Callable[..., Client], publish: Callable[..., None], consent: Any, folder: Path) -> Client:
    """Return a client of an application whose items have directories in that folder."""
    assets = {
        "cube": {"href": f"{folder.as_uri()}/cube.zarr", "type": f"{ZARR}; version=2", "file:size": 1},
        "safe": {"href": f"{folder.as_uri()}/cube.zarr/", "file:checksum": "1220" + "00" * 32},
        "cube/inner": {"href": f"{folder.as_uri()}/inner/"},
        "cube/file": {"href": f"{folder.as_uri()}/secret", "type": "text/plain"},
        "cube/band/0.0": {"href": f"{folder.as_uri()}/inner/x", "type": "text/plain"},
    }
    publish(an_item(assets=assets))
    return plug(consent, local_files.create_plugin({"STACFLASK_LOCAL_FILES_ROOTS": str(folder)}))


@pytest.mark.parametrize("key", ["cube", "safe"])
def test_files_are_downloaded_by_path(client: Client, key: str) -> None:
    """An asset is a directory by its media type, or by a slash at the end of its href. Its files keep their names."""
    answer = client.get(f"{DOWN}/{key}/.zgroup")
    assert answer.data == b'{"zarr_format":2}'
    assert 'filename=".zgroup"' in answer.headers["Content-Disposition"]
    assert "Repr-Digest" not in answer.headers
    odd = client.get(f"{DOWN}/{key}/%C3%A4%20b/%252e%252e")
    assert odd.data == b"odd"
    assert client.get(f"{DOWN}/{key}/about/0.0").data == b"0123456789"


def test_ranges_and_head_of_files(client: Client) -> None:
    """A file in a directory supports ranges, conditions and HEAD."""
    part = client.get(f"{DOWN}/safe/band/0.0", headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.data) == (206, b"234")
    head = client.head(f"{DOWN}/safe/band/0.0")
    assert (head.status_code, head.headers["Content-Length"], head.headers["Accept-Ranges"]) == (200, "10", "bytes")
    unchanged = client.get(f"{DOWN}/safe/band/0.0", headers={"If-None-Match": head.headers["ETag"]})
    assert unchanged.status_code == 304


@pytest.mark.parametrize(
    ("path", "bytes_"),
    [
        ("cube/band/0.0", b"inner's"),
        ("cube/file", b"secret"),
        ("cube/inner/x", b"inner's"),
        ("safe/inner/x", b"outer's"),
    ],
)
def test_exact_keys_take_precedence(client: Client, path: str, bytes_: bytes) -> None:
    """An asset with exactly that key takes precedence over a file in a directory, and the innermost directory wins."""
    assert client.get(f"{DOWN}/{path}").data == bytes_
    assert client.get(f"{DOWN}/{path.replace('/', '%2F')}").data == bytes_


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "%2e%2e/secret",
        "..%2fsecret",
        "band/../../secret",
        "./.zgroup",
        "band//0.0",
        "/etc/passwd",
        "%2Fetc%2Fpasswd",
        "..\\secret",
        "%5c..%5csecret",
        "band/",
        "band/0.0/",
        "band",
        "out",
        "folder/x",
        "nosuch",
        "a%0ab",
        "x" * 2000,
        "x/" * 600,
        "%ff",
    ],
)
def test_paths_cannot_leave_the_directory(client: Client, path: str) -> None:
    """No form of dots or slashes, and no symbolic link, leads out of a directory. Folders are not files."""
    answer = client.get(f"{DOWN}/safe/{path}")
    assert answer.status_code == 404, answer.text
    assert b"secret" not in answer.data.replace(path.encode(), b"").replace(b"/secret", b"").replace(b"\\secret", b"")


def test_a_file_has_no_files_below_it(client: Client) -> None:
    """A path below an asset that is a file is a 404."""
    assert client.get(f"{DOWN}/cube/file/x").status_code == 404


@pytest.mark.parametrize("path", ["cube", "cube/", "safe/"])
def test_a_directory_itself_cannot_be_downloaded(client: Client, path: str) -> None:
    """The error for a directory explains that its files can be downloaded."""
    answer = client.get(f"{DOWN}/{path}")
    assert (answer.status_code, answer.json["code"]) == (404, "DirectoryAsset")


def test_media_types_of_directories_can_be_set(
    plug: Callable[..., Client], publish: Callable[..., None], consent: Any, folder: Path
) -> None:
    """A setting lists the media types of directories."""
    publish(an_item(assets={"a": {"href": f"{folder.as_uri()}/cube.zarr", "type": "application/x-safe"}}))
    files = local_files.create_plugin({"STACFLASK_LOCAL_FILES_ROOTS": str(folder)})
    assert plug(consent, files).get(f"{DOWN}/a/.zgroup").status_code == 404
    client = plug(consent, files, environ={"STACFLASK_DIRECTORY_TYPES": "application/x-safe"})
    assert client.get(f"{DOWN}/a/.zgroup").status_code == 200


def test_plugins_receive_the_path(plug: Callable[..., Client], publish: Callable[..., None], store: Any) -> None:
    """A plugin receives the path of a file in a directory. The size of the directory is not that of its files."""
    seen = []

    class Recorder:
        @hookimpl
        def authorize(self, asset: Any) -> Decision:
            seen.append((asset.key, asset.path, asset.size, asset.properties.get("file:size")))
            return Decision.allow("test") if asset.path.startswith("free/") else Decision.deny("test")

    publish(an_item(assets={"cube": {"href": "s3://bucket/cube/", "file:size": 7}}))
    client = plug(Recorder(), store)
    assert client.get(f"{DOWN}/cube/free/a").status_code == 307
    assert client.get(f"{DOWN}/cube/kept/a").status_code == 401
    assert seen == [("cube", "free/a", None, None), ("cube", "kept/a", None, None)]


def test_directories_in_an_s3_store(
    plug: Callable[..., Client], publish: Callable[..., None], consent: Any, stack: Stack, s3: Minio
) -> None:
    """Files below a prefix of a bucket are redirected and streamed. Files beside the prefix are not found."""
    from plugins import s3 as plugin

    for key in ("dirs/cube.zarr/band/0.0", "dirs/cube.zarr/%2e%2e/ä", "dirs/cube.zarr-secret"):
        s3.put_object(stack.bucket, key, io.BytesIO(b"0123456789"), 10)
    href = f"s3://{stack.bucket}/dirs/cube.zarr"
    publish(an_item(assets={"cube": {"href": href, "type": ZARR}, "safe": {"href": f"{href}/"}}))
    stores = {
        "real": {
            "endpoint": f"http://{stack.s3_endpoint}",
            "region": stack.s3_region,
            "access_key": stack.s3_access_key,
            "secret_key": stack.s3_secret_key,
            "buckets": [stack.bucket],
        }
    }
    client = plug(consent, plugin.create_plugin({"STACFLASK_S3_STORES": json.dumps(stores)}))
    for key in ("cube", "safe"):
        assert client.get(f"{DOWN}/{key}/band/0.0?delivery=stream").data == b"0123456789"
        assert client.head(f"{DOWN}/{key}/band/0.0").headers["Content-Length"] == "10"
        for path in ("band/0.0", "%252e%252e/%C3%A4"):
            redirect = client.get(f"{DOWN}/{key}/{path}")
            assert redirect.status_code == 307
            assert requests.get(redirect.headers["Location"], timeout=30).content == b"0123456789"
        for path in ("nosuch", "../cube.zarr-secret", "band"):
            assert client.get(f"{DOWN}/{key}/{path}").status_code == 404, path
