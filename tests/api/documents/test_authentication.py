"""STAC authentication extension: documents describe how to authenticate for downloads."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jsonschema_rs
import pytest

import stacflask
from stacflask import Asset, Challenge, Decision, Principal, Request, Unavailable, hookimpl
from stacflask.catalog.bulk.load import Plan, load
from stacflask.catalog.documents.documents import Managed
from stacflask.settings import Settings
from stacflask.testing import Plug, Publish, a_collection, an_item

SHOWN = {"STACFLASK_SHOW_AUTHENTICATION": "yes"}
URI = "https://stac-extensions.github.io/authentication/v1.1.0/schema.json"
SCHEMA = Path(stacflask.__file__).parent / "schemas" / URI.removeprefix("https://")
ITEM, COLLECTION = "/collections/collection/items/item", "/collections/collection"
OPENID = {"type": "openIdConnect", "openIdConnectUrl": "https://id.example.org/.well-known/openid-configuration"}
FLOWS = {"made": {"method": "POST", "authorizationApi": "{base_url}/links"}}
OTHER = "https://stac-extensions.github.io/eo/v1.1.0/schema.json"
MANAGED, PUBLIC = {"href": "s3://bucket/data.tif"}, {"href": "https://example.org/a.json"}


class FourSchemes:
    """Returns four challenges, one of which has a scheme of its own for STAC, and one has none for STAC."""

    @hookimpl
    def challenge(self) -> list[Challenge]:
        """Return the challenges."""
        return [
            Challenge('Bearer realm="r"', "key", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}),
            Challenge("", "id", OPENID),
            Challenge(
                "", "link", {"type": "apiKey", "in": "query", "name": "link"}, {"type": "signedUrl", "flows": FLOWS}
            ),
            Challenge("", "session", {"type": "apiKey", "in": "cookie", "name": "s"}, {}),
        ]

    @hookimpl
    def authorize_change(self) -> Decision:
        """Allow every change."""
        return Decision.allow("test")


@pytest.fixture
def client(plug: Plug) -> Any:
    return plug(FourSchemes(), environ=SHOWN)


def valid(document: Any) -> None:
    jsonschema_rs.validator_for(json.loads(SCHEMA.read_text())).validate(document)


USUAL: dict[str, Any] = {"stac_extensions": [OTHER], "assets": {"data": MANAGED, "more": MANAGED, "public": PUBLIC}}
ITEMS: dict[str, dict[str, Any]] = {
    "usual": USUAL,
    "no extensions": {**USUAL, "stac_extensions": []},
    "properties of others": {**USUAL, "assets": {"data": {**MANAGED, "properties": {"a": 1}}}},
    "braces in texts": {**USUAL, "properties": {"datetime": "2024-06-01T12:00:00Z", "title": '}}"properties":{"a'}},
    "stand-in characters": {**USUAL, "title": "\ufdd0", "assets": {"data": MANAGED, "\ufdd0": PUBLIC}},
    "with schemes": {
        "stac_extensions": [OTHER, URI],
        "properties": {"datetime": "2024-06-01T12:00:00Z", "auth:schemes": {"own": {"type": "s3"}}},
        "assets": {"data": {**MANAGED, "auth:refs": ["own"]}, "more": MANAGED},
    },
    "nonsense": {
        "properties": {"datetime": "2024-06-01T12:00:00Z", "auth:schemes": 7},
        "assets": {"data": {**MANAGED, "auth:refs": "x"}},
    },
    "extensions last": {"assets": USUAL["assets"], "stac_extensions": [OTHER]},
    "strange digits": {**USUAL, "properties": {"datetime": "2024-06-01T12:00:00Z", "auth:x": 0.10000000000000009}},
}


@pytest.mark.parametrize("members", ITEMS.values(), ids=ITEMS.keys())
def test_items_have_schemes(client: Any, publish: Publish, members: dict[str, Any]) -> None:
    """An item has the plugins' schemes and its publisher's; managed assets refer to them, and no others."""
    document = an_item(**members)
    if "stac_extensions" in members and list(members)[-1] == "stac_extensions":
        document = {k: document[k] for k in sorted(document)}
    publish(document)
    returned = client.get(ITEM).json
    if "auth:x" not in returned["properties"]:
        valid(returned)
    assert {"key", "id", "link"} <= returned["properties"]["auth:schemes"].keys()
    assert (
        returned["properties"]["auth:schemes"]["link"]["flows"]["made"]["authorizationApi"] == "http://localhost/links"
    )
    for asset in returned["assets"].values():
        assert ({"key", "id", "link"} <= set(asset.get("auth:refs", []))) == ("example.org" not in asset["href"])
    assert returned["stac_extensions"].count(URI) == 1
    (found,) = client.get("/search").json["features"]
    assert found == returned
    assert without(returned) == without({**document, "assets": returned["assets"], "links": returned["links"]})
    assert returned["assets"].keys() == document["assets"].keys()


ESCAPED = {
    "a name": rb'"properties":{"\u0061uth:schemes":{"own":{"type":"s3"}},"n":0.10,"datetime":"2024-06-01T12:00:00Z"}',
    "another object": rb'"x":{"a":"}","properties":{"b":1}},"properties":{"datetime":"2024-06-01T12:00:00Z"}',
}


@pytest.mark.parametrize("members", ESCAPED.values(), ids=ESCAPED.keys())
def test_loaded_items_have_schemes(
    client: Any, publish: Publish, tmp_path: Path, database_url: str, members: bytes
) -> None:
    """The item's properties have the schemes once, also if its JSON has escapes and nested objects."""
    publish(a_collection())
    item = an_item(**USUAL)
    del item["properties"]
    text = json.dumps(item).encode()[:-1] + b"," + members + b"}"
    (tmp_path / "item.json").write_bytes(text)
    url = Settings.from_environ({"DATABASE_URL": database_url}).database_url
    assert load([str(tmp_path / "item.json")], Plan(url, Managed()), print).new == 1
    response = client.get(ITEM)
    assert response.data.count(b'auth:schemes"') == 1
    assert {"key", "id", "link"} <= response.json["properties"]["auth:schemes"].keys()
    assert response.json.get("x") == json.loads(text).get("x")


