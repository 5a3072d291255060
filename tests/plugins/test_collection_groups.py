"""Grants by collection and group: see, preview, download and write, also for thousands of collections."""

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from plugins._common.groups import names_of
from plugins.collection_groups import CollectionGroups, create_plugin, rights
from stacflask import ANONYMOUS, Asset, Change, Only, Principal, Services, SettingError, Storage
from stacflask.errors import Refused
from stacflask.gate import Gate
from stacflask.pluginmanager.loading import manage
from stacflask.testing import Plug, a_collection

Run = Callable[..., Result]

JANE = Principal("jane", frozenset({"members", "weather"}), "test")
JOE = Principal("joe", frozenset(), "test")
ADMIN = Principal("ann", frozenset({"operators"}), "test")
UNRESTRICTED = None


def started(storage: Storage, *, open_default: bool = False, cache: float = 0) -> CollectionGroups:
    plugin = CollectionGroups(open_default, frozenset({"operators"}), cache)
    plugin.startup(Services(storage))
    return plugin


def asset(collection: str, *roles: str) -> Asset:
    return Asset(collection, "scene", "key", "s3://bucket/key", "image/png", roles=roles)


def ids(*collections: str) -> Only:
    """Return the restriction to these collections."""
    return Only(collections)


class Access:
    """A gate with the plugin and the plugin's commands."""

    def __init__(self, plugin: CollectionGroups) -> None:
        self.gate = Gate(manage({"groups": plugin}))
        self.plugin = plugin

    def run(self, *arguments: str) -> Result:
        """Run ``stacflask access``."""
        return CliRunner().invoke(self.plugin.extend_cli()[0], arguments)

    def sees(self, principal: Principal) -> Only | None:
        """Return the restriction of collections."""
        restriction = self.gate.restrict(principal)
        assert restriction.items is None
        assert restriction.collections is None
        return restriction.only

    def downloads(self, principal: Principal, collection: str, *roles: str) -> bool:
        """Return whether the gate allows the download of an asset."""
        try:
            self.gate.authorize(principal, asset(collection, *roles))
        except Refused:
            return False
        return True

    def changes(self, principal: Principal, change: Change) -> bool:
        """Return whether the gate allows a change."""
        try:
            self.gate.authorize_change(principal, change)
        except Refused:
            return False
        return True


@pytest.fixture
def closed(storage: Storage) -> Access:
    return Access(started(storage))


@pytest.fixture
def opened(storage: Storage) -> Access:
    return Access(started(storage, open_default=True))


def test_closed_by_default(closed: Access) -> None:
    """Without a grant no principal sees, downloads or changes anything."""
    for principal in (ANONYMOUS, JOE, JANE):
        assert closed.sees(principal) == ids()
        assert not closed.downloads(principal, "landsat", "data")
        assert not closed.changes(principal, Change("create", "landsat", "scene"))


def test_each_action_is_granted_separately(closed: Access) -> None:
    """Neither of see, download and write includes another."""
    closed.run("grant", "seen", "see", "members")
    closed.run("grant", "taken", "download", "members")
    closed.run("grant", "written", "write", "members")
    assert closed.sees(JANE) == ids("seen")
    assert [c for c in ("seen", "taken", "written") if closed.downloads(JANE, c)] == ["taken"]
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
def test_a_grant_applies_to_its_group(closed: Access, group: str, who: set[str]) -> None:
    """A grant applies to its group; * is everybody, @ everybody with credentials, - nobody; admins need none."""
    closed.run("grant", "landsat", "download", "--", group)
    assert {p.id for p in (ANONYMOUS, JOE, JANE, ADMIN) if closed.downloads(p, "landsat")} == who


def test_grants_of_several_groups_add_up(closed: Access) -> None:
    """A principal in two groups sees what either may see, in a stable order."""
    closed.run("grant", "b", "see", "weather", "members")
    closed.run("grant", "c", "see", "members")
    closed.run("grant", "a", "see", "*")
    closed.run("grant", "d", "see", "strangers")
    assert closed.sees(JANE) == ids("a", "b", "c")
    assert closed.sees(JOE) == ids("a")


def test_open_by_default(opened: Access) -> None:
    """If the default is open, everybody sees and downloads collections without a grant; nobody changes them."""
    assert opened.sees(ANONYMOUS) is UNRESTRICTED
    assert opened.downloads(ANONYMOUS, "landsat", "data")
    assert not opened.changes(JANE, Change("create", "landsat", "scene"))


def test_the_first_grant_closes_an_open_action(opened: Access) -> None:
    """The first grant of an action limits it to that group; the other actions stay open."""
    opened.run("grant", "secret", "see", "members")
    opened.run("grant", "licensed", "download", "members")
    assert opened.sees(JANE) is UNRESTRICTED
    assert opened.sees(JOE) == ~ids("secret")
    assert opened.downloads(JANE, "licensed")
    assert not opened.downloads(JOE, "licensed")


