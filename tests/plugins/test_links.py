"""Download links: targets, rights, signatures, caveats, limits, counts, lists and revocation."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from flask.testing import FlaskClient

from plugins.api_keys import ApiKeys
from plugins.audit import create_plugin as create_audit
from plugins.collection_groups import CollectionGroups
from plugins.links import CACHE, KEYS, MAX_LIFETIME, Links, create_plugin
from plugins.links.tokens import SigningKeys, Target, caveats, parse_link, parse_target, read_keys
from stacflask import (
    Asset,
    BadCredentials,
    Decision,
    Principal,
    SettingError,
    hookimpl,
)
from stacflask.catalog.database.engine import Database
from stacflask.testing import Plug, Publish, an_item
from tests.shelf import Shelf
from tests.waiting import waiting_for

SECRET = "a-secret-of-more-than-thirty-two-characters"
KEY = "sfk_00000001_jane-of-the-tests"
OTHER = "sfk_00000002_john-of-the-tests"
JANE = {"Authorization": f"Bearer {KEY}"}
JOHN = {"Authorization": f"Bearer {OTHER}"}
ITEM = "/collections/radar/items/scene"
DATA = f"{ITEM}/download/data"


@pytest.fixture
def links() -> Links:
    return Links(SigningKeys({"k1": SECRET.encode()}), cache=0)


@pytest.fixture
def run() -> Callable[..., Any]:
    """Return a function that runs a plugin's command."""

    def run(plugin: Any, line: str) -> Any:
        group, *arguments = line.split()
        (command,) = [command for command in plugin.extend_cli() if command.name == group]
        return CliRunner().invoke(command, arguments)

    return run


@pytest.fixture
def client(plug: Plug, publish: Publish, links: Links, run: Callable[..., Any]) -> FlaskClient:
    """Return a client of an API where only members may download radar."""
    assets = {key: {"href": f"s3://bucket/{key}"} for key in ("data", "data/inner", "thumbnail", "ä b/ü?")}
    publish(an_item("scene", "radar", assets=assets), an_item("other", "radar"), an_item("scene", "secret"))
    keys, groups = ApiKeys(0), CollectionGroups(cache=0)
    client = plug(links, keys, groups, Shelf())
    for plugin, line in (
        (keys, f"keys create jane --group members --key {KEY}"),
        (keys, f"keys create john --group members --key {OTHER}"),
        (groups, "access grant radar see *"),
        (groups, "access grant radar download members"),
        (groups, "access grant secret see insiders"),
    ):
        assert run(plugin, line).exit_code == 0
    client.application.extensions["tests"] = {"keys": keys, "groups": groups}
    return client


def create(client: FlaskClient, href: str = DATA, headers: dict[str, str] = JANE, **more: Any) -> Any:
    response = client.post("/links", json={"href": href, **more}, headers=headers)
    assert response.status_code == 201, response.text
    return response.json


def path_of(url: str) -> str:
    return url.removeprefix("http://localhost")


def download(client: FlaskClient, path: str, link: str, **more: Any) -> tuple[int, str | None]:
    """Request a path with a link, and return the status and the error code."""
    response = client.get(f"{path}?link={link}", **more)
    return response.status_code, response.json["code"] if response.is_json else None


# --- Targets ---------------------------------------------------------------------------------------------------------


def test_a_link_needs_no_headers(client: FlaskClient) -> None:
    """The URL of a link downloads without headers: by redirect, by stream, by range and by HEAD."""
    assert client.get(DATA).status_code == 401
    path = path_of(create(client)["href"])
    assert client.get(path).status_code == 307
    assert client.get(f"{path}&delivery=stream").data == b"0123456789"
    part = client.get(f"{path}&delivery=stream", headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.data) == (206, b"234")
    head = client.head(path)
    assert (head.status_code, head.headers["Content-Length"]) == (200, "10")


def test_links_to_a_demanded_stream_are_streamed(plug: Plug, client: FlaskClient) -> None:
    """If a decision demands the stream, a link and a signed href open the bytes, not a URL of the store."""

    class Demands:
        @hookimpl
        def authorize(self) -> Decision:
            return Decision.abstain("test", stream=True)

    plugins = client.application.extensions["tests"]
    links = Links(SigningKeys({"k1": SECRET.encode()}), cache=0)
    client = plug(links, plugins["keys"], plugins["groups"], Shelf(), Demands())
    link = create(client, ITEM)["link"]
    signed = client.get(f"{ITEM}?hrefs=signed", headers=JANE).json["assets"]["data"]["href"]
    for path in (f"{DATA}?link={link}", f"/signed/{link}{DATA}", path_of(signed)):
        assert client.get(path).data == b"0123456789"


