"""Manifests: they list the assets that can and cannot be downloaded, and real clients accept them."""

import io
import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from minio import Minio
from werkzeug.serving import make_server

from dev.stack import Stack
from plugins import s3 as s3_plugin
from stacflask import Decision, hookimpl
from stacflask.testing import a_collection, an_item

Client = Any
NAMESPACE = "{urn:ietf:params:xml:ns:metalink}"
DIGEST = "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882"  # of 0123456789


STORE = {"endpoint": "http://127.0.0.1:9", "region": "us-east-1", "access_key": "id", "secret_key": "secret"}


class Policy:
    """Allows all assets except those with the key ``kept``, and hides one collection."""

    @hookimpl
    def restrict(self, of: str) -> Any:
        """Hide a collection."""
        return {"op": "<>", "args": [{"property": "id"}, "hidden"]} if of == "collections" else None

    @hookimpl
    def authorize(self, asset: Any) -> Decision:
        """Deny an asset."""
        if asset.key == "kept":
            return Decision.deny(
                "secret reason", detail="Accept it first.", code="LicenceNotAccepted", link="/licences/l"
            )
        return Decision.allow("test")


class Authenticates:
    """Authenticates every request."""

    @hookimpl
    def authenticate(self) -> Any:
        """Return a principal."""
        from stacflask import Principal

        return Principal("me", scheme="test")


@pytest.fixture
def assets(stack: Stack, s3: Minio) -> dict[str, Any]:
    """Return assets, after their objects were stored."""
    s3.put_object(stack.bucket, "many/x.tif", io.BytesIO(b"0123456789"), 10)
    href = f"s3://{stack.bucket}/many/x.tif"
    return {
        "data": {
            "href": href,
            "type": "image/tiff",
            "file:size": 10,
            "file:checksum": f"1220{DIGEST}",
            "roles": ["data"],
        },
        "twin": {"href": href, "file:local_path": "X.TIF", "roles": ["overview"]},
        "deep": {"href": href, "file:local_path": "../../deep/./b c.tif"},
        "kept": {"href": href},
        "cube": {"href": f"s3://{stack.bucket}/many/"},
        "elsewhere": {"href": "https://example.org/x.tif"},
    }


@pytest.fixture
def client(plug: Callable[..., Client], publish: Callable[..., None], stack: Stack, assets: dict[str, Any]) -> Client:
    """Return a client of an application with three items, one of them hidden."""
    publish(
        *(
            an_item(item, collection, assets=assets)
            for item, collection in (("a", "one"), ("b", "one"), ("a", "hidden"))
        )
    )
    store = {
        "endpoint": f"http://{stack.s3_endpoint}",
        "region": stack.s3_region,
        "access_key": stack.s3_access_key,
        "secret_key": stack.s3_secret_key,
        "buckets": [stack.bucket],
    }
    return plug(
        Policy(), Authenticates(), s3_plugin.create_plugin({"STACFLASK_S3_STORES": json.dumps({"real": store})})
    )


def post(client: Client, path: str = "/downloads", **body: Any) -> Any:
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer


ONE = [{"collection": "one", "id": "a"}]


def test_a_manifest_lists_downloads(client: Client) -> None:
    """Each asset has its URL, size, checksum and a unique name. No name leads out of a folder."""
    answer = post(client, items=ONE)
    listed = {entry["asset"]: entry for entry in answer.json["downloads"]}
    assert listed.keys() == {"data", "twin", "deep"}
    assert listed["data"] == {
        "collection": "one",
        "item": "a",
        "asset": "data",
        "href": "http://localhost/collections/one/items/a/download/data",
        "name": "one/a/x.tif",
        "type": "image/tiff",
        "size": 10,
        "checksum": f"1220{DIGEST}",
    }
    assert listed["twin"]["name"] == "one/a/X-twin.TIF"
    assert listed["deep"]["name"] == "one/a/deep/b c.tif"
    assert (answer.json["numberReturned"], answer.json["size"]) == (3, 10)
    assert answer.headers["Cache-Control"] == "no-store"
    assert client.get(listed["data"]["href"].removeprefix("http://localhost")).status_code == 307


