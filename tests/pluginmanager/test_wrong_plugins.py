"""What the author of a plugin gets wrong is told by the plugin's name, and opens nothing."""

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
    """Make a plugin that answers one hook, without looking at what it is asked."""
    return type("Plugin", (), {hook: hookimpl(lambda self: answer())})()


class Store:
    """Finds and streams whatever it is asked for."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = chunks

    @hookimpl
    def resolve(self, asset: Any) -> Location:
        return Location("test", asset.href)

    @hookimpl
    def deliver(self) -> Stream:
        return Stream(lambda _first, _length: iter(self.chunks), 10)


# --- At the start ----------------------------------------------------------------------------------------------------


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a module below a package ``wrong``, and give its name."""
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
        ("def create_plugin(environ): pass\n", "create_plugin gave NoneType, expected an object"),
        ("def create_plugin(environ): return [1]\n", "create_plugin gave list, expected an object"),
        ("class Mine: pass\ndef create_plugin(environ): return Mine\n", "create_plugin gave the class Mine"),
        ("", "has no function marked @hookimpl"),
        ("def authorize(principal, asset): return None\n", "named like hooks and not marked @hookimpl: authorize"),
    ],
)
def test_wrong_modules_stop_the_start(text: str, problem: str, write: Write) -> None:
    """A rule that cannot be loaded, or would never be asked, is told in one line that names its place."""
    name = write(text)
    with pytest.raises(SettingError, match=f"STACFLASK_PLUGINS: {name}:? {problem}") as told:
        loading.load_plugins([name], {})
    assert "\n" not in str(told.value)


def test_a_name_without_a_dot_is_told_of_modules() -> None:
    """Who names a module without its package learns how modules are named."""
    with pytest.raises(SettingError, match=r"no installed distribution has the entry point 'mine'.* has a dot"):
        loading.load_plugins(["mine"], {})


def test_unmarked_methods_of_hooks_names_stop_the_start() -> None:
    """A method that was meant as a hook and is not marked would keep nobody out."""
    halfway = type(
        "Plugin", (), {"startup": hookimpl(lambda self: None), "restrict": lambda self, principal, of: False}
    )()
    with pytest.raises(SettingError, match="mine: named like hooks and not marked @hookimpl: restrict"):
        loading.manage({"mine": halfway})


@pytest.mark.parametrize("hook", ["authorize", "charge"])
def test_a_rule_for_many_is_a_rule_for_one(hook: str) -> None:
    """Who refuses archives and manifests alone would let each of their assets pass by itself."""
    halfway = type("Plugin", (), {f"{hook}_many": hookimpl(lambda self: None)})()
    with pytest.raises(SettingError, match=f"mine: implements {hook}_many, and must implement {hook}, too"):
        loading.manage({"mine": halfway})


def test_what_is_meant_by_a_wrong_name_is_guessed() -> None:
    """A misspelt hook is told with the nearest one, a misspelt argument with those there are."""
    with pytest.raises(SettingError, match="mine: there is no hook 'authorise'; is 'authorize' meant"):
        loading.manage({"mine": type("Plugin", (), {"authorise": hookimpl(lambda self: None)})()})
    with pytest.raises(SettingError, match="mine: authorize has no argument 'user'; it has principal, asset"):
        loading.manage({"mine": type("Plugin", (), {"authorize": hookimpl(lambda self, user: None)})()})


def test_wrong_settings_of_a_module_are_told(write: Write) -> None:
    """What a module tells of its settings is a list of them."""
    name = write("SETTINGS = ('MINE', 'What it is.')\n@hookimpl\ndef startup(services): pass\n")
    with pytest.raises(SettingError, match=f"{name}: SETTINGS: expected a list or tuple of Setting"):
        list(loading.settings_of([name]))


@pytest.mark.parametrize(
    "members", ["None, 'x'", "'a b', 'x'", "'MINE', 'x', 5", "'MINE', 'x', secret='no'", "'MINE', 'x', required=1"]
)
def test_wrong_fields_of_settings_are_told(members: str, write: Write) -> None:
    """Each field of a setting is validated: one that is wrongly called secret must not be shown."""
    name = write(f"SETTINGS = [Setting({members})]\n@hookimpl\ndef startup(services): pass\n")
    with pytest.raises(SettingError, match=f"{name}: SETTINGS: expected (name|default|secret|required) to be"):
        list(loading.settings_of([name]))


@pytest.mark.parametrize("declared", ["5", "'usage'", "None"])
def test_wrong_declarations_of_commands_are_none(declared: str, write: Write) -> None:
    """What a module declares as commands is a list of names, or counts for nothing."""
    assert loading.declared_commands(write(f"COMMANDS = {declared}\n")) == ()


