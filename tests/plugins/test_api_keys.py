"""API keys: who is known by them, what they cover, how they end."""

import base64
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import pytest
from click.testing import CliRunner, Result

from plugins.api_keys import ApiKeys, create_plugin, expiry
from stacflask import (
    ANONYMOUS,
    Asset,
    BadCredentials,
    Change,
    Decision,
    Principal,
    Request,
    Services,
    SettingError,
    Statements,
    Storage,
    hookimpl,
)
from stacflask.errors import Refused
from stacflask.gate import Gate
from stacflask.model.decision import UNRESTRICTED
from stacflask.pluginmanager.loading import manage
from stacflask.testing import Plug

Run = Callable[..., Result]

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
KEY = "sfk_00000001_member-of-the-demo"
ASSET = Asset("landsat", "scene", "red", "s3://bucket/red.tif")


class Willing:
    """Consents to all, so that what is refused was refused by the keys."""

    @hookimpl
    def authorize(self) -> Decision:
        """Let it pass."""
        return Decision.allow("willing")

    @hookimpl
    def authorize_change(self) -> Decision:
        """Let it pass."""
        return Decision.allow("willing")


@pytest.fixture
def plugin(storage: Storage) -> ApiKeys:
    plugin = ApiKeys(cache=0)
    plugin.startup(Services(storage))
    return plugin


@pytest.fixture
def gate(plugin: ApiKeys) -> Gate:
    return Gate(manage({"keys": plugin, "willing": Willing()}))


@pytest.fixture
def keys(plugin: ApiKeys) -> Run:
    """Run ``stacflask keys`` and give its result."""
    return lambda *arguments: CliRunner().invoke(plugin.extend_cli()[0], arguments)


def asking(authorization: str | None = None) -> Request:
    headers = {} if authorization is None else {"Authorization": authorization}
    return Request("GET", "/search", headers, {}, "192.0.2.1")


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_a_new_key_says_who_asks(keys: Run, gate: Gate) -> None:
    """The key that the command prints is taken as its holder, with groups and scopes."""
    made = keys("create", "jane", "--group", "members", "--group", "curators", "--note", "laptop")
    assert made.exit_code == 0
    principal = gate.authenticate(asking(f"Bearer {made.stdout.strip()}"))
    assert principal.id == "jane"
    assert principal.groups == frozenset({"members", "curators"})
    assert principal.scopes == frozenset({"read", "download"})
    assert not principal.anonymous


@pytest.mark.parametrize("user", ["", "jane", "someone: else"])
def test_basic_with_the_key_as_password(keys: Run, gate: Gate, user: str) -> None:
    """curl, wget and netrc send the key as a password; the user name may be anything without a colon."""
    keys("create", "jane", "--key", KEY)
    if ":" in user:
        with pytest.raises(BadCredentials):
            gate.authenticate(asking(basic(f"{user}:{KEY}")))
    else:
        assert gate.authenticate(asking(basic(f"{user}:{KEY}"))).id == "jane"


@pytest.mark.parametrize("authorization", [None, "Bearer eyJhbGciOi.J9.x", "Negotiate abc", "Bearer"])
def test_other_credentials_are_left_to_others(plugin: ApiKeys, authorization: str | None) -> None:
    """No credentials, another scheme and another kind of token are no business of this plugin."""
    assert plugin.authenticate(asking(authorization)) is None


@pytest.mark.parametrize(
    "authorization",
    [
        f"Bearer {KEY}x",
        f"bearer {KEY[:-1]}",
        "Bearer sfk_00000001_",
        "Bearer sfk_00000009_member-of-the-demo",
        "Bearer sfk_",
        "Bearer sfk_0000000G_member-of-the-demo",
        f"Bearer {KEY} {KEY}",
        basic("jane:secret"),
        basic("jane:"),
        basic("jane"),
        basic(f"{KEY}:"),
    ],
)
def test_a_wrong_key_is_refused_with_one_answer(keys: Run, gate: Gate, authorization: str | None) -> None:
    """Whatever is wrong with a key, the answer is the same, and never an anonymous visit."""
    keys("create", "jane", "--key", KEY)
    with pytest.raises(BadCredentials) as refusal:
        gate.authenticate(asking(authorization))
    assert refusal.value.description == "The API key is not valid."


