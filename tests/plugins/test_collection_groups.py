"""Grants by collection and group: who sees, previews, downloads and changes what, and that it is cheap."""

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from plugins._common.groups import names
from plugins.collection_groups import CollectionGroups, create_plugin, rights
from stacflask import ANONYMOUS, Asset, Change, Cql2, Principal, Services, SettingError, Storage
from stacflask.errors import Refused
from stacflask.gate import Gate
from stacflask.pluginmanager.loading import manage
from stacflask.testing import Plug, a_collection

Run = Callable[..., Result]

JANE = Principal("jane", frozenset({"members", "weather"}), "test")
JOE = Principal("joe", frozenset(), "test")
ADMIN = Principal("ann", frozenset({"operators"}), "test")
SEES_ALL = None


def started(storage: Storage, *, open_default: bool = False, cache: float = 0) -> CollectionGroups:
    plugin = CollectionGroups(open_default, frozenset({"operators"}), cache)
    plugin.startup(Services(storage))
    return plugin


def asset(collection: str, *roles: str) -> Asset:
    return Asset(collection, "scene", "key", "s3://bucket/key", "image/png", roles=roles)


def ids(*collections: str) -> Cql2:
    return {"op": "in", "args": [{"property": "id"}, tuple(collections)]}


class Door:
    """A gate with the plugin, and the plugin's commands."""

    def __init__(self, plugin: CollectionGroups) -> None:
        self.gate = Gate(manage({"groups": plugin}))
        self.plugin = plugin

    def access(self, *arguments: str) -> Result:
        """Run ``stacflask access``."""
        return CliRunner().invoke(self.plugin.extend_cli()[0], arguments)

    def sees(self, principal: Principal) -> Cql2 | None:
        """Give the condition on collections."""
        restriction = self.gate.restrict(principal)
        assert restriction.items is None
        return restriction.collections

    def takes(self, principal: Principal, collection: str, *roles: str) -> bool:
        """Whether the gate grants an asset."""
        try:
            self.gate.authorize(principal, asset(collection, *roles))
        except Refused:
            return False
        return True

    def changes(self, principal: Principal, change: Change) -> bool:
        """Whether the gate lets a change pass."""
        try:
            self.gate.authorize_change(principal, change)
        except Refused:
            return False
        return True


@pytest.fixture
def closed(storage: Storage) -> Door:
    return Door(started(storage))


@pytest.fixture
def opened(storage: Storage) -> Door:
    return Door(started(storage, open_default=True))


def test_closed_by_default(closed: Door) -> None:
    """Without a grant nobody sees, takes or changes anything, known or not."""
    for principal in (ANONYMOUS, JOE, JANE):
        assert closed.sees(principal) is False
        assert not closed.takes(principal, "landsat", "data")
        assert not closed.changes(principal, Change("create", "landsat", "scene"))


def test_each_action_is_granted_for_itself(closed: Door) -> None:
    """Downloading implies nothing about seeing, nor seeing about downloading or writing."""
    closed.access("grant", "seen", "see", "members")
    closed.access("grant", "taken", "download", "members")
    closed.access("grant", "written", "write", "members")
    assert closed.sees(JANE) == ids("seen")
    assert [c for c in ("seen", "taken", "written") if closed.takes(JANE, c)] == ["taken"]
    change = [c for c in ("seen", "taken", "written") if closed.changes(JANE, Change("update", c, "scene"))]
    assert change == ["written"]


@pytest.mark.parametrize(
    ("group", "who"),
    [
        ("*", {"anonymous", "joe", "jane", "ann"}),
        ("@", {"joe", "jane", "ann"}),
        ("members", {"jane", "ann"}),
        ("-", {"ann"}),
        ("strangers", {"ann"}),
    ],
)
def test_whom_a_grant_reaches(closed: Door, group: str, who: set[str]) -> None:
    """A grant reaches its group; * everybody, @ whoever is known, - nobody; administrators need none."""
    closed.access("grant", "landsat", "download", "--", group)
    assert {p.id for p in (ANONYMOUS, JOE, JANE, ADMIN) if closed.takes(p, "landsat")} == who


