"""The s3 plugin with a real store and with faulty stores. The tests fetch presigned URLs."""

from __future__ import annotations

import gzip
import io
import json
import socket
import socketserver
import threading
import time
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import requests
from hypothesis import assume, given
from hypothesis import strategies as st
from minio import Minio

from plugins import collection_groups, open_access, s3
from plugins.s3.settings import read_stores
from stacflask import ANONYMOUS, Asset, Location, Missing, Redirect, SettingError, Stream, Unavailable
from stacflask.disposition import content_disposition, filename_of
from stacflask.pluginmanager.loading import manage
from stacflask.testing import an_item
from tests.waiting import waiting_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dev.stack import Stack
    from stacflask.testing import Plug, Publish

VARIABLE = "STACFLASK_S3_STORES"
AMAZON = "https://s3.eu-central-1.amazonaws.com"
DATA = bytes(range(256)) * 8192  # 2 MiB: several chunks
ZARR = "application/vnd+zarr"
UNREACHABLE = "http://127.0.0.1:9"  # the port of the discard service, where no process listens


class Plugin:
    """The plugin, called by its hooks."""

    def __init__(self, environ: dict[str, str] | None = None, **stores: dict[str, Any]) -> None:
        self.hook: Any = manage({"s3": s3.create_plugin({VARIABLE: json.dumps(stores), **(environ or {})})}).hook

    def resolve(self, href: str) -> Location | None:
        """Return the location of an href."""
        found: Location | None = self.hook.resolve(asset=Asset("c", "i", "data", href))
        return found

    def deliver(self, href: str, *, streamed: bool = False, **fields: Any) -> Redirect | Stream | None:
        """Resolve and deliver an href."""
        location = self.resolve(href)
        assert location
        asset = Asset("c", "i", "data", href, **fields)
        found: Redirect | Stream | None = self.hook.deliver(
            principal=ANONYMOUS, asset=asset, location=location, streamed=streamed, grant_id="g"
        )
        return found

    def url(self, href: str, **fields: Any) -> str:
        """Return the URL of a redirect."""
        found = self.deliver(href, **fields)
        assert isinstance(found, Redirect)
        return found.url

    def stream(self, href: str) -> Stream:
        """Return a stream."""
        found = self.deliver(href, streamed=True)
        assert isinstance(found, Stream)
        return found


def store(endpoint: str = UNREACHABLE, **settings: Any) -> dict[str, Any]:
    """Return the setting of a store; ``None`` omits a member."""
    usual = {
        "endpoint": endpoint,
        "region": "us-east-1",
        "access_key": "id",
        "secret_key": "secret",
        "buckets": ["archive"],
    }
    return {name: value for name, value in {**usual, **settings}.items() if value is not None}


def query(url: str) -> dict[str, str]:
    """Return the query of a URL as a dictionary."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query, strict_parsing=True).items()}


@pytest.fixture
def without_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that would wait before another attempt."""
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail(f"a thread sleeps for {seconds} s"))


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Run an HTTP server, and yield its origin."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def client(stack: Stack) -> Minio:
    """Return a client to put and remove objects directly."""
    keys = stack.s3_access_key, stack.s3_secret_key
    return Minio(stack.s3_endpoint, *keys, secure=False, region=stack.s3_region)


@pytest.fixture
def put(client: Minio, stack: Stack) -> Iterator[Callable[..., str]]:
    """Return a function that puts an object and returns its href; all objects are removed at the end."""
    keys = []

    def _put(key: str = "test_s3/data.bin", data: bytes = DATA, **options: Any) -> str:
        client.put_object(stack.bucket, key, io.BytesIO(data), len(data), **options)
        keys.append(key)
        return f"s3://{stack.bucket}/{key}"

    yield _put
    for key in keys:
        client.remove_object(stack.bucket, key)


@pytest.fixture
def real(stack: Stack) -> dict[str, Any]:
    """Return the setting of the real store."""
    keys = {"access_key": stack.s3_access_key, "secret_key": stack.s3_secret_key}
    return store(f"http://{stack.s3_endpoint}", region=stack.s3_region, buckets=[stack.bucket], **keys)


@pytest.fixture
def plugin(real: dict[str, Any]) -> Plugin:
    return Plugin(real=real)