def test_closing_by_granting_to_nobody(opened: Access) -> None:
    """A grant to - closes an action to all but administrators."""
    opened.run("grant", "secret", "see", "--", "-")
    assert opened.sees(JANE) == ~ids("secret")
    assert opened.sees(ADMIN) is UNRESTRICTED


def test_the_last_grant_is_not_revoked_by_mistake(opened: Access) -> None:
    """If the default is open, revoking the last grant opens the action, so that it needs --reopen."""
    opened.run("grant", "secret", "see", "members", "weather")
    assert opened.run("revoke", "secret", "see", "weather").exit_code == 0
    last = opened.run("revoke", "secret", "see", "members")
    assert last.exit_code == 1
    assert "everybody may see secret" in last.stderr
    assert opened.sees(JOE) == ~ids("secret")
    assert opened.run("revoke", "--reopen", "secret", "see", "members").exit_code == 0
    assert opened.sees(JOE) is UNRESTRICTED


def test_a_revoked_grant_has_no_effect(closed: Access) -> None:
    """A revoked grant has no effect, and revoking a grant that does not exist is an error."""
    closed.run("grant", "landsat", "see", "members", "weather")
    assert closed.run("revoke", "landsat", "see", "members", "weather").exit_code == 0
    assert closed.sees(JANE) == ids()
    assert closed.run("revoke", "landsat", "see", "members").exit_code == 1


def test_a_grant_to_a_group_that_exists_nowhere(closed: Access) -> None:
    """A group that no key, limit or other grant names causes a warning with the most similar name."""
    assert "no grant, limit or other key names the group members" in closed.run("grant", "a", "see", "members").output
    assert "warning" not in closed.run("grant", "b", "see", "members", "*").output
    assert "the group membres. Did you mean members?" in closed.run("grant", "b", "see", "membres").output


def test_granting_twice_is_granting_once(closed: Access) -> None:
    """Granting an existing grant again is no error."""
    for _ in range(2):
        assert closed.run("grant", "landsat", "see", "members", "members").exit_code == 0
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
def test_only_some_roles_make_a_preview(closed: Access, roles: tuple[str, ...], is_one: bool) -> None:
    """A preview has only the roles thumbnail, overview and metadata; an asset without roles may be the data."""
    closed.run("grant", "landsat", "preview", "*")
    assert closed.downloads(ANONYMOUS, "landsat", *roles) is is_one


@pytest.mark.parametrize("default", ["closed", "opened"])
def test_previews_for_all_data_for_members(request: pytest.FixtureRequest, default: str) -> None:
    """Thumbnails can be public while the data are not."""
    access: Access = request.getfixturevalue(default)
    access.run("grant", "landsat", "preview", "*")
    access.run("grant", "landsat", "download", "members")
    assert access.downloads(ANONYMOUS, "landsat", "thumbnail")
    assert not access.downloads(ANONYMOUS, "landsat", "data")
    assert access.downloads(JANE, "landsat", "data")
    assert access.downloads(JANE, "landsat", "thumbnail")


def test_limiting_downloads_limits_previews(opened: Access) -> None:
    """If the default is open and only downloads are limited, previews are limited with them."""
    opened.run("grant", "landsat", "download", "members")
    assert not opened.downloads(JOE, "landsat", "thumbnail")


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
def test_who_may_change_what(closed: Access, change: Change, who: set[str]) -> None:
    """Writers change a collection and its items; only administrators create and delete collections."""
    closed.run("grant", "landsat", "write", "members")
    assert {p.id for p in (ANONYMOUS, JOE, JANE, ADMIN) if closed.changes(p, change)} == who


def test_creating_collections_has_its_own_message(plug: Plug) -> None:
    """The message for a collection that does not exist yet names no collection."""
    response = plug(CollectionGroups(cache=0)).post("/collections", json=a_collection("new"))
    assert response.status_code == 401
    assert "You may not create collections." in response.json["description"]


def test_administrators_do_everything(closed: Access) -> None:
    """A member of an administrator group sees and downloads everything without any grant."""
    assert closed.sees(ADMIN) is UNRESTRICTED
    assert closed.downloads(ADMIN, "landsat", "data")


@pytest.mark.parametrize(
    ("granted", "limited", "visible"),
    [
        ({}, None, ids()),
        ({"download": {"a": "g"}}, None, ids()),
        ({"see": {"b": "g", "a": "g"}}, None, ids("a", "b")),
        ({}, {}, None),
        ({}, {"see": frozenset("ab")}, ~ids("a", "b")),
        ({"see": {"a": "g"}}, {"see": frozenset("ab")}, ~ids("b")),
        ({"see": {"a": "g"}}, {"see": frozenset("a"), "download": frozenset("b")}, None),
    ],
)
def test_rights_restrict_collections(
    granted: dict[str, dict[str, str]], limited: dict[str, frozenset[str]] | None, visible: Only | None
) -> None:
    """A closed default shows granted collections; an open one all but those granted only to others."""
    assert rights(granted, limited).visible == visible