def test_the_audit_records_the_link(plug: Plug, publish: Publish, client: FlaskClient, database: Database) -> None:
    """The record of a download by a link has the creator and the id of the link; one by a key has the id of the key."""
    audit = create_audit({"STACFLASK_AUDIT_WRITE": "sync"})
    plugins = client.application.extensions["tests"]
    client = plug(
        Links(SigningKeys({"k1": SECRET.encode()}), cache=0), plugins["keys"], plugins["groups"], Shelf(), audit
    )
    link = create(client)
    assert client.get(path_of(link["href"])).status_code == 307
    assert client.get(DATA, headers=JANE).status_code == 307
    with database.write() as connection:
        statement = sa.text("SELECT principal, scheme, credential FROM plugin_audit_events ORDER BY at")
        found = connection.execute(statement).all()
    assert [tuple(row) for row in found] == [("jane", "link", link["id"]), ("jane", "api_key", "00000001")]


def test_a_link_has_only_the_current_further_groups_of_its_creator(plug: Plug, publish: Publish, links: Links) -> None:
    """A group that ``principal_groups`` added when the link was made does not stay with the link."""
    publish(an_item("scene", "radar"))

    class Identity:
        @hookimpl
        def authenticate(self, request: Any) -> Principal | None:
            return Principal("jane", scheme="test", reference="1") if "Authorization" in request.headers else None

        @hookimpl
        def refresh_principal(self, principal: Principal) -> Principal:
            return principal

    class Directory:
        groups = frozenset({"members"})

        @hookimpl
        def principal_groups(self) -> frozenset[str]:
            return self.groups

    class Members:
        @hookimpl
        def authorize(self, principal: Principal) -> Decision | None:
            return Decision.allow("member") if "members" in principal.groups else None

    directory = Directory()
    client = plug(links, Identity(), directory, Members(), Shelf())
    path = path_of(create(client)["href"])
    assert client.get(path).status_code == 307
    directory.groups = frozenset()
    assert client.get(path).status_code == 403


@pytest.mark.parametrize("whole", [True, False])
def test_a_target_is_a_url_or_its_path(client: FlaskClient, whole: bool) -> None:
    """The href of an asset in an item can be sent, or its path, also for keys with slashes and non-ASCII letters."""
    item = client.get(ITEM).json
    for key, asset in item["assets"].items():
        href = asset["href"] if whole else path_of(asset["href"])
        created = create(client, href)
        assert client.get(path_of(created["href"])).status_code == 307, key
        assert created["href"].startswith(f"{asset['href']}?link=sfl.")


@pytest.mark.parametrize(
    ("target", "opened"),
    [
        (DATA, {"data"}),
        (f"{ITEM}/download/data%2Finner", {"data/inner"}),
        (ITEM, {"data", "data/inner", "thumbnail", "other"} - {"other"}),
        ("/collections/radar", {"data", "data/inner", "thumbnail", "other"}),
    ],
)
def test_a_link_opens_its_target(client: FlaskClient, target: str, opened: set[str]) -> None:
    """The link of an asset opens that asset only; the link of an item or a collection opens everything below it."""
    link = create(client, target)["link"]
    for key in ("data", "data/inner", "thumbnail"):
        status, _ = download(client, f"{ITEM}/download/{key.replace('/', '%2F')}", link)
        assert (status == 307) == (key in opened), key
        assert status in (307, 401, 403)
    assert (download(client, "/collections/radar/items/other/download/data", link)[0] == 307) == ("other" in opened)


def test_a_link_opens_downloads_only(client: FlaskClient) -> None:
    """A link cannot be used for items, searches, changes or further links."""
    link = create(client, "/collections/radar")["link"]
    for path in ("/", "/search", "/collections", "/collections/radar", ITEM, "/links", "/collections/radar/items"):
        assert download(client, path, link) == (401, "LinkElsewhere"), path
    for method, path in (("POST", "/links"), ("DELETE", "/links"), ("POST", "/search"), ("POST", DATA)):
        response = client.open(f"{path}?link={link}", method=method, json={"href": DATA})
        assert response.status_code in (401, 405), path


def test_hidden_items_stay_hidden(client: FlaskClient) -> None:
    """A link for a hidden collection can be created, and returns 404, so that it reveals nothing."""
    link = create(client, "/collections/secret")["link"]
    assert download(client, "/collections/secret/items/scene/download/data", link) == (404, "NotFound")
    assert download(client, "/collections/secret/items/nosuch/download/data", link) == (404, "NotFound")


# --- Rights ----------------------------------------------------------------------------------------------------------


