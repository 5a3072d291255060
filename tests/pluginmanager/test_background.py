"""Hooks that are called in the background: after changes, and at the end of a process. Their log, too."""

import json
import logging
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from plugins import open_access
from stacflask import Change, Decision, Principal, RequestInfo, SettingError, hookimpl
from stacflask.api.stac import transactions
from stacflask.cli import run
from stacflask.pluginmanager import background, loading
from stacflask.pluginmanager.background import Background
from stacflask.testing import Plug, Publish, a_collection, an_item, as_user
from tests.waiting import waiting_for
from tests.walk.conftest import serving

ITEMS = "/collections/collection/items"
ME = as_user("me")
INFO = RequestInfo("the-id")


class Writable:
    """Allows all changes."""

    @hookimpl
    def authorize_change(self) -> Decision:
        return Decision.allow("test")


class Notes:
    """Records the changes of each call."""

    def __init__(self) -> None:
        self.calls: list[tuple[Change, ...]] = []
        self.last: tuple[Principal, RequestInfo] | None = None

    @hookimpl
    def changes_committed(self, changes: Sequence[Change], principal: Principal, request_info: RequestInfo) -> None:
        self.last = principal, request_info
        self.calls.append(tuple(changes))


class Hangs:
    """Waits in each call until it is released."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.called = threading.Event()

    @hookimpl
    def changes_committed(self) -> None:
        self.called.set()
        self.released.wait()

    @hookimpl
    def shutdown(self) -> None:
        self.released.wait()


@pytest.fixture
def hangs() -> Iterator[Hangs]:
    plugin = Hangs()
    yield plugin
    plugin.released.set()


def test_changes_committed_has_each_change(plug: Plug, publish: Publish) -> None:
    """A plugin gets what was committed, with the principal and the request, and nothing of requests that failed."""
    publish(an_item("first"))
    notes = Notes()
    client = plug(Writable(), notes)
    many = {"type": "FeatureCollection", "features": [an_item("b"), an_item("c")]}
    requests: list[tuple[str, str, dict[str, Any] | None]] = [
        ("POST", ITEMS, an_item("a")),
        ("POST", ITEMS, many),
        ("POST", ITEMS, an_item("a")),  # a conflict
        ("PUT", f"{ITEMS}/a", an_item("a")),
        ("PATCH", f"{ITEMS}/a", {"properties": {"x": 1}}),
        ("PUT", f"{ITEMS}/a", {}),  # an invalid document
        ("DELETE", f"{ITEMS}/a", None),
        ("POST", "/collections", a_collection("new")),
        ("PUT", "/collections/new", a_collection("new")),
        ("PATCH", "/collections/new", {"title": "New"}),
        ("DELETE", "/collections/new", None),
    ]
    statuses = [
        client.open(path, method=method, json=body, user=ME, headers={"X-Request-ID": "the-id"}).status_code
        for method, path, body in requests
    ]
    assert statuses == [201, 201, 409, 204, 204, 400, 204, 201, 204, 204, 204]
    expected = [
        (Change("create", "collection", "a"),),
        (Change("create", "collection", "b"), Change("create", "collection", "c")),
        (Change("replace", "collection", "a"),),
        (Change("update", "collection", "a"),),
        (Change("delete", "collection", "a"),),
        (Change("create", "new", new_collection=True),),
        (Change("replace", "new"),),
        (Change("update", "new"),),
        (Change("delete", "new"),),
    ]
    waiting_for(lambda: len(notes.calls) >= len(expected))
    assert notes.calls == expected
    assert notes.last is not None
    assert (notes.last[0], notes.last[1].request_id) == (ME, "the-id")


def test_many_items_of_a_request_are_one_change(plug: Plug, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    """More items than the maximum are reported as ``bulk``."""
    monkeypatch.setattr(transactions, "MAX_REPORTED_ITEMS", 2)
    publish(a_collection())
    notes = Notes()
    client = plug(Writable(), notes)
    client.post(ITEMS, json={"type": "FeatureCollection", "features": [an_item(name) for name in "abc"]})
    waiting_for(lambda: bool(notes.calls))
    assert notes.calls == [(Change("bulk", "collection"),)]


def test_an_unfinished_deletion_is_a_change(plug: Plug, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a deletion stops at its time limit, the deleted items are reported; the collection follows when it is gone."""
    monkeypatch.setattr("stacflask.catalog.deletion.BATCH", 1)
    publish(*map(an_item, "ab"))
    notes = Notes()
    client = plug(Writable(), notes, environ={"STACFLASK_STATEMENT_TIMEOUT": "0.000001"})
    statuses = [client.delete("/collections/collection?force=true").status_code for _ in range(3)]
    assert statuses == [503, 503, 204]
    Background.wait(120)
    actions = [change.action for changes in notes.calls for change in changes]
    assert actions == ["bulk", "bulk", "delete"]