# --- Settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "missing"),
        ("/no/such/file.json", "expected a JSON object or the path of a readable file"),
        ("{", "not JSON"),
        ("{}", "expected at least one store"),
        ('{"a": {}, "a": {}}', "not JSON: members must not be repeated: a"),
        ('{"a": []}', "/a: expected a JSON object"),
        ('{"a/b": {}}', "/a/b: expected a store name"),
    ],
)
def test_a_wrong_setting_is_named(value: str, message: str) -> None:
    """A setting that is missing, unreadable or no JSON prevents the start; the error names the variable."""
    with pytest.raises(SettingError, match=f"^{VARIABLE}: {message}"):
        s3.create_plugin({VARIABLE: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"endpoint": None}, "/a/endpoint: missing"),
        ({"endpoint": "s3.example.org"}, "/a/endpoint: expected scheme, host and port"),
        ({"endpoint": "https://id:secret@s3.example.org"}, "/a/endpoint: expected scheme, host and port"),
        ({"endpoint": "https://s3.example.org/path"}, "/a/endpoint: expected scheme, host and port"),
        ({"endpoint": "https://s3.example.org:port"}, "/a/endpoint: invalid port"),
        ({"endpoint": "https://iam.amazonaws.com"}, "/a/endpoint: invalid Amazon AWS host"),
        ({"endpoint": "https://s3.example.org:0"}, "/a/endpoint: invalid port"),
        ({"endpoint": "https://s3.example.org:"}, "/a/endpoint: invalid port"),
        ({"endpoint": "https://@s3.example.org"}, "/a/endpoint: expected scheme, host and port"),
        ({"endpoint": "https://s3.example.org?"}, "/a/endpoint: expected scheme, host and port"),
        ({"endpoint": "https://s3.example.org#"}, "/a/endpoint: expected scheme, host and port"),
        ({"endpoint": "https://s3.example.org."}, "/a/endpoint: expected a host name"),
        ({"endpoint": "https://s3 .example.org"}, "/a/endpoint: expected a host name"),
        ({"endpoint": "https://sö.example.org"}, "/a/endpoint: expected a host name"),
        ({"endpoint": "https://[::1"}, "/a/endpoint: "),
        # Amazon: the library would send requests to another host.
        (
            {"endpoint": AMAZON, "region": "us-east-1"},
            "/a/endpoint: expected the region 'us-east-1'.* s3.us-east-1.amaz",
        ),
        ({"public_endpoint": AMAZON}, "/a/public_endpoint: expected the region 'us-east-1'"),
        ({"endpoint": AMAZON, "region": "auto"}, "/a/region: expected a region of Amazon"),
        ({"endpoint": AMAZON.upper().replace("HTTPS", "https"), "region": "auto"}, "/a/region: expected a region"),
        ({"endpoint": AMAZON, "region": "EU-CENTRAL-1"}, "/a/region: expected a region of Amazon"),
        ({"endpoint": AMAZON, "region": "eu-central"}, "/a/region: expected a region of Amazon"),
        ({"endpoint": "https://s3.amazonaws.com", "region": "auto"}, "/a/region: expected a region of Amazon"),
        ({"endpoint": "https://s3.amazonaws.com", "region": "eu-west-1"}, "/a/endpoint: .* s3.eu-west-1.amazonaws.com"),
        ({"endpoint": "https://s3-eu-west-1.amazonaws.com", "region": "eu-west-1"}, "/a/endpoint: expected the region"),
        ({"endpoint": f"{AMAZON}.cn", "region": "eu-central-1"}, "/a/region: expected a region of Amazon"),
        ({"endpoint": f"{AMAZON}:8443", "region": "eu-central-1"}, "/a/endpoint: expected no port"),
        # The bucket as a part of the host name.
        (
            {"endpoint": "http://10.0.0.5:9000", "addressing": "virtual"},
            "/a/addressing: expected path, because 10.0.0.5:9000",
        ),
        (
            {"endpoint": "http://[fd00::5]:9000", "addressing": "virtual"},
            "/a/addressing: expected path, because .fd00::5",
        ),
        (
            {"endpoint": "https://s3.example.org", "public_endpoint": "https://192.0.2.1", "addressing": "virtual"},
            "/a/addressing: expected path, because 192.0.2.1",
        ),
        (
            {"endpoint": "https://s3.example.org", "addressing": "virtual", "buckets": ["a.dot"]},
            "/a/addressing: expected path: no certificate",
        ),
        (
            {"endpoint": "http://s3.example.org", "addressing": "virtual", "buckets": ["A_bucket"]},
            "/a/addressing: expected path, because 'A_bucket' cannot be part",
        ),
        (
            {"endpoint": AMAZON, "region": "eu-central-1", "buckets": ["Old_Bucket"]},
            "/a/addressing: expected path, because 'Old_Bucket' cannot be part",
        ),
        ({"public_endpoint": "ftp://s3.example.org"}, "/a/public_endpoint: expected scheme"),
        ({"region": None}, "/a/region: missing"),
        ({"region": " "}, "/a/region: expected a string"),
        ({"region": "eu west"}, "/a/region: expected a name"),
        ({"buckets": None}, "/a/buckets: missing"),
        ({"buckets": []}, "/a/buckets: expected a list"),
        ({"buckets": "archive"}, "/a/buckets: expected a list"),
        ({"buckets": [""]}, "/a/buckets: expected a string"),
        ({"buckets": ["a/b/"]}, "/a/buckets: invalid bucket name a"),
        ({"buckets": ["archive/2024"]}, "/a/buckets: the prefix of 'archive/2024' must end with /"),
        ({"buckets": ["archive/a/", "archive/a/../b/"]}, "/a/buckets: the prefix of"),
        ({"access_key": None}, "/a/access_key: missing"),
        ({"secret_key": None}, "/a/secret_key: missing"),
        ({"secret_key": 7}, "/a/secret_key: expected a string"),
        ({"secret_key_env": "SECRET"}, "/a/secret_key: expected either"),
        ({"secret_key": None, "secret_key_env": "SECRET"}, "/a/secret_key_env: the environment has no SECRET"),
        ({"credentials": "magic"}, "/a/credentials: expected one of static, env, aws"),
        ({"credentials": "aws"}, "/a/access_key: unknown member"),
        ({"expires": "tomorrow"}, "/a/expires: expected a time with a zone"),
        ({"expires": "2030-01-01T00:00:00"}, "/a/expires: expected a time with a zone"),
        ({"lifetime": 9}, "/a/lifetime: expected a number of seconds from 10 to 604800"),
        ({"lifetime": True}, "/a/lifetime: expected a number of seconds"),
        ({"lifetime": "900"}, "/a/lifetime: expected a number of seconds"),
        ({"verify": "yes"}, "/a/verify: expected true or false"),
        ({"delivery": "proxy"}, "/a/delivery: expected one of redirect, stream"),
        ({"addressing": "host"}, "/a/addressing: expected one of path, virtual"),
        ({"ca_file": "/no/such.pem"}, "/a/ca_file: the file does not exist"),
        ({"collections": []}, "/a/collections: expected a list"),
        ({"collections": "radar"}, "/a/collections: expected a list"),
        ({"buckets": ["bucket/{collection}/x/"]}, "/a/buckets: .*can only be the last folder"),
        ({"buckets": ["bucket/x{collection}/"]}, "/a/buckets: .*can only be the last folder"),
        ({"buckets": ["bucket/", "bucket/{collection}/"]}, "/a/buckets: bucket/ is listed with and without"),
        ({"collections": [""]}, "/a/collections: expected a string"),
        ({"lifetimes": 900}, "/a/lifetimes: unknown member"),
    ],
)
def test_a_wrong_member_is_named(change: dict[str, Any], message: str) -> None:
    """The error has the pointer of the wrong member, and no secret."""
    with pytest.raises(SettingError, match=f"^{VARIABLE}: {message}") as caught:
        Plugin(a=store(**change))
    assert "secret@" not in str(caught.value)


@pytest.mark.parametrize(
    ("endpoint", "region", "host"),
    [
        ("https://S3.Example.ORG/", "us-east-1", "https://s3.example.org/"),
        ("https://s3.example.org:443", "us-east-1", "https://s3.example.org/"),
        ("http://s3.example.org:80//", "us-east-1", "http://s3.example.org/"),
        ("http://s3.example.org:443", "us-east-1", "http://s3.example.org:443/"),
        ("http://[FD00::5]:9000", "us-east-1", "http://[fd00::5]:9000/"),
        ("http://[fd00::5]", "us-east-1", "http://[fd00::5]/"),
        ("http://[fd00::5]:80", "us-east-1", "http://[fd00::5]/"),
        ("https://account.r2.cloudflarestorage.com", "auto", "https://account.r2.cloudflarestorage.com/"),
        ("http://minio_1:9000", "us-east-1", "http://minio_1:9000/"),
        ("https://s3.amazonaws.com", "us-east-1", "https://archive.s3.us-east-1.amazonaws.com/"),
        ("https://s3.dualstack.eu-west-1.amazonaws.com", "eu-west-1", "https://archive.s3.dualstack.eu-west-1.amazon"),
        ("https://s3.cn-north-1.amazonaws.com.cn", "cn-north-1", "https://archive.s3.cn-north-1.amazonaws.com.cn/"),
        ("https://s3-accelerate.amazonaws.com", "eu-west-1", "https://archive.s3-accelerate.amazonaws.com/"),
        ("https://s3.us-gov-west-1.amazonaws.com", "us-gov-west-1", "https://archive.s3.us-gov-west-1.amazonaws.com/"),
    ],
)
def test_endpoints_are_used_in_normal_form(endpoint: str, region: str, host: str) -> None:
    """URLs are presigned for the configured host, in the form that clients send."""
    plugin = Plugin(a=store(endpoint, region=region, verify=False))
    assert plugin.url("s3://archive/a.tif").startswith(host)


def test_a_prefix_belongs_to_one_store() -> None:
    """Two stores with the same prefix prevent the start."""
    with pytest.raises(SettingError, match="archive/x/ belongs to two stores, a and b"):
        Plugin(a=store(buckets=["archive/x/"]), b=store(buckets=["archive", "archive/x/"]))