def test_a_link_has_the_current_rights_of_its_creator(client: FlaskClient, run: Callable[..., Any]) -> None:
    """Without the creator's grant the link returns 403; with the grant it opens its target again."""
    link = create(client)["link"]
    groups = client.application.extensions["tests"]["groups"]
    assert run(groups, "access grant radar download others").exit_code == 0
    assert run(groups, "access revoke radar download members").exit_code == 0
    assert download(client, DATA, link)[0] == 403
    run(groups, "access grant radar download members")
    assert download(client, DATA, link)[0] == 307


def test_a_link_ends_with_its_creators_key(client: FlaskClient, run: Callable[..., Any]) -> None:
    """After the key that created it is revoked, the link opens nothing."""
    link = create(client)["link"]
    assert run(client.application.extensions["tests"]["keys"], "keys revoke 00000001").exit_code == 0
    assert download(client, DATA, link) == (401, "LinkEnded")


def test_a_key_without_download_creates_no_links(client: FlaskClient, run: Callable[..., Any]) -> None:
    """A key without the scope download cannot create links."""
    key = "sfk_00000003_reader-of-the-tests"
    run(client.application.extensions["tests"]["keys"], f"keys create reader --group members --scope read --key {key}")
    response = client.post("/links", json={"href": DATA}, headers={"Authorization": f"Bearer {key}"})
    assert response.status_code == 403


def test_anonymous_users_have_no_links(client: FlaskClient) -> None:
    """Anonymous users cannot create, list or revoke links."""
    for method in ("POST", "GET", "DELETE"):
        body = {"href": DATA} if method == "POST" else None
        assert client.open("/links", method=method, json=body).status_code == 401


def test_a_principal_that_cannot_be_refreshed_creates_no_links(plug: Plug, publish: Publish, links: Links) -> None:
    """If no plugin can refresh the principal later, no link is created."""

    class Authenticates:
        @hookimpl
        def authenticate(self, request: Any) -> Principal | None:
            return Principal("me", scheme="test") if "Authorization" in request.headers else None

    response = plug(links, Authenticates()).post("/links", json={"href": DATA}, headers=JANE)
    assert (response.status_code, response.json["code"]) == (403, "Forbidden")


def test_a_link_ends_if_its_creators_plugin_is_removed(client: FlaskClient, plug: Plug, links: Links) -> None:
    """Without the plugin that authenticated the creator, the link is invalid, even if everything is open."""
    link = create(client)["link"]

    class Open:
        @hookimpl
        def authorize(self) -> Decision:
            return Decision.allow("test")

    without_keys = plug(links, Open(), Shelf())
    assert without_keys.get(DATA).status_code == 307
    assert download(without_keys, DATA, link) == (401, "LinkEnded")


# --- Signatures ------------------------------------------------------------------------------------------------------


def test_a_wrong_link_is_never_anonymous(
    client: FlaskClient, plug: Plug, links: Links, run: Callable[..., Any]
) -> None:
    """A forged or damaged link is refused, even if everybody may download."""
    run(client.application.extensions["tests"]["groups"], "access grant radar download *")
    assert client.get(DATA).status_code == 307
    good = create(client)["link"]
    head, _, signature = good.rpartition(".")
    foreign = str(SigningKeys({"k1": b"x" * 40}).issue(good.split(".")[2]))
    unknown = str(SigningKeys({"k1": SECRET.encode()}).issue("nosuch"))
    bad = [
        "",
        "x",
        good[:-1],
        good + "A",
        f"{head}.",
        head,
        f"{head}.ZXhwPTE.{signature}",
        foreign,
        unknown,
        "sfl....",
        "ä",
    ]
    for text in [*bad, good.replace("sfl.k1", "sfl.k2"), good.upper(), "sfl." + "a." * 40, "sfl." * 5000]:
        assert download(client, DATA, text) == (401, "InvalidLink"), text


def test_no_caveat_can_be_removed(client: FlaskClient) -> None:
    """A link without a caveat that its holder added, or with other caveats, is invalid."""
    link = parse_link(create(client, "/collections/radar")["link"])
    narrow = link.narrowed([f"at={DATA}", "exp=99999999999"])
    assert download(client, DATA, str(narrow))[0] == 307
    without = str(narrow).split(".")
    for number in (3, 4):
        cut = ".".join(without[:number] + without[number + 1 :])
        assert download(client, DATA, cut) == (401, "InvalidLink")
    assert download(client, DATA, ".".join([*without[:3], without[4], without[3], without[5]])) == (401, "InvalidLink")


