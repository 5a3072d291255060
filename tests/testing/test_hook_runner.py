"""Hooks are called without a server and without a database, by the same rules as in a server."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from plugins import open_access
from stacflask import (
    ANONYMOUS,
    Asset,
    BadCredentials,
    ByteRange,
    Change,
    Decision,
    Missing,
    Principal,
    Redirect,
    Refused,
    RequestInfo,
    Services,
    SettingError,
    StreamResult,
    hookimpl,
)
from stacflask.testing import FakeIdentity, HookRunner, MemoryStore, a_collection, an_asset, an_item, as_user

ANN = as_user("ann", groups=["staff"])
ASSET = an_asset()


class StaffOnly:
    """Denies downloads to users outside a group, and restricts what anonymous clients see."""

    @hookimpl
    def restrict(self, principal: Principal, of: str) -> dict[str, Any] | None:
        return {"op": "=", "args": [{"property": "of"}, of]} if principal.anonymous else None

    @hookimpl
    def authorize(self, principal: Principal) -> Decision | None:
        return None if "staff" in principal.groups else Decision.deny("not staff")


class Records:
    """Records charges and ends of streams."""

    def __init__(self) -> None:
        self.charged: list[int | None] = []
        self.finished: list[StreamResult] = []

    @hookimpl
    def charge(self, byte_range: ByteRange) -> None:
        self.charged.append(byte_range.length)

    @hookimpl
    def stream_finished(self, stream_result: StreamResult) -> None:
        self.finished.append(stream_result)


def test_decisions_of_all_plugins_are_combined() -> None:
    """A denial overrides an allow, and nothing is granted without consent, as in a server."""
    assert HookRunner(StaffOnly(), open_access).authorize(ANN, ASSET).allowed
    denied = HookRunner(StaffOnly(), open_access).authorize(as_user("bob"), ASSET)
    assert (denied.allowed, denied.reason, denied.by) == (False, "not staff", "StaffOnly")
    assert HookRunner(StaffOnly()).authorize(ANN, ASSET).reason == "no plugin consented"


def test_many_assets_are_decided_at_once() -> None:
    """``authorize_many`` is called instead of ``authorize`` of a plugin that has it, and combined for each asset."""

    class Many:
        @hookimpl
        def authorize(self) -> Decision:
            return Decision.deny("one by one")

        @hookimpl
        def authorize_many(self, assets: Sequence[Asset]) -> list[Decision | None]:
            return [Decision.deny("second") if number else None for number, _ in enumerate(assets)]

    decisions = HookRunner(Many(), open_access).authorize_many(ANN, [ASSET, ASSET])
    assert [decision.reason for decision in decisions] == ["open access", "second"]


def test_restrictions_are_returned_for_both_kinds_of_records() -> None:
    """``restrict`` returns the condition that a server would add to its queries, or None."""
    hooks = HookRunner(StaffOnly())
    assert hooks.restrict(ANONYMOUS) == {"op": "=", "args": [{"property": "of"}, "items"]}
    assert hooks.restrict(ANONYMOUS, "collections") == {"op": "=", "args": [{"property": "of"}, "collections"]}
    assert hooks.restrict(ANN) is None


def test_a_download_is_charged_and_finished() -> None:
    """``download`` returns the bytes of a range, and calls the hooks of a download in their order."""
    records = Records()
    hooks = HookRunner(records, open_access, MemoryStore({ASSET.href: b"0123456789"}))
    assert hooks.download(ANN, ASSET) == b"0123456789"
    assert hooks.download(ANN, ASSET, 2, 3) == b"234"
    assert records.charged == [10, 3]
    assert [(result.sent, result.complete) for result in records.finished] == [(10, True), (3, True)]


def test_a_refused_download_raises() -> None:
    """A denial is raised, so that a test cannot take it for a download."""
    with pytest.raises(Refused) as raised:
        HookRunner(StaffOnly(), open_access, MemoryStore({ASSET.href: b""})).download(ANONYMOUS, ASSET)
    assert raised.value.decision.reason == "not staff"


def test_results_are_checked() -> None:
    """A wrong result is an error that names the plugin and the hook, as in a server."""

    class Wrong:
        @hookimpl
        def authorize(self) -> Any:
            return "yes"

    with pytest.raises(TypeError, match="Wrong: authorize: expected Decision or None, got str"):
        HookRunner(Wrong()).authorize(ANN, ASSET)


def test_wrong_hooks_are_refused() -> None:
    """A misspelt hook is an error when the runner is made."""
    with pytest.raises(SettingError, match="did you mean 'authorize'"):
        HookRunner(type("Plugin", (), {"authorise": hookimpl(lambda self: None)})())


def test_committed_changes_are_handled_when_commit_returns() -> None:
    """``commit`` waits for the background, so that a test needs no waiting of its own."""

    class Observes:
        @hookimpl
        def changes_committed(self, changes: Sequence[Change], request_info: RequestInfo) -> None:
            self.observed = changes, request_info.request_id

    plugin, change = Observes(), Change("create", "collection", "item")
    HookRunner(plugin, request_info=RequestInfo("r1")).commit(ANN, [change])
    assert plugin.observed == ((change,), "r1")


def test_plugins_can_be_given_by_their_names(tmp_path: Path) -> None:
    """A name is loaded with the settings of the test, as a server loads it."""
    (tmp_path / "a.txt").write_text("bytes")
    hooks = HookRunner("open_access", "local_files", environ={"STACFLASK_LOCAL_FILES_ROOTS": str(tmp_path)})
    asset = an_asset(an_item(assets={"data": {"href": (tmp_path / "a.txt").as_uri()}}))
    assert hooks.download(ANN, asset) == b"bytes"
    with pytest.raises(SettingError, match="STACFLASK_LOCAL_FILES_ROOTS"):
        HookRunner("local_files")


def test_startup_is_called_and_tables_need_storage() -> None:
    """``startup`` is called; a plugin that uses tables gets an error that says what to do."""

    class Starts:
        @hookimpl
        def startup(self, services: Services) -> None:
            self.services = services

    plugin = Starts()
    HookRunner(plugin)
    with pytest.raises(RuntimeError, match="Pass storage="):
        plugin.services.storage.rows("SELECT 1")


def test_records_have_the_request() -> None:
    """The request that a test states is in the records of downloads."""
    records = Records()
    store = MemoryStore({ASSET.href: b"0"})
    HookRunner(records, open_access, store, request_info=RequestInfo("r1", "GET", "192.0.2.7")).download(ANN, ASSET)
    assert records.finished[0].download_decision.request_info.address == "192.0.2.7"


def test_a_fake_identity_authenticates_and_refreshes() -> None:
    """The bearer token is the name of a user; groups can change, and an unknown user is refused."""
    identity = FakeIdentity({"ann": ["staff"]})
    hooks = HookRunner(identity)
    ann = hooks.authenticate({"Authorization": "Bearer ann"})
    assert (ann.id, sorted(ann.groups), hooks.authenticate()) == ("ann", ["staff"], ANONYMOUS)
    with pytest.raises(BadCredentials):
        hooks.authenticate({"Authorization": "Bearer bob"})


def test_header_fields_have_any_case() -> None:
    """Names of header fields are case-insensitive, as in a server."""
    hooks = HookRunner(FakeIdentity({"ann": []}))
    assert hooks.authenticate({"authorization": "bearer ann"}).id == "ann"
    with pytest.raises(BadCredentials):
        hooks.authenticate({"AUTHORIZATION": "Digest ann"})


def test_a_memory_store_redirects_on_request() -> None:
    """With ``redirects``, the store returns a URL; without, and for a stream, its bytes."""
    store = MemoryStore({ASSET.href: b"0123"}, redirects=True)
    hooks = HookRunner(open_access, store)
    redirect = hooks.deliver(ANN, ASSET)
    assert isinstance(redirect, Redirect)
    assert redirect.size == 4
    assert not isinstance(hooks.deliver(ANN, ASSET, streamed=True), Redirect)


def test_a_memory_store_has_the_fields_of_streams() -> None:
    """A test can state what the store reports besides the bytes."""
    store = MemoryStore({ASSET.href: b"0"}, content_type="text/csv", content_encoding="gzip")
    stream: Any = HookRunner(open_access, store).deliver(ANN, ASSET)
    assert (stream.content_type, stream.content_encoding, stream.length) == ("text/csv", "gzip", 1)


def test_a_memory_store_misses_objects() -> None:
    """An href of the store without bytes is an object that is missing."""
    gone = an_asset(an_item(assets={"data": {"href": "memory:gone"}}))
    with pytest.raises(Missing):
        HookRunner(open_access, MemoryStore({})).download(ANN, gone)


def test_assets_are_made_as_the_catalogue_makes_them() -> None:
    """An asset has the properties of its item, overridden by its own; a path leads into a directory asset."""
    item = an_item(
        properties={"datetime": "2024-06-01T12:00:00Z", "gsd": 10},
        assets={"data": {"href": "memory:a.zarr/", "gsd": 20, "roles": ["data"]}},
    )
    asset = an_asset(item)
    assert (asset.item, asset.href, asset.properties["gsd"], asset.roles) == ("item", "memory:a.zarr/", 20, ("data",))
    inner = an_asset(item, "data/0/1")
    assert inner.path == "0/1"
    assert HookRunner(open_access, MemoryStore({"memory:a.zarr/0/1": b"x"})).download(ANN, inner) == b"x"
    collection = a_collection("sar", assets={"terms": {"href": "memory:terms.pdf"}})
    assert an_asset(collection, "terms").item is None


def test_an_asset_that_is_not_delivered_is_an_error() -> None:
    """A key that does not exist, or a public href, is an error instead of an asset that no server has."""
    for key, href in (("none", "memory:a"), ("data", "https://example.org/a")):
        with pytest.raises(KeyError):
            an_asset(an_item(assets={"data": {"href": href}}), key)


def test_helpers_import_neither_flask_nor_sqlalchemy() -> None:
    """Tests without a database start fast: the helpers import neither Flask nor SQLAlchemy."""
    code = (
        "import sys, stacflask.testing as t; t.HookRunner(t.MemoryStore({})).authorize(t.as_user('a'), t.an_asset());"
        "sys.exit(any(name in sys.modules for name in ('flask', 'sqlalchemy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
