"""A document that a client reads in any form and sends back stays unchanged."""

import io
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from minio import Minio

from dev.stack import Stack
from plugins import s3 as s3_plugin
from stacflask import Challenge, Decision, Principal, SignedQueries, hookimpl
from stacflask.catalog.documents.documents import original_text
from stacflask.catalog.reader import Catalog
from stacflask.model.decision import UNRESTRICTED
from stacflask.testing import a_collection, an_item

Client = Any
COLLECTION = "/collections/a b"
ITEM = f"{COLLECTION}/items/it%C3%A9m"
PATCH = "application/json-patch+json"
KEYS = ["data", "da/ta", "ä b", "a/../b", "..a", "download", "%41", "cube", "~'+:@", "counted"]


class Everything:
    """Allows everything to all users, counts one asset, and reports an order."""

    @hookimpl
    def authenticate(self) -> Principal:
        """Return the same principal for every request."""
        return Principal("jane", scheme="test")

    @hookimpl
    def challenge(self) -> list[Challenge]:
        """Return a challenge."""
        return [Challenge("Bearer", "test", {"type": "http", "scheme": "bearer"})]

    @hookimpl
    def authorize(self, asset: Any) -> Decision:
        """Allow every download."""
        return Decision.allow("test", counted=asset.key == "counted")

    @hookimpl
    def authorize_change(self) -> Decision:
        """Allow every change."""
        return Decision.allow("test")

    @hookimpl
    def sign_queries(self, assets: Any) -> SignedQueries:
        """Return the same query for all assets."""
        return SignedQueries(["link=sfl.k.x"] * len(assets), timedelta(hours=1))

    @hookimpl
    def order_states(self) -> dict[str, str]:
        """Report an order."""
        return {"data": "shipping"}


@pytest.fixture
def open_api(plug: Callable[..., Client], publish: Any, stack: Stack, s3: Minio) -> Callable[..., Client]:
    """Return a function that builds an application with an item and a collection with assets of every kind."""
    place = {"endpoint": f"http://{stack.s3_endpoint}", "region": stack.s3_region, "collections": "*"}
    secrets = {"access_key": stack.s3_access_key, "secret_key": stack.s3_secret_key, "buckets": [stack.bucket]}
    s3.put_object(stack.bucket, "round/data.tif", io.BytesIO(b"0123456789"), 10)
    assets: dict[str, Any] = {key: {"href": f"s3://{stack.bucket}/round/{key} +%41.tif"} for key in KEYS}
    assets["cube"] = {"href": f"s3://{stack.bucket}/round/cube/"}
    assets["web"] = {"href": "https://example.org/x?y=1#z", "title": "http://localhost"}
    assets["relative"] = {"href": "./data.tif"}
    other = {"s3": {"href": "s3://other/data"}, "web": {"href": "https://example.org/data"}}
    assets["data"] |= {"alternate": other, "auth:refs": ["own"]}
    assets["da/ta"] |= {"alternate": {"s3": {"href": "s3://other/more"}}}
    links = [{"rel": "via", "href": "s3://bucket/via"}, {"rel": "via", "href": "https://example.org/via"}]
    exact = {"datetime": "2024-06-01T12:00:00.000Z", "x": 9007199254740993, "y": 1.5e-7, "order:id": 1}
    publish(
        a_collection("a b", assets=assets, links=links, summaries={"x": [1]}),
        an_item("itém", "a b", assets=assets, links=links, properties=exact),
    )

    def build(**environ: str) -> Client:
        store = s3_plugin.create_plugin({"STACFLASK_S3_STORES": json.dumps({"real": {**place, **secrets}})})
        return plug(Everything(), store, environ={f"STACFLASK_{name}": value for name, value in environ.items()})

    return build


