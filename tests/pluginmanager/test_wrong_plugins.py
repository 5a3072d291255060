"""Errors in plugins are reported with the name of the plugin, and grant nothing."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from plugins import open_access
from stacflask import (
    BadCredentials,
    Challenge,
    Decision,
    Endpoint,
    EndpointResponse,
    Location,
    Principal,
    SettingError,
    StacflaskError,
    Stream,
    Unavailable,
    hookimpl,
)
from stacflask.pluginmanager import guards, loading
from stacflask.testing import Plug, Publish, an_item
from tests.databases import drop

ROOT = Path(__file__).parents[2]
DOWNLOAD = "/collections/collection/items/item/download/data"
Write = Callable[[str], str]


def a_plugin(hook: str, answer: Callable[..., Any]) -> object:
    """Return a plugin that implements one hook by a function without arguments."""
    return type("Plugin", (), {hook: hookimpl(lambda self: answer())})()


class Store:
    """Resolves and streams every asset."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = chunks

    @hookimpl
    def resolve(self, asset: Any) -> Location:
        return Location("test", asset.href)

    @hookimpl
    def deliver(self) -> Stream:
        return Stream(lambda _first, _length: iter(self.chunks), 10)


# --- Startup ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Return a function that writes a module in the package ``wrong`` and returns its name."""
    (tmp_path / "wrong").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))

    def written(text: str) -> str:
        (tmp_path / "wrong" / "mine.py").write_text(f"from stacflask import *\n{text}")
        return "wrong.mine"

    yield written
    for name in [name for name in sys.modules if name.partition(".")[0] == "wrong"]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("def authorize(principal)\n", r"cannot be imported: SyntaxError: expected ':' \(.*mine.py, line 2\)"),
        ("from stacflask import Desicion\n", r"cannot be imported: ImportError: .*Desicion.* \(.*mine.py, line 2\)"),
        ("import nosuchpackage\n", "needs the package 'nosuchpackage', which is not installed"),
        (
            "def create_plugin(environ):\n    return environ['MINE']\n",
            r"create_plugin failed: KeyError: 'MINE' \(.*, line 3\)",
        ),
        ("raise SystemExit(0)\n", r"cannot be imported: SystemExit: 0 \(.*mine.py, line 2\)"),
        ("def create_plugin(environ): raise SystemExit(0)\n", r"create_plugin failed: SystemExit: 0 \(.*, line 2\)"),
        ("def create_plugin(environ): raise KeyboardInterrupt\n", r"create_plugin failed: KeyboardInterrupt"),
        ("def create_plugin(environ): raise NotFound('Mine.')\n", r"create_plugin failed: NotFound: Mine\."),
        ("def create_plugin(environ): pass\n", "create_plugin returned NoneType, expected an object"),
        ("def create_plugin(environ): return [1]\n", "create_plugin returned list, expected an object"),
        ("class Mine: pass\ndef create_plugin(environ): return Mine\n", "create_plugin returned the class Mine"),
        ("", "has no function marked @hookimpl"),
        (
            "def authorize(principal, asset): return None\n",
            "functions have names of hooks, but are not marked @hookimpl: authorize",
        ),
    ],
)
def test_wrong_modules_stop_the_start(text: str, problem: str, write: Write) -> None:
    """A plugin that cannot be loaded, or has no hook, stops the start with one line that names the place."""
    name = write(text)
    with pytest.raises(SettingError, match=f"STACFLASK_PLUGINS: {name}:? {problem}") as error:
        loading.load_plugins([name], {})
    assert "\n" not in str(error.value)


def test_an_unknown_name_without_a_dot_explains_names_of_modules() -> None:
    """The error for a module that is named without its package explains the names of modules."""
    with pytest.raises(SettingError, match=r"there is no plugin 'mine'.* has a dot"):
        loading.load_plugins(["mine"], {})


def test_unmarked_methods_with_names_of_hooks_stop_the_start() -> None:
    """A method with the name of a hook that is not marked would restrict nothing."""
    halfway = type(
        "Plugin", (), {"startup": hookimpl(lambda self: None), "restrict": lambda self, principal, of: False}
    )()
    with pytest.raises(
        SettingError, match="mine: functions have names of hooks, but are not marked @hookimpl: restrict"
    ):
        loading.manage({"mine": halfway})