def test_the_setting_can_be_a_file(tmp_path: Path) -> None:
    """The setting can be the path of a JSON file."""
    (tmp_path / "stores.json").write_text(json.dumps({"a": store()}))
    plugin = s3.create_plugin({VARIABLE: str(tmp_path / "stores.json")})
    assert plugin.resolve(Asset("c", "i", "data", "s3://archive/a.tif")) == Location("s3", "archive/a.tif")


@pytest.mark.parametrize(
    ("members", "environ"),
    [
        ({"access_key_env": "ID", "secret_key_env": "SECRET"}, {"ID": "from-env", "SECRET": "s"}),
        ({"credentials": "env"}, {"AWS_ACCESS_KEY_ID": "from-env", "AWS_SECRET_ACCESS_KEY": "s"}),
        (
            {"credentials": "env"},
            {"AWS_ACCESS_KEY_ID": "from-env", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "tok"},
        ),
    ],
)
def test_credentials_in_the_environment(members: dict[str, str], environ: dict[str, str]) -> None:
    """Secrets can be in environment variables that the setting names, or in Amazon's variables."""
    plugin = Plugin(environ, a=store(access_key=None, secret_key=None, verify=False, **members))
    signed = query(plugin.url("s3://archive/a.tif"))
    assert signed["X-Amz-Credential"].startswith("from-env/")
    assert signed.get("X-Amz-Security-Token") == environ.get("AWS_SESSION_TOKEN")


def test_secrets_are_not_shown() -> None:
    """The representation of the plugin has no secrets."""
    plugin = s3.create_plugin({VARIABLE: json.dumps({"a": store(secret_key="hush", session_token="hush")})})
    assert "hush" not in repr(plugin) + repr(plugin.parts["archive"][0][1].settings)


# --- Finding ---------------------------------------------------------------------------------------------------------


PLACES = Plugin(
    here=store("http://127.0.0.1:9000", buckets=["archive", "mixed/open/"], public_endpoint="https://s3.example.org"),
    aws=store("https://s3.eu-central-1.amazonaws.com", buckets=["tiles", "dotted.name"], region="eu-central-1"),
)


@pytest.mark.parametrize(
    ("href", "path"),
    [
        ("s3://archive/a/b.tif", "archive/a/b.tif"),
        ("s3://archive/100%25 wet?.tif#1", "archive/100%25 wet?.tif#1"),
        ("s3://archive//odd//key", "archive//odd//key"),
        ("s3://mixed/open/a.tif", "mixed/open/a.tif"),
        ("http://127.0.0.1:9000/archive/a/b.tif", "archive/a/b.tif"),
        ("https://s3.example.org/archive/100%25%20wet.tif", "archive/100% wet.tif"),
        ("https://s3.example.org:443/archive/a.tif", "archive/a.tif"),
        ("https://S3.Example.org/archive/m%C3%BCll.tif", "archive/müll.tif"),
        ("https://archive.s3.example.org/a/b.tif", "archive/a/b.tif"),
        ("https://tiles.s3.eu-central-1.amazonaws.com/a.tif", "tiles/a.tif"),
        ("https://s3.eu-central-1.amazonaws.com/tiles/a.tif", "tiles/a.tif"),
        ("https://tiles.s3.amazonaws.com/a.tif", "tiles/a.tif"),
        ("https://s3.amazonaws.com/dotted.name/a.tif", "dotted.name/a.tif"),
        ("https://dotted.name.s3.amazonaws.com/a.tif", "dotted.name/a.tif"),
    ],
)
def test_hrefs_resolve_to_bucket_and_key(href: str, path: str) -> None:
    """An ``s3:`` href has the key unchanged; a URL has it percent-encoded, after bucket or host."""
    assert PLACES.resolve(href) == Location("s3", path)


@pytest.mark.parametrize(
    "href",
    [
        "",
        "s3://",
        "s3://archive",
        "s3://archive/",
        "s3://archive/ ",
        "s3://other/a.tif",
        "s3://ARCHIVE/a.tif",
        "S3://archive/a.tif",
        "s3:/archive/a.tif",
        "s3://user@archive/a.tif",
        "s3://archive:9000/a.tif",
        "s3://archive?x=/a.tif",
        "s3://archive#/a.tif",
        "s3:///archive/a.tif",
        "s3://archive/../other/a.tif",
        "s3://archive/a/./b.tif",
        "s3://archive/a/..",
        "s3://archive/a\r\nHost: other/b.tif",
        "s3://archive/a\x00.tif",
        "s3://archive/\ud800.tif",
        "s3://archive/" + "x" * 1025,
        "s3://mixed/closed/a.tif",
        "s3://mixed/open",
        "s3://mixed/open/../closed/a.tif",
        "file:///archive/a.tif",
        "/archive/a.tif",
        "http://127.0.0.1:9001/archive/a.tif",
        "https://127.0.0.1:9000/archive/a.tif",
        "http://s3.example.org/archive/a.tif",
        "https://s3.example.org:8443/archive/a.tif",
        "https://s3.example.org:port/archive/a.tif",
        "https://s3.example.org.evil.net/archive/a.tif",
        "https://evil.net/s3.example.org/archive/a.tif",
        "https://evil-s3.example.org/archive/a.tif",
        "https://user@s3.example.org/archive/a.tif",
        "https://s3.example.org@evil.net/archive/a.tif",
        "https://evil.net\\@s3.example.org/archive/a.tif",
        "https://s3.example.org/archive/a.tif?versionId=1",
        "https://s3.example.org/archive/a.tif#part",
        "https://s3.example.org/archive/%2e%2e/other/a.tif",
        "https://s3.example.org/archive/..%2Fother/a.tif",
        "https://s3.example.org/archive/%0d%0aHost:other",
        "https://s3.example.org/archive/%ff.tif",
        "https://s3.example.org/arch\nive/a.tif",
        "https://s3.example.org//archive/a.tif",
        "https://s3.example.org/tiles/a.tif",
        "https://s3.eu-central-1.amazonaws.com/archive/a.tif",
        "https://tiles.s3.us-west-2.amazonaws.com/a.tif",
        "https://a.tiles.s3.eu-central-1.amazonaws.com/a.tif",
        "https://[broken/archive/a.tif",
    ],
)
def test_other_hrefs_are_ignored(href: str) -> None:
    """The plugin ignores other buckets, prefixes, hosts and ports, and all forms of paths to them."""
    assert PLACES.resolve(href) is None


def test_the_longest_prefix_applies() -> None:
    """If prefixes overlap, the store with the longest applies."""
    plugin = Plugin(
        wide=store("http://wide.example", buckets=["archive"], verify=False),
        deep=store("http://deep.example", buckets=["archive/a/b/"], verify=False),
        mid=store("http://mid.example", buckets=["archive/a/"], verify=False),
    )
    hosts = [urlsplit(plugin.url(f"s3://archive/{key}")).netloc for key in ("a/b/c", "a/b", "a/c", "b/a/b/c")]
    assert hosts == ["deep.example", "mid.example", "mid.example", "wide.example"]