def without(document: Any) -> Any:
    """Return a document without the members of the extension."""
    if isinstance(document, dict):
        return {k: without(v) for k, v in document.items() if k not in ("auth:schemes", "auth:refs", "stac_extensions")}
    return document


def test_collections_and_the_landing_page_have_schemes(client: Any, publish: Publish) -> None:
    """Collections, alone and in a list, and the landing page have the schemes."""
    publish(a_collection(assets={"data": MANAGED, "public": PUBLIC}))
    returned = client.get(COLLECTION).json
    valid(returned)
    assert returned["auth:schemes"].keys() == {"key", "id", "link"}
    assert returned["assets"]["data"]["auth:refs"] == ["key", "id", "link"]
    assert "auth:refs" not in returned["assets"]["public"]
    assert client.get("/collections").json["collections"] == [returned]
    root = client.get("/").json
    valid(root)
    assert root["auth:schemes"] == returned["auth:schemes"]


def test_without_challenges_or_downloads_nothing_is_added(
    client: Any, plug: Plug, publish: Publish, consent: Any
) -> None:
    """Without challenges, with the setting off, and in items without downloads, nothing is added."""
    publish(an_item(), an_item("linked", assets={"a": PUBLIC}))
    off = plug(FourSchemes())
    for quiet in (plug(consent, environ=SHOWN), off):
        for path in ("/", COLLECTION, ITEM, "/search"):
            assert "auth:" not in quiet.get(path).text
    assert "auth:" not in client.get(f"{COLLECTION}/items/linked").text
    assert client.get(ITEM).headers["ETag"] != off.get(ITEM).headers["ETag"]


ODD: list[Any] = [{}, [], 7, "key", None, ["key"], [{"key": 1}]]


@pytest.mark.parametrize("value", ODD, ids=str)
def test_other_forms_are_kept(client: Any, publish: Publish, plug: Plug, value: Any) -> None:
    """Members with the extension's names in other forms stay stored when a client sends the document back."""
    properties = {"datetime": "2024-06-01T12:00:00Z", "auth:schemes": value}
    publish(an_item(properties=properties, assets={"data": {**MANAGED, "auth:refs": value}}))
    quiet = plug(FourSchemes())
    before: Any = quiet.get(ITEM).json
    assert client.put(ITEM, json=client.get(ITEM).json).status_code == 204
    assert quiet.get(ITEM).json == before
    sent = {**before, "assets": {"data": {**MANAGED, "auth:refs": [{"a": 1}, "own"]}}}
    assert client.put(ITEM, json=sent).status_code == 204


@pytest.mark.parametrize("members", [ITEMS["usual"], ITEMS["with schemes"], ITEMS["no extensions"]])
@pytest.mark.parametrize("kind", ["item", "collection"])
def test_schemes_are_not_stored_when_a_client_sends_them_back(
    client: Any, publish: Publish, plug: Plug, members: dict[str, Any], kind: str
) -> None:
    """A client that reads, edits and sends back a document stores no schemes of plugins, and loses none of its own."""
    own = {k: v for k, v in members.items() if k != "properties"}
    if kind == "collection" and "properties" in members:
        own["auth:schemes"] = members["properties"]["auth:schemes"]
    publish(a_collection(**own), an_item(**members))
    path = ITEM if kind == "item" else COLLECTION
    quiet = plug(FourSchemes())
    before: Any = quiet.get(path).json
    document = client.get(path).json
    assert client.put(path, json=document).status_code == 204
    assert quiet.get(path).json == before
    patch = {"headers": {"Content-Type": "application/merge-patch+json"}, "data": '{"title": "New"}'}
    assert client.patch(path, **patch).status_code == 204
    assert quiet.get(path).json == {**before, "title": "New"}