def test_grants_of_several_groups_add_up(closed: Door) -> None:
    """Whoever is in two groups sees what either may, in a stable order."""
    closed.access("grant", "b", "see", "weather", "members")
    closed.access("grant", "c", "see", "members")
    closed.access("grant", "a", "see", "*")
    closed.access("grant", "d", "see", "strangers")
    assert closed.sees(JANE) == ids("a", "b", "c")
    assert closed.sees(JOE) == ids("a")


def test_open_by_default(opened: Door) -> None:
    """Where the default is open, everybody sees and takes what no grant speaks of, and nobody changes it."""
    assert opened.sees(ANONYMOUS) is SEES_ALL
    assert opened.takes(ANONYMOUS, "landsat", "data")
    assert not opened.changes(JANE, Change("create", "landsat", "scene"))


def test_a_grant_closes_what_was_open_by_default(opened: Door) -> None:
    """The first grant of an action makes it that group's alone, and leaves the other actions open."""
    opened.access("grant", "secret", "see", "members")
    opened.access("grant", "licensed", "download", "members")
    assert opened.sees(JANE) is SEES_ALL
    assert opened.sees(JOE) == {"op": "not", "args": [ids("secret")]}
    assert opened.takes(JANE, "licensed")
    assert not opened.takes(JOE, "licensed")


def test_closing_by_granting_to_nobody(opened: Door) -> None:
    """A grant to - closes an action to all but administrators."""
    opened.access("grant", "secret", "see", "--", "-")
    assert opened.sees(JANE) == {"op": "not", "args": [ids("secret")]}
    assert opened.sees(ADMIN) is SEES_ALL


def test_the_last_grant_is_not_taken_by_mistake(opened: Door) -> None:
    """Where the default is open, taking the last grant would show all to everybody; that must be said."""
    opened.access("grant", "secret", "see", "members", "weather")
    assert opened.access("revoke", "secret", "see", "weather").exit_code == 0
    last = opened.access("revoke", "secret", "see", "members")
    assert last.exit_code == 1
    assert "everybody may see secret" in last.stderr
    assert opened.sees(JOE) == {"op": "not", "args": [ids("secret")]}
    assert opened.access("revoke", "--reopen", "secret", "see", "members").exit_code == 0
    assert opened.sees(JOE) is SEES_ALL


def test_revoking(closed: Door) -> None:
    """What was taken back holds no more, and taking back what nobody had is an error."""
    closed.access("grant", "landsat", "see", "members", "weather")
    assert closed.access("revoke", "landsat", "see", "members", "weather").exit_code == 0
    assert closed.sees(JANE) is False
    assert closed.access("revoke", "landsat", "see", "members").exit_code == 1


def test_a_grant_to_a_group_that_exists_nowhere(closed: Door) -> None:
    """A group that no key, limit or other grant names is probably misspelt: a warning says so, and what is meant."""
    assert (
        "no grant, limit or other key names the group members" in closed.access("grant", "a", "see", "members").output
    )
    assert "warning" not in closed.access("grant", "b", "see", "members", "*").output
    assert "the group membres; is members meant?" in closed.access("grant", "b", "see", "membres").output


def test_granting_twice_is_granting_once(closed: Door) -> None:
    """A grant that stands already is no error."""
    for _ in range(2):
        assert closed.access("grant", "landsat", "see", "members", "members").exit_code == 0
    assert closed.sees(JANE) == ids("landsat")


@pytest.mark.parametrize(
    ("roles", "is_one"),
    [
        (("thumbnail",), True),
        (("overview", "metadata"), True),
        (("thumbnail", "data"), False),
        (("data",), False),
        ((), False),
    ],
)
def test_what_a_preview_is(closed: Door, roles: tuple[str, ...], is_one: bool) -> None:
    """Only an asset that is nothing but thumbnail, overview or metadata; one without roles may be the data."""
    closed.access("grant", "landsat", "preview", "*")
    assert closed.takes(ANONYMOUS, "landsat", *roles) is is_one