def test_signing_keys_are_rotated(client: FlaskClient, plug: Plug) -> None:
    """A link that an older key signed is valid as long as the setting has the key."""
    link = create(client)["link"]
    keys = client.application.extensions["tests"]
    both = Links(SigningKeys({"k2": b"b" * 40, "k1": SECRET.encode()}), cache=0)
    assert download(plug(both, *keys.values(), Shelf()), DATA, link)[0] == 307
    only = Links(SigningKeys({"k2": b"b" * 40}), cache=0)
    assert download(plug(only, *keys.values(), Shelf()), DATA, link) == (401, "InvalidLink")


# --- Narrowing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "caveat", ["", "at=", "at=/", "at=/search", "net=", "net=x", "exp=", "exp=x", "exp=-1", "who=me", "AT=/"]
)
def test_an_unknown_caveat_makes_a_link_invalid(client: FlaskClient, caveat: str) -> None:
    """A link with an unknown or malformed caveat is refused."""
    narrow = parse_link(create(client)["link"]).narrowed([caveat])
    assert download(client, DATA, str(narrow))[0] == 401


def test_the_documented_way_to_narrow_works(client: FlaskClient) -> None:
    """The program in docs/links.md narrows a link without the server."""
    docs = (Path(__file__).parents[2] / "docs" / "links.md").read_text()
    program = docs.partition("```python\n")[2].partition("\n\nnarrow(")[0]
    namespace: dict[str, Any] = {}
    exec(program, namespace)
    narrow = namespace["narrow"](create(client, ITEM)["link"], f"at={DATA}")
    assert download(client, DATA, narrow)[0] == 307
    assert download(client, f"{ITEM}/download/thumbnail", narrow) == (401, "LinkElsewhere")


def test_holders_narrow_by_target_time_and_address(client: FlaskClient) -> None:
    """The holder of a link can narrow it, by the API or without it; earlier caveats still apply."""
    link = create(client, ITEM)["link"]
    response = client.post(
        "/links/narrowed", json={"link": link, "href": DATA, "lifetime": 60, "addresses": ["127.0.0.1"]}
    )
    assert response.status_code == 200, response.text
    narrow = response.json["link"]
    assert response.json["href"] == f"http://localhost{DATA}?link={narrow}"
    assert download(client, DATA, narrow)[0] == 307
    assert download(client, f"{ITEM}/download/thumbnail", narrow) == (401, "LinkElsewhere")
    assert download(client, DATA, narrow, environ_base={"REMOTE_ADDR": "10.0.0.1"}) == (401, "LinkElsewhere")
    wider = str(
        parse_link(narrow).narrowed(caveats(parse_target("/collections/radar"), [ip_network("0.0.0.0/0")], None))
    )
    assert download(client, f"{ITEM}/download/thumbnail", wider) == (401, "LinkElsewhere")
    past = str(parse_link(link).narrowed(caveats(None, [], datetime.now(UTC) - timedelta(seconds=1))))
    assert download(client, DATA, past) == (401, "LinkExpired")
    many = parse_link(link)
    for _ in range(17):
        many = many.narrowed([f"at={DATA}"])
    assert download(client, DATA, str(many)) == (401, "InvalidLink")


# --- Limits ----------------------------------------------------------------------------------------------------------


def test_signed_hrefs_open_their_own_assets(client: FlaskClient, publish: Publish, run: Callable[..., Any]) -> None:
    """On a page of several collections each signed href opens its asset for an hour, and no other asset."""
    publish(an_item("scene", "sonar"), an_item("third", "radar"))
    groups = client.application.extensions["tests"]["groups"]
    for line in ("access grant sonar see *", "access grant sonar download members"):
        assert run(groups, line).exit_code == 0
    features = client.get("/search?hrefs=signed", headers=JANE).json["features"]
    assert {feature["collection"] for feature in features} == {"radar", "sonar"}
    assets = [asset for feature in features for asset in feature["assets"].values()]
    signed = [path_of(asset["href"]).split("?link=") for asset in assets]
    opened = [[client.get(f"{path}?link={link}").status_code for _, link in signed] for path, _ in signed]
    assert [[status == 307 for status in row] for row in opened] == [
        [path == own for own, _ in signed] for path, _ in signed
    ]
    for asset, (_, link) in zip(assets, signed, strict=True):
        announced = datetime.fromisoformat(asset["href:expires"])
        (ends,) = (
            datetime.fromtimestamp(int(text[4:]), UTC) for text in parse_link(link).caveats if text.startswith("exp=")
        )
        assert announced <= ends <= datetime.now(UTC) + timedelta(hours=1)


def test_a_link_is_limited_to_client_networks(client: FlaskClient) -> None:
    """From another address it is refused."""
    link = create(client, addresses=["10.1.0.0/16", "2001:db8::/32"])["link"]
    for address, status in (("10.1.2.3", 307), ("2001:db8::1", 307), ("10.2.0.1", 401), ("", 401), ("::1", 401)):
        assert download(client, DATA, link, environ_base={"REMOTE_ADDR": address})[0] == status, address


