"""Download links: what they open, what they are worth, how they end."""

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
from plugins.links import CACHE, KEYS, LONGEST, Links, create_plugin
from plugins.links.tokens import Keys, Place, caveats, place_of, read, read_keys
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
    return Links(Keys({"k1": SECRET.encode()}), cache=0)


@pytest.fixture
def run() -> Callable[..., Any]:
    """Run a plugin's command."""

    def run(plugin: Any, line: str) -> Any:
        group, *arguments = line.split()
        (command,) = [command for command in plugin.extend_cli() if command.name == group]
        return CliRunner().invoke(command, arguments)

    return run


@pytest.fixture
def client(plug: Plug, publish: Publish, links: Links, run: Callable[..., Any]) -> FlaskClient:
    """Give a house where members may download radar, and nobody else may."""
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


def made(client: FlaskClient, href: str = DATA, headers: dict[str, str] = JANE, **more: Any) -> Any:
    answer = client.post("/links", json={"href": href, **more}, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json


def path_of(address: str) -> str:
    return address.removeprefix("http://localhost")


def used(client: FlaskClient, path: str, link: str, **more: Any) -> tuple[int, str | None]:
    """Use a link at an address; give status and the error's code."""
    answer = client.get(f"{path}?link={link}", **more)
    return answer.status_code, answer.json["code"] if answer.is_json else None


# --- What they open --------------------------------------------------------------------------------------------------


def test_a_link_needs_no_headers(client: FlaskClient) -> None:
    """What the maker may download, the link's address downloads: by redirect, by stream, by range and by HEAD."""
    assert client.get(DATA).status_code == 401
    address = path_of(made(client)["href"])
    assert client.get(address).status_code == 307
    assert client.get(f"{address}&delivery=stream").data == b"0123456789"
    part = client.get(f"{address}&delivery=stream", headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.data) == (206, b"234")
    head = client.head(address)
    assert (head.status_code, head.headers["Content-Length"]) == (200, "10")


def test_the_audit_tells_by_which_link(plug: Plug, publish: Publish, client: FlaskClient, database: Database) -> None:
    """What is taken by a link is its maker's, and the record says by which link or key."""
    audit = create_audit({"STACFLASK_AUDIT_WRITE": "sync"})
    plugins = client.application.extensions["tests"]
    client = plug(Links(Keys({"k1": SECRET.encode()}), cache=0), plugins["keys"], plugins["groups"], Shelf(), audit)
    link = made(client)
    assert client.get(path_of(link["href"])).status_code == 307
    assert client.get(DATA, headers=JANE).status_code == 307
    with database.write() as connection:
        found = connection.execute(sa.text("SELECT principal, scheme, credential FROM plugin_audit ORDER BY at")).all()
    assert [tuple(row) for row in found] == [("jane", "link", link["id"]), ("jane", "api_key", "00000001")]


@pytest.mark.parametrize("whole", [True, False])
def test_any_spelling_of_an_address_is_taken(client: FlaskClient, whole: bool) -> None:
    """An href as it stands in an item can be given, or its path; keys with slashes and letters included."""
    item = client.get(ITEM).json
    for key, asset in item["assets"].items():
        href = asset["href"] if whole else path_of(asset["href"])
        made_for = made(client, href)
        assert client.get(path_of(made_for["href"])).status_code == 307, key
        assert made_for["href"].startswith(f"{asset['href']}?link=sfl.")


@pytest.mark.parametrize(
    ("place", "opened"),
    [
        (DATA, {"data"}),
        (f"{ITEM}/download/data%2Finner", {"data/inner"}),
        (ITEM, {"data", "data/inner", "thumbnail", "other"} - {"other"}),
        ("/collections/radar", {"data", "data/inner", "thumbnail", "other"}),
    ],
)
def test_a_link_opens_what_it_was_made_for(client: FlaskClient, place: str, opened: set[str]) -> None:
    """An asset's link opens that asset and none whose key begins alike; an item's or collection's, all below."""
    link = made(client, place)["link"]
    for key in ("data", "data/inner", "thumbnail"):
        status, _ = used(client, f"{ITEM}/download/{key.replace('/', '%2F')}", link)
        assert (status == 307) == (key in opened), key
        assert status in (307, 401, 403)
    assert (used(client, "/collections/radar/items/other/download/data", link)[0] == 307) == ("other" in opened)


def test_a_link_opens_downloads_only(client: FlaskClient) -> None:
    """It shows no item, finds nothing, changes nothing, and makes no further links."""
    link = made(client, "/collections/radar")["link"]
    for path in ("/", "/search", "/collections", "/collections/radar", ITEM, "/links", "/collections/radar/items"):
        assert used(client, path, link) == (401, "LinkElsewhere"), path
    for method, path in (("POST", "/links"), ("DELETE", "/links"), ("POST", "/search"), ("POST", DATA)):
        answer = client.open(f"{path}?link={link}", method=method, json={"href": DATA})
        assert answer.status_code in (401, 405), path


def test_hidden_things_stay_hidden(client: FlaskClient) -> None:
    """A link for what its maker may not see can be made, and finds nothing: it tells no more than an address would."""
    link = made(client, "/collections/secret")["link"]
    assert used(client, "/collections/secret/items/scene/download/data", link) == (404, "NotFound")
    assert used(client, "/collections/secret/items/nosuch/download/data", link) == (404, "NotFound")


# --- What they are worth ---------------------------------------------------------------------------------------------


def test_a_link_is_worth_what_its_maker_is_now(client: FlaskClient, run: Callable[..., Any]) -> None:
    """When the maker's rights end so does what the link opens, and when they come back it opens again."""
    link = made(client)["link"]
    groups = client.application.extensions["tests"]["groups"]
    assert run(groups, "access grant radar download others").exit_code == 0
    assert run(groups, "access revoke radar download members").exit_code == 0
    assert used(client, DATA, link)[0] == 403
    run(groups, "access grant radar download members")
    assert used(client, DATA, link)[0] == 307


def test_a_link_ends_with_its_makers_key(client: FlaskClient, run: Callable[..., Any]) -> None:
    """Once the key that made it is revoked, the link opens nothing."""
    link = made(client)["link"]
    assert run(client.application.extensions["tests"]["keys"], "keys revoke 00000001").exit_code == 0
    assert used(client, DATA, link) == (401, "LinkEnded")


def test_a_link_is_narrower_than_its_makers_key(client: FlaskClient, run: Callable[..., Any]) -> None:
    """A key that is not meant for downloads makes no links."""
    key = "sfk_00000003_reader-of-the-tests"
    run(client.application.extensions["tests"]["keys"], f"keys create reader --group members --scope read --key {key}")
    answer = client.post("/links", json={"href": DATA}, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 403


def test_nobody_makes_no_links(client: FlaskClient) -> None:
    """Who has not said who they are cannot make, see or revoke any."""
    for method in ("POST", "GET", "DELETE"):
        body = {"href": DATA} if method == "POST" else None
        assert client.open("/links", method=method, json=body).status_code == 401


def test_a_maker_nobody_can_recall_makes_no_links(plug: Plug, publish: Publish, links: Links) -> None:
    """Where no plugin could say later who the maker is, no link is made."""

    class Somebody:
        @hookimpl
        def authenticate(self, request: Any) -> Principal | None:
            return Principal("me", scheme="test") if "Authorization" in request.headers else None

    answer = plug(links, Somebody()).post("/links", json={"href": DATA}, headers=JANE)
    assert (answer.status_code, answer.json["code"]) == (403, "Forbidden")


def test_a_link_fails_closed_where_nobody_vouches_any_more(client: FlaskClient, plug: Plug, links: Links) -> None:
    """A deployment that drops the plugin of the maker's credential drops what was made by it, even if all is open."""
    link = made(client)["link"]

    class Open:
        @hookimpl
        def authorize(self) -> Decision:
            return Decision.allow("test")

    bare = plug(links, Open(), Shelf())
    assert bare.get(DATA).status_code == 307
    assert used(bare, DATA, link) == (401, "LinkEnded")


# --- How they are told from forged ones ------------------------------------------------------------------------------


def test_a_wrong_link_is_never_anonymous(
    client: FlaskClient, plug: Plug, links: Links, run: Callable[..., Any]
) -> None:
    """Where all is open to everybody, a forged, cut or foreign link is refused still."""
    run(client.application.extensions["tests"]["groups"], "access grant radar download *")
    assert client.get(DATA).status_code == 307
    good = made(client)["link"]
    head, _, signature = good.rpartition(".")
    foreign = str(Keys({"k1": b"x" * 40}).issue(good.split(".")[2]))
    unknown = str(Keys({"k1": SECRET.encode()}).issue("nosuch"))
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
        assert used(client, DATA, text) == (401, "InvalidLink"), text


def test_no_caveat_can_be_taken_off(client: FlaskClient) -> None:
    """What a holder added stays: the link without it, or with another in its place, is not valid."""
    link = read(made(client, "/collections/radar")["link"])
    narrow = link.narrowed([f"at={DATA}", "exp=99999999999"])
    assert used(client, DATA, str(narrow))[0] == 307
    without = str(narrow).split(".")
    for number in (3, 4):
        cut = ".".join(without[:number] + without[number + 1 :])
        assert used(client, DATA, cut) == (401, "InvalidLink")
    assert used(client, DATA, ".".join([*without[:3], without[4], without[3], without[5]])) == (401, "InvalidLink")


def test_keys_are_put_in_each_others_place(client: FlaskClient, plug: Plug) -> None:
    """A link signed by an older key holds as long as the key is named, and not longer."""
    link = made(client)["link"]
    keys = client.application.extensions["tests"]
    both = Links(Keys({"k2": b"b" * 40, "k1": SECRET.encode()}), cache=0)
    assert used(plug(both, *keys.values(), Shelf()), DATA, link)[0] == 307
    only = Links(Keys({"k2": b"b" * 40}), cache=0)
    assert used(plug(only, *keys.values(), Shelf()), DATA, link) == (401, "InvalidLink")


# --- Narrowing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "caveat", ["", "at=", "at=/", "at=/search", "net=", "net=x", "exp=", "exp=x", "exp=-1", "who=me", "AT=/"]
)
def test_an_unknown_caveat_opens_nothing(client: FlaskClient, caveat: str) -> None:
    """What is not understood is not passed over: the link is not valid."""
    narrow = read(made(client)["link"]).narrowed([caveat])
    assert used(client, DATA, str(narrow))[0] == 401


def test_the_documented_way_to_narrow_works(client: FlaskClient) -> None:
    """What docs/links.md shows narrows a link without asking the server."""
    docs = (Path(__file__).parents[2] / "docs" / "links.md").read_text()
    program = docs.partition("```python\n")[2].partition("\n\nnarrow(")[0]
    names_of: dict[str, Any] = {}
    exec(program, names_of)
    narrow = names_of["narrow"](made(client, ITEM)["link"], f"at={DATA}")
    assert used(client, DATA, narrow)[0] == 307
    assert used(client, f"{ITEM}/download/thumbnail", narrow) == (401, "LinkElsewhere")


def test_holders_narrow_by_place_time_and_address(client: FlaskClient) -> None:
    """Anyone who holds a link can narrow it, by the API or without it; all that was said before holds still."""
    link = made(client, ITEM)["link"]
    answer = client.post(
        "/links/narrowed", json={"link": link, "href": DATA, "lifetime": 60, "addresses": ["127.0.0.1"]}
    )
    assert answer.status_code == 200, answer.text
    narrow = answer.json["link"]
    assert answer.json["href"] == f"http://localhost{DATA}?link={narrow}"
    assert used(client, DATA, narrow)[0] == 307
    assert used(client, f"{ITEM}/download/thumbnail", narrow) == (401, "LinkElsewhere")
    assert used(client, DATA, narrow, environ_base={"REMOTE_ADDR": "10.0.0.1"}) == (401, "LinkElsewhere")
    wider = str(read(narrow).narrowed(caveats(place_of("/collections/radar"), [ip_network("0.0.0.0/0")], None)))
    assert used(client, f"{ITEM}/download/thumbnail", wider) == (401, "LinkElsewhere")
    past = str(read(link).narrowed(caveats(None, [], datetime.now(UTC) - timedelta(seconds=1))))
    assert used(client, DATA, past) == (401, "LinkExpired")
    many = read(link)
    for _ in range(17):
        many = many.narrowed([f"at={DATA}"])
    assert used(client, DATA, str(many)) == (401, "InvalidLink")


# --- Limits ----------------------------------------------------------------------------------------------------------


def test_lent_addresses_are_good_for_their_own_assets(
    client: FlaskClient, publish: Publish, run: Callable[..., Any]
) -> None:
    """On a page of several collections each lent address opens its asset for an hour, and none of the others."""
    publish(an_item("scene", "sonar"), an_item("third", "radar"))
    groups = client.application.extensions["tests"]["groups"]
    for line in ("access grant sonar see *", "access grant sonar download members"):
        assert run(groups, line).exit_code == 0
    features = client.get("/search?hrefs=signed", headers=JANE).json["features"]
    assert {feature["collection"] for feature in features} == {"radar", "sonar"}
    assets = [asset for feature in features for asset in feature["assets"].values()]
    lent = [path_of(asset["href"]).split("?link=") for asset in assets]
    opened = [[client.get(f"{path}?link={link}").status_code for _, link in lent] for path, _ in lent]
    assert [[status == 307 for status in row] for row in opened] == [
        [path == own for own, _ in lent] for path, _ in lent
    ]
    for asset, (_, link) in zip(assets, lent, strict=True):
        told = datetime.fromisoformat(asset["href:expires"])
        (ends,) = (datetime.fromtimestamp(int(text[4:]), UTC) for text in read(link).caveats if text.startswith("exp="))
        assert told <= ends <= datetime.now(UTC) + timedelta(hours=1)


def test_a_link_is_good_from_its_addresses(client: FlaskClient) -> None:
    """From elsewhere it is refused."""
    link = made(client, addresses=["10.1.0.0/16", "2001:db8::/32"])["link"]
    for address, status in (("10.1.2.3", 307), ("2001:db8::1", 307), ("10.2.0.1", 401), ("", 401), ("::1", 401)):
        assert used(client, DATA, link, environ_base={"REMOTE_ADDR": address})[0] == status, address


def test_a_link_ends_in_time(client: FlaskClient, database: Any) -> None:
    """After its lifetime, which the deployment clamps, it says that it has expired."""
    link = made(client, lifetime=10**9)
    assert datetime.fromisoformat(link["expires"]) <= datetime.now(UTC) + timedelta(days=7)
    import sqlalchemy as sa

    with database.engine.begin() as connection:
        connection.execute(sa.text("UPDATE plugin_links SET expires = now()"))
    assert used(client, DATA, link["link"]) == (401, "LinkExpired")
    assert client.get("/links", headers=JANE).json["links"][0]["state"] == "expired"


def test_a_counted_link_is_used_so_often(client: FlaskClient) -> None:
    """So many downloads, and not one more; HEAD and further ranges of what was opened are free, and refusals too."""
    link = made(client, ITEM, downloads=2)["link"]
    address = f"{DATA}?link={link}&delivery=stream"
    later = {"Range": "bytes=5-"}
    assert client.head(address).status_code == 200
    first = client.get(address)
    assert (first.status_code, first.headers["Cache-Control"]) == (200, "no-store")
    assert client.get(address, headers=later).status_code == 206
    assert client.get("/links", headers=JANE).json["links"][0]["used"] == 1
    assert client.get(address.replace("data?", "thumbnail?"), headers=later).status_code == 206
    assert (
        client.get("/links", headers=JANE).json["links"][0] | {"used": 2, "state": "used up"}
        == (client.get("/links", headers=JANE).json["links"][0])
    )
    assert client.get(address, headers=later).status_code == 206
    elsewhere = client.get(address, headers=later, environ_base={"REMOTE_ADDR": "10.0.0.1"})
    assert (elsewhere.status_code, elsewhere.json["code"]) == (403, "LinkUsedUp")
    assert used(client, DATA, link) == (403, "LinkUsedUp")


def test_an_archive_uses_a_counted_link_whole_or_not_at_all(client: FlaskClient) -> None:
    """Where fewer uses are left than an archive has files, none is used."""
    link = made(client, ITEM, downloads=3)["link"]
    archive = f"{ITEM}/download.zip"
    assert used(client, archive, link) == (403, "LinkUsedUp")
    assert client.get("/links", headers=JANE).json["links"][0]["used"] == 0
    assert used(client, f"{archive}", f"{link}&assets=data,thumbnail") == (200, None)
    assert client.get("/links", headers=JANE).json["links"][0]["used"] == 2


def test_counts_are_exact_however_many_come_at_once(client: FlaskClient) -> None:
    """Of twenty at once, a link that is good for seven lets seven pass."""
    link = made(client, downloads=7)["link"]
    app, passed = client.application, []

    def use() -> None:
        passed.append(app.test_client().get(f"{DATA}?link={link}").status_code)

    threads = [threading.Thread(target=use) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(passed) == [307] * 7 + [403] * 13


def test_ranges_that_come_at_once_are_one_use(client: FlaskClient, database: Any) -> None:
    """Programs that read by several ranges at once, none of which begins at the first byte, use a link once."""
    import sqlalchemy as sa

    waiting = sa.text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%links%'"
    )
    link = made(client, downloads=1)["link"]
    app, passed = client.application, []

    def use() -> None:
        answer = app.test_client().get(f"{DATA}?link={link}&delivery=stream", headers={"Range": "bytes=5-"})
        passed.append((answer.status_code, answer.data))

    threads = [threading.Thread(target=use) for _ in range(4)]
    with database.write() as holding, database.engine.connect() as watching:
        holding.execute(sa.text("SELECT id FROM plugin_links FOR UPDATE"))
        for thread in threads:
            thread.start()
        waiting_for(lambda: watching.scalar(waiting) >= len(threads))
    for thread in threads:
        thread.join()
    assert passed == [(206, b"56789")] * len(threads)


def taken(client: FlaskClient, link: str, first: int = 0, path: str = DATA) -> int:
    """Stream from a byte on; give the status."""
    headers = {"Range": f"bytes={first}-"} if first else {}
    return client.get(f"{path}?link={link}&delivery=stream", headers=headers).status_code


def test_ranges_of_a_used_up_link_are_bounded(client: FlaskClient) -> None:
    """Of one opening, no more than twice the asset's size is given: a broken transfer is resumed, a second is not."""
    link = made(client, downloads=1)["link"]
    assert [taken(client, link), taken(client, link, 1), taken(client, link, 9)] == [200, 206, 206]
    assert [taken(client, link, 1), taken(client, link, 9)] == [403, 403]


def test_ranges_beyond_an_opening_are_another_use(client: FlaskClient) -> None:
    """Where uses are left, one is taken then, and is good for as much."""
    link = made(client, downloads=2)["link"]
    assert [taken(client, link, 1) for _ in range(5)] == [206, 206, 206, 206, 403]
    assert client.get("/links", headers=JANE).json["links"][0]["used"] == 2


def test_bounds_of_an_opening_are_exact(client: FlaskClient) -> None:
    """Of six ranges that come at once, as many pass as fit into twice the asset's size."""
    link = made(client, downloads=1)["link"]
    assert taken(client, link) == 200
    app, statuses = client.application, []
    threads = [threading.Thread(target=lambda: statuses.append(taken(app.test_client(), link, 7))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [206] * 3 + [403] * 3


@pytest.mark.parametrize("delivery", ["&delivery=stream", ""])
def test_a_directory_is_one_use(client: FlaskClient, publish: Publish, delivery: str) -> None:
    """All files of a directory asset are one use of a counted link, and no other directory is."""
    assets = {key: {"href": f"s3://bucket/{key}/"} for key in ("cube", "cube2")}
    publish(an_item("zarr", "radar", assets=assets))
    down = "/collections/radar/items/zarr/download"
    link = made(client, "/collections/radar/items/zarr", downloads=1)["link"]
    passed = {client.get(f"{down}/cube/{n}/0.0?link={link}{delivery}").status_code for n in range(30)}
    assert passed == ({200} if delivery else {307})
    assert client.get("/links", headers=JANE).json["links"][0]["used"] == 1
    assert client.get(f"{down}/cube2/0?link={link}{delivery}").status_code == 403


def test_each_file_of_a_directory_is_bounded(client: FlaskClient, publish: Publish) -> None:
    """Of a used-up link, each file is given twice in an opening, and the others still are."""
    publish(an_item("zarr", "radar", assets={"cube": {"href": "s3://bucket/cube/"}}))
    down = "/collections/radar/items/zarr/download/cube"
    link = made(client, "/collections/radar/items/zarr", downloads=1)["link"]
    assert [taken(client, link, path=f"{down}/a") for _ in range(3)] == [200, 200, 403]
    assert taken(client, link, path=f"{down}/b") == 200


# --- In the path -----------------------------------------------------------------------------------------------------


@pytest.fixture
def cube(client: FlaskClient, publish: Publish) -> str:
    """Publish a directory asset; give its download address."""
    publish(an_item("zarr", "radar", assets={"cube": {"href": "s3://bucket/cube/"}}))
    return "/collections/radar/items/zarr/download/cube"


def test_paths_are_appended_to_a_link_in_the_path(client: FlaskClient, cube: str) -> None:
    """What is appended to the base of a link is opened without headers or query, by GET, HEAD and range."""
    base = path_of(made(client, cube)["base"])
    assert base.endswith(cube)
    for name in (".zgroup", "band/0.0", "\u00e4 b/%3F"):
        assert client.get(f"{base}/{name}").status_code == 307
        assert client.head(f"{base}/{name}").status_code == 200
    ranged = client.get(f"{base}/a?delivery=stream", headers={"Range": "bytes=2-3"})
    assert (ranged.status_code, ranged.data) == (206, b"23")


def test_a_link_in_the_path_has_the_same_limits(client: FlaskClient, cube: str, database: Database) -> None:
    """Place, count, revocation and form are checked as in the query, and nothing but downloads is opened."""
    counted = made(client, cube, downloads=1)
    base = path_of(counted["base"])
    elsewhere = base.removesuffix(cube) + DATA
    codes = {path: client.get(path).json["code"] for path in (elsewhere, base.removesuffix(cube) + ITEM)}
    assert set(codes.values()) == {"LinkElsewhere"}
    assert [client.get(f"{base}/a?delivery=stream").status_code for _ in range(3)] == [200, 200, 403]
    assert client.get(f"{base[:-1]}?link={made(client)['link']}").json["code"] == "InvalidLink"
    assert client.get(base.replace("/signed/sfl", "/signed/xyz")).json["code"] == "InvalidLink"
    other = path_of(made(client, cube)["base"])
    assert client.delete("/links", headers=JANE).status_code == 200
    assert client.get(f"{other}/a").json["code"] == "LinkRevoked"


def test_a_token_that_no_plugin_knows_is_refused(plug: Plug, publish: Publish) -> None:
    """Without the plugin, an address with a token in its path is never that of a client without credentials."""
    from plugins import open_access

    publish(an_item("scene", "radar"))
    client = plug(open_access, Shelf())
    assert client.get(DATA).status_code == 307
    assert client.get(f"/signed/whatever{DATA}").status_code == 401


def test_no_link_in_a_path_is_logged(client: FlaskClient, cube: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a good nor a wrong one stands in the log, whatever the path behind it."""
    link = made(client, cube)["link"]
    with caplog.at_level("DEBUG"):
        for path in (f"{cube}/a", "/nosuch", "", "/", cube):
            client.get(f"/signed/{link}{path}")
    assert caplog.records
    assert not [record for record in caplog.records if link[:20] in repr(record.__dict__)]


# --- Lists and ends --------------------------------------------------------------------------------------------------


def test_a_link_lasts_no_longer_than_its_makers_credential(client: FlaskClient, run: Callable[..., Any]) -> None:
    """What is told of the end of a link, and of an address that was lent, is true: it ends with its maker's key."""
    key = "sfk_00000003_jack-of-the-tests"
    jack = {"Authorization": f"Bearer {key}"}
    ends = datetime.now(UTC) + timedelta(minutes=10)
    line = f"keys create jack --group members --key {key} --expires {ends:%Y-%m-%dT%H:%M:%S}"
    assert run(client.application.extensions["tests"]["keys"], line).exit_code == 0
    assert datetime.fromisoformat(made(client, headers=jack, lifetime=3600)["expires"]) <= ends
    for _ in range(2):
        item = client.get(f"{ITEM}?hrefs=signed", headers=jack).json
        assert all(datetime.fromisoformat(asset["href:expires"]) <= ends for asset in item["assets"].values())
    kept = client.get("/links", headers=jack).json["links"]
    assert len(kept) == 2
    assert all(datetime.fromisoformat(link["expires"]) <= ends for link in kept)


def test_what_was_revoked_is_not_lent_again(client: FlaskClient, links: Links) -> None:
    """After a maker has ended all her links, or an operator has forgotten them, new pages lend new ones, which open."""

    def lent() -> str:
        return path_of(client.get(f"{ITEM}?hrefs=signed", headers=JANE).json["assets"]["thumbnail"]["href"])

    first = lent()
    assert client.get(first).status_code == 307
    assert len(client.delete("/links", headers=JANE).json["revoked"]) == 1
    assert client.get(first).json["code"] == "LinkRevoked"
    assert client.get(lent()).status_code == 307
    assert links.table.prune(-30) == 2
    assert client.get(lent()).status_code == 307


def test_makers_see_and_revoke_their_own(client: FlaskClient) -> None:
    """A list shows no link itself; each maker sees and ends only her own, one or all."""
    first, second = made(client, note="for Ann"), made(client, ITEM)
    johns = made(client, headers=JOHN)
    listed = client.get("/links", headers=JANE)
    assert [link["id"] for link in listed.json["links"]] == [second["id"], first["id"]]
    assert listed.json["links"][1]["note"] == "for Ann"
    assert first["link"].rpartition(".")[2] not in listed.text
    assert client.delete(f"/links/{first['id']}", headers=JOHN).status_code == 404
    assert client.delete(f"/links/{first['id']}", headers=JANE).json == {"revoked": [first["id"]]}
    assert used(client, DATA, first["link"]) == (401, "LinkRevoked")
    assert used(client, DATA, second["link"])[0] == 307
    assert client.delete("/links", headers=JANE).json == {"revoked": [second["id"]]}
    assert used(client, DATA, second["link"]) == (401, "LinkRevoked")
    assert used(client, DATA, johns["link"])[0] == 307


def test_operators_see_and_revoke_all(client: FlaskClient, links: Links, run: Callable[..., Any]) -> None:
    """On the command line links are listed, ended by id or by maker, and forgotten."""
    first, second = made(client), made(client, headers=JOHN)
    shown = run(links, "links list").output
    assert first["id"] in shown
    assert "john" in shown
    assert second["link"].rpartition(".")[2] not in shown
    assert "jane" not in run(links, "links list --maker john").output
    assert run(links, f"links revoke {first['id']}").exit_code == 0
    assert run(links, "links revoke --maker john").exit_code == 0
    assert run(links, "links revoke --maker john").exit_code == 1
    assert run(links, "links revoke").exit_code == 2
    for link in (first, second):
        assert used(client, DATA, link["link"]) == (401, "LinkRevoked")
    assert run(links, "links prune").exit_code == 0


def test_a_key_of_the_commands_making_is_taken(links: Links, run: Callable[..., Any]) -> None:
    """What `links key` prints can be set."""
    assert isinstance(read_keys(KEYS, run(links, "links key").output.strip()), Keys)
    assert run(links, "links key a.b").exit_code == 2


# --- What is wrong is told -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "place"),
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
def test_a_wrong_wish_is_400(client: FlaskClient, members: dict[str, Any], place: str) -> None:
    """What is wrong is told by its place, and nothing is made."""
    answer = client.post("/links", json=members, headers=JANE)
    assert (answer.status_code, answer.json["code"]) == (400, "InvalidDocument")
    assert answer.json["description"].startswith(place)
    assert client.get("/links", headers=JANE).json["links"] == []


@pytest.mark.parametrize(
    "members",
    [{}, {"link": "x", "lifetime": 1}, {"link": 1}, {"link": "sfl.a.b.c"}, {"link": "sfl.a.b.é", "lifetime": 1}],
)
def test_a_wrong_narrowing_is_400(client: FlaskClient, members: dict[str, Any]) -> None:
    """Something that is no link cannot be narrowed."""
    assert client.post("/links/narrowed", json=members).status_code == 400


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (KEYS, ""),
        (KEYS, "short:secret"),
        (KEYS, SECRET),
        (KEYS, f"a:{SECRET},a:{SECRET}"),
        (LONGEST, "x"),
        (CACHE, "x"),
    ],
)
def test_a_wrong_setting_is_told_by_name(name: str, value: str) -> None:
    """The program does not start, and no secret is repeated."""
    with pytest.raises(SettingError, match=f"^{name}: ") as error:
        create_plugin({KEYS: f"k:{SECRET}", name: value})
    assert SECRET not in str(error.value)


def test_the_parameter_is_described(client: FlaskClient) -> None:
    """It stands in OpenAPI as a way to say who asks, and not in WWW-Authenticate."""
    scheme = client.get("/api").json["components"]["securitySchemes"]["downloadLink"]
    assert (scheme["in"], scheme["name"]) == ("query", "link")
    assert all(value for value in client.get(DATA).headers.getlist("WWW-Authenticate"))


def test_no_link_is_logged(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    """Neither its making nor its use leaves it in a log, right or wrong; which one was used is told by its id."""
    caplog.set_level("DEBUG")
    answer = made(client)
    link = answer["link"]
    used(client, DATA, link)
    used(client, DATA, link + "x")
    assert [record.link for record in caplog.records if hasattr(record, "link")] == [answer["id"]]
    assert link.rpartition(".")[2] not in "".join(str(vars(record)) for record in caplog.records)


def test_places_cover_what_is_below_them() -> None:
    """A place below a directory asset covers the files there, and neither its neighbours nor the rest."""

    def zarr(path: str, key: str = "zarr") -> Asset:
        return Asset("c", "i", key, "s3://b/z/", path=path)

    below = Place("c", "i", "zarr/band/0")
    assert below.covers(zarr("band/0"))
    assert below.covers(zarr("band/0/1"))
    assert not below.covers(zarr("band/01"))
    assert not below.covers(zarr("band"))
    assert not below.covers(zarr(""))
    assert not below.covers(zarr("band/0", key="other"))
    assert Place("c", "i", "zarr").covers(zarr("band/0"))
    assert not Place("c").covers(Asset("d", None, "k", "s3://b/k"))
    assert Place("c").covers(Asset("c", None, "k", "s3://b/k"))
    assert not Place("c", None, "k").covers(Asset("c", "i", "k", "s3://b/k"))


def test_genuine_links_verify() -> None:
    """A chain of caveats is verified to its end."""
    keys = Keys({"k": SECRET.encode()})
    link = keys.issue("id").narrowed(["exp=1", "at=/collections/c"])
    keys.verify(read(str(link)))
    with pytest.raises(BadCredentials):
        keys.verify(read(str(link)[:-2]))
