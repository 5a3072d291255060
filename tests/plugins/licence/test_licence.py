"""Licences: asked for, read, accepted, recorded, and asked for again when there is a newer version."""

from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from plugins._common.free_assets import FreeAssets
from plugins.licence import Licences, create_plugin, wanted_version
from stacflask import (
    ANONYMOUS,
    Asset,
    BadDocument,
    Decision,
    EndpointRequest,
    EndpointResponse,
    NotFound,
    Principal,
    Services,
    SettingError,
    Storage,
    hookimpl,
)
from stacflask.errors import Refused
from stacflask.gate import Gate
from stacflask.pluginmanager.loading import manage

Run = Callable[..., Result]

JANE = Principal("jane", scheme="test")
JOE = Principal("joe", scheme="test")


class Willing:
    """Consents to all, so that what is refused was refused for want of a licence."""

    @hookimpl
    def authorize(self) -> Decision:
        """Let it pass."""
        return Decision.allow("willing")


def started(storage: Storage, *roles: str, cache: float = 0) -> Licences:
    plugin = Licences(FreeAssets(frozenset(roles)), cache)
    plugin.startup(Services(storage))
    return plugin


@pytest.fixture
def plugin(storage: Storage) -> Licences:
    return started(storage)


@pytest.fixture
def run(plugin: Licences) -> Run:
    """Run ``stacflask licence`` and give its result."""
    return lambda *arguments: CliRunner().invoke(plugin.extend_cli()[0], arguments)


@pytest.fixture
def research(run: Run) -> None:
    """A licence ``research`` in version 1.0, asked for by collection ``radar``."""
    run("add", "research", "1.0", "--title", "Research only", "--url", "https://example.org/research")
    assert run("require", "radar", "research").exit_code == 0


def asset(collection: str = "radar", *roles: str) -> Asset:
    return Asset(collection, "scene", "hh", "s3://bucket/hh.png", "image/png", roles=roles)


def refusal(plugin: Licences, principal: Principal, wanted: Asset | None = None) -> Decision | None:
    """Give the decision that refused an asset, or None if it was granted."""
    try:
        Gate(manage({"licences": plugin, "willing": Willing()})).authorize(principal, wanted or asset())
    except Refused as refused:
        return refused.decision
    return None


def ask(plugin: Licences, name: str, principal: Principal, licence: str = "", body: Any = None) -> EndpointResponse:
    """Call an endpoint by the name of its handler."""
    handlers = {endpoint.handler.__name__: endpoint.handler for endpoint in plugin.extend_api()}
    return handlers[name](EndpointRequest(principal, {"licenceId": licence}, body))


def accept(plugin: Licences, principal: Principal, version: str = "1.0") -> EndpointResponse:
    return ask(plugin, "accept_licence", principal, "research", {"version": version})


@pytest.mark.usefixtures("research")
def test_a_download_waits_for_acceptance(plugin: Licences) -> None:
    """Before accepting, the answer names the licence, its version and where it is; afterwards the asset is granted."""
    refused = refusal(plugin, JANE)
    assert refused is not None
    assert (refused.kind, refused.code, refused.link) == ("forbidden", "LicenceNotAccepted", "/licences/research")
    assert refused.extra == {"licence": {"id": "research", "version": "1.0", "title": "Research only"}}
    accept(plugin, JANE)
    assert refusal(plugin, JANE) is None
    assert refusal(plugin, JOE) is not None


@pytest.mark.usefixtures("research")
def test_other_collections_ask_for_nothing(plugin: Licences) -> None:
    """A licence concerns the collections that ask for it."""
    assert refusal(plugin, JOE, asset("landsat")) is None


@pytest.mark.usefixtures("research")
def test_nobody_in_particular_cannot_accept(plugin: Licences) -> None:
    """Whoever is not known is asked for credentials, at the download and at the acceptance."""
    assert refusal(plugin, ANONYMOUS) is not None
    with pytest.raises(Refused) as refused:
        accept(plugin, ANONYMOUS)
    assert refused.value.anonymous
    known = Principal("anonymous", scheme="test")
    assert refusal(plugin, known) is not None


