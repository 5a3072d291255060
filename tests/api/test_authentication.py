"""The STAC authentication extension: documents tell how their downloads want to be asked for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

import stacflask
from stacflask import Challenge, Decision, hookimpl
from stacflask.catalog.documents import Managed
from stacflask.catalog.loading import Plan, load
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


class Asks:
    """Wants to be asked in three ways, one of which STAC has a word of its own for, and another none at all."""

    @hookimpl
    def challenge(self) -> list[Challenge]:
        """Ask."""
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
        """Consent."""
        return Decision.allow("test")


@pytest.fixture
def client(plug: Plug) -> Any:
    return plug(Asks(), environ=SHOWN)


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
def test_items_tell_it(client: Any, publish: Publish, members: dict[str, Any]) -> None:
    """An item has the plugins' schemes beside its publisher's; each managed asset refers to them, and no other."""
    document = an_item(**members)
    if "stac_extensions" in members and list(members)[-1] == "stac_extensions":
        document = {k: document[k] for k in sorted(document)}
    publish(document)
    shown = client.get(ITEM).json
    if "auth:x" not in shown["properties"]:
        valid(shown)
    assert {"key", "id", "link"} <= shown["properties"]["auth:schemes"].keys()
    assert shown["properties"]["auth:schemes"]["link"]["flows"]["made"]["authorizationApi"] == "http://localhost/links"
    for asset in shown["assets"].values():
        assert ({"key", "id", "link"} <= set(asset.get("auth:refs", []))) == ("example.org" not in asset["href"])
    assert shown["stac_extensions"].count(URI) == 1
    (found,) = client.get("/search").json["features"]
    assert found == shown
    ours = without(shown)
    assert ours == without({**document, "assets": shown["assets"], "links": shown["links"]})
    assert shown["assets"].keys() == document["assets"].keys()


ESCAPED = {
    "a name": rb'"properties":{"\u0061uth:schemes":{"own":{"type":"s3"}},"n":0.10,"datetime":"2024-06-01T12:00:00Z"}',
    "another object": rb'"x":{"a":"}","properties":{"b":1}},"properties":{"datetime":"2024-06-01T12:00:00Z"}',
}


@pytest.mark.parametrize("members", ESCAPED.values(), ids=ESCAPED.keys())
def test_loaded_items_tell_it(client: Any, publish: Publish, tmp_path: Path, database_url: str, members: bytes) -> None:
    """The schemes are in the item's own properties, once, however its text is written."""
    publish(a_collection())
    item = an_item(**USUAL)
    del item["properties"]
    text = json.dumps(item).encode()[:-1] + b"," + members + b"}"
    (tmp_path / "item.json").write_bytes(text)
    url = Settings.from_environ({"DATABASE_URL": database_url}).database_url
    assert load([str(tmp_path / "item.json")], Plan(url, Managed()), print).new == 1
    answer = client.get(ITEM)
    assert answer.data.count(b'auth:schemes"') == 1
    assert {"key", "id", "link"} <= answer.json["properties"]["auth:schemes"].keys()
    assert answer.json.get("x") == json.loads(text).get("x")


def without(document: Any) -> Any:
    """Give a document without what the extension adds."""
    if isinstance(document, dict):
        return {k: without(v) for k, v in document.items() if k not in ("auth:schemes", "auth:refs", "stac_extensions")}
    return document


def test_collections_and_the_landing_page_tell_it(client: Any, publish: Publish) -> None:
    """So do collections, alone and in a list, and the root."""
    publish(a_collection(assets={"data": MANAGED, "public": PUBLIC}))
    shown = client.get(COLLECTION).json
    valid(shown)
    assert shown["auth:schemes"].keys() == {"key", "id", "link"}
    assert shown["assets"]["data"]["auth:refs"] == ["key", "id", "link"]
    assert "auth:refs" not in shown["assets"]["public"]
    assert client.get("/collections").json["collections"] == [shown]
    root = client.get("/").json
    valid(root)
    assert root["auth:schemes"] == shown["auth:schemes"]


def test_where_there_is_nothing_to_ask_for_nothing_is_told(
    client: Any, plug: Plug, publish: Publish, consent: Any
) -> None:
    """Without plugins that ask, with the setting off, and in items without downloads, nothing is added."""
    publish(an_item(), an_item("linked", assets={"a": PUBLIC}))
    off = plug(Asks())
    for quiet in (plug(consent, environ=SHOWN), off):
        for path in ("/", COLLECTION, ITEM, "/search"):
            assert "auth:" not in quiet.get(path).text
    assert "auth:" not in client.get(f"{COLLECTION}/items/linked").text
    assert client.get(ITEM).headers["ETag"] != off.get(ITEM).headers["ETag"]


@pytest.mark.parametrize("members", [ITEMS["usual"], ITEMS["with schemes"], ITEMS["no extensions"]])
@pytest.mark.parametrize("kind", ["item", "collection"])
def test_what_is_read_and_sent_back_is_not_kept(
    client: Any, publish: Publish, plug: Plug, members: dict[str, Any], kind: str
) -> None:
    """Whoever reads a document, edits it and sends it back leaves nothing of ours in it, and loses nothing of hers."""
    own = {k: v for k, v in members.items() if k != "properties"}
    if kind == "collection" and "properties" in members:
        own["auth:schemes"] = members["properties"]["auth:schemes"]
    publish(a_collection(**own), an_item(**members))
    path = ITEM if kind == "item" else COLLECTION
    quiet = plug(Asks())
    before: Any = quiet.get(path).json
    document = client.get(path).json
    assert client.put(path, json=document).status_code == 204
    assert quiet.get(path).json == before
    patch = {"headers": {"Content-Type": "application/merge-patch+json"}, "data": '{"title": "New"}'}
    assert client.patch(path, **patch).status_code == 204
    assert quiet.get(path).json == {**before, "title": "New"}


def test_a_publisher_may_change_schemes_of_her_own(client: Any, publish: Publish, plug: Plug) -> None:
    """A scheme that is not ours can be added by a change, and is kept."""
    publish(an_item(**USUAL))
    document = client.get(ITEM).json
    document["properties"]["auth:schemes"]["own"] = {"type": "s3"}
    assert client.put(ITEM, json=document).status_code == 204
    kept = plug(environ={"STACFLASK_SHOW_AUTHENTICATION": "no"}).get(ITEM).json
    assert kept["properties"]["auth:schemes"] == {"own": {"type": "s3"}}
    assert URI in kept["stac_extensions"]


def test_it_is_the_same_for_every_name_of_the_server(plug: Plug, publish: Callable[..., None]) -> None:
    """The addresses in schemes are those that the client uses."""
    publish(an_item())
    page = plug(Asks(), environ={**SHOWN, "STACFLASK_PUBLIC_URL": "https://stac.example.org/api"}).get("/").json
    assert page["auth:schemes"]["link"]["flows"]["made"]["authorizationApi"] == "https://stac.example.org/api/links"