def test_groups_with_special_names_have_no_effect() -> None:
    """A group called @ or - that comes from an identity provider grants nothing."""
    assert names_of(Principal("eve", frozenset({"@", "-", "x"}), "test")) == {"*", "@", "x"}
    assert names_of(Principal("eve", frozenset({"@", "-"}))) == {"*"}


def test_decisions_have_reasons(closed: Access) -> None:
    """An allowed decision names the group, a denied one the missing grant."""
    closed.run("grant", "landsat", "download", "members")
    assert closed.gate.authorize(JANE, asset("landsat")).decision.reason == "members may download"
    with pytest.raises(Refused) as refusal:
        closed.gate.authorize(JOE, asset("landsat"))
    assert refusal.value.decision.reason == "no grant to download from landsat"
    assert "'landsat'" in refusal.value.description


def test_the_list_shows_grants_and_the_default(closed: Access, opened: Access) -> None:
    """The list has the grants of one collection or of all, and the default."""
    closed.run("grant", "landsat", "see", "*")
    closed.run("grant", "radar", "see", "members")
    listed = closed.run("list")
    assert [line.split() for line in listed.stdout.splitlines()[1:]] == [
        ["landsat", "see", "*"],
        ["radar", "see", "members"],
    ]
    assert "nobody" in listed.stderr
    assert "everybody" in opened.run("list").stderr
    assert "landsat" not in closed.run("list", "radar").stdout


@pytest.mark.parametrize(
    "arguments", [["landsat", "own", "members"], ["landsat", "see", " "], [" ", "see", "g"], ["landsat", "see"]]
)
def test_a_wrong_grant_is_refused(closed: Access, storage: Storage, arguments: list[str]) -> None:
    """An unknown action or an empty name grants nothing."""
    assert closed.run("grant", *arguments).exit_code == 2
    assert storage.rows("SELECT action FROM plugin_collection_groups_grants") == []


@pytest.mark.parametrize("open_default", [False, True])
def test_grants_take_effect_when_the_cache_expires(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, open_default: bool
) -> None:
    """Rights are read once until the cache expires; then a change takes effect, without a restart."""
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    access = Access(started(storage, open_default=open_default, cache=5))
    before = access.sees(JOE)
    access.run("grant", "landsat", "see", "@" if not open_default else "members")
    assert access.sees(JOE) == before
    clock[0] += 5
    assert access.sees(JOE) != before


@pytest.mark.parametrize("open_default", [False, True])
def test_thousands_of_collections(storage: Storage, open_default: bool) -> None:
    """With 5,000 collections and 500 groups, each collection granted to two of them, the restriction is exact."""
    with storage.transaction() as statements:
        statements.rows(
            "INSERT INTO plugin_collection_groups_grants (collection, action, group_name) "
            "SELECT 'c' || to_char(c, 'FM0000'), action, 'g' || (c + 250 * g) % 500 FROM generate_series(1, 5000) c, "
            "generate_series(0, 1) g, unnest(ARRAY['see', 'download']) action"
        )
    access = Access(started(storage, open_default=open_default, cache=60))
    member = Principal("m", frozenset({"g7", "g8"}), "test")
    mine = [f"c{c:04}" for c in range(1, 5001) if c % 250 in (7, 8)]
    others = [f"c{c:04}" for c in range(1, 5001) if c % 250 not in (7, 8)]
    assert access.sees(member) == (~ids(*others) if open_default else ids(*mine))
    assert access.downloads(member, "c0257")
    assert not access.downloads(member, "c0256")


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"STACFLASK_COLLECTION_GROUPS_DEFAULT": "ajar"}, "STACFLASK_COLLECTION_GROUPS_DEFAULT"),
        ({"STACFLASK_COLLECTION_GROUPS_ADMINS": "operators,*"}, "STACFLASK_COLLECTION_GROUPS_ADMINS"),
        ({"STACFLASK_COLLECTION_GROUPS_CACHE": "long"}, "STACFLASK_COLLECTION_GROUPS_CACHE"),
    ],
)
def test_a_wrong_setting_is_named(environ: dict[str, str], name: str) -> None:
    """A wrong value prevents the start, and the error names the variable."""
    with pytest.raises(SettingError, match=f"^{name}"):
        create_plugin(environ)


def test_settings_have_defaults() -> None:
    """Without settings the default is closed; groups of administrators are separated by commas."""
    default = create_plugin({})
    assert (default.open_default, default.admins, default.cache) == (False, frozenset(), 5)
    environ = {"STACFLASK_COLLECTION_GROUPS_DEFAULT": "Open", "STACFLASK_COLLECTION_GROUPS_ADMINS": "a, b,"}
    configured = create_plugin(environ)
    assert (configured.open_default, configured.admins) == (True, frozenset({"a", "b"}))
