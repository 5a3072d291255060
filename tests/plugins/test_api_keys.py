"""API keys: which principal a key authenticates, its scopes, expiry and revocation."""

import base64
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import pytest
from click.testing import CliRunner, Result

from plugins.api_keys import ApiKeys, create_plugin, parse_expiry
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


class AllowsAll:
    """Allows everything, so that every denial comes from a key's scopes."""

    @hookimpl
    def authorize(self) -> Decision:
        """Allow the download."""
        return Decision.allow("test")

    @hookimpl
    def authorize_change(self) -> Decision:
        """Allow the change."""
        return Decision.allow("test")


@pytest.fixture
def plugin(storage: Storage) -> ApiKeys:
    plugin = ApiKeys(cache=0)
    plugin.startup(Services(storage))
    return plugin


@pytest.fixture
def gate(plugin: ApiKeys) -> Gate:
    return Gate(manage({"keys": plugin, "allows": AllowsAll()}))


@pytest.fixture
def keys(plugin: ApiKeys) -> Run:
    """Return a function that runs ``stacflask keys`` and returns its result."""
    return lambda *arguments: CliRunner().invoke(plugin.extend_cli()[0], arguments)


def request_with(authorization: str | None = None) -> Request:
    headers = {} if authorization is None else {"Authorization": authorization}
    return Request("GET", "/search", headers, {}, "192.0.2.1")


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_a_new_key_authenticates_its_principal(keys: Run, gate: Gate) -> None:
    """The key that the command prints authenticates its principal, with groups and scopes."""
    created = keys("create", "jane", "--group", "members", "--group", "curators", "--note", "laptop")
    assert created.exit_code == 0
    principal = gate.authenticate(request_with(f"Bearer {created.stdout.strip()}"))
    assert principal.id == "jane"
    assert principal.groups == frozenset({"members", "curators"})
    assert principal.scopes == frozenset({"read", "download"})
    assert not principal.anonymous


@pytest.mark.parametrize("user", ["", "jane", "someone: else"])
def test_basic_with_the_key_as_password(keys: Run, gate: Gate, user: str) -> None:
    """curl, wget and netrc send the key as a password; the user name is any text without a colon."""
    keys("create", "jane", "--key", KEY)
    if ":" in user:
        with pytest.raises(BadCredentials):
            gate.authenticate(request_with(basic(f"{user}:{KEY}")))
    else:
        assert gate.authenticate(request_with(basic(f"{user}:{KEY}"))).id == "jane"


@pytest.mark.parametrize("authorization", [None, "Bearer eyJhbGciOi.J9.x", "Negotiate abc", "Bearer"])
def test_other_credentials_are_left_to_others(plugin: ApiKeys, authorization: str | None) -> None:
    """The plugin ignores requests without credentials, other schemes and other kinds of tokens."""
    assert plugin.authenticate(request_with(authorization)) is None


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
def test_every_invalid_key_has_the_same_error(keys: Run, gate: Gate, authorization: str | None) -> None:
    """Every invalid key raises the same error, and never makes the request anonymous."""
    keys("create", "jane", "--key", KEY)
    with pytest.raises(BadCredentials) as refusal:
        gate.authenticate(request_with(authorization))
    assert refusal.value.description == "The API key is not valid."


@pytest.mark.parametrize("pair", ["%%%", "", base64.b64encode(b"\xff\xfe:x").decode(), "c2Zr?"])
def test_malformed_basic_credentials_are_refused(gate: Gate, pair: str) -> None:
    """Credentials that are not base64 of text are refused."""
    with pytest.raises(BadCredentials):
        gate.authenticate(request_with(f"Basic {pair}"))


def test_only_the_holder_learns_that_a_key_has_expired(keys: Run, gate: Gate, storage: Storage) -> None:
    """The error names the expiry only if the secret is right."""
    keys("create", "jane", "--key", KEY, "--expires", "90d")
    gate.authenticate(request_with(f"Bearer {KEY}"))
    with storage.transaction() as statements:
        statements.rows("UPDATE plugin_api_keys SET expires = now() - interval '1 second'")
    with pytest.raises(BadCredentials, match="expired"):
        gate.authenticate(request_with(f"Bearer {KEY}"))
    with pytest.raises(BadCredentials, match="not valid"):
        gate.authenticate(request_with(f"Bearer {KEY}x"))


