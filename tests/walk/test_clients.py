"""Common clients download what they may and are refused what they may not, by redirect and by stream."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pystac
import pytest
import rasterio
import requests
import stac_asset
from pystac_client import Client
from stac_asset import blocking

from dev import demo, openid
from dev.demo import LICENCE, MEMBERS_DOWNLOAD
from dev.ports import free_port
from dev.run import environ_for
from dev.stack import Stack
from tests.browser import CHROMIUM, Browser, browsing, log_in
from tests.conftest import ROOT
from tests.walk.conftest import Server, accept_licence, forget_downloads, link, serving

MEMBER, STRANGER = demo.KEYS["member"], demo.KEYS["responder"]
PIXELS = "import rasterio, sys; sys.stdout.buffer.write(rasterio.open(sys.argv[1]).read(1).tobytes())"
ASSET = MEMBERS_DOWNLOAD.asset
Downloaded = bytes | None
DownloadWith = Callable[[str, str | None, Path], Downloaded]


def header(key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def by_curl(address: str, key: str | None, folder: Path) -> Downloaded:
    """Follow the redirect without the header."""
    headers = [word for name, value in header(key).items() for word in ("-H", f"{name}: {value}")]
    return by_command("curl", "-sSfLo", "curl", *headers, address, folder=folder)


def by_wget(address: str, key: str | None, folder: Path) -> Downloaded:
    """Follow the redirect and send the header to the store."""
    headers = [f"--header={name}: {value}" for name, value in header(key).items()]
    return by_command("wget", "-q", "-O", "wget", *headers, address, folder=folder)


def by_command(*command: str, folder: Path) -> Downloaded:
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, timeout=120)
    return (folder / command[0]).read_bytes() if done.returncode == 0 else None


def by_requests(address: str, key: str | None, folder: Path) -> Downloaded:
    """Follow the redirect without the header."""
    response = requests.get(address, headers=header(key), timeout=60)
    return response.content if response.ok else None


def by_urllib(address: str, key: str | None, folder: Path) -> Downloaded:
    """Follow the redirect and send the header to the store."""
    try:
        with urlopen(Request(address, headers=header(key)), timeout=60) as response:
            return bytes(response.read())
    except HTTPError:
        return None


def by_stac_asset(address: str, key: str | None, folder: Path) -> Downloaded:
    """Download an asset of an item by its href."""
    item = pystac.Item.from_dict(requests.get(address.partition("/download/")[0], timeout=60).json())
    item.assets[ASSET].href = address
    config = stac_asset.Config(http_headers=header(key), include=[ASSET], http_max_attempts=1)
    try:
        blocking.download_item(item, str(folder), config=config)
    except stac_asset.DownloadError:
        return None
    return (folder / ASSET).read_bytes()


def by_pystac_client(address: str, key: str | None, folder: Path) -> Downloaded:
    """Search for the item, and download the asset with the session of the search."""
    client = Client.open(address.partition("/collections/")[0], headers=header(key))
    (item,) = client.search(collections=[MEMBERS_DOWNLOAD.collection], ids=[MEMBERS_DOWNLOAD.item]).items()
    assert address.startswith(item.assets[ASSET].href)
    session = client._stac_io.session
    response = session.get(address, timeout=60)
    return bytes(response.content) if response.ok else None


def by_rasterio(address: str, key: str | None, folder: Path) -> Downloaded:
    """Open the asset by URL and read its first band."""
    environ = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "HOME": str(folder)}
    environ |= {"GDAL_HTTP_HEADERS": f"Authorization: Bearer {key}"} if key else {}
    command = [sys.executable, "-c", PIXELS, f"/vsicurl/{address}"]
    done = subprocess.run(command, check=False, env=environ, capture_output=True, timeout=120)
    return done.stdout if done.returncode == 0 else None


def name_of(download: DownloadWith) -> str:
    return download.__name__.removeprefix("by_")


CLIENTS = [by_curl, by_wget, by_requests, by_urllib, by_stac_asset, by_pystac_client, by_rasterio]
# pystac-client reads links from search results, see test_links.py.
CLIENTS_OF_LINKS = [client for client in CLIENTS if client is not by_pystac_client]
each_client = pytest.mark.parametrize("download", CLIENTS, ids=name_of)
each_delivery = pytest.mark.parametrize("stream", [False, True], ids=["store", "stream"])


def streamed(address: str) -> str:
    return f"{address}{'&' if '?' in address else '?'}delivery=stream"


@pytest.fixture(scope="module", autouse=True)
def _accepted(server: Server) -> None:
    accept_licence(server)


@pytest.fixture(autouse=True)
def _quota(demo_stack: Stack) -> None:
    forget_downloads(demo_stack)


@pytest.fixture(scope="module")
def scene(server: Server) -> bytes:
    """Return the bytes of the scene, checked against the checksum in its item."""
    data = requests.get(server.address(MEMBERS_DOWNLOAD), headers=header(MEMBER), timeout=60).content
    assert multihash(data) == server.item(MEMBERS_DOWNLOAD)["assets"][ASSET]["file:checksum"]
    return data


def multihash(data: bytes) -> str:
    return f"1220{hashlib.sha256(data).hexdigest()}"


def expected(download: DownloadWith, scene: bytes) -> bytes:
    """Return the expected result of a client: the file's bytes, or the pixels for rasterio."""
    if download is not by_rasterio:
        return scene
    with rasterio.MemoryFile(scene) as file, file.open() as opened:
        return bytes(opened.read(1).tobytes())