@pytest.mark.usefixtures("research")
def test_an_accepted_licence_opens_nothing(plugin: Licences) -> None:
    """Acceptance is a condition, no consent: without another plugin's word the asset stays refused."""
    accept(plugin, JANE)
    with pytest.raises(Refused):
        Gate(manage({"licences": plugin})).authorize(JANE, asset())


@pytest.mark.usefixtures("research")
def test_a_new_version_asks_again(plugin: Licences, run: Run, storage: Storage) -> None:
    """Whoever accepted the old version must accept the new one; both are on record."""
    accept(plugin, JANE)
    run("add", "research", "2.0", "--title", "Research only", "--url", "https://example.org/research/2")
    refused = refusal(plugin, JANE)
    assert refused is not None
    assert refused.extra["licence"]["version"] == "2.0"
    accept(plugin, JANE, "2.0")
    assert refusal(plugin, JANE) is None
    recorded = storage.rows("SELECT version FROM plugin_licence_acceptances WHERE principal = 'jane' ORDER BY accepted")
    assert [row["version"] for row in recorded] == ["1.0", "2.0"]


@pytest.mark.usefixtures("research")
def test_several_licences_are_all_asked_for(plugin: Licences, run: Run) -> None:
    """A collection with two licences is open to whoever accepted both."""
    run("add", "ethics", "2024", "--title", "Ethics", "--url", "https://example.org/ethics")
    run("require", "radar", "ethics")
    accept(plugin, JANE)
    refused = refusal(plugin, JANE)
    assert refused is not None
    assert refused.link == "/licences/ethics"
    ask(plugin, "accept_licence", JANE, "ethics", {"version": "2024"})
    assert refusal(plugin, JANE) is None


@pytest.mark.usefixtures("research")
def test_a_licence_without_versions_closes(plugin: Licences, storage: Storage) -> None:
    """If a licence is gone from its table, nobody can have accepted it, and nobody gets in."""
    with storage.transaction() as statements:
        statements.rows("DELETE FROM plugin_licences")
    assert refusal(plugin, JANE) is not None


@pytest.mark.parametrize(
    ("roles", "free"),
    [(("thumbnail",), True), (("thumbnail", "metadata"), True), (("thumbnail", "data"), False), ((), False)],
)
@pytest.mark.usefixtures("research")
def test_assets_that_need_no_licence(storage: Storage, roles: tuple[str, ...], free: bool) -> None:
    """An asset that is nothing but what the setting names needs no licence, whoever asks; by default every one does."""
    lenient = started(storage, "thumbnail", "metadata")
    assert (refusal(lenient, ANONYMOUS, asset("radar", *roles)) is None) is free
    assert refusal(started(storage), ANONYMOUS, asset("radar", *roles)) is not None


@pytest.mark.usefixtures("research")
def test_reading_and_accepting(plugin: Licences, run: Run, tmp_path: Any) -> None:
    """The addresses show text, version and whether one accepted; the links between them work from where they stand."""
    (tmp_path / "text").write_text("Für die Forschung.\n", encoding="utf-8")
    run("add", "research", "1.1", "--title", "Research only", "--text-file", str(tmp_path / "text"))
    listed = ask(plugin, "list_licences", JANE).body["licences"]
    assert [(one["id"], one["version"], one["accepted"]) for one in listed] == [("research", "1.1", None)]
    assert listed[0]["links"][0]["href"] == "/licences/research"
    assert "text" not in listed[0]
    shown = ask(plugin, "show_licence", JANE, "research").body
    assert shown["text"] == "Für die Forschung."
    assert {link["rel"]: link["href"] for link in shown["links"]}["acceptance"] == "/licences/research/acceptance"
    accepted = accept(plugin, JANE, "1.1").body["accepted"]
    assert ask(plugin, "show_licence", JANE, "research").body["accepted"] == accepted is not None
    assert ask(plugin, "show_licence", JOE, "research").body["accepted"] is None
    assert accept(plugin, JANE, "1.1").body["accepted"] == accepted