@pytest.mark.parametrize("default", ["closed", "opened"])
def test_previews_for_all_data_for_members(request: pytest.FixtureRequest, default: str) -> None:
    """Thumbnails may be public while the data is not."""
    door: Door = request.getfixturevalue(default)
    door.access("grant", "landsat", "preview", "*")
    door.access("grant", "landsat", "download", "members")
    assert door.takes(ANONYMOUS, "landsat", "thumbnail")
    assert not door.takes(ANONYMOUS, "landsat", "data")
    assert door.takes(JANE, "landsat", "data")
    assert door.takes(JANE, "landsat", "thumbnail")


def test_limited_data_takes_its_previews_along(opened: Door) -> None:
    """Where the default is open and only downloads are limited, previews are limited with them."""
    opened.access("grant", "landsat", "download", "members")
    assert not opened.takes(JOE, "landsat", "thumbnail")


@pytest.mark.parametrize(
    ("change", "who"),
    [
        (Change("create", "landsat", "scene"), {"jane", "ann"}),
        (Change("delete", "landsat", "scene"), {"jane", "ann"}),
        (Change("replace", "landsat"), {"jane", "ann"}),
        (Change("update", "landsat"), {"jane", "ann"}),
        (Change("create", "landsat"), {"jane", "ann"}),
        (Change("create", "landsat", new_collection=True), {"ann"}),
        (Change("create", "new", new_collection=True), {"ann"}),
        (Change("delete", "landsat"), {"ann"}),
        (Change("create", "other", "scene"), {"ann"}),
    ],
)
def test_who_may_change_what(closed: Door, change: Change, who: set[str]) -> None:
    """Writers change a collection and its items; making and removing collections is for administrators."""
    closed.access("grant", "landsat", "write", "members")
    assert {p.id for p in (ANONYMOUS, JOE, JANE, ADMIN) if closed.changes(p, change)} == who


def test_who_may_make_no_collections_is_told_so(plug: Plug) -> None:
    """A collection that is yet to be made has no name that a refusal could tell."""
    answer = plug(CollectionGroups(cache=0)).post("/collections", json=a_collection("new"))
    assert answer.status_code == 401
    assert "You may not create collections." in answer.json["description"]


def test_administrators_do_everything(closed: Door) -> None:
    """Whoever is in a group of administrators sees and takes all, without any grant."""
    assert closed.sees(ADMIN) is SEES_ALL
    assert closed.takes(ADMIN, "landsat", "data")


@pytest.mark.parametrize(
    ("granted", "governed", "visible"),
    [
        ({}, None, False),
        ({"download": {"a": "g"}}, None, False),
        ({"see": {"b": "g", "a": "g"}}, None, ids("a", "b")),
        ({}, {}, None),
        ({}, {"see": frozenset("ab")}, {"op": "not", "args": [ids("a", "b")]}),
        ({"see": {"a": "g"}}, {"see": frozenset("ab")}, {"op": "not", "args": [ids("b")]}),
        ({"see": {"a": "g"}}, {"see": frozenset("a"), "download": frozenset("b")}, None),
    ],
)
def test_what_is_visible(
    granted: dict[str, dict[str, str]], governed: dict[str, frozenset[str]] | None, visible: Cql2 | None
) -> None:
    """With a closed default the granted collections; with an open one all but those granted to others only."""
    assert rights(granted, governed).visible == visible


def test_a_group_with_a_special_name_means_nothing() -> None:
    """Groups may come from elsewhere: somebody whose group is called @ or - gains nothing by it."""
    assert names(Principal("eve", frozenset({"@", "-", "x"}), "test")) == {"*", "@", "x"}
    assert names(Principal("eve", frozenset({"@", "-"}))) == {"*"}


def test_reasons_for_the_log(closed: Door) -> None:
    """A grant says by which group it came about, and a refusal what was missing."""
    closed.access("grant", "landsat", "download", "members")
    assert closed.gate.authorize(JANE, asset("landsat")).decision.reason == "members may download"
    with pytest.raises(Refused) as refusal:
        closed.gate.authorize(JOE, asset("landsat"))
    assert refusal.value.decision.reason == "no grant to download from landsat"
    assert "'landsat'" in refusal.value.description