def test_a_plugin_that_hangs_delays_no_request_and_no_plugin(plug: Plug, publish: Publish, hangs: Hangs) -> None:
    """Requests are answered and other plugins get their calls while a call of one plugin runs."""
    publish(a_collection())
    notes = Notes()
    client = plug(Writable(), hangs, notes)
    for name in "abc":
        assert client.post(ITEMS, json=an_item(name)).status_code == 201
    assert hangs.called.wait(120)
    waiting_for(lambda: len(notes.calls) == len("abc"))


def test_a_plugin_that_fails_changes_no_response(
    plug: Plug, publish: Publish, capfd: pytest.CaptureFixture[str]
) -> None:
    """An exception after a change is logged with the plugin's name."""
    publish(a_collection())

    class Fails:
        @hookimpl
        def changes_committed(self) -> None:
            raise SystemExit(3)

    client = plug(Writable(), Fails())
    assert client.post(ITEMS, json=an_item()).status_code == 201
    Background.wait(120)
    logged = capfd.readouterr().err
    assert "observer failed" in logged
    assert "plugin=Fails hook=changes_committed" in logged


def test_calls_beyond_the_maximum_are_dropped(
    hangs: Hangs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A plugin that hangs accumulates a bounded number of calls. The others are dropped and logged."""
    monkeypatch.setattr(background, "MAX_PENDING_CALLS", 2)
    queue = Background("mine")
    calls: list[RequestInfo] = []
    wait = queue.guard(hangs.changes_committed, ("request_info",), ())
    note = queue.guard(calls.append, ("request_info",), ("request_info",))
    wait(INFO)
    assert hangs.called.wait(120)
    for _ in range(3):
        note(INFO)
    hangs.released.set()
    Background.wait(120)
    assert calls == [INFO, INFO]
    assert [record.message for record in caplog.records] == ["background call dropped"]


@pytest.mark.parametrize("hook", background.HOOKS)
def test_a_wrapper_of_a_background_hook_stops_the_start(hook: str) -> None:
    """A wrapper would run in the request."""

    def wraps(_: Any) -> Any:
        return (yield)

    plugin = type("Mine", (), {hook: hookimpl(wrapper=True)(wraps)})()
    with pytest.raises(SettingError, match=f"mine: {hook} cannot be a wrapper"):
        loading.manage({"mine": plugin})


# --- End of a process ------------------------------------------------------------------------------------------------


class Flushes(Notes):
    """Records in ``shutdown`` how many changes it has."""

    flushed: int | None = None

    @hookimpl
    def shutdown(self) -> None:
        self.flushed = len(self.calls)


def test_shutdown_is_called_after_the_last_change() -> None:
    """A plugin has all of its changes when ``shutdown`` is called."""
    plugin = Flushes()
    manager = loading.manage({"mine": plugin})
    for _ in range(5):
        manager.hook.changes_committed(changes=(Change("bulk", "c"),), principal=ME, request_info=INFO)
    loading.shutdown(manager, seconds=120)
    assert plugin.flushed == 5


def test_a_plugin_that_hangs_does_not_stop_the_end_of_a_process(hangs: Hangs) -> None:
    """The process waits for a limited time for all plugins, and a plugin that hangs does not stop the others."""
    plugin = Flushes()
    loading.shutdown(loading.manage({"hangs": hangs, "mine": plugin}), seconds=0.1)
    waiting_for(lambda: plugin.flushed == 0)


PLUGIN = """
import os
from pathlib import Path
from stacflask import hookimpl

def note(line):
    with Path(os.environ["NOTES"]).open("a") as file:
        file.write(f"{line}\\n")

@hookimpl
def changes_committed(changes, principal, request_info):
    note(f"{[(one.action, one.collection) for one in changes]} {principal.id} {request_info.request_id!r}")

@hookimpl
def shutdown():
    note("shutdown")
"""


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Write the module ``rules.notes``, and return the file to which it writes."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "notes.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("NOTES", str(tmp_path / "lines"))
    (tmp_path / "lines").touch()
    yield tmp_path / "lines"
    for name in [name for name in sys.modules if name.partition(".")[0] == "rules"]:
        del sys.modules[name]


@pytest.mark.usefixtures("database")
def test_commands_report_changes_and_shut_down(database_url: str, notes: Path, tmp_path: Path) -> None:
    """A load reports its collections once, a deletion its collection. The plugins are shut down after each command."""
    documents = [*map(a_collection, "ab"), *(an_item(name, "a") for name in "xyz")]
    source = tmp_path / "documents"
    source.write_text("\n".join(map(json.dumps, documents)))
    environ = {"DATABASE_URL": database_url, "STACFLASK_PLUGINS": "rules.notes"}
    for arguments in (
        ["load", "--quiet", "--workers=0", str(source)],
        ["load", "--quiet", "--workers=1", "--method=ignore", str(source)],
        ["delete", "--yes", "--keep-collection", "a"],
        ["delete", "--yes", "b"],
    ):
        assert run(arguments, environ) == 0
    nobody = "anonymous ''"
    assert [line for line in notes.read_text().splitlines() if line != "shutdown"] == [
        f"[('bulk', 'a'), ('bulk', 'b')] {nobody}",
        f"[('bulk', 'a')] {nobody}",
        f"[('delete', 'b')] {nobody}",
    ]
    assert notes.read_text().endswith("shutdown\n")
    assert run(["check"], environ) == 0
    assert notes.read_text().count("shutdown") >= len(["load", "delete", "delete", "check"])


@pytest.mark.usefixtures("database")
def test_each_worker_of_a_server_shuts_down(database_url: str, notes: Path, tmp_path: Path) -> None:
    """Each worker that ends calls ``shutdown`` once."""
    environ = {
        **os.environ,
        "DATABASE_URL": database_url,
        "STACFLASK_PLUGINS": "rules.notes",
        "PYTHONPATH": str(tmp_path),
        "WEB_CONCURRENCY": "2",
    }
    with serving(environ, tmp_path / "log") as server:
        waiting_for(lambda: server.log.read_text().count("Worker ready") == 2)
        assert notes.read_text() == ""
    assert notes.read_text().splitlines() == ["shutdown"] * 2


# --- Log -------------------------------------------------------------------------------------------------------------


def test_lines_of_plugins_have_the_plugin_and_the_request(
    plug: Plug, publish: Publish, capfd: pytest.CaptureFixture[str]
) -> None:
    """A line of a plugin has the plugin's name and the request id, also if it is called in the background."""
    publish(a_collection())

    class Mine(Writable):
        @hookimpl
        def restrict(self) -> None:
            logging.getLogger(__name__).info("restricted")
            logging.getLogger(f"{__name__}.part").info("restricted below")
            logging.getLogger("other").error("logged elsewhere")

        @hookimpl
        def changes_committed(self) -> None:
            logging.getLogger(__name__).info("noted")

    client = plug(open_access, Mine(), environ={"STACFLASK_LOG_FORMAT": "json"})
    client.post(ITEMS, json=an_item(), headers={"X-Request-ID": "the-id"})
    Background.wait(120)
    lines = {line["message"]: line for line in map(json.loads, capfd.readouterr().err.splitlines())}
    fields = {name: (line.get("plugin"), line["request_id"]) for name, line in lines.items()}
    expected = {"restricted": "Mine", "restricted below": "Mine", "noted": "Mine", "logged elsewhere": None}
    assert {name: fields[name] for name in expected} == {name: (plugin, "the-id") for name, plugin in expected.items()}