@pytest.mark.parametrize("version", ["0.9", "", "1", "2.0"])
@pytest.mark.usefixtures("research")
def test_only_the_newest_version_is_accepted(plugin: Licences, storage: Storage, version: str) -> None:
    """Accepting another version is an error that names the right one, and records nothing."""
    with pytest.raises(BadDocument, match=r"'1\.0'") as refused:
        accept(plugin, JANE, version)
    assert refused.value.pointer == "/version"
    assert storage.rows("SELECT principal FROM plugin_licence_acceptances") == []


@pytest.mark.parametrize("body", [None, [], "1.0", {}, {"version": 1.0}, {"version": None}, {"Version": "1.0"}])
def test_what_an_acceptance_must_say(body: Any) -> None:
    """An acceptance names a version, as a string."""
    with pytest.raises(BadDocument, match="/version"):
        wanted_version(body)


@pytest.mark.parametrize("handler", ["show_licence", "accept_licence"])
def test_an_unknown_licence_is_not_found(plugin: Licences, handler: str) -> None:
    """There is nothing to read or to accept where there is no licence."""
    with pytest.raises(NotFound):
        ask(plugin, handler, JANE, "nothing", {"version": "1.0"})


@pytest.mark.usefixtures("research")
def test_a_yes_is_remembered_and_a_no_is_not(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """An acceptance holds at once though answers are cached; a change of requirements holds after the cache."""
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    plugin = started(storage, cache=5)
    assert refusal(plugin, JANE) is not None
    accept(plugin, JANE)
    assert refusal(plugin, JANE) is None
    CliRunner().invoke(plugin.extend_cli()[0], ["unrequire", "radar", "research"])
    assert refusal(plugin, JOE) is not None
    clock[0] += 5
    assert refusal(plugin, JOE) is None


@pytest.mark.usefixtures("research")
def test_the_lists(plugin: Licences, run: Run) -> None:
    """The operator sees versions, who asks for them, and who accepted them when."""
    accept(plugin, JANE)
    run("add", "research", "2.0", "--title", "Research only", "--url", "https://example.org/2")
    first, second = [line.split() for line in run("list").stdout.splitlines()[1:]]
    assert first[:2] == ["research", "2.0"]
    assert second[:2] == ["research", "1.0"]
    assert (first[3], second[3]) == ("0", "1")
    assert first[-1] == "radar"
    lines = run("acceptances", "research").stdout.splitlines()[1:]
    assert [line.split()[1:] for line in lines] == [["1.0", "jane"]]


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["add", "research", "1.0", "--title", "T", "--url", "https://example.org"], 1, "version 1.0 already"),
        (["add", "research", "2.0", "--title", "T"], 2, "--text-file"),
        (["add", "research", "2.0", "--url", "https://example.org"], 2, "--title"),
        (["add", "research", "2.0", "--title", "T", "--url", "javascript:alert(1)"], 2, "http"),
        (["add", "no/slash", "1.0", "--title", "T", "--url", "https://example.org"], 2, "ID"),
        (["require", "radar", "nothing"], 1, "'nothing'"),
        (["unrequire", "landsat", "research"], 1, "'landsat'"),
    ],
)
@pytest.mark.usefixtures("research")
def test_what_commands_refuse(run: Run, arguments: list[str], code: int, complaint: str) -> None:
    """Each wrong command says what is wrong with it."""
    result = run(*arguments)
    assert result.exit_code == code
    assert complaint in result.stderr


def test_settings() -> None:
    """By default nothing is free of licences; a wrong cache is named."""
    assert create_plugin({}).free.roles == frozenset()
    roles = {"STACFLASK_LICENCE_FREE_ROLES": "thumbnail, metadata"}
    assert create_plugin(roles).free.roles == frozenset({"thumbnail", "metadata"})
    with pytest.raises(SettingError, match=r"^STACFLASK_LICENCE_CACHE"):
        create_plugin({"STACFLASK_LICENCE_CACHE": "never"})
