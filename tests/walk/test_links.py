"""Signed links with common clients: no client needs a header."""

import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import requests
from pystac_client import Client

from dev.demo import MEMBERS_DOWNLOAD
from tests.walk.conftest import Server, accept_licence, bearer, link

MEMBER = bearer("member")
READ = "import rasterio, sys; print(rasterio.open(sys.argv[1]).read(1, window=((0, 64), (0, 64))).shape)"


@pytest.fixture(scope="module", autouse=True)
def accepted(server: Server) -> None:
    """Accept the licence of the scene as the member."""
    accept_licence(server)


@pytest.fixture(scope="module")
def checksum(server: Server) -> str:
    return str(server.item(MEMBERS_DOWNLOAD)["assets"][MEMBERS_DOWNLOAD.asset]["file:checksum"]).removeprefix("1220")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def rasterio(server: Server, address: str, **environ: str) -> str:
    environ = {**server.environ, "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", **environ}
    command = [sys.executable, "-c", READ, f"/vsicurl/{address}"]
    done = subprocess.run(command, check=False, env=environ, capture_output=True, text=True, timeout=60)
    return done.stdout.strip() or done.stderr


def test_curl_and_wget_need_no_headers(server: Server, checksum: str, tmp_path: Path) -> None:
    """Curl and wget download with only the link, and fail without it or with a damaged one."""
    address = link(server, server.address(MEMBERS_DOWNLOAD))
    subprocess.run(["curl", "-sSfL", "-o", tmp_path / "a", address], check=True, timeout=60)
    subprocess.run(["wget", "-q", "-O", tmp_path / "b", address], check=True, timeout=60)
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b") == checksum
    bare = subprocess.run(["curl", "-sSfL", address.partition("?")[0]], check=False, capture_output=True, timeout=60)
    assert bare.returncode == 22
    cut = subprocess.run(["wget", "-q", "-O", "/dev/null", address[:-1]], check=False, timeout=60)
    assert cut.returncode != 0


@pytest.mark.parametrize("delivery", ["", "&delivery=stream"])
def test_rasterio_opens_a_link(server: Server, delivery: str) -> None:
    """GDAL reads pixels with only the link, by redirect and by stream. HEAD and range requests count as one use."""
    address = link(server, server.address(MEMBERS_DOWNLOAD), downloads=1)
    assert rasterio(server, address + delivery) == "(64, 64)"
    listed = requests.get(f"{server.url}/links", headers=MEMBER, timeout=30).json()["links"]
    assert listed[0]["used"] == 1


def test_pystac_client_gets_hrefs_that_rasterio_opens(server: Server) -> None:
    """With one header in the session, items have hrefs that need no header."""
    client = Client.open(server.url, headers={**MEMBER, "X-Signed-Asset-Urls": "true"})
    found = client.search(collections=[MEMBERS_DOWNLOAD.collection], ids=[MEMBERS_DOWNLOAD.item])
    (item,) = found.items()
    asset = item.assets[MEMBERS_DOWNLOAD.asset]
    assert "href:expires" in asset.extra_fields
    assert rasterio(server, asset.href) == "(64, 64)"


def test_a_link_for_an_item_downloads_its_archive(server: Server, checksum: str, tmp_path: Path) -> None:
    """A link for an item is valid for its archive, which contains the asset's bytes."""
    item = server.address(MEMBERS_DOWNLOAD).partition("/download/")[0]
    address = link(server, item).replace("?", f"/download.zip?assets={MEMBERS_DOWNLOAD.asset}&")
    subprocess.run(["curl", "-sSf", "-o", tmp_path / "item.zip", address], check=True, timeout=60)
    with zipfile.ZipFile(tmp_path / "item.zip") as archive:
        (name,) = archive.namelist()
        assert hashlib.sha256(archive.read(name)).hexdigest() == checksum


@pytest.mark.skipif(shutil.which("aria2c") is None, reason="aria2 is not installed")
def test_aria2_downloads_a_search(server: Server, checksum: str, tmp_path: Path) -> None:
    """aria2 downloads the list of a search without credentials, and checks each file."""
    search = {"collections": [MEMBERS_DOWNLOAD.collection], "ids": [MEMBERS_DOWNLOAD.item]}
    body: Any = {"search": search, "assets": [MEMBERS_DOWNLOAD.asset]}
    listed = requests.post(f"{server.url}/downloads?f=aria2&hrefs=signed", json=body, headers=MEMBER, timeout=30)
    subprocess.run(["aria2c", "-q", "-i", "-"], input=listed.content, cwd=tmp_path, check=True, timeout=60)
    (saved,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sha256(saved) == checksum


def test_no_link_is_in_the_log(server: Server) -> None:
    """The server's log does not contain a link, valid or damaged."""
    address = link(server, server.address(MEMBERS_DOWNLOAD))
    requests.get(address, timeout=30)
    requests.get(f"{address}x", timeout=30)
    assert address.rpartition(".")[2] not in server.log.read_text()
