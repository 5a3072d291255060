"""Hrefs that are ready to use: who gets them, for what, and that they work."""

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
ADDRESS = f"http://localhost{ITEM}/download"


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
    """Run a plugin's command."""

    def run(plugin: Any, line: str) -> None:
        (group,) = plugin.extend_cli()
        assert CliRunner().invoke(group, line.split()).exit_code == 0, line

    return run


@pytest.fixture
def house(
    plug: Callable[..., Client],
    publish: Callable[..., None],
    stack: Stack,
    stores: dict[str, Any],
    s3: Minio,
    run: Callable[..., None],
) -> Callable[..., Client]:
    """Build a house with an item everybody sees, whose data only members may take; plugins may be added."""
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
def test_signed_hrefs_download_without_headers(house: Callable[..., Client], method: str, path: str) -> None:
    """By parameter or by header, where items are shown the hrefs of what may be taken work as they stand."""
    client = house()
    for asked in ({"path": f"{path}?hrefs=signed", "headers": JANE}, {"path": path, "headers": SIGNED}):
        response = client.open(method=method, json={} if method == "POST" else None, **asked)
        found = hrefs(response)
        for key in ("data", "ä/ü"):
            got = requests.get(found[key], timeout=30)
            assert (got.status_code, got.content) == (200, b"0123456789"), key
            assert "attachment" in got.headers["Content-Disposition"]
        assert response.headers["Cache-Control"] == "no-store"
        assert "ETag" not in response.headers


def test_they_say_when_they_end(house: Callable[..., Client]) -> None:
    """Beside each signed href stands its end, and beside no other."""
    assets = house().get(f"{ITEM}?hrefs=signed", headers=JANE).json["assets"]
    for key in ("data", "ä/ü"):
        rest = datetime.fromisoformat(assets[key]["href:expires"]) - datetime.now(UTC)
        assert 0 < rest.total_seconds() <= 900
    for key in ("cube", "elsewhere", "unknown"):
        assert "href:expires" not in assets[key]
    assert assets["cube"]["href"] == f"{ADDRESS}/cube"
    assert assets["elsewhere"]["href"] == "https://example.org/x.tif"
    assert assets["unknown"]["href"] == f"{ADDRESS}/unknown"


def test_the_end_replaces_a_stored_one(
    house: Callable[..., Client], publish: Callable[..., None], stack: Stack
) -> None:
    """A stored end is shown beside the address of the server, and not beside an href that ends at another time."""
    stored = {"href": "s3://bucket/a", "href:expires": "2000-01-01T00:00:00Z", "x": 0.10}
    client = house()
    publish(an_item("ends", "open", assets={"data": {**stored, "href": f"s3://{stack.bucket}/one"}, "unknown": stored}))
    path = "/collections/open/items/ends"
    assert client.get(path).json["assets"]["data"]["href:expires"] == "2000-01-01T00:00:00Z"
    response = client.get(f"{path}?hrefs=signed", headers=JANE)
    assert response.data.count(b'"href:expires"') == 2
    assert response.json["assets"]["data"]["href:expires"] > "2001"
    assert response.json["assets"]["unknown"]["href:expires"] == "2000-01-01T00:00:00Z"


def test_what_may_not_be_taken_keeps_its_address(house: Callable[..., Client]) -> None:
    """Who sees an item and may not download it gets no signature."""
    response = house().get(f"{ITEM}?hrefs=signed")
    assert hrefs(response)["data"] == f"{ADDRESS}/data"
    assert "X-Amz" not in response.text


def test_nothing_is_signed_unasked(house: Callable[..., Client]) -> None:
    """Unless it is asked for, hrefs are download addresses."""
    client = house()
    for path in (ITEM, f"{ITEM}?hrefs=download", "/search"):
        response = client.get(path, headers={**JANE, "X-Signed-Asset-Urls": "false"})
        assert hrefs(response)["data"] == f"{ADDRESS}/data"
    wrong = client.get("/search?hrefs=x")
    assert (wrong.status_code, wrong.json["code"]) == (400, "InvalidParameterValue")
    assert client.get(f"{ITEM}?hrefs=x").status_code == 400