@pytest.fixture
def stored(database: Any) -> Callable[[str], Any]:
    """Return a function that reads the stored item or collection."""

    def read(path: str) -> Any:
        catalog = Catalog(database)
        record = (
            catalog.item("a b", "itém", UNRESTRICTED)
            if path == ITEM
            else catalog.stored_collection("a b", UNRESTRICTED)
        )
        document = json.loads(original_text(record.body))
        document["links"].sort(key=lambda link: str(link["href"]))
        return document

    return read


SETTINGS = [
    {},
    {"SHOW_STORAGE": "true"},
    {"SHOW_AUTHENTICATION": "true"},
    {"SHOW_STORAGE": "true", "SHOW_AUTHENTICATION": "true"},
    {"PUBLIC_URL": "https://stac.example.org/prefix"},
]


def first(response: Any) -> Any:
    """Return the only item or collection of a page."""
    (document,) = response.json.get("features") or response.json["collections"]
    return document


REPRESENTATIONS: dict[str, Callable[[Client, str], Any]] = {
    "alone": lambda client, path: client.get(path).json,
    "signed": lambda client, path: client.get(f"{path}?hrefs=signed").json,
    "signed by header": lambda client, path: client.get(path, headers={"X-Signed-Asset-Urls": "true"}).json,
    "in a list": lambda client, path: first(client.get(path.rpartition("/")[0])),
    "found": lambda client, path: first(client.get("/search" if path == ITEM else "/collections")),
    "found and signed": lambda client, path: first(
        client.post("/search?hrefs=signed", json={}) if path == ITEM else client.get("/collections?hrefs=signed")
    ),
    "with all fields": lambda client, path: first(
        client.post("/search", json={"fields": {"exclude": ["x"]}}) if path == ITEM else client.get("/collections")
    ),
    "under another name": lambda client, path: client.get(path, headers={"Host": "other.example"}).json,
}
DOWNLOAD = "/download/"


def encoded(href: str) -> str:
    """Percent-encode every ASCII letter of the path."""
    parts = urlsplit(href)
    path = "".join(f"%{ord(one):02x}" if one.isascii() and one.isalpha() else one for one in _characters(parts.path))
    return parts._replace(path=path).geturl()


def _characters(path: str) -> list[str]:
    """Return the characters of a path, with each escape as one character."""
    found, rest = [], path
    while rest:
        size = 3 if rest.startswith("%") else 1
        found.append(rest[:size])
        rest = rest[size:]
    return found


def with_host(change: Callable[[str], str]) -> Callable[[str], str]:
    """Return a function that changes the host of a URL."""

    def changed(href: str) -> str:
        parts = urlsplit(href)
        return parts._replace(netloc=change(parts.netloc)).geturl()

    return changed


URL_FORMS: dict[str, Callable[[str], str]] = {
    "none": lambda href: href,
    "delivery": lambda href: f"{href}?delivery=stream",
    "link": lambda href: f"{href}?link=sfl.k.secret",
    "fragment": lambda href: f"{href}#part",
    "encoding": encoded,
    "host in capitals": with_host(str.upper),
    "host with a dot": with_host(lambda host: f"{host}."),
    "steps": lambda href: href.replace("/collections/", "/./collections/x/../", 1),
    "without a scheme": lambda href: href.partition(":")[2],
    "path only": lambda href: urlsplit(href)._replace(scheme="", netloc="").geturl(),
    "relative": lambda href: (
        "./" + href.partition(DOWNLOAD)[0].rpartition("/")[2] + DOWNLOAD + href.partition(DOWNLOAD)[2]
    ),
    "token in the path": lambda href: href.replace("/collections/", "/link/sfl.k.secret/collections/", 1),
}


def put(client: Client, path: str, document: Any) -> Any:
    """Replace the document."""
    return client.put(path, json=document)


def merge(client: Client, path: str, document: Any) -> Any:
    """Send the assets as a merge patch."""
    return client.patch(path, json={"assets": document["assets"]})