def test_a_publisher_can_add_schemes(client: Any, publish: Publish, plug: Plug) -> None:
    """A change can add a scheme that no plugin has, and it is stored."""
    publish(an_item(**USUAL))
    document = client.get(ITEM).json
    document["properties"]["auth:schemes"]["own"] = {"type": "s3"}
    assert client.put(ITEM, json=document).status_code == 204
    saved = plug(environ={"STACFLASK_SHOW_AUTHENTICATION": "no"}).get(ITEM).json
    assert saved["properties"]["auth:schemes"] == {"own": {"type": "s3"}}
    assert URI in saved["stac_extensions"]


def test_schemes_have_the_public_url(plug: Plug, publish: Callable[..., None]) -> None:
    """URLs in schemes begin with the public URL."""
    publish(an_item())
    page = plug(FourSchemes(), environ={**SHOWN, "STACFLASK_PUBLIC_URL": "https://stac.example.org/api"}).get("/").json
    assert page["auth:schemes"]["link"]["flows"]["made"]["authorizationApi"] == "https://stac.example.org/api/links"


class PublicThumbnails(FourSchemes):
    """Allows all users to download thumbnails, and authenticated users to download all assets."""

    down = False

    @hookimpl
    def authenticate(self, request: Request) -> Principal | None:
        """Return a principal for any credential."""
        return Principal("user") if "Authorization" in request.headers else None

    @hookimpl
    def authorize(self, principal: Principal, asset: Asset) -> Decision:
        """Decide by the key of the asset and the principal."""
        if self.down:
            raise Unavailable("The members cannot be read.")
        allowed = asset.key.startswith("thumb") or not principal.anonymous
        return Decision.allow("free") if allowed else Decision.deny("members only")


MIXED: dict[str, Any] = {"thumb nail": MANAGED, "data": MANAGED, "public": PUBLIC}
NAMES = ["key", "id", "link"]


def refs_of(document: Any) -> dict[str, Any]:
    return {key: asset["auth:refs"] for key, asset in document["assets"].items() if "auth:refs" in asset}


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer user"}])
def test_assets_that_need_no_credentials_have_no_references(
    plug: Plug, publish: Publish, headers: dict[str, str]
) -> None:
    """Only assets that are refused without credentials refer to schemes, in items, pages and collections."""
    client = plug(PublicThumbnails(), environ=SHOWN)
    publish(a_collection(assets=MIXED), an_item(assets=MIXED), an_item("free", assets={"thumb": MANAGED}))
    item = client.get(ITEM, headers=headers).json
    assert refs_of(item) == {"data": NAMES}
    assert refs_of(client.get(COLLECTION, headers=headers).json) == {"data": NAMES}
    assert refs_of(client.get("/collections", headers=headers).json["collections"][0]) == {"data": NAMES}
    page = client.post("/search", json={}, headers=headers).json["features"]
    assert [refs_of(found) for found in page if found["id"] == "item"] == [{"data": NAMES}]
    free = client.get(f"{COLLECTION}/items/free", headers=headers).json
    assert refs_of(free) == {}
    assert "auth:schemes" not in free["properties"]
    fields = client.get("/search?ids=item&fields=assets.data.auth:refs", headers=headers).json["features"][0]
    assert fields["assets"] == {"data": {"auth:refs": NAMES}}


def test_the_etag_changes_with_the_references(plug: Plug, publish: Publish) -> None:
    """If the references of an item change, a client with the previous state gets 200 and not 304."""
    plugin = PublicThumbnails()
    client = plug(plugin, environ=SHOWN)
    publish(an_item(assets={"thumb": MANAGED}))
    free = client.get(ITEM)
    plugin.down = True
    assert refs_of(client.get(ITEM).json) == {"thumb": NAMES}
    assert client.get(ITEM, headers={"If-None-Match": free.headers["ETag"]}).status_code == 200
    plugin.down = False
    assert client.head(ITEM, headers={"If-None-Match": free.headers["ETag"]}).status_code == 304


@pytest.mark.parametrize(
    "members",
    [
        {"id": "}", "a": {"stac_extensions": ["x"], "properties": {"y": 1}}},
        {"a": "\ufdd0data", "description": "}{", "links": [{"rel": "about", "href": "https://example.org/\ufdd0"}]},
    ],
)
def test_texts_of_publishers_stay_as_they_are(client: Any, plug: Plug, publish: Publish, members: Any) -> None:
    """Braces and unusual characters in strings are not mistaken for the structure of a document."""
    document = an_item(**{"id": "item", "stac_extensions": [OTHER], **members})
    publish({name: document[name] for name in sorted(document, key=lambda name: (name != "id", name))})
    path = f"{COLLECTION}/items/{quote(document['id'])}"
    returned, usual = client.get(path).json, plug(FourSchemes()).get(path).json
    assert sorted(returned["stac_extensions"]) == [URI, OTHER]
    assert without(returned) == without(usual)
    assert returned.get("a") == members["a"]