@pytest.mark.parametrize("hook", ["authorize", "charge"])
def test_a_hook_for_many_assets_needs_the_hook_for_one(hook: str) -> None:
    """A plugin that denies only archives and manifests would allow single downloads of their assets."""
    halfway = type("Plugin", (), {f"{hook}_many": hookimpl(lambda self: None)})()
    with pytest.raises(SettingError, match=f"mine: implements {hook}_many, and must also implement {hook}"):
        loading.manage({"mine": halfway})


def test_errors_for_wrong_names_have_suggestions() -> None:
    """The error for an unknown hook suggests the most similar one; that for an argument lists the valid ones."""
    with pytest.raises(SettingError, match="mine: there is no hook 'authorise'; did you mean 'authorize'"):
        loading.manage({"mine": type("Plugin", (), {"authorise": hookimpl(lambda self: None)})()})
    with pytest.raises(SettingError, match="mine: authorize has no argument 'user'; expected principal, asset"):
        loading.manage({"mine": type("Plugin", (), {"authorize": hookimpl(lambda self, user: None)})()})


def test_wrong_settings_of_a_module_are_reported(write: Write) -> None:
    """``SETTINGS`` of a module must be a list of settings."""
    name = write("SETTINGS = ('MINE', 'What it is.')\n@hookimpl\ndef startup(services): pass\n")
    with pytest.raises(SettingError, match=f"{name}: SETTINGS: expected a list or tuple of Setting"):
        list(loading.settings_of([name]))


@pytest.mark.parametrize(
    "members", ["None, 'x'", "'a b', 'x'", "'MINE', 'x', 5", "'MINE', 'x', secret='no'", "'MINE', 'x', required=1"]
)
def test_wrong_fields_of_settings_are_reported(members: str, write: Write) -> None:
    """Each field of a setting is validated, because a secret with a wrong field could be printed."""
    name = write(f"SETTINGS = [Setting({members})]\n@hookimpl\ndef startup(services): pass\n")
    with pytest.raises(SettingError, match=f"{name}: SETTINGS: expected (name|default|secret|required) to be"):
        list(loading.settings_of([name]))


@pytest.mark.parametrize("declared", ["5", "'usage'", "None"])
def test_wrong_lists_of_commands_are_ignored(declared: str, write: Write) -> None:
    """``COMMANDS`` of a module is ignored if it is not a list of names."""
    assert loading.declared_commands(write(f"COMMANDS = {declared}\n")) == ()


@pytest.mark.parametrize(
    ("hook", "given", "problem"),
    [
        ("challenge", Challenge("Mine", "mine", {}), "challenge: expected a list of Challenge, got Challenge"),
        ("extend_api", ["/mine"], "extend_api: expected a list of Endpoint, got list of str"),
        ("extend_cli", [Endpoint], "extend_cli: expected a list of Command, got list of type"),
    ],
)
def test_wrong_results_at_startup_stop_the_start(hook: str, given: object, problem: str) -> None:
    """The results of hooks at startup are validated, in the server and by ``stacflask check``."""
    with pytest.raises(SettingError, match=f"STACFLASK_PLUGINS: mine: {problem}"):
        loading.check_constant_hooks(loading.manage({"mine": a_plugin(hook, lambda: given)}))


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("mine", "mine: expected path to be a path that begins with a slash"),
        ("/search", "GET /search: the path is already used"),
        ("/collections/{name}", "GET /collections/{name}: the path is already used"),
    ],
)
def test_paths_that_are_taken_stop_the_start(path: str, problem: str, plug: Plug) -> None:
    """An endpoint with the path of another one would never be called."""
    endpoint = Endpoint("GET", path, lambda _: EndpointResponse({}), "Mine.", {})
    with pytest.raises(SettingError, match=re.escape(problem)):
        plug(a_plugin("extend_api", lambda: [endpoint]))


def test_an_error_at_startup_names_the_plugin(plug: Plug) -> None:
    """An exception of a plugin is raised unchanged, with a note that names the plugin."""

    def breaks() -> None:
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom") as raised:
        plug(a_plugin("startup", breaks))
    assert raised.value.__notes__ == ["Raised by plugin Plugin in hook startup."]


# --- Requests --------------------------------------------------------------------------------------------------------


async def _later() -> Decision:
    return Decision.allow("later")


TEXTS: Any = {"groups": "admins", "scopes": "read"}