def patch(client: Client, path: str, document: Any) -> Any:
    """Send each asset as an operation of a JSON patch."""
    names = {key: key.replace("~", "~0").replace("/", "~1") for key in document["assets"]}
    operations = [
        {"op": "replace", "path": f"/assets/{names[key]}", "value": asset} for key, asset in document["assets"].items()
    ]
    return client.patch(path, json=operations, content_type=PATCH)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=120)
@given(data=st.data())
def test_writing_back_changes_nothing(
    data: st.DataObject, open_api: Callable[..., Client], stored: Callable[[str], Any], clients: dict[str, Any]
) -> None:
    """The stored document stays unchanged for every representation, and every form of its URLs."""
    if not clients:
        clients |= {str(number): open_api(**environ) for number, environ in enumerate(SETTINGS)}
        clients |= {path: stored(path) for path in (ITEM, COLLECTION)}
    client = clients[data.draw(st.sampled_from(range(len(SETTINGS))).map(str))]
    path = data.draw(st.sampled_from([ITEM, COLLECTION]))
    document = REPRESENTATIONS[data.draw(st.sampled_from(list(REPRESENTATIONS)))](client, path)
    for asset in document["assets"].values():
        if DOWNLOAD in asset["href"] and "X-Amz" not in asset["href"]:
            asset["href"] = URL_FORMS[data.draw(st.sampled_from(list(URL_FORMS)))](asset["href"])
    response = data.draw(st.sampled_from([put, merge, patch]))(client, path, document)
    assert response.status_code == 204, response.text
    after = stored(path)
    if after != clients[path]:
        client.put(path, json=clients[path])  # for the next example
    assert after == clients[path]


@pytest.fixture
def clients() -> dict[str, Any]:
    """Return the applications and documents that all examples share."""
    return {}


UNRESOLVED = [
    "http://localhost{0}/download/other",
    "http://localhost{0}/download/other?link=sfl.k.x",
    "http://LOCALHOST:80{0}/d%6Fwnload/other#x",
    "http://127.0.0.1{0}/download/other",
    "http://[::1]{0}/download/other",
    "http:\\\\localhost{0}/download/other",
    "http://localhost{0}/download/data/file",
    "http://localhost/collections/another/items/item/download/data",
    "http://localhost/collections/another/download/data",
    "/collections/another/download/data",
    "http://localhost/link/sfl.k.x{0}/download/other",
    "{0}/./download/other",
]


@pytest.mark.parametrize("href", UNRESOLVED)
@pytest.mark.parametrize("place", ["/assets/new/href", "/assets/new/alternate/a/href"])
def test_a_download_url_without_its_asset_is_400(
    open_api: Callable[..., Client], stored: Callable[[str], Any], href: str, place: str
) -> None:
    """A download URL of this server that leads to no asset of the document is 400, and the description names it."""
    client, before = open_api(), stored(ITEM)
    asset: Any = {"href": "s3://bucket/x", "alternate": {"a": {"href": "s3://bucket/y"}}}
    (asset if place == "/assets/new/href" else asset["alternate"]["a"])["href"] = href.format(ITEM)
    new = an_item("new", "a b", assets={"new": asset})
    returned = client.get(ITEM).json
    tried = [
        (client.put(ITEM, json={**returned, "assets": {"new": asset}}), ""),
        (client.patch(ITEM, json={"assets": {"new": asset}}), ""),
        (client.patch(ITEM, json=[{"op": "add", "path": "/assets/new", "value": asset}], content_type=PATCH), ""),
        (client.post(f"{COLLECTION}/items", json={**new, "assets": {"new": asset}}), ""),
        (
            client.post(
                f"{COLLECTION}/items", json={"type": "FeatureCollection", "features": [an_item("f", "a b"), new]}
            ),
            "/features/1",
        ),
        (client.post("/collections", json=a_collection("new", assets={"new": asset})), ""),
        (client.patch(COLLECTION, json={"assets": {"new": asset}}), ""),
    ]
    for response, above in tried:
        assert response.status_code == 400, response.text
        assert f"{above}{place}" in response.json["description"], response.text
    assert stored(ITEM) == before