def test_hrefs_resolve_only_in_stores_of_their_collection(plug: Plug, publish: Publish) -> None:
    """An author of one collection cannot publish objects in a store of another collection."""
    stores = {
        "open": store(buckets=["archive"], verify=False),
        "radar": store(buckets=["archive/radar/", "vault"], collections=["radar", "radar-2"], verify=False),
    }
    hrefs = ("s3://archive/radar/a", "s3://vault/a", "s3://archive/radar-not/a", "s3://archive/a")
    assets = {str(number): {"href": href} for number, href in enumerate(hrefs)}
    for collection in ("radar", "radar-2", "optical"):
        zarr = {"href": "s3://archive/radar/z.zarr", "type": ZARR}
        publish(an_item("item", collection, assets={**assets, "zarr": zarr}))
    client = plug(open_access, s3.create_plugin({VARIABLE: json.dumps(stores)}))

    def statuses(collection: str) -> list[int]:
        base = f"/collections/{collection}/items/item"
        return [client.get(f"{base}/download/{key}").status_code for key in (*assets, "zarr/a")]

    assert statuses("radar") == statuses("radar-2") == [307] * 5
    assert statuses("optical") == [404, 404, 307, 307, 404]
    signed = client.get("/collections/optical/items/item?hrefs=signed").json["assets"]
    assert ["X-Amz" in signed[key]["href"] for key in assets] == [False, False, True, True]


WRITERS = collection_groups.CollectionGroups()


@pytest.mark.parametrize(
    ("more", "starts"),
    [
        ({}, False),
        ({"collections": ["radar"]}, True),
        ({"collections": "*"}, True),
        ({"buckets": ["archive/{collection}/", "vault/x/{collection}/"]}, True),
        ({"buckets": ["archive/{collection}/", "vault/x/"]}, False),
    ],
)
def test_stores_need_collections_if_documents_can_be_changed(plug: Plug, more: dict[str, Any], starts: bool) -> None:
    """A store whose objects any author could publish prevents the start, unless the setting allows it with `*`."""
    plugin = s3.create_plugin({VARIABLE: json.dumps({"a": store(**more)})})
    plug(open_access, plugin)
    expected = nullcontext() if starts else pytest.raises(SettingError, match=rf"^{VARIABLE}: /a/collections: missing")
    with expected:
        plug(WRITERS, plugin)


def test_each_collection_in_its_own_folder(plug: Plug, publish: Publish) -> None:
    """With {collection} at the end of a prefix, an href resolves only in the folder of its collection."""
    plugin = s3.create_plugin({VARIABLE: json.dumps({"a": store(buckets=["archive/x/{collection}/"], verify=False)})})
    hrefs = ("x/radar/a", "x/radar/b/a", "x/radar-2/a", "x/radar", "x/optical/a", "x/a", "x/optical/../radar/a")
    assets = {str(number): {"href": f"s3://archive/{href}"} for number, href in enumerate(hrefs)}
    publish(an_item("item", "radar", assets=assets))
    client = plug(open_access, plugin)
    found = [client.get(f"/collections/radar/items/item/download/{key}").status_code for key in assets]
    assert found[:-1] == [307, 307, 404, 404, 404, 404]
    assert found[-1] >= 400


@pytest.mark.parametrize("part", ["archive", "archive/x/"])
@pytest.mark.parametrize("end", ["", "/", "//"])
def test_no_directory_at_the_root(plug: Plug, publish: Publish, part: str, end: str) -> None:
    """A directory asset that is a whole bucket or configured prefix is missing."""
    plugin = s3.create_plugin({VARIABLE: json.dumps({"a": store(buckets=[part], collections="*", verify=False)})})
    root = f"s3://{part.rstrip('/')}"
    below = {"href": f"{root}/z.zarr{end}", "type": ZARR}
    publish(an_item("item", "radar", assets={"root": {"href": f"{root}{end}", "type": ZARR}, "below": below}))
    client = plug(open_access, plugin)
    base = "/collections/radar/items/item/download"
    assert [client.get(f"{base}/{key}/some/file").status_code for key in ("root", "below")] == [404, 307]


def test_check_reports_shared_stores() -> None:
    """`stacflask check` reports stores whose objects authors of several collections can publish."""
    stores = {
        "all": store(buckets=["one"], collections="*"),
        "some": store(buckets=["two"], collections=["b", "a"]),
        "own": store(buckets=["three/{collection}/"]),
        "single": store(buckets=["four"], collections=["a"]),
    }
    notes = s3.create_plugin({VARIABLE: json.dumps(stores)}).check_setup()
    assert notes == [
        f"{VARIABLE}: /all/collections: an author of any collection can publish every object of this store",
        f"{VARIABLE}: /some/collections: an author of any of a, b can publish every object of this store",
    ]


@pytest.mark.parametrize("location", [Location("file", "archive/a.tif"), Location("s3", "other/a.tif"),
                                      Location("s3", "archive/../other/a.tif"), Location("s3", "archive")])  # fmt: skip
def test_locations_of_other_plugins_are_ignored(location: Location) -> None:
    """A location of another store, or outside the prefixes, is ignored."""
    asset = Asset("c", "i", "data", "s3://archive/a.tif")
    assert (
        PLACES.hook.deliver(principal=ANONYMOUS, asset=asset, location=location, streamed=False, grant_id="g") is None
    )


# --- Redirects -------------------------------------------------------------------------------------------------------


def test_a_presigned_url_needs_no_headers(plugin: Plugin, put: Callable[..., str]) -> None:
    """A presigned URL needs no headers, supports ranges, and returns the asset's name and type."""
    url = plugin.url(put("test_s3/müll 1+1=2.tif"), media_type="image/tiff; application=geotiff")
    answer = requests.get(url, timeout=60)
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["Content-Type"] == "image/tiff; application=geotiff"
    assert answer.headers["Content-Disposition"].endswith("filename*=UTF-8''" + quote("müll 1+1=2.tif"))
    part = requests.get(url, headers={"Range": "bytes=100-199"}, timeout=60)
    assert (part.status_code, part.content) == (206, DATA[100:200])


def test_a_presigned_url_is_valid_for_one_request_only(plugin: Plugin, put: Callable[..., str]) -> None:
    """Another method, object, name, type or lifetime, or no signature, is refused."""
    url = plugin.url(put(), media_type="image/tiff")
    put("test_s3/other.bin")
    tampered = [
        url.replace("data.bin?", "other.bin?"),
        url.replace("filename%3D%22data.bin", "filename%3D%22evil.exe"),
        url.replace("image%2Ftiff", "text%2Fhtml"),
        url.replace("X-Amz-Expires=900", "X-Amz-Expires=9000"),
        url.partition("?")[0],
    ]
    assert url not in tampered
    assert requests.head(url, timeout=60).status_code == 403
    assert requests.put(url, data=b"x", timeout=60).status_code == 403
    assert {requests.get(other, timeout=60).status_code for other in tampered} == {403}