@pytest.mark.parametrize(
    ("hook", "given", "problem"),
    [
        ("challenge", Challenge("Mine", "mine", {}), "challenge: expected a list of Challenge, got Challenge"),
        ("extend_api", ["/mine"], "extend_api: expected a list of Endpoint, got list of str"),
        ("extend_cli", [Endpoint], "extend_cli: expected a list of Command, got list of type"),
    ],
)
def test_wrong_answers_at_the_start_stop_it(hook: str, given: object, problem: str) -> None:
    """What is asked at the start is looked at there, in the server and by ``stacflask check``."""
    with pytest.raises(SettingError, match=f"STACFLASK_PLUGINS: mine: {problem}"):
        loading.hear(loading.manage({"mine": a_plugin(hook, lambda: given)}))


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("mine", "mine: expected path to be a path that begins with a slash"),
        ("/search", "GET /search: the path is already used"),
        ("/collections/{name}", "GET /collections/{name}: the path is already used"),
    ],
)
def test_addresses_that_are_taken_stop_the_start(path: str, problem: str, plug: Plug) -> None:
    """An address where somebody else answers would never be asked."""
    endpoint = Endpoint("GET", path, lambda _: EndpointResponse({}), "Mine.", {})
    with pytest.raises(SettingError, match=re.escape(problem)):
        plug(a_plugin("extend_api", lambda: [endpoint]))


def test_an_error_at_the_start_tells_whose_it_is(plug: Plug) -> None:
    """What a plugin raises goes on as it is, and notes the plugin."""

    def breaks() -> None:
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom") as raised:
        plug(a_plugin("startup", breaks))
    assert raised.value.__notes__ == ["This was plugin Plugin, asked by hook startup."]


# --- While it serves -------------------------------------------------------------------------------------------------


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
        ("restrict", "id = 'item'", "expected dict or bool or None, got str"),
        ("authorize", True, "expected Decision or None, got bool"),
        ("authorize", Decision, "expected Decision or None, got the class Decision"),
        ("authorize", [Decision.allow("x")], "expected Decision or None, got list of Decision"),
        ("resolve", "/data/x.tif", "expected Location or None, got str"),
        ("deliver", b"bytes", "expected Redirect or Stream or None, got bytes"),
        ("charge", False, "expected Decision or None, got bool"),
    ],
)
def test_wrong_answers_open_nothing_and_are_logged(
    hook: str, given: object, problem: str, plug: Plug, publish: Publish, capfd: pytest.CaptureFixture[str]
) -> None:
    """An answer of another kind ends in 500 and in a line of the log that names plugin, hook, and what was expected."""
    publish(an_item())
    client = plug(a_plugin(hook, lambda: given), open_access, Store(b"0123456789"))
    answer = client.get(DOWNLOAD)
    assert (answer.status_code, answer.json["code"]) == (500, "ServerError")
    assert f"TypeError: Plugin: {hook}: {problem}" in capfd.readouterr().err


def test_a_coroutine_opens_nothing(plug: Plug, publish: Publish, capfd: pytest.CaptureFixture[str]) -> None:
    """Hooks are plain functions: one with ``async`` would answer nothing that anybody waits for."""
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


def test_an_endpoint_that_answers_with_something_else_is_told(plug: Plug, capfd: pytest.CaptureFixture[str]) -> None:
    """The log names the address whose handler gave no Answer."""
    handler: Any = lambda _: {}  # noqa: E731 - a mistake that people make
    client = plug(a_plugin("extend_api", lambda: [Endpoint("GET", "/mine", handler, "Mine.", {})]))
    assert client.get("/mine").status_code == 500
    assert "GET /mine: expected Answer, got dict" in capfd.readouterr().err


def test_authorize_many_must_answer(plug: Plug, publish: Publish) -> None:
    """Who answers for many at once is not asked one by one, so that saying nothing would pass its denials by."""
    publish(an_item())

    class Forgets:
        @hookimpl
        def authorize(self) -> Decision:
            return Decision.deny("never")

        @hookimpl
        def authorize_many(self) -> None:
            return None

    client = plug(Forgets(), open_access, Store(b"0123456789"))
    assert client.post("/downloads", json={"search": {"ids": ["item"]}}).status_code == 500


def test_errors_tell_whose_they_are_once(plug: Plug, publish: Publish, capfd: pytest.CaptureFixture[str]) -> None:
    """The log names the plugin behind an exception; one that is raised again and again does not grow."""
    publish(an_item())
    error, refusal = RuntimeError("boom"), BadCredentials("Not you.")

    def breaks() -> None:
        raise error

    def refuses() -> None:
        raise refusal

    client = plug(a_plugin("authorize", breaks), Store())
    assert [client.get(DOWNLOAD).status_code for _ in range(3)] == [500, 500, 500]
    assert "This was plugin Plugin, asked by hook authorize." in capfd.readouterr().err
    other = plug(a_plugin("authenticate", refuses), Store())
    assert [other.get(DOWNLOAD).json["description"] for _ in range(3)] == ["Not you."] * 3
    assert len(error.__notes__) == len(refusal.__notes__) == 1