@pytest.mark.parametrize("method", ["post", "many", "collection", "alternate", "put", "patch"])
def test_a_presigned_url_is_stored_as_its_storage_href(
    open_api: Callable[..., Client], stack: Stack, database: Any, method: str
) -> None:
    """A URL that a configured store signed is stored as the storage href, without the signature."""
    client = open_api()
    signed = client.get(f"{ITEM}?hrefs=signed").json["assets"]["da/ta"]
    assert "X-Amz-Signature" in signed["href"]
    asset: Any = {"href": signed["href"], "href:expires": signed["href:expires"], "title": "a copy"}
    if method == "alternate":
        asset = {"href": "https://example.org/x", "alternate": {"a": {"href": signed["href"]}}}
    new = an_item("new", "a b", assets={"copy": asset})
    if method in ("put", "patch"):
        assert client.post(f"{COLLECTION}/items", json=an_item("new", "a b")).status_code == 201
        path = f"{COLLECTION}/items/new"
        response = (
            client.put(path, json=new) if method == "put" else client.patch(path, json={"assets": {"copy": asset}})
        )
    elif method == "collection":
        response = client.post("/collections", json=a_collection("new", assets={"copy": asset}))
    else:
        body = {"type": "FeatureCollection", "features": [new]} if method == "many" else new
        response = client.post(f"{COLLECTION}/items", json=body)
    assert response.status_code in (201, 204), response.text
    catalog = Catalog(database)
    record = (
        catalog.stored_collection("new", UNRESTRICTED)
        if method == "collection"
        else catalog.item("a b", "new", UNRESTRICTED)
    )
    text = original_text(record.body)
    assert b"X-Amz" not in text
    saved = json.loads(text)["assets"]["copy"]
    found = saved["alternate"]["a"]["href"] if method == "alternate" else saved["href"]
    assert found == f"s3://{stack.bucket}/round/da/ta +%41.tif"
    assert "href:expires" not in saved


SPELLINGS: dict[str, Callable[[str], str]] = {
    "host with a dot": lambda href: href.replace("127.0.0.1:", "127.0.0.1.:"),
    "another name of the host": lambda href: href.replace("127.0.0.1:", "localhost:"),
    "a number as host": lambda href: href.replace("127.0.0.1:", "2130706433:"),
    "bucket in the host": lambda href: re.sub(r"//127.0.0.1:(\d+)/([^/]+)/", r"//\2.127.0.0.1:\1/", href),
    "a user": lambda href: href.replace("http://", "http://a:b@"),
    "https": lambda href: href.replace("http://", "https://"),
    "without a scheme": lambda href: href.removeprefix("http:"),
    "capitals": lambda href: href.replace("http://", "HTTP://"),
    "two slashes": lambda href: re.sub(r"(//[^/]+)/", r"\1//", href),
    "a dot": lambda href: href.replace("/round/", "/./round/"),
    "steps": lambda href: href.replace("/round/", "/x/%2E./round/"),
    "percent-encoding": lambda href: href.replace("/round/", "/%72ound/"),
    "names in capitals": lambda href: href.replace("X-Amz-", "x-AMZ-"),
    "names with escapes": lambda href: href.replace("X-Amz-Signature", "X-Amz-%53ignature"),
    "backslashes": lambda href: href.replace("http://", "http:\\\\"),
    "GDAL": lambda href: f"/vsicurl/{href}",
    "a tab": lambda href: href.replace("X-Amz-Signature", "X-Amz-\tSignature"),
    "spaces": lambda href: f" {href} ",
    "a fragment": lambda href: f"{href}#part",
}


