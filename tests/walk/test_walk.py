"""The main job, end to end, by the clients that people have: a search, every refusal, and the last byte."""

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
    """Give the checksum as ``file:checksum`` has it: a multihash."""
    return "1220" + hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def accepted(server: Server) -> None:
    """Let the member accept the licence, as its refusal says how."""
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
    """Give what the member's scene says of its own bytes."""
    return str(server.item(MEMBERS_DOWNLOAD)["assets"][MEMBERS_DOWNLOAD.asset]["file:checksum"])


def test_anyone_searches(server: Server) -> None:
    """pystac-client finds what is open and what is for members, and nothing of what is hidden."""
    client = Client.open(server.url)
    found = list(client.search(bbox=[-180, -90, 180, 90], max_items=500).items())
    assert len(found) > 250
    assert len({(item.collection_id, item.id) for item in found}) == len(found)
    assert HIDDEN not in {item.collection_id for item in found}
    assert HIDDEN not in {collection.id for collection in client.get_collections()}
    assert len(list(Client.open(server.url, headers=bearer("responder")).search(collections=[HIDDEN]).items())) > 10


def test_without_credentials_is_401(server: Server) -> None:
    """Who has not said who they are is told how to, and gets no address."""
    answer = requests.get(server.address(MEMBERS_DOWNLOAD), allow_redirects=False, timeout=30)
    assert answer.status_code == 401
    assert "Bearer" in answer.headers["WWW-Authenticate"]
    assert "Location" not in answer.headers


def test_wrong_key_is_401_even_where_all_is_open(server: Server) -> None:
    """A wrong key is never taken for nobody's."""
    wrong = "sfk_d3300001_DemoOnlyPublishedInTheSourceMember99"
    for credentials in (f"Bearer {wrong}", "Bearer garbage", "Bearer", wrong, "Digest x"):
        for path in ("/", "/collections", f"/collections/{OPEN}/items", "/search"):
            answer = requests.get(server.url + path, headers={"Authorization": credentials}, timeout=30)
            assert answer.status_code == 401, credentials


def test_bytes_are_the_ones_promised(server: Server, accepted: None, checksum: str) -> None:
    """After the licence: 307 to the store, whose bytes have the item's checksum, under the asset's name and type."""
    scene = server.address(MEMBERS_DOWNLOAD)
    redirect = requests.get(scene, headers=MEMBER, allow_redirects=False, timeout=30)
    assert redirect.status_code == 307
    assert redirect.headers["Cache-Control"] == "no-store"
    data = requests.get(redirect.headers["Location"], timeout=30)
    assert sha256(data.content) == checksum
    assert "filename=" in data.headers["Content-Disposition"]
    assert data.headers["Content-Type"].startswith("image/tiff")
    assert requests.head(redirect.headers["Location"], timeout=30).status_code == 403


def used_of(server: Server) -> dict[str, int]:
    """Give what the member has used of the quota; when it is given back goes on like a clock."""
    quota = requests.get(f"{server.url}/quota", headers=MEMBER, timeout=30).json()["quota"]
    return {of: told["used"] for of, told in quota.items()}


def test_head_is_answered_here_and_costs_nothing(server: Server, accepted: None) -> None:
    """HEAD has what the bytes would have, under the same rules, and is not counted."""
    used = used_of(server)
    head = requests.head(server.address(MEMBERS_DOWNLOAD), headers=MEMBER, timeout=30)
    asset = server.item(MEMBERS_DOWNLOAD)["assets"][MEMBERS_DOWNLOAD.asset]
    assert (head.status_code, int(head.headers["Content-Length"])) == (200, asset["file:size"])
    assert {"ETag", "Last-Modified", "Accept-Ranges", "Content-Disposition"} <= head.headers.keys()
    assert used_of(server) == used
    assert requests.head(server.address(MEMBERS_DOWNLOAD), timeout=30).status_code == 401


def test_rasterio_opens_the_scene(server: Server, accepted: None) -> None:
    """GDAL with a bearer header opens the COG through the download address, and reads pixels."""
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
    """wget, which sends its header on to the store, is streamed to and saves under the right name."""
    header = f"Authorization: {MEMBER['Authorization']}"
    command = ["wget", "-q", "--content-disposition", f"--header={header}", server.address(MEMBERS_DOWNLOAD)]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    (saved,) = tmp_path.iterdir()
    assert saved.suffix == ".tif"
    assert sha256(saved.read_bytes()) == checksum