def test_a_link_expires(client: FlaskClient, database: Any) -> None:
    """A lifetime is shortened to the setting, and an expired link returns LinkExpired."""
    link = create(client, lifetime=10**9)
    assert datetime.fromisoformat(link["expires"]) <= datetime.now(UTC) + timedelta(days=7)
    import sqlalchemy as sa

    with database.engine.begin() as connection:
        connection.execute(sa.text("UPDATE plugin_links SET expires = now()"))
    assert download(client, DATA, link["link"]) == (401, "LinkExpired")
    assert client.get("/links", headers=JANE).json["links"][0]["state"] == "expired"


def test_a_counted_link_has_a_number_of_downloads(client: FlaskClient) -> None:
    """Only downloads count; HEAD, further ranges of an opened asset and refusals do not."""
    link = create(client, ITEM, downloads=2)["link"]
    path = f"{DATA}?link={link}&delivery=stream"
    later = {"Range": "bytes=5-"}
    assert client.head(path).status_code == 200
    first = client.get(path)
    assert (first.status_code, first.headers["Cache-Control"]) == (200, "no-store")
    assert client.get(path, headers=later).status_code == 206
    assert client.get("/links", headers=JANE).json["links"][0]["used"] == 1
    assert client.get(path.replace("data?", "thumbnail?"), headers=later).status_code == 206
    assert (
        client.get("/links", headers=JANE).json["links"][0] | {"used": 2, "state": "used up"}
        == (client.get("/links", headers=JANE).json["links"][0])
    )
    assert client.get(path, headers=later).status_code == 206
    elsewhere = client.get(path, headers=later, environ_base={"REMOTE_ADDR": "10.0.0.1"})
    assert (elsewhere.status_code, elsewhere.json["code"]) == (403, "LinkUsedUp")
    assert download(client, DATA, link) == (403, "LinkUsedUp")


def test_an_archive_uses_a_counted_link_whole_or_not_at_all(client: FlaskClient) -> None:
    """If an archive has more files than the link has uses left, no use is counted."""
    link = create(client, ITEM, downloads=3)["link"]
    archive = f"{ITEM}/download.zip"
    assert download(client, archive, link) == (403, "LinkUsedUp")
    assert client.get("/links", headers=JANE).json["links"][0]["used"] == 0
    assert download(client, f"{archive}", f"{link}&assets=data,thumbnail") == (200, None)
    assert client.get("/links", headers=JANE).json["links"][0]["used"] == 2


def test_counts_of_concurrent_requests_are_exact(client: FlaskClient) -> None:
    """Of twenty concurrent requests, a link for seven downloads allows seven."""
    link = create(client, downloads=7)["link"]
    app, statuses = client.application, []

    def use() -> None:
        statuses.append(app.test_client().get(f"{DATA}?link={link}").status_code)

    threads = [threading.Thread(target=use) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [307] * 7 + [403] * 13


def test_concurrent_ranges_are_one_use(client: FlaskClient, database: Any) -> None:
    """Concurrent ranges of one asset count as one use, also if none begins at the first byte."""
    import sqlalchemy as sa

    waiting = sa.text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%links%'"
    )
    link = create(client, downloads=1)["link"]
    app, responses = client.application, []

    def use() -> None:
        response = app.test_client().get(f"{DATA}?link={link}&delivery=stream", headers={"Range": "bytes=5-"})
        responses.append((response.status_code, response.data))

    threads = [threading.Thread(target=use) for _ in range(4)]
    with database.write() as holding, database.engine.connect() as watching:
        holding.execute(sa.text("SELECT id FROM plugin_links FOR UPDATE"))
        for thread in threads:
            thread.start()
        waiting_for(lambda: watching.scalar(waiting) >= len(threads))
    for thread in threads:
        thread.join()
    assert responses == [(206, b"56789")] * len(threads)


def stream(client: FlaskClient, link: str, first: int = 0, path: str = DATA) -> int:
    """Stream from byte ``first``, and return the status."""
    headers = {"Range": f"bytes={first}-"} if first else {}
    return client.get(f"{path}?link={link}&delivery=stream", headers=headers).status_code


def test_ranges_of_a_used_up_link_are_bounded(client: FlaskClient) -> None:
    """One opening allows twice the size of the asset: enough to resume a download, not for a second resumption."""
    link = create(client, downloads=1)["link"]
    assert [stream(client, link), stream(client, link, 1), stream(client, link, 9)] == [200, 206, 206]
    assert [stream(client, link, 1), stream(client, link, 9)] == [403, 403]