@pytest.mark.parametrize(
    ("hook", "given", "problem"),
    [
        ("authenticate", "alice", "expected Principal or None, got str"),
        (
            "authenticate",
            Principal("a", TEXTS["groups"], "x"),
            "expected groups to be a frozenset of names, got str",
        ),
        (
            "authenticate",
            Principal("a", scheme="x", scopes=TEXTS["scopes"]),
            "expected scopes to be a frozenset of names or None, got str",
        ),
        ("restrict", "id = 'item'", "expected dict or bool or Only or None, got str"),
        ("authorize", True, "expected Decision or None, got bool"),
        ("authorize", Decision, "expected Decision or None, got the class Decision"),
        ("authorize", [Decision.allow("x")], "expected Decision or None, got list of Decision"),
        ("resolve", "/data/x.tif", "expected Location or None, got str"),
        ("deliver", b"bytes", "expected Redirect or Stream or None, got bytes"),
        ("charge", False, "expected Decision or None, got bool"),
    ],
)
def test_wrong_results_grant_nothing_and_are_logged(
    hook: str, given: object, problem: str, plug: Plug, publish: Publish, capfd: pytest.CaptureFixture[str]
) -> None:
    """A result of a wrong class is a 500. The log names the plugin, the hook and the expected class."""
    publish(an_item())
    client = plug(a_plugin(hook, lambda: given), open_access, Store(b"0123456789"))
    answer = client.get(DOWNLOAD)
    assert (answer.status_code, answer.json["code"]) == (500, "ServerError")
    assert f"TypeError: Plugin: {hook}: {problem}" in capfd.readouterr().err


def test_a_coroutine_opens_nothing(plug: Plug, publish: Publish, capfd: pytest.CaptureFixture[str]) -> None:
    """A coroutine is no valid result: hooks are plain functions."""
    publish(an_item())
    begun: list[Any] = []

    def answer() -> Any:
        begun.append(_later())
        return begun[-1]

    client = plug(a_plugin("authorize", answer), Store(b"0123456789"))
    assert client.get(DOWNLOAD).status_code == 500
    assert "authorize: expected Decision or None, got coroutine" in capfd.readouterr().err
    for one in begun:
        one.close()


def test_a_wrong_result_of_a_handler_is_logged(plug: Plug, capfd: pytest.CaptureFixture[str]) -> None:
    """The log names the endpoint whose handler did not return an EndpointResponse."""
    handler: Any = lambda _: {}  # noqa: E731 - a common error
    client = plug(a_plugin("extend_api", lambda: [Endpoint("GET", "/mine", handler, "Mine.", {})]))
    assert client.get("/mine").status_code == 500
    assert "GET /mine: expected EndpointResponse, got dict" in capfd.readouterr().err


def test_authorize_many_must_return_a_list(plug: Plug, publish: Publish) -> None:
    """``authorize`` is not called for many assets, so None from ``authorize_many`` would skip the plugin's denials."""
    publish(an_item())

    class Forgets:
        @hookimpl
        def authorize(self) -> Decision:
            return Decision.deny("never")

        @hookimpl
        def authorize_many(self) -> Any:
            return None

    client = plug(Forgets(), open_access, Store(b"0123456789"))
    assert client.post("/downloads", json={"search": {"ids": ["item"]}}).status_code == 500


def test_errors_name_their_plugin_once(plug: Plug, publish: Publish, capfd: pytest.CaptureFixture[str]) -> None:
    """The log names the plugin of an exception. An exception that is raised again has one note only."""
    publish(an_item())
    error, refusal = RuntimeError("boom"), BadCredentials("Not you.")

    def breaks() -> None:
        raise error

    def refuses() -> None:
        raise refusal

    client = plug(a_plugin("authorize", breaks), Store())
    assert [client.get(DOWNLOAD).status_code for _ in range(3)] == [500, 500, 500]
    assert "Raised by plugin Plugin in hook authorize." in capfd.readouterr().err
    other = plug(a_plugin("authenticate", refuses), Store())
    assert [other.get(DOWNLOAD).json["description"] for _ in range(3)] == ["Not you."] * 3
    assert len(error.__notes__) == len(refusal.__notes__) == 1


def test_every_500_is_logged_with_its_plugin(plug: Plug, publish: Publish, caplog: pytest.LogCaptureFixture) -> None:
    """A server error of stacflask's own classes is logged as well, with the plugin that raised it."""
    publish(an_item())

    def breaks() -> None:
        raise StacflaskError("The archive broke.")

    assert plug(a_plugin("authorize", breaks)).get(DOWNLOAD).status_code == 500
    raised = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert [getattr(one, "__notes__", None) for one in raised] == [["Raised by plugin Plugin in hook authorize."]]