def test_curl_follows_to_the_store(server: Server, accepted: None, checksum: str, tmp_path: Path) -> None:
    """curl, with the key as Basic's password, follows the redirect and gets the same bytes."""
    target = tmp_path / "scene.tif"
    key = demo.KEYS["member"]
    command = ["curl", "-sSfL", "-o", str(target), "-u", f"me:{key}", server.address(MEMBERS_DOWNLOAD)]
    subprocess.run(command, check=True, timeout=60)
    assert sha256(target.read_bytes()) == checksum


def test_urllib_gets_the_same_bytes(server: Server, accepted: None, checksum: str) -> None:
    """Python's urllib, which plain PySTAC reads with, sends its header on, so it is streamed to."""
    with urlopen(Request(server.address(MEMBERS_DOWNLOAD), headers=MEMBER), timeout=30) as answer:
        assert sha256(answer.read()) == checksum


def test_stac_asset_downloads_an_item(server: Server, accepted: None, checksum: str, tmp_path: Path) -> None:
    """stac-asset downloads an item's assets by their hrefs."""
    item = pystac.Item.from_dict(server.item(MEMBERS_DOWNLOAD))
    config = stac_asset.Config(http_headers=MEMBER, include=[MEMBERS_DOWNLOAD.asset], warn=False)
    blocking.download_item(item, str(tmp_path), config=config)
    saved = tmp_path / MEMBERS_DOWNLOAD.asset
    assert sha256(saved.read_bytes()) == checksum


def test_missing_object_has_its_own_code(server: Server) -> None:
    """An object that is not in its store is a 404 that says so, and not the catalogue's fault."""
    answer = requests.get(server.address(demo.MISSING_DOWNLOAD), timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (404, "ObjectMissing")


@pytest.mark.parametrize("headers", [{}, MEMBER], ids=["anonymous", "member"])
def test_hidden_is_absent_everywhere(server: Server, headers: dict[str, str]) -> None:
    """What is hidden from somebody looks like what is not there, by whatever address it is asked for."""
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
        answer = requests.get(f"{server.url}/search?{query}", headers=headers, timeout=30)
        assert answer.json()["features"] == []
    for path in ("/", "/collections"):
        assert HIDDEN not in requests.get(server.url + path, headers=headers, timeout=30).text


def test_where_the_bytes_are_is_never_shown(server: Server) -> None:
    """No document of any principal names a storage address, a bucket's path or the store."""
    (store,) = json.loads(server.environ["STACFLASK_S3_STORES"]).values()
    item = f"/collections/{MEMBERS_DOWNLOAD.collection}/items/{MEMBERS_DOWNLOAD.item}"
    for name in demo.KEYS:
        for path in ("/search?limit=1000", "/collections", item):
            text = requests.get(server.url + path, headers=bearer(name), timeout=30).text
            assert not any(part in text for part in ("s3://", f"{store['buckets'][0]}/{OPEN}", store["endpoint"]))


def test_an_operator_changes_rights_without_a_restart(server: Server) -> None:
    """A grant given on the command line holds for the next requests, once the few seconds of the cache have passed."""

    def status() -> int:
        return requests.get(f"{server.url}/collections/{HIDDEN}", headers=MEMBER, timeout=30).status_code

    assert status() == 404
    assert stacflask("access", "grant", HIDDEN, "see", "members", environ=server.environ).returncode == 0
    waiting_for(lambda: status() == 200)
    assert stacflask("access", "revoke", HIDDEN, "see", "members", environ=server.environ).returncode == 0
    waiting_for(lambda: status() == 404)


def test_log_has_decisions_and_no_secrets(server: Server) -> None:
    """The log says who was refused what and why; no key, signature or storage credential stands in it."""
    requests.get(server.address(MEMBERS_DOWNLOAD), headers=bearer("responder"), timeout=30)
    log = server.log.read_text()
    assert "no grant to download" in log
    stores = json.loads(server.environ["STACFLASK_S3_STORES"])
    secrets = [*demo.KEYS.values(), *(store["secret_key"] for store in stores.values()), "X-Amz-Signature"]
    assert not any(secret in log for secret in secrets)


def test_quota_ends_it(server: Server, accepted: None) -> None:
    """At the end of the quota: 429, and when to come again."""
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
