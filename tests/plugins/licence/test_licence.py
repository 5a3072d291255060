"""Licences: required, read, accepted, recorded, and required again in a newer version."""

from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from plugins._common.free_assets import FreeAssets
from plugins.licence import Licences, create_plugin
from plugins.licence.acceptance import accepted_version
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


class AllowsAll:
    """Allows every download, so that every denial comes from a missing licence."""

    @hookimpl
    def authorize(self) -> Decision:
        """Allow the download."""
        return Decision.allow("test")


def started(storage: Storage, *roles: str, cache: float = 0) -> Licences:
    plugin = Licences(FreeAssets(frozenset(roles)), cache)
    plugin.startup(Services(storage))
    return plugin


@pytest.fixture
def plugin(storage: Storage) -> Licences:
    return started(storage)


@pytest.fixture
def run(plugin: Licences) -> Run:
    """Return a function that runs ``stacflask licence`` and returns its result."""
    return lambda *arguments: CliRunner().invoke(plugin.extend_cli()[0], arguments)


@pytest.fixture
def research(run: Run) -> None:
    """Add a licence ``research`` in version 1.0 that collection ``radar`` requires."""
    run("add", "research", "1.0", "--title", "Research only", "--url", "https://example.org/research")
    assert run("require", "radar", "research").exit_code == 0


def asset(collection: str = "radar", *roles: str) -> Asset:
    return Asset(collection, "scene", "hh", "s3://bucket/hh.png", "image/png", roles=roles)


def denial(plugin: Licences, principal: Principal, requested: Asset | None = None) -> Decision | None:
    """Return the decision that denied an asset; None if it was allowed."""
    try:
        Gate(manage({"licences": plugin, "allows": AllowsAll()})).authorize(principal, requested or asset())
    except Refused as refused:
        return refused.decision
    return None


def call(plugin: Licences, name: str, principal: Principal, licence: str = "", body: Any = None) -> EndpointResponse:
    """Call an endpoint by the name of its handler."""
    handlers = {endpoint.handler.__name__: endpoint.handler for endpoint in plugin.extend_api()}
    return handlers[name](EndpointRequest(principal, {"licenceId": licence}, body))


def accept(plugin: Licences, principal: Principal, version: str = "1.0") -> EndpointResponse:
    return call(plugin, "accept_licence", principal, "research", {"version": version})


@pytest.mark.usefixtures("research")
def test_a_download_waits_for_acceptance(plugin: Licences) -> None:
    """Before acceptance, the denial names the licence, its version and its link; afterwards the asset is allowed."""
    refused = denial(plugin, JANE)
    assert refused is not None
    assert (refused.kind, refused.code, refused.link) == ("forbidden", "LicenceNotAccepted", "/licences/research")
    assert refused.extra == {"licence": {"id": "research", "version": "1.0", "title": "Research only"}}
    accept(plugin, JANE)
    assert denial(plugin, JANE) is None
    assert denial(plugin, JOE) is not None


@pytest.mark.usefixtures("research")
def test_other_collections_require_no_licence(plugin: Licences) -> None:
    """A licence applies only to the collections that require it."""
    assert denial(plugin, JOE, asset("landsat")) is None


@pytest.mark.usefixtures("research")
def test_anonymous_users_cannot_accept(plugin: Licences) -> None:
    """Anonymous users must authenticate, for the download and for the acceptance."""
    assert denial(plugin, ANONYMOUS) is not None
    with pytest.raises(Refused) as refused:
        accept(plugin, ANONYMOUS)
    assert refused.value.decision.reason == "an acceptance needs a principal"
    named_anonymous = Principal("anonymous", scheme="test")
    assert denial(plugin, named_anonymous) is not None


@pytest.mark.usefixtures("research")
def test_acceptance_alone_allows_nothing(plugin: Licences) -> None:
    """After the acceptance the plugin abstains: another plugin must allow the download."""
    accept(plugin, JANE)
    with pytest.raises(Refused):
        Gate(manage({"licences": plugin})).authorize(JANE, asset())


@pytest.mark.usefixtures("research")
def test_a_new_version_must_be_accepted_again(plugin: Licences, run: Run, storage: Storage) -> None:
    """Users who accepted the old version must accept the new one; both acceptances are recorded."""
    accept(plugin, JANE)
    run("add", "research", "2.0", "--title", "Research only", "--url", "https://example.org/research/2")
    refused = denial(plugin, JANE)
    assert refused is not None
    assert refused.extra["licence"]["version"] == "2.0"
    accept(plugin, JANE, "2.0")
    assert denial(plugin, JANE) is None
    recorded = storage.rows("SELECT version FROM plugin_licence_acceptances WHERE principal = 'jane' ORDER BY accepted")
    assert [row["version"] for row in recorded] == ["1.0", "2.0"]


