"""The main use, end to end, with common clients: search, refusals, and whole downloads."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import pystac
import pytest
import requests
import stac_asset
from pystac_client import Client
from stac_asset import blocking

from dev import demo
from dev.demo import HIDDEN, HIDDEN_DOWNLOAD, LICENCE, MEMBERS_DOWNLOAD, OPEN
from dev.demo.policies import QUOTA_DOWNLOADS
from tests.waiting import waiting_for
from tests.walk.conftest import Server, bearer, stacflask

MEMBER = bearer("member")


def sha256(data: bytes) -> str:
    """Return the checksum in the form of ``file:checksum``: a multihash."""
    return "1220" + hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def accepted(server: Server) -> None:
    """Accept the licence as the member, with the link in the refusal."""
    scene = server.address(MEMBERS_DOWNLOAD)
    refused = requests.get(scene, headers=MEMBER, timeout=30)
    assert (refused.status_code, refused.json()["code"]) == (403, "LicenceNotAccepted")
    address = refused.json()["links"][0]["href"]
    licence = requests.get(address, headers=MEMBER, timeout=30).json()
    assert licence["text"].strip() == LICENCE.text.strip()
    done = requests.post(f"{address}/acceptance", json={"version": licence["version"]}, headers=MEMBER, timeout=30)
    assert done.ok, done.text


@pytest.fixture(scope="module")
def checksum(server: Server) -> str:
    """Return the checksum in the item of the member's scene."""
    return str(server.item(MEMBERS_DOWNLOAD)["assets"][MEMBERS_DOWNLOAD.asset]["file:checksum"])


def test_an_anonymous_client_searches(server: Server) -> None:
    """pystac-client finds open collections and those for members, and no hidden ones."""
    client = Client.open(server.url)
    found = list(client.search(bbox=[-180, -90, 180, 90], max_items=500).items())
    assert len(found) > 50
    assert len({(item.collection_id, item.id) for item in found}) == len(found)
    assert HIDDEN not in {item.collection_id for item in found}
    assert HIDDEN not in {collection.id for collection in client.get_collections()}
    assert len(list(Client.open(server.url, headers=bearer("responder")).search(collections=[HIDDEN]).items())) > 5


def test_without_credentials_is_401(server: Server) -> None:
    """Without credentials a download is a 401 with a challenge and without a Location."""
    response = requests.get(server.address(MEMBERS_DOWNLOAD), allow_redirects=False, timeout=30)
    assert response.status_code == 401
    assert "Bearer" in response.headers["WWW-Authenticate"]
    assert "Location" not in response.headers


def test_a_wrong_key_is_401_on_public_resources_too(server: Server) -> None:
    """A request with a wrong key is never handled as an anonymous one."""
    wrong = "sfk_d3300001_DemoOnlyPublishedInTheSourceMember99"
    for credentials in (f"Bearer {wrong}", "Bearer garbage", "Bearer", wrong, "Digest x"):
        for path in ("/", "/collections", f"/collections/{OPEN}/items", "/search"):
            response = requests.get(server.url + path, headers={"Authorization": credentials}, timeout=30)
            assert response.status_code == 401, credentials


def test_a_download_has_the_checksum_of_its_item(server: Server, accepted: None, checksum: str) -> None:
    """With the licence accepted, a 307 leads to bytes with the item's checksum, the asset's name and its type."""
    scene = server.address(MEMBERS_DOWNLOAD)
    redirect = requests.get(scene, headers=MEMBER, allow_redirects=False, timeout=30)
    assert redirect.status_code == 307
    assert redirect.headers["Cache-Control"] == "no-store"
    data = requests.get(redirect.headers["Location"], timeout=30)
    assert sha256(data.content) == checksum
    assert "filename=" in data.headers["Content-Disposition"]
    assert data.headers["Content-Type"].startswith("image/tiff")
    assert requests.head(redirect.headers["Location"], timeout=30).status_code == 403


