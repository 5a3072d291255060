"""Signed hrefs: which assets have them, for which users, and that they work."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from click.testing import CliRunner
from minio import Minio

from dev.stack import Stack
from plugins import s3 as s3_plugin
from plugins.api_keys import ApiKeys
from plugins.collection_groups import CollectionGroups
from plugins.links import Links
from plugins.links.tokens import SigningKeys
from plugins.quota import Quota
from stacflask import hookimpl
from stacflask.testing import an_item

Client = Any
KEY = "sfk_00000001_jane-of-the-tests"
JANE = {"Authorization": f"Bearer {KEY}"}
SIGNED = {**JANE, "X-Signed-Asset-Urls": "true"}
ITEM = "/collections/open/items/item"
DOWNLOAD_URL = f"http://localhost{ITEM}/download"


@pytest.fixture
def stores(stack: Stack) -> dict[str, Any]:
    return {
        "real": {
            "endpoint": f"http://{stack.s3_endpoint}",
            "region": stack.s3_region,
            "access_key": stack.s3_access_key,
            "secret_key": stack.s3_secret_key,
            "buckets": [stack.bucket],
            "collections": "*",
        }
    }


@pytest.fixture
def run() -> Callable[..., None]:
    """Return a function that runs a plugin's command."""

    def run(plugin: Any, line: str) -> None:
        (group,) = plugin.extend_cli()
        assert CliRunner().invoke(group, line.split()).exit_code == 0, line

    return run


@pytest.fixture
def client_with(
    plug: Callable[..., Client],
    publish: Callable[..., None],
    stack: Stack,
    stores: dict[str, Any],
    s3: Minio,
    run: Callable[..., None],
) -> Callable[..., Client]:
    """Return a function that builds an application: every user sees its item, members may download its assets."""
    odd = "signed/ä b+~'(1).tif"
    for key in ("signed/data.tif", odd):
        s3.put_object(stack.bucket, key, io.BytesIO(b"0123456789"), 10)
    assets = {
        "data": {"href": f"s3://{stack.bucket}/signed/data.tif", "type": "image/tiff", "file:size": 10},
        "ä/ü": {"href": f"s3://{stack.bucket}/{odd}", "title": 'a "\\u0001" in it'},
        "cube": {"href": f"s3://{stack.bucket}/signed/"},
        "elsewhere": {"href": "https://example.org/x.tif"},
        "unknown": {"href": "s3://nobodys/x.tif"},
    }
    publish(an_item("item", "open", assets=assets))
    keys, groups = ApiKeys(0), CollectionGroups(cache=0)

    def build(*plugins: Any, **more: Any) -> Client:
        store = s3_plugin.create_plugin({"STACFLASK_S3_STORES": json.dumps(stores)})
        client = plug(keys, groups, *plugins, store, **more)
        if not client.get("/collections/open").is_json or client.get("/collections/open").status_code == 404:
            run(keys, f"create jane --group members --key {KEY}")
            run(groups, "grant open see *")
            run(groups, "grant open download members")
        return client

    return build


def hrefs(response: Any) -> dict[str, str]:
    assert response.status_code == 200, response.text
    item = response.json["features"][0] if "features" in response.json else response.json
    return {key: asset["href"] for key, asset in item["assets"].items()}


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/search"), ("POST", "/search"), ("GET", "/collections/open/items"), ("GET", ITEM)],
)
def test_signed_hrefs_download_without_headers(client_with: Callable[..., Client], method: str, path: str) -> None:
    """Requested by parameter or by header, the hrefs of assets that the user may download work without headers."""
    client = client_with()
    for arguments in ({"path": f"{path}?hrefs=signed", "headers": JANE}, {"path": path, "headers": SIGNED}):
        response = client.open(method=method, json={} if method == "POST" else None, **arguments)
        found = hrefs(response)
        for key in ("data", "ä/ü"):
            download = requests.get(found[key], timeout=30)
            assert (download.status_code, download.content) == (200, b"0123456789"), key
            assert "attachment" in download.headers["Content-Disposition"]
        assert response.headers["Cache-Control"] == "no-store"
        assert "ETag" not in response.headers


def test_signed_hrefs_have_an_expiry(client_with: Callable[..., Client]) -> None:
    """Each signed href has ``href:expires``; unsigned hrefs do not."""
    assets = client_with().get(f"{ITEM}?hrefs=signed", headers=JANE).json["assets"]
    for key in ("data", "ä/ü"):
        rest = datetime.fromisoformat(assets[key]["href:expires"]) - datetime.now(UTC)
        assert 0 < rest.total_seconds() <= 900
    for key in ("cube", "elsewhere", "unknown"):
        assert "href:expires" not in assets[key]
    assert assets["cube"]["href"] == f"{DOWNLOAD_URL}/cube"
    assert assets["elsewhere"]["href"] == "https://example.org/x.tif"
    assert assets["unknown"]["href"] == f"{DOWNLOAD_URL}/unknown"


def test_the_expiry_replaces_a_stored_one(
    client_with: Callable[..., Client], publish: Callable[..., None], stack: Stack
) -> None:
    """A stored ``href:expires`` is returned with unsigned hrefs, and replaced in assets with signed hrefs."""
    stored = {"href": "s3://bucket/a", "href:expires": "2000-01-01T00:00:00Z", "x": 0.10}
    client = client_with()
    publish(an_item("ends", "open", assets={"data": {**stored, "href": f"s3://{stack.bucket}/one"}, "unknown": stored}))
    path = "/collections/open/items/ends"
    assert client.get(path).json["assets"]["data"]["href:expires"] == "2000-01-01T00:00:00Z"
    response = client.get(f"{path}?hrefs=signed", headers=JANE)
    assert response.data.count(b'"href:expires"') == 2
    assert response.json["assets"]["data"]["href:expires"] > "2001"
    assert response.json["assets"]["unknown"]["href:expires"] == "2000-01-01T00:00:00Z"