@pytest.mark.parametrize("chunks", [(b"0123",), (), (b"01234", b"56789a")])
def test_a_stream_must_have_the_announced_length(chunks: tuple[bytes, ...], plug: Plug, publish: Publish) -> None:
    """A store that sends more or fewer bytes aborts the download, so that it never looks complete."""
    publish(an_item())
    finished: list[Any] = []

    class Observer:
        @hookimpl
        def stream_finished(self, stream_result: Any) -> None:
            finished.append((stream_result.sent, stream_result.complete))

    client = plug(open_access, Observer(), Store(*chunks))
    with pytest.raises(Unavailable, match=r"The store returned (fewer|more) bytes than requested"):
        client.get(DOWNLOAD, buffered=True)
    assert finished == [(min(5, len(b"".join(chunks))), False)]


def test_expected_results_match_the_signatures_of_hooks() -> None:
    """The guards accept the classes in the signatures of the hooks."""
    tree = ast.parse((ROOT / "stacflask" / "hookspecs.py").read_text())
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    specified = {one.name: _class_names(ast.unparse(one.returns)) for one in functions if one.returns}
    single = {
        hook: " | ".join([*(kind.__name__ for kind in kinds), "None"]) for hook, kinds in guards.SINGLE_RESULTS.items()
    }
    several = {hook: f"Sequence[{kind.__name__}]" for hook, kind in guards.LIST_RESULTS.items()}
    assert {hook: text for hook, text in specified.items() if text != "None"} == single | several


def _class_names(annotation: str) -> str:
    """Return an annotation with class names as in ``guards``. Elements of lists can be None."""
    replacements = {
        "Cql2": "dict | bool",
        "[str, str]": "",
        "frozenset[str]": "frozenset",
        "click.": "",
        "Decision | None]": "Decision]",
        "Redirect | None]": "Redirect]",
    }
    for old, new in replacements.items():
        annotation = annotation.replace(old, new)
    return annotation


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (None, "missing. Set it to a PostGIS database that tests may empty"),
        ("postgresql://h/d", "is the same as DATABASE_URL"),
    ],
)
def test_tests_never_empty_the_database_of_a_server(url: str | None, problem: str, tmp_path: Path) -> None:
    """Tests without a database of their own, or with that of a server, fail before they change it."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["stacflask.testing"]\n')
    (tmp_path / "test_mine.py").write_text("def test_mine(plug):\n    plug()\n")
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "DATABASE_URL": "postgresql://h/d"}
    if url:
        environ["STACFLASK_TEST_DATABASE_URL"] = url
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, f"STACFLASK_TEST_DATABASE_URL: {problem}" in done.stdout) == (1, True)


def test_a_database_must_be_marked_as_a_test_database(database_url: str, tmp_path: Path) -> None:
    """Tests empty only a database that its name or comment marks, whatever the form of its URL."""
    name = "production_latest"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = database_url.rpartition("/")[0] + f"/{name}"
    try:
        with psycopg.connect(url, autocommit=True) as there:
            there.execute("CREATE TABLE kept AS SELECT 1 AS one")
            assert "is not marked as a test database" in _run_test(tmp_path, url)
            there.execute(f"COMMENT ON DATABASE {name} IS 'stacflask test database'")
            others = [url.replace("postgresql:", "postgres:"), url.replace("127.0.0.1", "localhost")]
            assert all("the database of DATABASE_URL" in _run_test(tmp_path, url, one) for one in others)
            assert there.execute("SELECT one FROM kept").fetchone() == (1,)
            assert "1 passed" in _run_test(tmp_path, url)
            assert there.execute("SELECT one FROM kept").fetchone() is None
    finally:
        drop(database_url, name)


def _run_test(folder: Path, url: str, serving: str = "") -> str:
    """Run a test that uses an empty database, and return the output of pytest."""
    (folder / "conftest.py").write_text('pytest_plugins = ["stacflask.testing"]\n')
    (folder / "test_mine.py").write_text("def test_mine(database):\n    pass\n")
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "STACFLASK_TEST_DATABASE_URL": url}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, cwd=folder, env={**environ, "DATABASE_URL": serving}, capture_output=True, text=True, check=False
    )
    return done.stdout


def test_two_plugins_of_one_class_are_an_error(plug: Plug) -> None:
    """Two plugins of one class have the same name, unless one sets its own."""
    first, second = Store(b"0123456789"), Store(b"")
    with pytest.raises(SettingError, match="two plugins have the name Store\\. Set __name__ of one of them"):
        plug(first, second)
    second.__name__ = "Second"  # type: ignore[attr-defined]
    plug(first, second)