def test_every_500_is_logged_with_its_plugin(plug: Plug, publish: Publish, caplog: pytest.LogCaptureFixture) -> None:
    """An error of ours that is a fault of the server is logged, too, wherever a plugin raises it."""
    publish(an_item())

    def breaks() -> None:
        raise StacflaskError("The archive broke.")

    assert plug(a_plugin("authorize", breaks)).get(DOWNLOAD).status_code == 500
    raised = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert [getattr(one, "__notes__", None) for one in raised] == [["This was plugin Plugin, asked by hook authorize."]]


@pytest.mark.parametrize("chunks", [(b"0123",), (), (b"01234", b"56789a")])
def test_a_stream_is_as_long_as_was_announced(chunks: tuple[bytes, ...], plug: Plug, publish: Publish) -> None:
    """A store that gives less or more breaks the transfer: it never looks whole, and no later answer runs into it."""
    publish(an_item())
    finished: list[Any] = []

    class Hears:
        @hookimpl
        def stream_finished(self, stream_result: Any) -> None:
            finished.append((stream_result.sent, stream_result.complete))

    client = plug(open_access, Hears(), Store(*chunks))
    with pytest.raises(Unavailable, match=r"The store gave (less|more) than it was asked for"):
        client.get(DOWNLOAD, buffered=True)
    assert finished == [(min(5, len(b"".join(chunks))), False)]


def test_what_is_expected_is_what_the_hooks_say() -> None:
    """The kinds of answers that are let through are those in the hooks' own signatures."""
    tree = ast.parse((ROOT / "stacflask" / "hookspecs.py").read_text())
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    told = {one.name: _spelled(ast.unparse(one.returns)) for one in functions if one.returns}
    single = {hook: " | ".join([*(kind.__name__ for kind in kinds), "None"]) for hook, kinds in guards.ONE.items()}
    several = {hook: f"Sequence[{kind.__name__}]" for hook, kind in guards.SEVERAL.items()}
    assert {hook: text for hook, text in told.items() if text != "None"} == single | several


def _spelled(annotation: str) -> str:
    """Spell an annotation as ``isinstance`` knows it; of many answers to ``authorize``, each may be None."""
    known = {"Cql2": "dict | bool", "[str, str]": "", "click.": "", "Decision | None]": "Decision]"}
    for said, meant in known.items():
        annotation = annotation.replace(said, meant)
    return annotation


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (None, "missing. Set it to a migrated PostGIS database"),
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


def test_a_database_must_show_that_it_is_for_tests(database_url: str, tmp_path: Path) -> None:
    """However its URL is spelled, tests empty no database that neither its name nor its comment gives to them."""
    name = "production_latest"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = database_url.rpartition("/")[0] + f"/{name}"
    try:
        with psycopg.connect(url, autocommit=True) as there:
            there.execute("CREATE TABLE kept AS SELECT 1 AS one")
            assert "is not marked as a test database" in _tried(tmp_path, url)
            there.execute(f"COMMENT ON DATABASE {name} IS 'stacflask test database'")
            others = [url.replace("postgresql:", "postgres:"), url.replace("127.0.0.1", "localhost")]
            assert all("the database of DATABASE_URL" in _tried(tmp_path, url, one) for one in others)
            assert there.execute("SELECT one FROM kept").fetchone() == (1,)
            assert "1 passed" in _tried(tmp_path, url)
            assert there.execute("SELECT one FROM kept").fetchone() is None
    finally:
        drop(database_url, name)


def _tried(folder: Path, url: str, serving: str = "") -> str:
    """Run a test that asks for an empty database, and return what pytest prints."""
    (folder / "conftest.py").write_text('pytest_plugins = ["stacflask.testing"]\n')
    (folder / "test_mine.py").write_text("def test_mine(database):\n    pass\n")
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "STACFLASK_TEST_DATABASE_URL": url}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, cwd=folder, env={**environ, "DATABASE_URL": serving}, capture_output=True, text=True, check=False
    )
    return done.stdout


def test_two_plugins_of_one_class_are_told(plug: Plug) -> None:
    """The second plugin of a class would take the place of the first, unless it has a name of its own."""
    first, second = Store(b"0123456789"), Store(b"")
    with pytest.raises(SettingError, match="two plugins have the name Store\\. Set __name__ of one of them"):
        plug(first, second)
    second.__name__ = "Second"  # type: ignore[attr-defined]
    plug(first, second)