def test_ranges_beyond_an_opening_are_another_use(client: FlaskClient) -> None:
    """Ranges beyond the bound of an opening count as another use, if there is one left."""
    link = create(client, downloads=2)["link"]
    assert [stream(client, link, 1) for _ in range(5)] == [206, 206, 206, 206, 403]
    assert client.get("/links", headers=JANE).json["links"][0]["used"] == 2


def test_the_bound_of_an_opening_is_exact(client: FlaskClient) -> None:
    """Of six concurrent ranges, as many are allowed as fit into twice the size of the asset."""
    link = create(client, downloads=1)["link"]
    assert stream(client, link) == 200
    app, statuses = client.application, []
    threads = [threading.Thread(target=lambda: statuses.append(stream(app.test_client(), link, 7))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [206] * 3 + [403] * 3


@pytest.mark.parametrize("delivery", ["&delivery=stream", ""])
def test_a_directory_is_one_use(client: FlaskClient, publish: Publish, delivery: str) -> None:
    """All files of a directory asset are one use of a counted link; another directory asset is another use."""
    assets = {key: {"href": f"s3://bucket/{key}/"} for key in ("cube", "cube2")}
    publish(an_item("zarr", "radar", assets=assets))
    down = "/collections/radar/items/zarr/download"
    link = create(client, "/collections/radar/items/zarr", downloads=1)["link"]
    statuses = {client.get(f"{down}/cube/{n}/0.0?link={link}{delivery}").status_code for n in range(30)}
    assert statuses == ({200} if delivery else {307})
    assert client.get("/links", headers=JANE).json["links"][0]["used"] == 1
    assert client.get(f"{down}/cube2/0?link={link}{delivery}").status_code == 403


def test_each_file_of_a_directory_is_bounded(client: FlaskClient, publish: Publish) -> None:
    """One opening allows each file of a directory twice, independent of the others."""
    publish(an_item("zarr", "radar", assets={"cube": {"href": "s3://bucket/cube/"}}))
    down = "/collections/radar/items/zarr/download/cube"
    link = create(client, "/collections/radar/items/zarr", downloads=1)["link"]
    assert [stream(client, link, path=f"{down}/a") for _ in range(3)] == [200, 200, 403]
    assert stream(client, link, path=f"{down}/b") == 200


# --- In the path -----------------------------------------------------------------------------------------------------


@pytest.fixture
def cube(client: FlaskClient, publish: Publish) -> str:
    """Publish a directory asset, and return its download path."""
    publish(an_item("zarr", "radar", assets={"cube": {"href": "s3://bucket/cube/"}}))
    return "/collections/radar/items/zarr/download/cube"


def test_paths_are_appended_to_a_link_in_the_path(client: FlaskClient, cube: str) -> None:
    """A path that is appended to the base of a link downloads without headers or query: GET, HEAD and range."""
    base = path_of(create(client, cube)["base"])
    assert base.endswith(cube)
    for name in (".zgroup", "band/0.0", "\u00e4 b/%3F"):
        assert client.get(f"{base}/{name}").status_code == 307
        assert client.head(f"{base}/{name}").status_code == 200
    ranged = client.get(f"{base}/a?delivery=stream", headers={"Range": "bytes=2-3"})
    assert (ranged.status_code, ranged.data) == (206, b"23")


def test_a_link_in_the_path_has_the_same_limits(client: FlaskClient, cube: str, database: Database) -> None:
    """Target, count, revocation and form are checked as for a link in the query; only downloads are open."""
    counted = create(client, cube, downloads=1)
    base = path_of(counted["base"])
    elsewhere = base.removesuffix(cube) + DATA
    codes = {path: client.get(path).json["code"] for path in (elsewhere, base.removesuffix(cube) + ITEM)}
    assert set(codes.values()) == {"LinkElsewhere"}
    assert [client.get(f"{base}/a?delivery=stream").status_code for _ in range(3)] == [200, 200, 403]
    assert client.get(f"{base[:-1]}?link={create(client)['link']}").json["code"] == "InvalidLink"
    assert client.get(base.replace("/signed/sfl", "/signed/xyz")).json["code"] == "InvalidLink"
    other = path_of(create(client, cube)["base"])
    assert client.delete("/links", headers=JANE).status_code == 200
    assert client.get(f"{other}/a").json["code"] == "LinkRevoked"


def test_an_unknown_token_in_the_path_is_refused(plug: Plug, publish: Publish) -> None:
    """Without the plugin, a request with a token in its path is not anonymous."""
    from plugins import open_access

    publish(an_item("scene", "radar"))
    client = plug(open_access, Shelf())
    assert client.get(DATA).status_code == 307
    assert client.get(f"/signed/whatever{DATA}").status_code == 401


def test_no_link_in_a_path_is_logged(client: FlaskClient, cube: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a valid nor an invalid link in a path is logged."""
    link = create(client, cube)["link"]
    with caplog.at_level("DEBUG"):
        for path in (f"{cube}/a", "/nosuch", "", "/", cube):
            client.get(f"/signed/{link}{path}")
    assert caplog.records
    assert not [record for record in caplog.records if link[:20] in repr(record.__dict__)]


# --- Lists and revocation --------------------------------------------------------------------------------------------


def test_a_link_lasts_no_longer_than_its_creators_credential(client: FlaskClient, run: Callable[..., Any]) -> None:
    """The expiry of a link or a signed href is at most that of its creator's key."""
    key = "sfk_00000003_jack-of-the-tests"
    jack = {"Authorization": f"Bearer {key}"}
    ends = datetime.now(UTC) + timedelta(minutes=10)
    line = f"keys create jack --group members --key {key} --expires {ends:%Y-%m-%dT%H:%M:%S}"
    assert run(client.application.extensions["tests"]["keys"], line).exit_code == 0
    assert datetime.fromisoformat(create(client, headers=jack, lifetime=3600)["expires"]) <= ends
    for _ in range(2):
        item = client.get(f"{ITEM}?hrefs=signed", headers=jack).json
        assert all(datetime.fromisoformat(asset["href:expires"]) <= ends for asset in item["assets"].values())
    listed = client.get("/links", headers=jack).json["links"]
    assert len(listed) == 2
    assert all(datetime.fromisoformat(link["expires"]) <= ends for link in listed)


def test_signed_hrefs_use_no_revoked_link(client: FlaskClient, links: Links) -> None:
    """After the links of a principal were revoked or deleted, signed hrefs have new links, which open."""

    def signed_href() -> str:
        return path_of(client.get(f"{ITEM}?hrefs=signed", headers=JANE).json["assets"]["thumbnail"]["href"])

    first = signed_href()
    assert client.get(first).status_code == 307
    assert len(client.delete("/links", headers=JANE).json["revoked"]) == 1
    assert client.get(first).json["code"] == "LinkRevoked"
    assert client.get(signed_href()).status_code == 307
    assert links.table.prune(-30) == 2
    assert client.get(signed_href()).status_code == 307


def test_creators_list_and_revoke_their_own_links(client: FlaskClient) -> None:
    """A creator lists and revokes only their own links, one or all; the list has no link text."""
    first, second = create(client, note="for Ann"), create(client, ITEM)
    johns = create(client, headers=JOHN)
    listed = client.get("/links", headers=JANE)
    assert [link["id"] for link in listed.json["links"]] == [second["id"], first["id"]]
    assert listed.json["links"][1]["note"] == "for Ann"
    assert first["link"].rpartition(".")[2] not in listed.text
    assert client.delete(f"/links/{first['id']}", headers=JOHN).status_code == 404
    assert client.delete(f"/links/{first['id']}", headers=JANE).json == {"revoked": [first["id"]]}
    assert download(client, DATA, first["link"]) == (401, "LinkRevoked")
    assert download(client, DATA, second["link"])[0] == 307
    assert client.delete("/links", headers=JANE).json == {"revoked": [second["id"]]}
    assert download(client, DATA, second["link"]) == (401, "LinkRevoked")
    assert download(client, DATA, johns["link"])[0] == 307


def test_operators_list_and_revoke_all_links(client: FlaskClient, links: Links, run: Callable[..., Any]) -> None:
    """The commands list links, revoke them by id or by creator, and delete old ones."""
    first, second = create(client), create(client, headers=JOHN)
    output = run(links, "links list").output
    assert first["id"] in output
    assert "john" in output
    assert second["link"].rpartition(".")[2] not in output
    assert "jane" not in run(links, "links list --principal john").output
    assert run(links, f"links revoke {first['id']}").exit_code == 0
    assert run(links, "links revoke --principal john").exit_code == 0
    assert run(links, "links revoke --principal john").exit_code == 1
    assert run(links, "links revoke").exit_code == 2
    for link in (first, second):
        assert download(client, DATA, link["link"]) == (401, "LinkRevoked")
    assert run(links, "links prune").exit_code == 0


def test_a_generated_key_is_accepted(links: Links, run: Callable[..., Any]) -> None:
    """The output of `links key` is a valid value of the setting."""
    assert isinstance(read_keys(KEYS, run(links, "links key").output.strip()), SigningKeys)
    assert run(links, "links key a.b").exit_code == 2


# --- Errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({}, "/href"),
        ({"href": 1}, "/href"),
        ({"href": "https://elsewhere.example.org/collections/radar"}, "/href"),
        ({"href": "/search"}, "/href"),
        ({"href": "/collections/"}, "/href"),
        ({"href": "/collections/a/b"}, "/href"),
        ({"href": "/collections/%ff"}, "/href"),
        ({"href": "/collections/a%00"}, "/href"),
        ({"href": DATA, "lifetime": 0}, "/lifetime"),
        ({"href": DATA, "lifetime": "1h"}, "/lifetime"),
        ({"href": DATA, "lifetime": True}, "/lifetime"),
        ({"href": DATA, "downloads": -1}, "/downloads"),
        ({"href": DATA, "downloads": 1.5}, "/downloads"),
        ({"href": DATA, "addresses": "10.0.0.1"}, "/addresses"),
        ({"href": DATA, "addresses": ["x"]}, "/addresses"),
        ({"href": DATA, "addresses": ["10.0.0.1"] * 65}, "/addresses"),
        ({"href": DATA, "note": "\0"}, "/note"),
        ({"href": DATA, "note": "\x1b[2J"}, "/note"),
        ({"href": DATA, "expires": 1}, "/expires"),
    ],
)
def test_a_wrong_link_request_is_400(client: FlaskClient, members: dict[str, Any], pointer: str) -> None:
    """The error has the JSON pointer of the wrong member, and no link is created."""
    response = client.post("/links", json=members, headers=JANE)
    assert (response.status_code, response.json["code"]) == (400, "InvalidDocument")
    assert response.json["description"].startswith(pointer)
    assert client.get("/links", headers=JANE).json["links"] == []


@pytest.mark.parametrize(
    "members",
    [{}, {"link": "x", "lifetime": 1}, {"link": 1}, {"link": "sfl.a.b.c"}, {"link": "sfl.a.b.é", "lifetime": 1}],
)
def test_a_wrong_narrowing_is_400(client: FlaskClient, members: dict[str, Any]) -> None:
    """A text that is no link cannot be narrowed."""
    assert client.post("/links/narrowed", json=members).status_code == 400


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (KEYS, ""),
        (KEYS, "short:secret"),
        (KEYS, SECRET),
        (KEYS, f"a:{SECRET},a:{SECRET}"),
        (MAX_LIFETIME, "x"),
        (CACHE, "x"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    """A wrong value prevents the start; the error names the variable and has no secret."""
    with pytest.raises(SettingError, match=f"^{name}: ") as error:
        create_plugin({KEYS: f"k:{SECRET}", name: value})
    assert SECRET not in str(error.value)


def test_the_parameter_is_described(client: FlaskClient) -> None:
    """The parameter is a security scheme in OpenAPI, and not a challenge in WWW-Authenticate."""
    scheme = client.get("/api").json["components"]["securitySchemes"]["downloadLink"]
    assert (scheme["in"], scheme["name"]) == ("query", "link")
    assert all(value for value in client.get(DATA).headers.getlist("WWW-Authenticate"))


def test_no_link_is_logged(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    """Neither creation nor use logs a link, valid or invalid; the id of a used link is logged."""
    caplog.set_level("DEBUG")
    created = create(client)
    link = created["link"]
    download(client, DATA, link)
    download(client, DATA, link + "x")
    assert [record.link for record in caplog.records if hasattr(record, "link")] == [created["id"]]
    assert link.rpartition(".")[2] not in "".join(str(vars(record)) for record in caplog.records)


def test_a_target_covers_everything_below_it() -> None:
    """A target in a directory asset covers the files below it, and no others."""

    def zarr(path: str, key: str = "zarr") -> Asset:
        return Asset("c", "i", key, "s3://b/z/", path=path)

    below = Target("c", "i", "zarr/band/0")
    assert below.covers(zarr("band/0"))
    assert below.covers(zarr("band/0/1"))
    assert not below.covers(zarr("band/01"))
    assert not below.covers(zarr("band"))
    assert not below.covers(zarr(""))
    assert not below.covers(zarr("band/0", key="other"))
    assert Target("c", "i", "zarr").covers(zarr("band/0"))
    assert not Target("c").covers(Asset("d", None, "k", "s3://b/k"))
    assert Target("c").covers(Asset("c", None, "k", "s3://b/k"))
    assert not Target("c", None, "k").covers(Asset("c", "i", "k", "s3://b/k"))


def test_a_chain_of_caveats_is_verified() -> None:
    """A link with caveats is verified; with a changed signature it is refused."""
    keys = SigningKeys({"k": SECRET.encode()})
    link = keys.issue("id").narrowed(["exp=1", "at=/collections/c"])
    keys.verify(parse_link(str(link)))
    with pytest.raises(BadCredentials):
        keys.verify(parse_link(str(link)[:-2]))