def test_assets_without_permission_are_not_signed(client_with: Callable[..., Client]) -> None:
    """A user who sees an item and may not download its assets gets no signed hrefs."""
    response = client_with().get(f"{ITEM}?hrefs=signed")
    assert hrefs(response)["data"] == f"{DOWNLOAD_URL}/data"
    assert "X-Amz" not in response.text


def test_by_default_nothing_is_signed(client_with: Callable[..., Client]) -> None:
    """Without hrefs=signed, hrefs are download URLs of this server."""
    client = client_with()
    for path in (ITEM, f"{ITEM}?hrefs=download", "/search"):
        response = client.get(path, headers={**JANE, "X-Signed-Asset-Urls": "false"})
        assert hrefs(response)["data"] == f"{DOWNLOAD_URL}/data"
    wrong = client.get("/search?hrefs=x")
    assert (wrong.status_code, wrong.json["code"]) == (400, "InvalidParameterValue")
    assert client.get(f"{ITEM}?hrefs=x").status_code == 400


def test_fields_and_next_links_work_with_signed_hrefs(
    client_with: Callable[..., Client], publish: Callable[..., None]
) -> None:
    """``fields`` applies to items with signed hrefs, and next links have hrefs=signed."""
    client = client_with()
    publish(an_item("other", "open"))
    page = client.get("/search?hrefs=signed&limit=1&fields=id,assets.data.href&ids=item", headers=JANE)
    assert requests.get(page.json["features"][0]["assets"]["data"]["href"], timeout=30).ok
    (link,) = [
        link for link in client.get("/search?hrefs=signed&limit=1", headers=JANE).json["links"] if link["rel"] == "next"
    ]
    assert "hrefs=signed" in link["href"]


def test_counted_downloads_are_signed_by_a_plugin(client_with: Callable[..., Client], run: Callable[..., None]) -> None:
    """If a quota counts downloads, hrefs lead to this server with a link; each use is charged, listings are not."""
    quota, links = Quota(0), Links(SigningKeys({"k": b"x" * 40}), cache=0)
    client = client_with(links, quota)
    run(quota, "set members --downloads 2 --window 1h")
    found = hrefs(client.get("/search?hrefs=signed", headers=JANE))
    again = hrefs(client.get("/search?hrefs=signed", headers=JANE))
    assert found["data"].startswith(f"{DOWNLOAD_URL}/data?link=sfl.")
    assert client.get("/quota", headers=JANE).json["quota"]["downloads"]["used"] == 0
    local = found["data"].removeprefix("http://localhost")
    assert client.get(local).status_code == 307
    assert client.get("/quota", headers=JANE).json["quota"]["downloads"]["used"] == 1
    assert client.get(f"{ITEM}/download/unknown{local[local.index('?') :]}").status_code == 401
    assert client.get(again["ä/ü"].removeprefix("http://localhost")).status_code == 307
    assert client.get(local).status_code == 429
    assert hrefs(client.get("/search?hrefs=signed", headers=JANE))["unknown"] == f"{DOWNLOAD_URL}/unknown"
    assert len(client.get("/links", headers=JANE).json["links"]) == 1


def test_head_charges_nothing(client_with: Callable[..., Client]) -> None:
    """HEAD of a page with signed hrefs charges nothing, because the response has no hrefs."""
    charged = []

    class Recorder:
        @hookimpl
        def charge(self, asset: Any) -> None:
            charged.append(asset.key)

    client = client_with(Recorder())
    assert client.head("/search?hrefs=signed", headers=JANE).status_code == 200
    assert charged == []
    client.get("/search?hrefs=signed", headers=JANE)
    assert sorted(charged) == ["data", "ä/ü"]


@pytest.mark.parametrize(
    ("fields", "signed"),
    [
        ("id,assets.data.href", ["data"]),
        ("id,assets.data", ["data"]),
        ("id,assets", ["data", "ä/ü"]),
        ("-assets.data", ["ä/ü"]),
        ("-assets.data.href", ["ä/ü"]),
        ("-properties", ["data", "ä/ü"]),
        ("-assets", []),
        ("id", []),
        ("assets.data.type", []),
    ],
)
def test_excluded_assets_are_not_signed(client_with: Callable[..., Client], fields: str, signed: list[str]) -> None:
    """An href that ``fields`` excludes is neither signed nor charged."""
    charged = []

    class Recorder:
        @hookimpl
        def charge(self, asset: Any) -> None:
            charged.append(asset.key)

    page = client_with(Recorder()).get("/search", query_string={"hrefs": "signed", "fields": fields}, headers=JANE)
    assets = page.json["features"][0].get("assets", {})
    assert sorted(key for key, asset in assets.items() if "X-Amz" in asset.get("href", "")) == sorted(charged) == signed


def test_streamed_collections_are_not_presigned(client_with: Callable[..., Client]) -> None:
    """Assets of collections that must be streamed have no presigned hrefs."""
    client = client_with(environ={"STACFLASK_STREAM_COLLECTIONS": "open"})
    assert hrefs(client.get(f"{ITEM}?hrefs=signed", headers=JANE))["data"] == f"{DOWNLOAD_URL}/data"