def test_the_list_tells_the_grants_and_the_default(closed: Door, opened: Door) -> None:
    """The operator sees who may do what, for one collection or for all, and what holds for the rest."""
    closed.access("grant", "landsat", "see", "*")
    closed.access("grant", "radar", "see", "members")
    listed = closed.access("list")
    assert [line.split() for line in listed.stdout.splitlines()[1:]] == [
        ["landsat", "see", "*"],
        ["radar", "see", "members"],
    ]
    assert "nobody" in listed.stderr
    assert "everybody" in opened.access("list").stderr
    assert "landsat" not in closed.access("list", "radar").stdout


@pytest.mark.parametrize(
    "arguments", [["landsat", "own", "members"], ["landsat", "see", " "], [" ", "see", "g"], ["landsat", "see"]]
)
def test_a_wrong_grant_is_refused(closed: Door, storage: Storage, arguments: list[str]) -> None:
    """An unknown action or an empty name grants nothing."""
    assert closed.access("grant", *arguments).exit_code == 2
    assert storage.rows("SELECT action FROM plugin_collection_groups") == []


@pytest.mark.parametrize("open_default", [False, True])
def test_changes_are_noticed_within_the_cache(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, open_default: bool
) -> None:
    """Rights are asked for once in a while, and an operator's change holds after that while, without a restart."""
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    door = Door(started(storage, open_default=open_default, cache=5))
    before = door.sees(JOE)
    door.access("grant", "landsat", "see", "@" if not open_default else "members")
    assert door.sees(JOE) == before
    clock[0] += 5
    assert door.sees(JOE) != before


@pytest.mark.parametrize("open_default", [False, True])
def test_thousands_of_collections(storage: Storage, open_default: bool) -> None:
    """5,000 collections and 500 groups, each collection granted to two of them: the answers are exact."""
    with storage.transaction() as statements:
        statements.rows(
            "INSERT INTO plugin_collection_groups (collection, action, group_name) "
            "SELECT 'c' || to_char(c, 'FM0000'), action, 'g' || (c + 250 * g) % 500 FROM generate_series(1, 5000) c, "
            "generate_series(0, 1) g, unnest(ARRAY['see', 'download']) action"
        )
    door = Door(started(storage, open_default=open_default, cache=60))
    member = Principal("m", frozenset({"g7", "g8"}), "test")
    mine = [f"c{c:04}" for c in range(1, 5001) if c % 250 in (7, 8)]
    others = [f"c{c:04}" for c in range(1, 5001) if c % 250 not in (7, 8)]
    assert door.sees(member) == ({"op": "not", "args": [ids(*others)]} if open_default else ids(*mine))
    assert door.takes(member, "c0257")
    assert not door.takes(member, "c0256")


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"STACFLASK_COLLECTION_GROUPS_DEFAULT": "ajar"}, "STACFLASK_COLLECTION_GROUPS_DEFAULT"),
        ({"STACFLASK_COLLECTION_GROUPS_ADMINS": "operators,*"}, "STACFLASK_COLLECTION_GROUPS_ADMINS"),
        ({"STACFLASK_COLLECTION_GROUPS_CACHE": "long"}, "STACFLASK_COLLECTION_GROUPS_CACHE"),
    ],
)
def test_a_wrong_setting_is_named(environ: dict[str, str], name: str) -> None:
    """What cannot be understood stops the start, by name."""
    with pytest.raises(SettingError, match=f"^{name}"):
        create_plugin(environ)


def test_settings() -> None:
    """Without settings all is closed; groups of administrators are separated by commas."""
    plain = create_plugin({})
    assert (plain.open_default, plain.admins, plain.cache) == (False, frozenset(), 5)
    environ = {"STACFLASK_COLLECTION_GROUPS_DEFAULT": "Open", "STACFLASK_COLLECTION_GROUPS_ADMINS": "a, b,"}
    told = create_plugin(environ)
    assert (told.open_default, told.admins) == (True, frozenset({"a", "b"}))