def test_fields_and_next_links_go_along(house: Callable[..., Client], publish: Callable[..., None]) -> None:
    """What is cut of the items is cut of signed ones, and the next page is signed as well."""
    client = house()
    publish(an_item("other", "open"))
    page = client.get("/search?hrefs=signed&limit=1&fields=id,assets.data.href&ids=item", headers=JANE)
    assert requests.get(page.json["features"][0]["assets"]["data"]["href"], timeout=30).ok
    (link,) = [
        link for link in client.get("/search?hrefs=signed&limit=1", headers=JANE).json["links"] if link["rel"] == "next"
    ]
    assert "hrefs=signed" in link["href"]


def test_what_is_counted_is_lent(house: Callable[..., Client], run: Callable[..., None]) -> None:
    """Where a quota counts downloads, hrefs lead here with a link: each use is charged, and no listing is."""
    quota, links = Quota(0), Links(SigningKeys({"k": b"x" * 40}), cache=0)
    client = house(links, quota)
    run(quota, "set members --downloads 2 --window 1h")
    found = hrefs(client.get("/search?hrefs=signed", headers=JANE))
    again = hrefs(client.get("/search?hrefs=signed", headers=JANE))
    assert found["data"].startswith(f"{ADDRESS}/data?link=sfl.")
    assert client.get("/quota", headers=JANE).json["quota"]["downloads"]["used"] == 0
    local = found["data"].removeprefix("http://localhost")
    assert client.get(local).status_code == 307
    assert client.get("/quota", headers=JANE).json["quota"]["downloads"]["used"] == 1
    assert client.get(f"{ITEM}/download/unknown{local[local.index('?') :]}").status_code == 401
    assert client.get(again["ä/ü"].removeprefix("http://localhost")).status_code == 307
    assert client.get(local).status_code == 429
    assert hrefs(client.get("/search?hrefs=signed", headers=JANE))["unknown"] == f"{ADDRESS}/unknown"
    assert len(client.get("/links", headers=JANE).json["links"]) == 1


def test_head_hands_nothing_out(house: Callable[..., Client]) -> None:
    """HEAD of a signed page charges nothing, since no address leaves with it."""
    charged = []

    class Books:
        @hookimpl
        def charge(self, asset: Any) -> None:
            charged.append(asset.key)

    client = house(Books())
    assert client.head("/search?hrefs=signed", headers=JANE).status_code == 200
    assert charged == []
    client.get("/search?hrefs=signed", headers=JANE)
    assert sorted(charged) == ["data", "ä/ü"]


@pytest.mark.parametrize(
    ("asked", "signed"),
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
def test_what_is_left_out_is_not_signed(house: Callable[..., Client], asked: str, signed: list[str]) -> None:
    """An href that ``fields`` leave out is nobody's: nobody is charged for it, and no record says that it was taken."""
    charged = []

    class Books:
        @hookimpl
        def charge(self, asset: Any) -> None:
            charged.append(asset.key)

    page = house(Books()).get("/search", query_string={"hrefs": "signed", "fields": asked}, headers=JANE)
    assets = page.json["features"][0].get("assets", {})
    assert sorted(key for key, asset in assets.items() if "X-Amz" in asset.get("href", "")) == sorted(charged) == signed


def test_streamed_collections_are_not_presigned(house: Callable[..., Client]) -> None:
    """Where nothing is to leave by redirect, nothing does so by a signed href."""
    client = house(environ={"STACFLASK_STREAM_COLLECTIONS": "open"})
    assert hrefs(client.get(f"{ITEM}?hrefs=signed", headers=JANE))["data"] == f"{ADDRESS}/data"