@each_delivery
@each_client
def test_a_client_with_a_valid_key_downloads(
    server: Server, scene: bytes, download: DownloadWith, stream: bool, tmp_path: Path
) -> None:
    """With a key that has the right, each client gets bytes with the checksum of the item."""
    address = server.address(MEMBERS_DOWNLOAD)
    assert download(streamed(address) if stream else address, MEMBER, tmp_path) == expected(download, scene)


@each_delivery
@pytest.mark.parametrize("download", CLIENTS_OF_LINKS, ids=name_of)
def test_a_client_with_a_link_downloads(
    server: Server, scene: bytes, download: DownloadWith, stream: bool, tmp_path: Path
) -> None:
    """With a signed link, a client needs no key."""
    address = link(server, server.address(MEMBERS_DOWNLOAD))
    assert download(streamed(address) if stream else address, None, tmp_path) == expected(download, scene)


@pytest.mark.parametrize("key", [None, STRANGER], ids=["anonymous", "stranger"])
@each_delivery
@each_client
def test_a_client_without_the_right_is_refused(
    server: Server, download: DownloadWith, stream: bool, key: str | None, tmp_path: Path
) -> None:
    """Without a key, or with a key without the right, no client gets any bytes."""
    address = server.address(MEMBERS_DOWNLOAD)
    assert download(streamed(address) if stream else address, key, tmp_path) is None
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size] == []


# --- A browser --------------------------------------------------------------------------------------------------------


@pytest.fixture
def with_login(demo_stack: Stack, tmp_path: Path) -> Iterator[Server]:
    """Serve the demo with logins at an OpenID provider."""
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    login = {"client_id": "portal", "client_secret": "portal-secret", "title": "Tests' ID"}
    issuers = {"eo": {"issuer": issuer, "audience": "stacflask", "login": login}}
    environ = {**environ_for(demo_stack, 8000), "STACFLASK_OIDC_ISSUERS": json.dumps(issuers)}
    environ["STACFLASK_PLUGINS"] = f"oidc,login,{environ['STACFLASK_PLUGINS']}"
    with serving(environ, tmp_path / "log") as server:
        redirect, home = f"{server.url}/login/callback", f"{server.url}/api.html"
        with openid.running(ROOT / ".run", port, openid.made_keys("k"), redirect=redirect, home=home):
            yield server


def status(browser: Browser, address: str, method: str = "GET", **more: str) -> int:
    """Return the status of a request that a page of this server makes. A redirect is not followed."""
    options = {"method": method, "redirect": "manual", "headers": {"Content-Type": "application/json"}, **more}
    promise = f"fetch({json.dumps(address)}, {json.dumps(options)})"
    return int(browser.run(f"{promise}.then(answer => answer.type == 'opaqueredirect' ? 307 : answer.status)"))


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed.")
def test_a_browser_with_a_login_downloads(with_login: Server, scene: bytes, tmp_path: Path) -> None:
    """A browser is refused before the login and before the licence. Then it saves a scene, by redirect and stream."""
    address = with_login.address(MEMBERS_DOWNLOAD)
    with browsing(tmp_path / "profile") as browser:
        browser.go(f"{with_login.url}/api.html")
        browser.until("document.querySelector('#who a')")
        for where in (address, streamed(address)):
            # With credentials, the browser would wait in a password dialog.
            assert status(browser, where, credentials="omit") == 401
        log_in(browser, f"{with_login.url}/login?next=/api.html", "jane")
        assert status(browser, address) == status(browser, streamed(address)) == 403
        accepted = f"{with_login.url}/licences/{LICENCE.id}/acceptance"
        assert status(browser, accepted, "POST", body=json.dumps({"version": LICENCE.version})) in (200, 201, 204)
        for where in (address, streamed(address)):
            saved = browser.save(where, tmp_path / "saved")
            assert saved.read_bytes() == scene
            shutil.rmtree(tmp_path / "saved")