def test_a_manifest_lists_refusals(client: Client) -> None:
    """A denied, hidden or missing asset, or a directory, has the reason that a download would have."""
    items = [*ONE, {"collection": "hidden", "id": "a"}, {"collection": "one", "id": "nosuch"}]
    answer = post(client, items=items)
    refused = {(one["collection"], one["item"], one.get("asset")): one for one in answer.json["refused"]}
    kept = refused["one", "a", "kept"]
    assert (kept["code"], kept["description"]) == ("LicenceNotAccepted", "Accept it first.")
    assert kept["links"][0]["href"] == "http://localhost/licences/l"
    assert refused["one", "a", "cube"]["code"] == "DirectoryAsset"
    hidden, absent = refused["hidden", "a", None], refused["one", "nosuch", None]
    assert hidden["code"] == absent["code"] == "NotFound"
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("more", "keys"),
    [
        ({"assets": ["data", "kept"]}, {"data"}),
        ({"roles": ["overview", "x"]}, {"twin"}),
        ({"assets": ["data"], "roles": ["overview"]}, set()),
        ({"items": [{"collection": "one", "id": "a", "assets": ["deep"]}], "assets": ["data"]}, {"deep"}),
    ],
)
def test_assets_can_be_selected(client: Client, more: dict[str, Any], keys: set[str]) -> None:
    """Assets are selected by key, for all items or for one, and by role."""
    answer = post(client, **{"items": ONE, **more})
    assert {entry["asset"] for entry in answer.json["downloads"]} == keys


def test_an_item_can_occur_several_times(client: Client) -> None:
    """The keys of several entries for one item are added. An empty list of keys selects no asset."""
    once, again = {**ONE[0], "assets": ["data"]}, {**ONE[0], "assets": ["twin"]}
    assert {one["asset"] for one in post(client, items=[once, again]).json["downloads"]} == {"data", "twin"}
    assert {one["asset"] for one in post(client, items=[once, *ONE]).json["downloads"]} == {"data", "twin", "deep"}
    assert post(client, items=[{**ONE[0], "assets": []}]).json["downloads"] == []


def test_a_missing_asset_of_an_item_is_reported(client: Client) -> None:
    """A key that is selected for one item must exist. A key that is selected for all items can be missing in some."""
    for key in ("nowhere", "elsewhere"):
        refused = post(client, items=[{**ONE[0], "assets": ["data", key]}]).json["refused"]
        assert [(one["item"], one["asset"], one["code"]) for one in refused] == [("a", key, "NotFound")]
    assert post(client, items=ONE, assets=["nowhere"]).json["refused"] == []


def test_a_search_is_listed_page_by_page(client: Client) -> None:
    """The items of a search are listed like named ones, without hidden ones. The next page has the same form."""
    seen, body, path = (
        [],
        {"search": {"limit": 1, "collections": ["one", "hidden"]}, "assets": ["data"]},
        "/downloads?f=json",
    )
    for _ in range(2):
        answer = post(client, path, **body)
        seen += [(entry["collection"], entry["item"]) for entry in answer.json["downloads"]]
        for link in answer.json["links"]:
            body, path = link["body"], link["href"].removeprefix("http://localhost")
    assert sorted(seen) == [("one", "a"), ("one", "b")]
    assert answer.json["links"] == []


FORMS = ("list", "aria2", "metalink")


@pytest.fixture
def many(plug: Callable[..., Client], publish: Callable[..., None], stack: Stack) -> Callable[..., Client]:
    """Publish nineteen items, and return a function that returns clients with these settings."""
    publish(*[an_item(f"i{n:02}", "many", assets={"data": {"href": f"s3://{stack.bucket}/{n}"}}) for n in range(19)])
    return lambda **environ: plug(Policy(), environ=environ)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("limit", [1, 7, 100])