def used_quota(server: Server) -> dict[str, int]:
    """Return the used part of the member's quota. Its reset time changes with the clock and is left out."""
    quota = requests.get(f"{server.url}/quota", headers=MEMBER, timeout=30).json()["quota"]
    return {name: entry["used"] for name, entry in quota.items()}


def test_head_is_not_redirected_and_not_counted(server: Server, accepted: None) -> None:
    """HEAD has the headers of a download, is authorized like one, and does not count."""
    used = used_quota(server)
    head = requests.head(server.address(MEMBERS_DOWNLOAD), headers=MEMBER, timeout=30)
    asset = server.item(MEMBERS_DOWNLOAD)["assets"][MEMBERS_DOWNLOAD.asset]
    assert (head.status_code, int(head.headers["Content-Length"])) == (200, asset["file:size"])
    assert {"ETag", "Last-Modified", "Accept-Ranges", "Content-Disposition"} <= head.headers.keys()
    assert used_quota(server) == used
    assert requests.head(server.address(MEMBERS_DOWNLOAD), timeout=30).status_code == 401


def test_rasterio_opens_the_scene(server: Server, accepted: None) -> None:
    """GDAL with a bearer header opens the COG by its download URL and reads pixels."""
    program = "import rasterio, sys; print(rasterio.open(sys.argv[1]).read(1, window=((0, 64), (0, 64))).shape)"
    environ = {
        **server.environ,
        "GDAL_HTTP_HEADERS": f"Authorization: {MEMBER['Authorization']}",
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    }
    command = [sys.executable, "-c", program, f"/vsicurl/{server.address(MEMBERS_DOWNLOAD)}"]
    done = subprocess.run(command, check=False, env=environ, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "(64, 64)", done.stderr


def test_wget_gets_the_same_bytes(server: Server, accepted: None, checksum: str, tmp_path: Path) -> None:
    """Wget would send its header to the store, so it gets a stream. It saves under the right name."""
    header = f"Authorization: {MEMBER['Authorization']}"
    command = ["wget", "-q", "--content-disposition", f"--header={header}", server.address(MEMBERS_DOWNLOAD)]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    (saved,) = tmp_path.iterdir()
    assert saved.suffix == ".tif"
    assert sha256(saved.read_bytes()) == checksum


def test_curl_follows_to_the_store(server: Server, accepted: None, checksum: str, tmp_path: Path) -> None:
    """curl, with the key as the password of Basic, follows the redirect and gets the same bytes."""
    target = tmp_path / "scene.tif"
    key = demo.KEYS["member"]
    command = ["curl", "-sSfL", "-o", str(target), "-u", f"me:{key}", server.address(MEMBERS_DOWNLOAD)]
    subprocess.run(command, check=True, timeout=60)
    assert sha256(target.read_bytes()) == checksum


def test_urllib_gets_the_same_bytes(server: Server, accepted: None, checksum: str) -> None:
    """Python's urllib, which PySTAC uses, would send its header to the store, so it gets a stream."""
    with urlopen(Request(server.address(MEMBERS_DOWNLOAD), headers=MEMBER), timeout=30) as response:
        assert sha256(response.read()) == checksum


def test_stac_asset_downloads_an_item(server: Server, accepted: None, checksum: str, tmp_path: Path) -> None:
    """stac-asset downloads an item's assets by their hrefs."""
    item = pystac.Item.from_dict(server.item(MEMBERS_DOWNLOAD))
    config = stac_asset.Config(http_headers=MEMBER, include=[MEMBERS_DOWNLOAD.asset], warn=False)
    blocking.download_item(item, str(tmp_path), config=config)
    saved = tmp_path / MEMBERS_DOWNLOAD.asset
    assert sha256(saved.read_bytes()) == checksum


def test_a_missing_object_has_its_own_code(server: Server) -> None:
    """An object that is missing in its store is a 404 with the code ObjectMissing."""
    response = requests.get(server.address(demo.MISSING_DOWNLOAD), timeout=30)
    assert (response.status_code, response.json()["code"]) == (404, "ObjectMissing")


@pytest.mark.parametrize("headers", [{}, MEMBER], ids=["anonymous", "member"])
def test_a_hidden_collection_looks_absent_everywhere(server: Server, headers: dict[str, str]) -> None:
    """Responses about a hidden collection are those about one that does not exist, at every URL."""
    item = f"/collections/{HIDDEN}/items/{HIDDEN_DOWNLOAD.item}"
    for path in (
        f"/collections/{HIDDEN}",
        f"/collections/{HIDDEN}/items",
        item,
        f"{item}/download/{HIDDEN_DOWNLOAD.asset}",
        f"/collections/{HIDDEN}/download/thumbnail",
    ):
        assert requests.get(server.url + path, headers=headers, timeout=30).status_code == 404, path
        absent = requests.get(server.url + path.replace(HIDDEN, "absent"), headers=headers, timeout=30)
        assert absent.status_code == 404
    for query in (f"collections={HIDDEN}", f"ids={HIDDEN_DOWNLOAD.item}"):
        response = requests.get(f"{server.url}/search?{query}", headers=headers, timeout=30)
        assert response.json()["features"] == []
    for path in ("/", "/collections"):
        assert HIDDEN not in requests.get(server.url + path, headers=headers, timeout=30).text


def test_storage_hrefs_are_never_shown(server: Server) -> None:
    """No document, for any principal, contains a storage href, a path in a bucket or the store's endpoint."""
    (store,) = json.loads(server.environ["STACFLASK_S3_STORES"]).values()
    item = f"/collections/{MEMBERS_DOWNLOAD.collection}/items/{MEMBERS_DOWNLOAD.item}"
    for name in demo.KEYS:
        for path in ("/search?limit=1000", "/collections", item):
            text = requests.get(server.url + path, headers=bearer(name), timeout=30).text
            assert not any(part in text for part in ("s3://", f"{store['buckets'][0]}/{OPEN}", store["endpoint"]))


def test_an_operator_changes_rights_without_a_restart(server: Server) -> None:
    """A grant from the command line applies to requests once the cache has expired, after a few seconds."""

    def status() -> int:
        return requests.get(f"{server.url}/collections/{HIDDEN}", headers=MEMBER, timeout=30).status_code

    assert status() == 404
    assert stacflask("access", "grant", HIDDEN, "see", "members", environ=server.environ).returncode == 0
    waiting_for(lambda: status() == 200)
    assert stacflask("access", "revoke", HIDDEN, "see", "members", environ=server.environ).returncode == 0
    waiting_for(lambda: status() == 404)


def test_the_log_has_decisions_and_no_secrets(server: Server) -> None:
    """The log has each refusal with its reason. It contains no key, signature or storage credential."""
    requests.get(server.address(MEMBERS_DOWNLOAD), headers=bearer("responder"), timeout=30)
    log = server.log.read_text()
    assert "no grant to download" in log
    stores = json.loads(server.environ["STACFLASK_S3_STORES"])
    secrets = [*demo.KEYS.values(), *(store["secret_key"] for store in stores.values()), "X-Amz-Signature"]
    assert not any(secret in log for secret in secrets)


def test_a_download_beyond_the_quota_is_429(server: Server, accepted: None) -> None:
    """A download beyond the quota is a 429 with Retry-After."""
    scene = server.address(MEMBERS_DOWNLOAD)
    statuses = [
        requests.get(scene, headers=MEMBER, allow_redirects=False, timeout=30).status_code
        for _ in range(QUOTA_DOWNLOADS + 1)
    ]
    assert statuses[-1] == 429
    assert set(statuses) == {307, 429}
    refused = requests.get(scene, headers=MEMBER, allow_redirects=False, timeout=30)
    assert refused.json()["code"] == "QuotaExceeded"
    assert int(refused.headers["Retry-After"]) > 0
    assert "RateLimit" in refused.headers
    assert requests.get(scene.replace(MEMBERS_DOWNLOAD.asset, "thumbnail"), timeout=30).ok