def test_the_cache_does_not_delay_expiry(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cached key expires at its time."""
    plugin = ApiKeys(cache=3600)
    plugin.startup(Services(storage))
    CliRunner().invoke(plugin.extend_cli()[0], ["create", "jane", "--key", KEY, "--expires", "1h"])
    assert plugin.authenticate(request_with(f"Bearer {KEY}")) is not None
    monkeypatch.setattr("plugins.api_keys.datetime", InTwoHours)
    with pytest.raises(BadCredentials, match="expired"):
        plugin.authenticate(request_with(f"Bearer {KEY}"))


def test_a_revoked_key_is_refused(keys: Run, gate: Gate) -> None:
    """A key is revoked once, and its error is that of a key that does not exist."""
    keys("create", "jane", "--key", KEY)
    gate.authenticate(request_with(f"Bearer {KEY}"))
    assert keys("revoke", "00000001").exit_code == 0
    with pytest.raises(BadCredentials, match="not valid"):
        gate.authenticate(request_with(f"Bearer {KEY}"))
    again = keys("revoke", "00000001")
    assert again.exit_code == 1
    assert "'00000001'" in again.stderr


class InTwoHours(datetime):
    """A clock that is two hours ahead."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        """Return the time in two hours."""
        return datetime.now(tz) + timedelta(hours=2)


class Counting:
    """Storage that counts reads."""

    def __init__(self, storage: Storage) -> None:
        self.inner, self.reads = storage, 0

    def rows(self, sql: str, /, **values: Any) -> list[Mapping[str, Any]]:
        """Count a read and perform it."""
        self.reads += 1
        return self.inner.rows(sql, **values)

    def write(self, sql: str, /, **values: Any) -> list[Mapping[str, Any]]:
        """Call the wrapped storage."""
        return self.inner.write(sql, **values)

    def transaction(self) -> AbstractContextManager[Statements]:
        """Call the wrapped storage."""
        return self.inner.transaction()


def test_a_key_is_read_once_until_the_cache_expires(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the seconds of the cache the key is read once; then a revocation takes effect."""
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    plugin = ApiKeys(cache=5)
    plugin.startup(Services(counting := Counting(storage)))
    keys = plugin.extend_cli()[0]
    CliRunner().invoke(keys, ["create", "jane", "--key", KEY])
    for _ in range(10):
        plugin.authenticate(request_with(f"Bearer {KEY}"))
    assert counting.reads == 1
    CliRunner().invoke(keys, ["revoke", "00000001"])
    clock[0] += 5
    with pytest.raises(BadCredentials):
        plugin.authenticate(request_with(f"Bearer {KEY}"))


def test_no_secret_is_stored(keys: Run, storage: Storage) -> None:
    """Neither the table nor the list has the secret."""
    key = keys("create", "jane").stdout.strip()
    secret = key.split("_", 2)[2]
    assert secret not in str([dict(row) for row in storage.rows("SELECT * FROM plugin_api_keys")])
    assert secret not in keys("list").output


def test_keys_differ(keys: Run) -> None:
    """Two keys have different ids and secrets, and each secret has 43 characters (256 bits)."""
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
def test_scopes_limit_a_credential(gate: Gate, principal: Principal, sees: bool, downloads: bool, writes: bool) -> None:
    """A credential is limited to its scopes, also if its principal has more rights, and with every plugin."""
    assert (gate.restrict(principal) == UNRESTRICTED) is sees
    assert granted(lambda: gate.authorize(principal, ASSET)) is downloads
    assert granted(lambda: gate.authorize_change(principal, Change("create", "landsat", "scene"))) is writes


def granted(authorize: Callable[[], object]) -> bool:
    try:
        authorize()
    except Refused as refusal:
        if "scope" not in refusal.description:
            raise
        return False
    return True


def test_a_key_alone_grants_nothing(plugin: ApiKeys) -> None:
    """A key with every scope authenticates only; a policy plugin must allow the download."""
    with pytest.raises(Refused):
        Gate(manage({"keys": plugin})).authorize(scoped("read", "download", "write"), ASSET)


@pytest.mark.parametrize(
    ("dest", "schemes"), [(None, ["Bearer", "Basic"]), ("document", ["Bearer", "Basic"]), ("empty", ["Bearer"])]
)
def test_scripts_get_no_basic_challenge(plug: Plug, dest: str | None, schemes: list[str]) -> None:
    """A page's script gets the Bearer challenge alone: for Basic the browser would open a password dialog."""
    headers = {"Authorization": "Bearer sfk_00000001_wrong", **({"Sec-Fetch-Dest": dest} if dest else {})}
    response = plug(ApiKeys(0)).get("/collections", headers=headers)
    assert response.status_code == 401
    assert [header.split()[0] for header in response.headers.getlist("WWW-Authenticate")] == schemes


def test_challenges_for_bearer_and_basic(gate: Gate) -> None:
    """Both challenges are sent, Bearer first."""
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
def test_an_expiry_is_a_duration_or_a_date(text: str, moment: datetime) -> None:
    """Durations count from now; dates begin at midnight, UTC."""
    assert parse_expiry(text, NOON) == moment


@pytest.mark.parametrize(
    ("arguments", "message"),
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
def test_wrong_arguments_create_no_key(keys: Run, storage: Storage, arguments: list[str], message: str) -> None:
    """Each wrong argument is named, and no key is created."""
    result = keys("create", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert storage.rows("SELECT id FROM plugin_api_keys") == []


def test_an_id_is_used_once(keys: Run, gate: Gate) -> None:
    """A second key with the same id is refused, and the first stays valid."""
    keys("create", "jane", "--key", KEY)
    second = keys("create", "eve", "--key", "sfk_00000001_another-secret")
    assert second.exit_code == 1
    assert gate.authenticate(request_with(f"Bearer {KEY}")).id == "jane"


def test_the_list_shows_state_and_last_use(keys: Run, gate: Gate, storage: Storage) -> None:
    """The list shows the principal, the state and the day of last use of each key."""
    keys("create", "jane", "--key", KEY, "--group", "members", "--note", "laptop")
    keys("create", "joe", "--key", "sfk_00000002_not-in-use-any-more", "--expires", "1d")
    keys("create", "jim", "--key", "sfk_00000003_given-away")
    keys("revoke", "00000003")
    gate.authenticate(request_with(f"Bearer {KEY}"))
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
    """A cache that is no number of seconds prevents the start."""
    with pytest.raises(SettingError, match=r"^STACFLASK_API_KEYS_CACHE"):
        create_plugin({"STACFLASK_API_KEYS_CACHE": value})


def test_settings_have_defaults() -> None:
    """Without settings keys are cached for five seconds."""
    assert create_plugin({}).cache == 5
    assert create_plugin({"STACFLASK_API_KEYS_CACHE": "0"}).cache == 0


def test_create_warns_of_a_group_that_exists_nowhere(keys: Run) -> None:
    """A group that no grant, limit or other key names causes a warning; the key is created."""
    created = keys("create", "jane", "--group", "members")
    assert (created.exit_code, "names the group members" in created.output) == (0, True)
    assert "warning" not in keys("create", "joe", "--group", "members").output
    assert "the group membres. Did you mean members?" in keys("create", "ann", "--group", "membres").output


def test_table_cells_are_escaped(keys: Run) -> None:
    """Columns are as wide as their widest cell, and control characters are escaped."""
    keys("create", "jane" * 20, "--note", "a\nb\x1b[2J")
    keys("create", "joe", "--group", "日本", "--note", "short")
    lines = keys("list").output.splitlines()
    assert len(lines) == 3
    assert {line.index(note) for line, note in zip(lines[::2], ("NOTE", "a\\nb\\x1b[2J"), strict=True)} == {
        lines[0].index("NOTE")
    }