def test_a_text_manifest_has_all_pages(many: Callable[..., Client], form: str, limit: int) -> None:
    """A format without next links has all items of a search once, in their order."""
    body = {"search": {"collections": ["many"], "limit": limit, "sortby": [{"field": "id", "direction": "asc"}]}}
    answer = many(STACFLASK_MAX_LIMIT="5").post(f"/downloads?f={form}", json=body)
    assert answer.status_code == 200
    found = [text.partition("/items/")[2][:3] for text in answer.text.split("http://localhost")[1:]]
    assert found == [f"i{n:02}" for n in range(19)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("most", "status"), [(18, 413), (19, 200), (20, 200)])
def test_a_text_manifest_has_a_limit(many: Callable[..., Client], form: str, most: int, status: int) -> None:
    """Beyond the limit, the response is an error that names the limit, never an incomplete manifest."""
    client = many(STACFLASK_MANIFEST_LIMIT=str(most), STACFLASK_MAX_LIMIT="6")
    answer = client.post(f"/downloads?f={form}", json={"search": {"collections": ["many"], "limit": 1}})
    assert answer.status_code == status
    if status == 413:
        assert answer.json["code"] == "TooManyItems"
        assert "more than 18 items" in answer.json["description"]


def test_a_text_manifest_beyond_the_limit_charges_nothing(
    plug: Callable[..., Client], many: Callable[..., Client], stack: Stack
) -> None:
    """The number of items is checked before URLs are signed."""

    class Charges:
        charged = 0

        @hookimpl
        def charge(self) -> None:
            self.charged += 1

    stores = json.dumps({"real": {**STORE, "buckets": [stack.bucket]}})
    charges = Charges()
    store = s3_plugin.create_plugin({"STACFLASK_S3_STORES": stores})
    client = plug(Policy(), charges, store, environ={"STACFLASK_MANIFEST_LIMIT": "10"})
    body = {"search": {"collections": ["many"]}, "assets": ["data"]}
    assert client.post("/downloads?f=list&hrefs=signed", json=body).status_code == 413
    assert charges.charged == 0
    body["search"] = {"ids": ["i01", "i02"]}
    assert client.post("/downloads?f=list&hrefs=signed", json=body).text.count("X-Amz-Signature") == 2
    assert charges.charged == 2


def test_hrefs_can_be_signed(client: Client) -> None:
    """With ``hrefs=signed``, the URLs need no credentials, and have an expiry time."""
    import requests

    answer = post(client, "/downloads?hrefs=signed", items=ONE, assets=["data"])
    (entry,) = answer.json["downloads"]
    assert requests.get(entry["href"], timeout=30).content == b"0123456789"
    assert "expires" in entry


def test_a_metalink_describes_each_file(client: Client) -> None:
    """Metalink has the name, size, checksum and URL of each file, for any characters in names."""
    for how in (
        {"path": "/downloads?f=metalink"},
        {"path": "/downloads", "headers": {"Accept": "application/metalink4+xml"}},
    ):
        answer = client.post(json={"items": ONE}, **how)
        assert answer.content_type == "application/metalink4+xml"
        assert answer.headers["X-Refused-Assets"] == "2"
        files = ET.fromstring(answer.data).findall(f"{NAMESPACE}file")
        assert [file.get("name") for file in files] == ["one/a/x.tif", "one/a/X-twin.TIF", "one/a/deep/b c.tif"]
        digest = files[0].find(f"{NAMESPACE}hash")
        assert (files[0].findtext(f"{NAMESPACE}size"), digest.get("type"), digest.text) == ("10", "sha-256", DIGEST)
        assert files[0].findtext(f"{NAMESPACE}url").endswith("/download/data")