@pytest.mark.usefixtures("research")
def test_all_licences_of_a_collection_are_required(plugin: Licences, run: Run) -> None:
    """A collection with two licences is open to users who accepted both."""
    run("add", "ethics", "2024", "--title", "Ethics", "--url", "https://example.org/ethics")
    run("require", "radar", "ethics")
    accept(plugin, JANE)
    refused = denial(plugin, JANE)
    assert refused is not None
    assert refused.link == "/licences/ethics"
    call(plugin, "accept_licence", JANE, "ethics", {"version": "2024"})
    assert denial(plugin, JANE) is None


@pytest.mark.usefixtures("research")
def test_a_licence_without_versions_denies(plugin: Licences, storage: Storage) -> None:
    """If a required licence has no version in the table, every download is denied."""
    with storage.transaction() as statements:
        statements.rows("DELETE FROM plugin_licence_versions")
    assert denial(plugin, JANE) is not None


@pytest.mark.parametrize(
    ("roles", "free"),
    [(("thumbnail",), True), (("thumbnail", "metadata"), True), (("thumbnail", "data"), False), ((), False)],
)
@pytest.mark.usefixtures("research")
def test_assets_that_need_no_licence(storage: Storage, roles: tuple[str, ...], free: bool) -> None:
    """An asset that has only the roles in the setting needs no licence; by default every asset needs one."""
    lenient = started(storage, "thumbnail", "metadata")
    assert (denial(lenient, ANONYMOUS, asset("radar", *roles)) is None) is free
    assert denial(started(storage), ANONYMOUS, asset("radar", *roles)) is not None


@pytest.mark.usefixtures("research")
def test_reading_and_accepting(plugin: Licences, run: Run, tmp_path: Any) -> None:
    """The endpoints return text, version and time of acceptance; their links lead to each other."""
    (tmp_path / "text").write_text("Für die Forschung.\n", encoding="utf-8")
    run("add", "research", "1.1", "--title", "Research only", "--text-file", str(tmp_path / "text"))
    listed = call(plugin, "list_licences", JANE).body["licences"]
    assert [(one["id"], one["version"], one["accepted"]) for one in listed] == [("research", "1.1", None)]
    assert listed[0]["links"][0]["href"] == "/licences/research"
    assert "text" not in listed[0]
    shown = call(plugin, "show_licence", JANE, "research").body
    assert shown["text"] == "Für die Forschung."
    assert {link["rel"]: link["href"] for link in shown["links"]}["acceptance"] == "/licences/research/acceptance"
    accepted = accept(plugin, JANE, "1.1").body["accepted"]
    assert call(plugin, "show_licence", JANE, "research").body["accepted"] == accepted is not None
    assert call(plugin, "show_licence", JOE, "research").body["accepted"] is None
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
def test_an_acceptance_names_a_version(body: Any) -> None:
    """The body must have a version that is a string."""
    with pytest.raises(BadDocument, match="/version"):
        accepted_version(body)


@pytest.mark.parametrize("handler", ["show_licence", "accept_licence"])
def test_an_unknown_licence_is_not_found(plugin: Licences, handler: str) -> None:
    """A licence that does not exist cannot be read or accepted."""
    with pytest.raises(NotFound):
        call(plugin, handler, JANE, "nothing", {"version": "1.0"})


@pytest.mark.usefixtures("research")
def test_an_acceptance_takes_effect_at_once(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """An acceptance applies at once in spite of the cache; a changed requirement applies when the cache expires."""
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    plugin = started(storage, cache=5)
    assert denial(plugin, JANE) is not None
    accept(plugin, JANE)
    assert denial(plugin, JANE) is None
    CliRunner().invoke(plugin.extend_cli()[0], ["unrequire", "radar", "research"])
    assert denial(plugin, JOE) is not None
    clock[0] += 5
    assert denial(plugin, JOE) is None


@pytest.mark.usefixtures("research")
def test_lists_show_versions_and_acceptances(plugin: Licences, run: Run) -> None:
    """The lists have versions, the collections that require them, and acceptances."""
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
    ("arguments", "code", "message"),
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
def test_wrong_commands_fail(run: Run, arguments: list[str], code: int, message: str) -> None:
    """The error of a wrong command names the problem."""
    result = run(*arguments)
    assert result.exit_code == code
    assert message in result.stderr


def test_settings_have_defaults() -> None:
    """By default every asset needs the licences of its collection; a wrong setting is named."""
    assert create_plugin({}).free.roles == frozenset()
    roles = {"STACFLASK_LICENCE_FREE_ROLES": "thumbnail, metadata"}
    assert create_plugin(roles).free.roles == frozenset({"thumbnail", "metadata"})
    with pytest.raises(SettingError, match=r"^STACFLASK_LICENCE_CACHE"):
        create_plugin({"STACFLASK_LICENCE_CACHE": "never"})