def test_a_presigned_url_expires(
    real: dict[str, Any], put: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its lifetime, the URL is refused."""
    href = put()
    past = time.time() - 11
    with monkeypatch.context() as then:
        then.setattr("time.time", lambda: past)
        url = Plugin(real={**real, "lifetime": 10, "verify": False}).url(href)
    assert requests.get(url, timeout=60).status_code == 403


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
PLAIN = st.from_regex(r"[A-Za-z0-9_.~-]{1,4}", fullmatch=True) | st.sampled_from(["B04.tif", "a" * 120 + ".tif"])
STEPS = NAMES | st.sampled_from(["a b", "a+b~", "ü", "%2e%2e", "x?y#z&=;", "''()*!", ""])
TYPES = st.none() | st.sampled_from(["image/tiff", 'a/b; c="d e"', "no type"])


@pytest.mark.parametrize(
    ("endpoint", "settings"),
    [
        (UNREACHABLE, {}),
        ("https://s3.example.org", {"addressing": "virtual", "requester_pays": True}),
        ("https://s3.example.org:443", {"session_token": "t/+="}),
        ("https://s3.eu-central-1.amazonaws.com", {"region": "eu-central-1"}),
        ("https://s3.eu-central-1.amazonaws.com", {"region": "eu-central-1", "buckets": ["my.archive"]}),
        ("https://s3.amazonaws.com", {"addressing": "path", "lifetime": 10, "secret_key": "ü s/+="}),
    ],
)
@given(steps=st.lists(STEPS, min_size=1, max_size=4), name=NAMES | PLAIN, media_type=TYPES)
def test_presigned_urls_are_those_of_the_library(
    endpoint: str, settings: dict[str, Any], steps: list[str], name: str, media_type: str | None
) -> None:
    """Presigned URLs equal those of the library except for the order of parameters, one by one and by the page."""
    described = store(endpoint, verify=False, **settings)
    (bucket,) = described["buckets"]
    plugin, key = Plugin(a=described), "/".join(steps)
    location = plugin.resolve(f"s3://{bucket}/{key}")
    assume(location)
    asset = Asset("c", "i", "data", f"s3://{bucket}/{key}", media_type, properties={"file:local_path": name})
    answers = {"response-content-disposition": content_disposition(filename_of(asset))}
    if media_type not in (None, "no type"):
        answers["response-content-type"] = media_type
    if described.get("requester_pays"):
        answers["x-amz-request-payer"] = "requester"
    moment = datetime(2026, 6, 1, 12, 30, 15, 999999, tzinfo=UTC)
    want = oracle(described).presigned_get_object(
        bucket, key, timedelta(seconds=described.get("lifetime", 900)), {**answers, "x-stacflask-grant": "g"}, moment
    )
    with pytest.MonkeyPatch.context() as then:
        then.setattr("time.time", moment.timestamp)
        known = {"principal": ANONYMOUS, "asset": asset, "location": location, "grant_id": "g"}
        ((presigned,),) = plugin.hook.presign(
            principal=ANONYMOUS, assets=(asset,), locations=(location,), grant_ids=("g",)
        )
        found = [plugin.hook.deliver(**known, streamed=False), presigned]
    assert [parts(redirect.url) for redirect in found] == [parts(want)] * 2


def oracle(described: dict[str, Any]) -> Minio:
    """Return the library's client for the same store."""
    address = urlsplit(described["endpoint"])
    client: Any = Minio(
        address.netloc,
        access_key=described["access_key"],
        secret_key=described["secret_key"],
        session_token=described.get("session_token"),
        secure=address.scheme == "https",
        region=described["region"],
    )
    if described.get("addressing") == "path":
        client.disable_virtual_style_endpoint()
    if described.get("addressing") == "virtual":
        client.enable_virtual_style_endpoint()
    return client  # type: ignore[no-any-return]


def parts(url: str) -> tuple[str, list[str]]:
    """Return the parts of a URL, independent of the order of its query."""
    beginning, _, asked = url.partition("?")
    return beginning, sorted(asked.split("&"))


def test_each_second_has_a_new_presigner(monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL is not valid before it was signed, nor after its credentials expire."""
    ends = datetime(2026, 6, 1, 12, 0, 30, tzinfo=UTC)
    plugin = Plugin(a=store(verify=False, lifetime=20, expires=ends.isoformat()))
    found = []
    for before in (40.5, 21.0, 15.2, 15.1, 14.9, 10.0):
        monkeypatch.setattr("time.time", lambda before=before: ends.timestamp() - before)
        signed = query(plugin.url("s3://archive/a.tif"))
        found.append((signed["X-Amz-Date"], signed["X-Amz-Expires"]))
    assert found == [
        ("20260601T115949Z", "20"),
        ("20260601T120009Z", "20"),
        ("20260601T120014Z", "16"),
        ("20260601T120014Z", "16"),
        ("20260601T120015Z", "15"),
        ("20260601T120020Z", "10"),
    ]
    monkeypatch.setattr("time.time", lambda: ends.timestamp() - 9.9)
    assert plugin.url("s3://archive/a.tif")
    monkeypatch.setattr("time.time", lambda: ends.timestamp() - 8.9)
    with pytest.raises(Unavailable):
        plugin.url("s3://archive/a.tif")


def test_a_wrong_media_type_is_omitted() -> None:
    """A text that is no media type is not signed, because it would be returned as a header field."""
    plugin = Plugin(a=store(verify=False))
    for wrong in ("image", "image/tiff\r\nX: y", "image/tiff; bad", ""):
        assert "response-content-type" not in query(plugin.url("s3://archive/a.tif", media_type=wrong))


def test_presigning_sends_no_request() -> None:
    """Without verification, presigning sends no request to the store."""
    redirect = Plugin(a=store(UNREACHABLE, verify=False)).deliver("s3://archive/a.tif")
    assert isinstance(redirect, Redirect)
    assert redirect.url.startswith(f"{UNREACHABLE}/archive/a.tif?")
    assert redirect.lifetime == timedelta(seconds=900)
    assert query(redirect.url)["X-Amz-Expires"] == "900"


def test_public_endpoint(real: dict[str, Any], put: Callable[..., str]) -> None:
    """URLs are presigned for the public endpoint; requests are sent to the internal one."""
    url = Plugin(real={**real, "public_endpoint": "https://s3.example.org"}).url(put())
    assert url.startswith("https://s3.example.org/")
    swapped = real["endpoint"] + url.removeprefix("https://s3.example.org")
    assert requests.get(swapped, timeout=60).status_code == 403
    host = {"Host": "s3.example.org"}
    assert requests.get(swapped, headers=host, timeout=60).content == DATA


@pytest.mark.parametrize(
    ("endpoint", "settings", "beginning"),
    [
        ("https://s3.eu-central-1.amazonaws.com", {}, "https://archive.s3.eu-central-1.amazonaws.com/a.tif?"),
        (
            "https://s3.eu-central-1.amazonaws.com",
            {"addressing": "path"},
            "https://s3.eu-central-1.amazonaws.com/archive/a.tif?",
        ),
        ("https://s3.example.org", {}, "https://s3.example.org/archive/a.tif?"),
        ("https://s3.example.org", {"addressing": "virtual"}, "https://archive.s3.example.org/a.tif?"),
    ],
)
def test_the_bucket_is_in_host_or_path(endpoint: str, settings: dict[str, str], beginning: str) -> None:
    """The bucket is in the host name at Amazon, else in the path, unless the setting says otherwise."""
    plugin = Plugin(a=store(endpoint, region="eu-central-1", verify=False, **settings))
    assert plugin.url("s3://archive/a.tif").startswith(beginning)


def test_doubled_slashes_stay_in_the_bucket() -> None:
    """A key that begins with a slash does not become another bucket, with either addressing."""
    for settings in ({}, {"addressing": "virtual"}):
        plugin = Plugin(a=store("https://s3.example.org", verify=False, **settings))
        parts = urlsplit(plugin.url("s3://archive//other/a.tif"))
        assert parts.netloc + parts.path in (
            "s3.example.org/archive//other/a.tif",
            "archive.s3.example.org//other/a.tif",
        )


def test_requester_pays_and_session_token() -> None:
    """Both are parts of the presigned URL, because the client does not have them."""
    plugin = Plugin(a=store(verify=False, requester_pays=True, session_token="tok/en=="))
    signed = query(plugin.url("s3://archive/a.tif"))
    assert signed["x-amz-request-payer"] == "requester"
    assert signed["X-Amz-Security-Token"] == "tok/en=="


def test_expiring_credentials_limit_the_lifetime() -> None:
    """The lifetime of a URL is at most that of its credentials."""
    ends = datetime.now(UTC) + timedelta(seconds=100)
    redirect = Plugin(a=store(verify=False, expires=ends.isoformat())).deliver("s3://archive/a.tif")
    assert isinstance(redirect, Redirect)
    assert timedelta(seconds=95) <= redirect.lifetime <= timedelta(seconds=100)
    assert query(redirect.url)["X-Amz-Expires"] == str(int(redirect.lifetime.total_seconds()))


@pytest.mark.parametrize("rest", [5, -5])
def test_expired_credentials_sign_nothing(rest: int) -> None:
    """Credentials that have expired, or are about to, make the store unavailable."""
    ends = datetime.now(UTC) + timedelta(seconds=rest)
    plugin = Plugin(a=store(verify=False, expires=ends.isoformat()))
    with pytest.raises(Unavailable):
        plugin.deliver("s3://archive/a.tif")


class Role(BaseHTTPRequestHandler):
    """The metadata service of a machine with a role, with credentials for ten minutes."""

    def do_GET(self) -> None:
        """Return the credentials in Amazon's form."""
        ends = datetime.now(UTC) + timedelta(minutes=10)
        names_of = {
            "AccessKeyId": "role",
            "SecretAccessKey": "s",
            "Token": "tok",
            "Expiration": f"{ends:%Y-%m-%dT%H:%M:%SZ}",
        }
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(names_of).encode())

    def log_message(self, *args: object) -> None:
        """Log nothing."""


def test_credentials_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The role of the machine signs, and URLs expire with its credentials."""
    with serving(Role) as origin:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{origin}/credentials")
        plugin = Plugin(a=store(access_key=None, secret_key=None, credentials="aws", verify=False))
        redirect = plugin.deliver("s3://archive/a.tif")
    assert isinstance(redirect, Redirect)
    assert timedelta(seconds=590) <= redirect.lifetime <= timedelta(seconds=600)
    assert query(redirect.url)["X-Amz-Credential"].startswith("role/")
    assert query(redirect.url)["X-Amz-Security-Token"] == "tok"


class NoRole(BaseHTTPRequestHandler):
    """The metadata service of a machine without a role."""

    def do_GET(self) -> None:
        """Return 404."""
        self.send_error(403)

    def log_message(self, *args: object) -> None:
        """Log nothing."""


def test_no_credentials_of_the_machine(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Without a role the store is unavailable; the log has the problem, without the token of the request."""
    with serving(NoRole) as origin:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{origin}/credentials?token=hush")
        plugin = Plugin(a=store(access_key=None, secret_key=None, credentials="aws", verify=False))
        with pytest.raises(Unavailable):
            plugin.deliver("s3://archive/a.tif")
    logged = str([vars(record) for record in caplog.records])
    assert "/credentials?... failed with HTTP status code 403" in logged
    assert "hush" not in logged


# --- Existence -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True])
def test_a_missing_object(plugin: Plugin, stack: Stack, streamed: bool) -> None:
    """An object that does not exist is missing, and is checked again each time."""
    for _ in range(2):
        with pytest.raises(Missing):
            plugin.deliver(f"s3://{stack.bucket}/test_s3/absent.bin", streamed=streamed)


def test_a_missing_object_is_not_cached(plugin: Plugin, put: Callable[..., str], stack: Stack) -> None:
    """An object that is created after it was missing is delivered."""
    with pytest.raises(Missing):
        plugin.deliver(f"s3://{stack.bucket}/test_s3/late.bin")
    assert requests.get(plugin.url(put("test_s3/late.bin")), timeout=60).status_code == 200


def test_a_missing_bucket(real: dict[str, Any]) -> None:
    """All objects of a bucket that does not exist are missing."""
    plugin = Plugin(real={**real, "buckets": ["no-such-bucket"]})
    with pytest.raises(Missing):
        plugin.deliver("s3://no-such-bucket/a.tif")


def test_wrong_credentials(real: dict[str, Any], put: Callable[..., str], caplog: pytest.LogCaptureFixture) -> None:
    """If the store refuses the credentials, the object is unavailable, not missing; only the log has details."""
    plugin = Plugin(wrong={**real, "secret_key": "wrong"})
    href = put()
    for streamed in (False, True):
        with pytest.raises(Unavailable) as caught:
            plugin.deliver(href, streamed=streamed)
        assert caught.value.description == "The store of this asset cannot be reached at the moment. Try again later."
    failed = vars(next(record for record in caplog.records if record.msg == "store request failed"))
    assert (failed["store"], failed["error"], "AccessDenied" in failed["problem"]) == ("wrong", "S3Error", True)


@pytest.mark.parametrize(("verify", "size"), [(True, len(DATA)), (False, None)])
def test_redirects_have_the_size(real: dict[str, Any], put: Callable[..., str], verify: bool, size: int | None) -> None:
    """A redirect has the size of its object, also from the cache, unless `verify` is off."""
    plugin, href = Plugin(a={**real, "verify": verify}), put()
    for _ in range(2):
        found = plugin.deliver(href)
        assert isinstance(found, Redirect)
        assert found.size == size


def test_existence_is_cached(real: dict[str, Any], put: Callable[..., str], client: Minio) -> None:
    """Repeated downloads of an object send one request until the cache expires."""
    href = put()
    bucket, _, key = href.removeprefix("s3://").partition("/")
    lasting, brief = Plugin(a={**real, "verify_ttl": 60}), Plugin(a={**real, "verify_ttl": 0})
    for plugin in (lasting, brief):
        plugin.deliver(href)
    client.remove_object(bucket, key)
    lasting.deliver(href)
    with pytest.raises(Missing):
        brief.deliver(href)


def test_a_store_without_a_listener_is_unavailable(without_sleep: None) -> None:
    """A store that refuses connections is unavailable at once."""
    for streamed in (False, True):
        with pytest.raises(Unavailable) as caught:
            Plugin(a=store(UNREACHABLE)).deliver("s3://archive/a.tif", streamed=streamed)
        assert caught.value.retry_after > 0


def test_a_store_that_hangs(without_sleep: None) -> None:
    """A store that never responds costs at most the configured timeout, and one request."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        plugin = Plugin(a=store(f"http://127.0.0.1:{server.getsockname()[1]}", timeout=1))
        began = time.monotonic()
        with pytest.raises(Unavailable):
            plugin.deliver("s3://archive/a.tif")
        assert time.monotonic() - began > 0.9
        server.accept()[0].close()
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_the_default_timeout() -> None:
    """By default, a store that never responds is unavailable in less than five seconds."""
    (settings,) = read_stores({VARIABLE: json.dumps({"a": store()})})
    assert settings.timeout < 5


# --- Streams ---------------------------------------------------------------------------------------------------------


def test_a_whole_object_is_streamed(plugin: Plugin, put: Callable[..., str]) -> None:
    """The stream of an object has its bytes, length, entity tag and modification time."""
    stream = plugin.stream(put())
    assert b"".join(stream.open(0, stream.length or 0)) == DATA
    assert stream.length == len(DATA)
    assert stream.etag
    assert stream.etag[0] == stream.etag[-1] == '"'
    assert stream.last_modified
    assert abs(datetime.now(UTC) - stream.last_modified) < timedelta(minutes=1)


@pytest.mark.parametrize(("first", "length"), [(0, 1), (1000, 1_000_000), (len(DATA) - 1, 1), (10, 0)])
def test_a_range_is_streamed(plugin: Plugin, put: Callable[..., str], first: int, length: int) -> None:
    """A range has exactly the requested bytes, independent of the chunks."""
    assert b"".join(plugin.stream(put()).open(first, length)) == DATA[first : first + length]


def test_an_empty_object_is_streamed(plugin: Plugin, put: Callable[..., str]) -> None:
    """The stream of an empty object has no bytes."""
    stream = plugin.stream(put("test_s3/empty", b""))
    assert (stream.length, list(stream.open(0, 0))) == (0, [])


def test_delivery_by_stream(real: dict[str, Any], put: Callable[..., str]) -> None:
    """With the setting, all objects of a store are streamed."""
    assert isinstance(Plugin(a={**real, "delivery": "stream"}).deliver(put()), Stream)


def test_bytes_are_as_stored(plugin: Plugin, put: Callable[..., str]) -> None:
    """A compressed object is streamed as it is stored, because its size and checksum are of those bytes."""
    stream = plugin.stream(put("test_s3/marked.gz", DATA, metadata={"Content-Encoding": "gzip"}))
    assert b"".join(stream.open(0, stream.length or 0)) == DATA


GZIPPED = gzip.compress(b'{"a": 1}' * 1000, mtime=0)
DESCRIBED = {"Content-Encoding": "gzip", "Content-Language": "de"}


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        ("gzip", "gzip"),
        ("aws-chunked,gzip", "gzip"),
        ("aws-chunked", None),
        ("AWS-Chunked, identity", None),
        ("br, gzip", "br, gzip"),
    ],
)
def test_codings_of_objects(plugin: Plugin, put: Callable[..., str], stored: str, told: str | None) -> None:
    """The coding of the stored bytes is returned; that of an upload, which some stores keep, is not."""
    assert plugin.stream(put("test_s3/coded", metadata={"Content-Encoding": stored})).content_encoding == told


def test_clients_decode_compressed_objects(
    real: dict[str, Any], put: Callable[..., str], plug: Plug, publish: Publish
) -> None:
    """A client decodes a compressed object; media type and language are those of the store, also for HEAD."""
    href = put("test_s3/a.json", GZIPPED, content_type="application/geo+json", metadata=DESCRIBED)
    publish(an_item(assets={"data": {"href": href}}))
    client = plug(open_access, s3.create_plugin({VARIABLE: json.dumps({"real": real})}))
    path = "/collections/collection/items/item/download/data"
    head = client.head(path)
    for answer in (client.get(f"{path}?delivery=stream"), head):
        assert {name: answer.headers[name] for name in DESCRIBED} == DESCRIBED
        assert answer.headers["Content-Type"] == "application/geo+json"
        assert int(answer.headers["Content-Length"]) == len(GZIPPED)
    assert client.get(f"{path}?delivery=stream").data == GZIPPED
    redirected = requests.get(client.get(path).headers["Location"], timeout=30)
    assert redirected.content == gzip.decompress(GZIPPED)


@pytest.mark.parametrize(("setting", "name"), [("item", "item_data.json"), ("stored", "x.json")])
def test_redirects_name_the_file(
    real: dict[str, Any], put: Callable[..., str], plug: Plug, publish: Publish, setting: str, name: str
) -> None:
    """The store returns the file name in the setting."""
    publish(an_item(assets={"data": {"href": put("test_s3/x.json")}}))
    plugin = s3.create_plugin({VARIABLE: json.dumps({"real": real})})
    client = plug(open_access, plugin, environ={"STACFLASK_FILE_NAMES": setting})
    location = client.get("/collections/collection/items/item/download/data").headers["Location"]
    told = requests.get(location, timeout=30).headers["Content-Disposition"]
    assert told == content_disposition(name)


def test_an_object_replaced_before_reading(plugin: Plugin, put: Callable[..., str]) -> None:
    """An object that was replaced after its entity tag was returned is not sent."""
    stream = plugin.stream(put())
    put(data=DATA[::-1])
    with pytest.raises(Unavailable) as caught:
        stream.open(0, stream.length or 0)
    assert caught.value.retry_after == 1


def test_an_object_removed_before_reading(plugin: Plugin, put: Callable[..., str], client: Minio, stack: Stack) -> None:
    """An object that was removed meanwhile is missing."""
    stream = plugin.stream(put())
    client.remove_object(stack.bucket, "test_s3/data.bin")
    with pytest.raises(Missing):
        stream.open(0, stream.length or 0)


def test_concurrent_streams(plugin: Plugin, put: Callable[..., str]) -> None:
    """Threads share the clients of a store without mixing bytes."""
    hrefs = [put(f"test_s3/{n}.bin", bytes([n]) * 1_500_000) for n in range(4)]
    got: dict[int, set[bytes]] = {}

    def fetch(n: int) -> None:
        stream = plugin.stream(hrefs[n % 4])
        got[n] = {bytes(set(piece)) for piece in stream.open(0, stream.length or 0)}

    threads = [threading.Thread(target=fetch, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == {n: {bytes([n % 4])} for n in range(12)}


# --- Stores that misbehave -------------------------------------------------------------------------------------------


class Misbehaving(BaseHTTPRequestHandler):
    """A store with one object, larger than all buffers between, and with a fault of the test's choice."""

    protocol_version = "HTTP/1.1"
    length: ClassVar[int] = 100_000_000
    etag: ClassVar[str] = '"e"'
    fault: ClassVar[str]
    seen: ClassVar[list[str]]
    written: ClassVar[list[int | str]]
    connections: ClassVar[set[Any]]

    def do_HEAD(self) -> None:
        """Respond to HEAD, with the fault if it concerns HEAD."""
        self.seen.append("HEAD")
        self.connections.add(self.client_address)
        if self.fault == "moved":
            self.head(307, Location=f"http://127.0.0.1:{self.server.server_port}/elsewhere")  # type: ignore[attr-defined]
        elif self.fault == "busy":
            self.head(503, **{"Retry-After": "30"})
        elif self.fault == "stale" and len(self.seen) == 2:
            self.close_connection = True
        elif self.fault == "vague":
            self.send_response(200)
            self.end_headers()
            self.close_connection = True
        else:
            self.head(200, ETag=self.etag, **{"Content-Length": str(self.length)})

    def do_GET(self) -> None:
        """Return the requested range, with the fault if it concerns bodies."""
        self.seen.append("GET")
        self.connections.add(self.client_address)
        first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        length = last - first + 1
        if self.fault == "whole":
            self.head(200, **{"Content-Length": str(self.length)})
        elif self.fault == "page":
            self.head(502, **{"Content-Type": "text/html", "Content-Length": "11"})
            self.wfile.write(b"Bad Gateway")
        else:
            self.head(206, ETag='"f"' if self.fault == "replaced" else self.etag, **{"Content-Length": str(length)})
            self.body(length)

    def head(self, status: int, **fields: str) -> None:
        """Send status and header fields."""
        self.send_response(status)
        for name, value in {"Content-Length": "0", **fields}.items():
            self.send_header(name, value)
        self.end_headers()

    def body(self, length: int) -> None:
        """Send bytes, possibly not all, and record how many."""
        sent = 0
        end = length // 2 if self.fault in ("short", "stalled") else length
        try:
            while sent < end:
                sent += self.wfile.write(b"x" * min(100_000, end - sent))
        except OSError:
            self.written.append("hung up")
        self.written.append(sent)
        if self.fault == "stalled":
            self.rfile.read(1)  # until the client closes the connection
        self.close_connection = self.fault in ("short", "stalled")

    def log_message(self, *args: object) -> None:
        """Log nothing."""


@contextmanager
def misbehaving(fault: str, **settings: Any) -> Iterator[tuple[Plugin, type[Misbehaving]]]:
    """Run a store with a fault, and return the plugin for it."""
    handler = type("Handler", (Misbehaving,), {"fault": fault, "seen": [], "written": [], "connections": set()})
    with serving(handler) as origin:
        yield Plugin(a=store(origin, **settings)), handler


HREF = "s3://archive/a.tif"


@pytest.mark.parametrize("fault", ["moved", "busy"])
def test_redirects_and_retry_after_of_a_store_are_ignored(fault: str, without_sleep: None) -> None:
    """Redirects of a store are not followed, and its Retry-After does not block a thread."""
    with misbehaving(fault) as (plugin, handler):
        with pytest.raises(Unavailable):
            plugin.deliver(HREF)
        assert handler.seen == ["HEAD"]


def test_a_stale_connection_is_retried_once() -> None:
    """After the store closed a pooled connection, the request is sent again without an error."""
    with misbehaving("stale") as (plugin, handler):
        assert plugin.stream(HREF).length == plugin.stream(HREF).length == handler.length
        assert handler.seen == ["HEAD"] * 3


@pytest.mark.parametrize("fault", ["whole", "page", "replaced"])
def test_a_response_must_be_the_requested_range(fault: str) -> None:
    """A response that is not the requested range of the object is refused before its first byte."""
    with misbehaving(fault) as (plugin, _):
        stream = plugin.stream(HREF)
        with pytest.raises(Unavailable):
            stream.open(5, 100)


def test_a_missing_length_is_an_error() -> None:
    """A response without Content-Length is not an empty object."""
    with misbehaving("vague") as (plugin, _), pytest.raises(Unavailable):
        plugin.stream(HREF)


@pytest.mark.parametrize(("told", "etag"), [('"e"', '"e"'), ("e", '"e"'), ('W/"e"', None)])
def test_entity_tags(told: str, etag: str | None) -> None:
    """Missing quotes of an entity tag are added; weak entity tags are ignored."""
    with misbehaving("none") as (plugin, handler):
        handler.etag = told
        stream = plugin.stream(HREF)
        assert stream.etag == etag
        assert sum(map(len, stream.open(0, 10))) == 10


@pytest.mark.parametrize("fault", ["short", "stalled"])
def test_a_truncated_body_is_an_error(fault: str) -> None:
    """A truncated body, or one that stalls for too long, is an error."""
    with misbehaving(fault, stall_timeout=3) as (plugin, handler):
        stream = plugin.stream(HREF)
        got = 0
        pieces = stream.open(0, stream.length or 0)
        with pytest.raises(Unavailable):  # noqa: PT012 - the chunks before the error matter
            for piece in pieces:
                got += len(piece)
        assert 0 < got <= handler.length // 2


def test_received_bytes_are_returned_at_once() -> None:
    """Bytes of a slow store are returned as they arrive, so that a closed client is noticed."""
    with misbehaving("stalled", stall_timeout=3) as (plugin, _):
        pieces: Any = plugin.stream(HREF).open(0, 100)
        assert len(next(pieces)) == 50
        pieces.close()


def test_a_closed_stream_closes_the_connection() -> None:
    """A stream that is closed early closes the connection; the store has sent only what was buffered."""
    with misbehaving("none") as (plugin, handler):
        pieces: Any = plugin.stream(HREF).open(0, handler.length)
        next(pieces)
        time.sleep(0.3)
        assert handler.written == []
        pieces.close()
        waiting_for(lambda: len(handler.written) == 2)
        word, sent = handler.written
        assert word == "hung up"
        assert isinstance(sent, int)
        assert sent < handler.length


def test_connections_are_pooled() -> None:
    """The connection of a stream that was read to its end is used again; closing it then changes nothing."""
    with misbehaving("none") as (plugin, handler):
        for _ in range(3):
            pieces: Any = plugin.stream(HREF).open(0, 1000)
            assert sum(map(len, pieces)) == 1000
            pieces.close()
        assert len(handler.connections) == 2  # one for HEAD, one for bodies


def test_requester_pays_in_requests() -> None:
    """HEAD and GET requests have the requester-pays header, too."""
    with misbehaving("none", requester_pays=True) as (plugin, handler):
        fields: list[str | None] = []
        told = handler.head

        def head(self: Misbehaving, status: int, **more: str) -> None:
            fields.append(self.headers["x-amz-request-payer"])
            told(self, status, **more)

        handler.head = head  # type: ignore[method-assign]
        list(plugin.stream(HREF).open(0, 10))
        assert fields == ["requester", "requester"]


class Hangs(socketserver.BaseRequestHandler):
    """Accepts connections and never responds."""

    asked: ClassVar[list[float]] = []
    go: ClassVar[threading.Event] = threading.Event()

    def handle(self) -> None:
        """Count the connection, and hold it."""
        self.asked.append(time.monotonic())
        self.go.wait()


def test_a_store_is_not_called_for_a_while_after_a_timeout(real: dict[str, Any]) -> None:
    """After a timeout a store is not called for some seconds; other stores still work."""
    Hangs.go.clear()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Hangs) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        slow = store(f"http://127.0.0.1:{server.server_address[1]}", buckets=["slow"], timeout=0.6)
        plugin = Plugin(slow=slow, real=real)
        for number in range(5):
            with pytest.raises(Unavailable):
                plugin.deliver(f"s3://slow/{number}", streamed=True)
        Hangs.go.set()
        server.shutdown()
    assert len(Hangs.asked) == 1
    with pytest.raises(Missing):
        plugin.deliver(f"s3://{real['buckets'][0]}/no-such-key", streamed=True)