def test_names_cannot_break_a_manifest(client: Client, publish: Callable[..., None], assets: dict[str, Any]) -> None:
    """XML markup, line breaks and dots in names and keys do not break a manifest or leave the folder."""
    evil = {"href": assets["data"]["href"]}
    keys = {
        'a"&<b>': {**evil, "file:local_path": '<x y="&">\n  out=/etc/passwd'},
        "..": {**evil, "file:local_path": "../.."},
        "b/../c": {**evil, "file:local_path": "/etc/passwd"},
    }
    publish(a_collection("c&<"), an_item("i", "c&<", assets=keys))
    items = [{"collection": "c&<", "id": "i"}]
    names = [entry["name"] for entry in post(client, items=items).json["downloads"]]
    files = ET.fromstring(post(client, "/downloads?f=metalink", items=items).data).findall(f"{NAMESPACE}file")
    assert [file.get("name") for file in files] == names
    assert len(post(client, "/downloads?f=aria2", items=items).text.splitlines()) == 2 * len(names)
    for name in names:
        assert name.startswith("c&</i/")
        assert not {"", ".", ".."} & set(name.split("/"))


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({}, ""),
        ({"items": [], "search": {}}, ""),
        ({"items": {}}, "/items"),
        ({"items": ["x"]}, "/items/0"),
        ({"items": [{"collection": "one"}]}, "/items/0"),
        ({"items": [{"collection": "one", "id": "a", "x": 1}]}, "/items/0"),
        ({"items": [{"collection": "one", "id": "a\0"}]}, "/items/0"),
        ({"items": [{"collection": "one", "id": "a", "assets": "x"}]}, "/items/0/assets"),
        ({"items": [{"collection": "one", "id": "a"}] * 1001}, "/items"),
        ({"items": ONE, "assets": "data"}, "/assets"),
        ({"items": ONE, "roles": [1]}, "/roles"),
        ({"items": ONE, "what": 1}, "/what"),
        ({"search": []}, "/search"),
        ({"search": {"bbox": [1]}}, "/search/bbox"),
    ],
)
def test_a_wrong_body_is_reported_with_its_place(client: Client, body: dict[str, Any], place: str) -> None:
    """The error for a wrong body has a pointer to the wrong value."""
    answer = client.post("/downloads", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json["description"].startswith(place or "document")
    assert client.post("/downloads?f=x", json={"items": ONE}).status_code == 400
    assert client.post("/downloads?hrefs=x", json={"items": ONE}).status_code == 400
    assert client.post("/downloads", data="x").status_code in (400, 415)


@pytest.fixture
def address(client: Client) -> Iterator[str]:
    """Serve the application to real clients."""
    server = make_server("127.0.0.1", 0, client.application, threaded=True)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    serving.join()
    server.server_close()


def test_wget_accepts_a_list(client: Client, address: str, tmp_path: Path) -> None:
    """Wget downloads the files of a list."""
    listed = client.post("/downloads?f=list", json={"items": ONE}, base_url=address)
    assert listed.content_type.startswith("text/plain")
    subprocess.run(
        ["wget", "-q", "--content-disposition", "-i", "-"], input=listed.data, cwd=tmp_path, check=True, timeout=60
    )
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"0123456789"] * 3


@pytest.mark.skipif(shutil.which("aria2c") is None, reason="aria2 is not installed")
@pytest.mark.parametrize(("form", "flags"), [("aria2", ["-i"]), ("metalink", ["-M"])])
def test_aria2_accepts_its_formats(client: Client, address: str, tmp_path: Path, form: str, flags: list[str]) -> None:
    """aria2 downloads the files of each format with their names, and verifies the checksums."""
    listed = client.post(f"/downloads?f={form}", json={"items": ONE}, base_url=address)
    (tmp_path / "list").write_bytes(listed.data)
    subprocess.run(["aria2c", "-q", *flags, "list"], cwd=tmp_path, check=True, timeout=60)
    for name in ("x.tif", "X-twin.TIF", "deep/b c.tif"):
        assert (tmp_path / "one/a" / name).read_bytes() == b"0123456789"