def test_a_presigned_url_in_another_form_is_recognised(
    open_api: Callable[..., Client], stored: Callable[[str], Any], stack: Stack
) -> None:
    """For all equivalent forms of host, path and query of a presigned URL, the storage href is stored."""
    client = open_api()
    signed = client.get(f"{ITEM}?hrefs=signed").json["assets"]["data"]["href"]
    new = {name: {"href": change(signed)} for name, change in SPELLINGS.items()}
    document = client.get(ITEM).json
    links = [{"rel": "via", "title": name, "href": asset["href"]} for name, asset in new.items()]
    response = client.patch(ITEM, json={"assets": new, "links": document["links"] + links})
    assert response.status_code == 204, response.text
    saved = stored(ITEM)
    right = f"s3://{stack.bucket}/round/data +%41.tif"
    assert {name: saved["assets"][name]["href"] for name in new} == dict.fromkeys(new, right)
    assert {link["title"]: link["href"] for link in saved["links"] if "title" in link} == dict.fromkeys(new, right)


def test_a_url_signed_here_is_recognised_with_any_host(
    open_api: Callable[..., Client], stored: Callable[[str], Any], stack: Stack
) -> None:
    """A URL with this server's mark, or with a store's access key, is not stored, with any host and bucket."""
    client = open_api()
    query = client.get(f"{ITEM}?hrefs=signed").json["assets"]["data"]["href"].partition("?")[2]
    key = f"AWSAccessKeyId={stack.s3_access_key}&Signature=x&Expires=9999999999"
    new = {
        "cname": (f"https://cdn.example.org/{stack.bucket}/x.tif?{query}", f"s3://{stack.bucket}/x.tif"),
        "virtual": (f"https://{stack.bucket}.cdn.example.org/x.tif?{query}", f"s3://{stack.bucket}/x.tif"),
        "other bucket": (f"http://{stack.s3_endpoint}/private/x.tif?{query}", "s3://private/x.tif"),
        "version 2": (f"http://{stack.s3_endpoint}/private/x.tif?{key}", "s3://private/x.tif"),
    }
    response = client.patch(ITEM, json={"assets": {name: {"href": href} for name, (href, _) in new.items()}})
    assert response.status_code == 204, response.text
    saved = stored(ITEM)["assets"]
    assert {name: saved[name]["href"] for name in new} == {name: right for name, (_, right) in new.items()}


def test_links_are_stored_without_tokens(open_api: Callable[..., Client], stored: Callable[[str], Any]) -> None:
    """A link to a download URL is stored without the token, which gives access to all users."""
    client, plain = open_api(), f"http://localhost{ITEM}/download/data"
    written = {
        f"{plain}?link=sfl.k.x": plain,
        f"{plain}?delivery=stream&link=sfl.k.x": plain,
        f"{plain}?delivery=stream": f"{plain}?delivery=stream",
        f"http://localhost/signed/sfl.k.x{ITEM}/download/data": plain,
        plain: plain,
        "http://127.0.0.1/x?link=y": "http://127.0.0.1/x?link=y",
    }
    links = [{"rel": "via", "href": href} for href in written]
    document = client.get(ITEM).json
    assert client.patch(ITEM, json={"links": document["links"] + links}).status_code == 204
    saved = [unquote(link["href"]) for link in stored(ITEM)["links"]]
    assert sorted(set(saved) - {"s3://bucket/via", "https://example.org/via"}) == sorted(
        map(unquote, set(written.values()))
    )


def test_urls_of_other_servers_are_stored_unchanged(
    open_api: Callable[..., Client], stored: Callable[[str], Any]
) -> None:
    """URLs of other servers are stored unchanged, signed or not, with any path."""
    client = open_api()
    foreign = {
        "a": {"href": "https://other.example/collections/another/items/item/download/data?x=1#y"},
        "b": {"href": "https://bucket.s3.example/x?X-Amz-Signature=1"},
        "c": {"href": f"https://example.org/{quote('http://localhost/collections/c/download/x', safe='')}"},
        "d": {"href": "http://localhost/collections/another/items/item/thumbnail"},
    }
    assert client.patch(ITEM, json={"assets": foreign}).status_code == 204
    saved = stored(ITEM)["assets"]
    assert {key: saved[key] for key in foreign} == foreign