@pytest.mark.parametrize("pair", ["%%%", "", base64.b64encode(b"\xff\xfe:x").decode(), "c2Zr?"])
def test_broken_basic_is_refused(gate: Gate, pair: str) -> None:
    """What is not base64 of text is refused, too."""
    with pytest.raises(BadCredentials):
        gate.authenticate(asking(f"Basic {pair}"))


def test_an_expired_key_says_so_only_to_its_holder(keys: Run, gate: Gate, storage: Storage) -> None:
    """Whoever has the secret learns that the key has expired; whoever guesses learns nothing."""
    keys("create", "jane", "--key", KEY, "--expires", "90d")
    gate.authenticate(asking(f"Bearer {KEY}"))
    with storage.transaction() as statements:
        statements.rows("UPDATE plugin_api_keys SET expires = now() - interval '1 second'")
    with pytest.raises(BadCredentials, match="expired"):
        gate.authenticate(asking(f"Bearer {KEY}"))
    with pytest.raises(BadCredentials, match="not valid"):
        gate.authenticate(asking(f"Bearer {KEY}x"))


def test_expiry_is_not_put_off_by_the_cache(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key ends at its moment, though it was looked up before."""
    plugin = ApiKeys(cache=3600)
    plugin.startup(Services(storage))
    CliRunner().invoke(plugin.extend_cli()[0], ["create", "jane", "--key", KEY, "--expires", "1h"])
    assert plugin.authenticate(asking(f"Bearer {KEY}")) is not None
    monkeypatch.setattr("plugins.api_keys.datetime", InTwoHours)
    with pytest.raises(BadCredentials, match="expired"):
        plugin.authenticate(asking(f"Bearer {KEY}"))


def test_a_revoked_key_is_refused(keys: Run, gate: Gate) -> None:
    """Revoking works once, and a revoked key looks like one that never was."""
    keys("create", "jane", "--key", KEY)
    gate.authenticate(asking(f"Bearer {KEY}"))
    assert keys("revoke", "00000001").exit_code == 0
    with pytest.raises(BadCredentials, match="not valid"):
        gate.authenticate(asking(f"Bearer {KEY}"))
    again = keys("revoke", "00000001")
    assert again.exit_code == 1
    assert "'00000001'" in again.stderr


class InTwoHours(datetime):
    """A clock that is ahead of ours."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        """Give the time in two hours."""
        return datetime.now(tz) + timedelta(hours=2)


class Counting:
    """Storage that counts what is asked of it."""

    def __init__(self, storage: Storage) -> None:
        self.inner, self.reads = storage, 0

    def rows(self, sql: str, /, **values: Any) -> list[Mapping[str, Any]]:
        """Count a read, and do it."""
        self.reads += 1
        return self.inner.rows(sql, **values)

    def write(self, sql: str, /, **values: Any) -> list[Mapping[str, Any]]:
        """Do as the storage does."""
        return self.inner.write(sql, **values)

    def transaction(self) -> AbstractContextManager[Statements]:
        """Do as the storage does."""
        return self.inner.transaction()


def test_a_key_is_looked_up_once_in_a_while(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the cache's seconds the database is asked once; then a revocation is noticed."""
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    plugin = ApiKeys(cache=5)
    plugin.startup(Services(counting := Counting(storage)))
    keys = plugin.extend_cli()[0]
    CliRunner().invoke(keys, ["create", "jane", "--key", KEY])
    for _ in range(10):
        plugin.authenticate(asking(f"Bearer {KEY}"))
    assert counting.reads == 1
    CliRunner().invoke(keys, ["revoke", "00000001"])
    clock[0] += 5
    with pytest.raises(BadCredentials):
        plugin.authenticate(asking(f"Bearer {KEY}"))


def test_no_secret_is_at_rest(keys: Run, storage: Storage) -> None:
    """Neither the table nor the list gives away any part of the secret."""
    key = keys("create", "jane").stdout.strip()
    secret = key.split("_", 2)[2]
    assert secret not in str([dict(row) for row in storage.rows("SELECT * FROM plugin_api_keys")])
    assert secret not in keys("list").output


def test_keys_differ(keys: Run) -> None:
    """Two keys share neither id nor secret, and each has the length that makes a plain hash enough."""
    one, two = (keys("create", "jane").stdout.strip() for _ in range(2))
    assert one.split("_", 2)[1:] != two.split("_", 2)[1:]
    assert len(one.split("_", 2)[2]) == 43


def scoped(*scopes: str, scheme: str = "api_key") -> Principal:
    return Principal("jane", frozenset(), scheme, frozenset(scopes))


@pytest.mark.parametrize(
    ("principal", "sees", "downloads", "writes"),
    [
        (ANONYMOUS, True, True, True),
        (scoped("read"), True, False, False),
        (scoped("read", "download"), True, True, False),
        (scoped("write"), False, False, True),
        (scoped("read", "download", "write"), True, True, True),
        (scoped(), False, False, False),
        (scoped(scheme="oidc"), False, False, False),
    ],
)
def test_scopes_are_three_different_rights(
    gate: Gate, principal: Principal, sees: bool, downloads: bool, writes: bool
) -> None:
    """A credential is limited to its scopes, whatever its holder may, and whichever plugin recognised it."""
    assert (gate.restrict(principal) == UNRESTRICTED) is sees
    assert granted(lambda: gate.authorize(principal, ASSET)) is downloads
    assert granted(lambda: gate.authorize_change(principal, Change("create", "landsat", "scene"))) is writes


def granted(question: Callable[[], object]) -> bool:
    try:
        question()
    except Refused as refusal:
        if "scope" not in refusal.description:
            raise
        return False
    return True


def test_a_key_alone_opens_nothing(plugin: ApiKeys) -> None:
    """A key with every scope says who somebody is; that they may download is for a policy to say."""
    with pytest.raises(Refused):
        Gate(manage({"keys": plugin})).authorize(scoped("read", "download", "write"), ASSET)


@pytest.mark.parametrize(
    ("dest", "schemes"), [(None, ["Bearer", "Basic"]), ("document", ["Bearer", "Basic"]), ("empty", ["Bearer"])]
)
def test_scripts_make_no_browser_ask_for_a_password(plug: Plug, dest: str | None, schemes: list[str]) -> None:
    """A page's script is told of Bearer alone: for Basic the browser would ask whoever sits before it."""
    headers = {"Authorization": "Bearer sfk_00000001_wrong", **({"Sec-Fetch-Dest": dest} if dest else {})}
    answer = plug(ApiKeys(0)).get("/collections", headers=headers)
    assert answer.status_code == 401
    assert [header.split()[0] for header in answer.headers.getlist("WWW-Authenticate")] == schemes


def test_challenges_for_bearer_and_basic(gate: Gate) -> None:
    """Clients are told both ways, Bearer first."""
    headers = [challenge.header for challenge in gate.challenges()]
    assert [header.split()[0] for header in headers] == ["Bearer", "Basic"]
    assert len({challenge.name for challenge in gate.challenges()}) == 2


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90d", NOON + timedelta(days=90)),
        ("12h", NOON + timedelta(hours=12)),
        ("4w", NOON + timedelta(weeks=4)),
        ("2027-01-31", datetime(2027, 1, 31, tzinfo=UTC)),
        ("2027-01-31T10:00:00+02:00", datetime(2027, 1, 31, 8, tzinfo=UTC)),
    ],
)
def test_ways_to_say_when_a_key_ends(text: str, moment: datetime) -> None:
    """Spans count from now; dates begin at midnight, UTC."""
    assert expiry(text, NOON) == moment


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["jane", "--expires", "soon"], "--expires"),
        (["jane", "--expires", "2020-01-01"], "past"),
        (["jane", "--expires", "999999w"], "--expires"),
        (["jane", "--key", "secret"], "--key"),
        (["jane", "--key", "sfk_00000001_short"], "--key"),
        (["jane", "--scope", "own"], "--scope"),
        (["jane", "--scope", "download"], "download needs read"),
        (["jane", "--group", "*"], "'*'"),
        (["anonymous"], "'anonymous'"),
        ([" "], "NAME"),
        (["ja\nne"], "NAME"),
    ],
)
def test_what_a_key_cannot_be(keys: Run, storage: Storage, arguments: list[str], complaint: str) -> None:
    """Each wrong argument is named, and no key is made."""
    result = keys("create", *arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert storage.rows("SELECT id FROM plugin_api_keys") == []


def test_an_id_is_given_once(keys: Run, gate: Gate) -> None:
    """A second key with the id of a first is refused and leaves the first alone."""
    keys("create", "jane", "--key", KEY)
    second = keys("create", "eve", "--key", "sfk_00000001_another-secret")
    assert second.exit_code == 1
    assert gate.authenticate(asking(f"Bearer {KEY}")).id == "jane"


def test_the_list_tells_state_and_use(keys: Run, gate: Gate, storage: Storage) -> None:
    """The operator sees whose keys there are, which are still good, and which nobody uses."""
    keys("create", "jane", "--key", KEY, "--group", "members", "--note", "laptop")
    keys("create", "joe", "--key", "sfk_00000002_not-in-use-any-more", "--expires", "1d")
    keys("create", "jim", "--key", "sfk_00000003_given-away")
    keys("revoke", "00000003")
    gate.authenticate(asking(f"Bearer {KEY}"))
    with storage.transaction() as statements:
        statements.rows("UPDATE plugin_api_keys SET expires = now() WHERE name = 'joe'")
        [used] = statements.rows("SELECT last_used FROM plugin_api_keys WHERE name = 'jane'")
    lines = {line.split()[1]: line for line in keys("list").output.splitlines()[1:]}
    assert "valid" in lines["jane"]
    assert str(used["last_used"]) in lines["jane"]
    assert "members" in lines["jane"]
    assert "laptop" in lines["jane"]
    assert "expired" in lines["joe"]
    assert "never" in lines["joe"]
    assert "revoked" in lines["jim"]


@pytest.mark.parametrize("value", ["soon", "-1", "3601", "nan"])
def test_a_wrong_setting_is_named(value: str) -> None:
    """A cache that is no number of seconds stops the start."""
    with pytest.raises(SettingError, match=r"^STACFLASK_API_KEYS_CACHE"):
        create_plugin({"STACFLASK_API_KEYS_CACHE": value})


def test_settings_have_defaults() -> None:
    """Without settings the cache is five seconds."""
    assert create_plugin({}).cache == 5
    assert create_plugin({"STACFLASK_API_KEYS_CACHE": "0"}).cache == 0


def test_create_warns_of_a_group_that_exists_nowhere(keys: Run) -> None:
    """A group that no grant, limit or other key names is probably misspelt; the key is made all the same."""
    made = keys("create", "jane", "--group", "members")
    assert (made.exit_code, "names the group members" in made.output) == (0, True)
    assert "warning" not in keys("create", "joe", "--group", "members").output
    assert "the group membres; is members meant?" in keys("create", "ann", "--group", "membres").output


def test_no_cell_breaks_the_table(keys: Run) -> None:
    """Columns are as wide as their widest cell, and control characters are written as escapes."""
    keys("create", "jane" * 20, "--note", "a\nb\x1b[2J")
    keys("create", "joe", "--group", "日本", "--note", "short")
    lines = keys("list").output.splitlines()
    assert len(lines) == 3
    assert {line.index(note) for line, note in zip(lines[::2], ("NOTE", "a\\nb\\x1b[2J"), strict=True)} == {
        lines[0].index("NOTE")
    }
