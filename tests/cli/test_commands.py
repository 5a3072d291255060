"""The command line: what each command does, and its errors of one line."""

import gzip
import os
import pty
import subprocess
import sys
import termios
import types
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import click
import orjson
import psycopg
import pytest
import sqlalchemy as sa

from stacflask import Setting, hookimpl
from stacflask.catalog.database.engine import Database
from stacflask.cli import run
from stacflask.model.json_types import Document
from stacflask.model.services import Services
from stacflask.pluginmanager import loading
from stacflask.testing import a_collection, an_item
from tests.databases import drop

ROOT = Path(__file__).parents[2]
PLUGIN = "a_plugin.with_commands"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def stacflask(database: Database, database_url: str, capfd: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command on the test's database and returns exit code, output and errors."""

    def stacflask(*arguments: str, **environ: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run(arguments, {"DATABASE_URL": database_url, **environ})
        return (code, *capfd.readouterr())

    return stacflask


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Install a plugin module with commands that records each ``startup``."""
    module = types.ModuleType(PLUGIN)
    module.started = []  # type: ignore[attr-defined]

    @click.command()
    @click.argument("word")
    def greet(word: str) -> None:
        """Greet a person."""
        if word == "nobody":
            raise click.ClickException("there is nobody\nto greet")
        click.echo(f"Hello, {word}! {len(module.started)}")

    @hookimpl
    def startup(services: Services) -> None:
        module.started.append(services.storage.rows("SELECT 1 AS one")[0]["one"])

    @hookimpl
    def extend_cli() -> list[click.Command]:
        return [greet, click.Group("many", commands=[greet], help="Many greetings.")]

    module.startup, module.extend_cli = startup, extend_cli  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, PLUGIN, module)
    monkeypatch.setitem(sys.modules, PLUGIN.partition(".")[0], types.ModuleType("a_plugin"))
    return module


def write(path: Path, *documents: Document) -> str:
    path.write_bytes(b"".join(orjson.dumps(document) + b"\n" for document in documents))
    return str(path)


def on_a_terminal(program: list[str], environ: dict[str, str]) -> tuple[int, str]:
    """Run a program with a terminal of 120 columns as standard error. Return the exit code and the terminal's text.

    The terminal is read while the program runs, because its buffer has only one page.
    """
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    process = subprocess.Popen(program, cwd=ROOT, env=environ, stderr=theirs, stdout=subprocess.DEVNULL)
    os.close(theirs)
    shown = b""
    with suppress(OSError), os.fdopen(ours, "rb", buffering=0) as file:
        # read raises EIO once the program has closed its end.
        while part := file.read(4096):
            shown += part
    return process.wait(), shown.decode()


# --- The program ------------------------------------------------------------------------------------------------------


def test_help_lists_every_command(stacflask: Run) -> None:
    """The help lists all commands, each with one line, and needs no setting."""
    code, out, _ = stacflask("--help", DATABASE_URL="")
    assert code == 0
    commands = dict(line.split(maxsplit=1) for line in out.partition("Commands:\n")[2].splitlines())
    assert commands.keys() == {
        *("check", "delete", "export", "extents", "hooks", "index", "load", "migrate", "queryables"),
        *("serve", "settings"),
    }
    assert all(text.endswith(".") and not text.endswith("...") for text in commands.values())


@pytest.mark.parametrize(
    ("arguments", "environ", "message"),
    [
        (["nonsense"], {}, "No such command 'nonsense'."),
        (["load"], {}, "Missing argument 'FILES...'."),
        (["load", "/absent.json"], {}, "Invalid value for 'FILES...': File '/absent.json' does not exist."),
        (["check"], {"DATABASE_URL": ""}, "DATABASE_URL: missing. PostGIS connection URL; `postgres://` is accepted."),
        (["check"], {"DATABASE_URL": "x"}, "DATABASE_URL: expected postgresql://user:password@host:port/name"),
        (["check"], {"DATABASE_URL": "postgresql://127.0.0.1:1/x"}, "The database cannot be reached. ("),
        (["migrate"], {"DATABASE_URL": "x"}, "DATABASE_URL: expected postgresql://user:password@host:port/name"),
        (["extents", "absent"], {}, "There is no collection 'absent'."),
        (["export", "--collection", "absent"], {}, "There is no collection 'absent'."),
        (["export", "-o", "/absent/folder/file"], {}, "/absent/folder/"),
        (["hooks"], {"STACFLASK_PLUGINS": "plugins.absent"}, "STACFLASK_PLUGINS: there is no module 'plugins.absent'"),
    ],
)
def test_errors_are_one_line(stacflask: Run, arguments: list[str], environ: dict[str, str], message: str) -> None:
    """An error is reported in one line with its reason and exit code 2."""
    code, out, err = stacflask(*arguments, **environ)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: {message}")


def test_the_module_runs_from_any_folder(database_url: str) -> None:
    """``python -m stacflask`` works from any folder."""
    environ = {**os.environ, "DATABASE_URL": database_url, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "stacflask", "check"], cwd="/", env=environ, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


# --- Commands of plugins ----------------------------------------------------------------------------------------------


def test_commands_of_plugins(stacflask: Run, plugin: types.ModuleType) -> None:
    """A plugin's commands are in the help and run after its startup. Help and other commands do not start it."""
    assert "  greet       Greet a person.\n" in stacflask("--help", STACFLASK_PLUGINS=PLUGIN)[1]
    assert stacflask("many", "greet", "--help", STACFLASK_PLUGINS=PLUGIN)[0] == 0
    stacflask("extents", STACFLASK_PLUGINS=PLUGIN)
    assert plugin.started == []
    assert stacflask("greet", "Ann", STACFLASK_PLUGINS=PLUGIN) == (0, "Hello, Ann! 1\n", "")
    assert stacflask("many", "greet", "Ann", STACFLASK_PLUGINS=PLUGIN) == (0, "Hello, Ann! 2\n", "")


def test_an_error_in_a_command_of_a_plugin_is_one_line(stacflask: Run, plugin: types.ModuleType) -> None:
    """An error of a plugin's command is one line, too, with the plugin's own exit code."""
    assert stacflask("greet", "nobody", STACFLASK_PLUGINS=PLUGIN) == (1, "", "error: there is nobody to greet\n")


def test_help_works_with_a_plugin_that_cannot_be_loaded(stacflask: Run) -> None:
    """If a plugin cannot be loaded, the help lists the program's own commands and then prints the error."""
    code, out, err = stacflask("--help", STACFLASK_PLUGINS="plugins.absent")
    assert (code, err) == (2, "error: STACFLASK_PLUGINS: there is no module 'plugins.absent' on Python's path\n")
    assert "  migrate " in out
    assert stacflask("greet", STACFLASK_PLUGINS="plugins.absent")[2] == err
    assert stacflask("extents", STACFLASK_PLUGINS="plugins.absent")[0] == 0


def test_two_commands_with_one_name_are_an_error(
    stacflask: Run, plugin: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plugin cannot silently replace another command."""
    monkeypatch.setattr(plugin, "extend_cli", hookimpl(lambda: [click.Command("load")]))
    code, _, err = stacflask("anything", STACFLASK_PLUGINS=PLUGIN)
    expected = f"error: STACFLASK_PLUGINS: {PLUGIN}: the command load exists already in stacflask\n"
    assert (code, err) == (2, expected)
    assert stacflask("check", STACFLASK_PLUGINS=PLUGIN)[::2] == (2, expected)


def test_an_exception_in_a_command_is_reported_with_its_plugin(
    stacflask: Run, plugin: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception in a plugin's command is reported in one line with the plugin's name."""

    def breaks() -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(plugin, "extend_cli", hookimpl(lambda: [click.Command("mine", callback=breaks)]))
    code, _, err = stacflask("mine", STACFLASK_PLUGINS=PLUGIN)
    assert (code, err) == (2, f"error: {PLUGIN}: the command mine raised RuntimeError: boom\n")


def test_commands_work_beside_a_plugin_that_cannot_be_loaded(stacflask: Run) -> None:
    """A missing setting of one plugin does not hide the commands of another."""
    environ = {"STACFLASK_PLUGINS": "links,quota"}
    code, out, err = stacflask("quota", "set", "--help", **environ)
    assert (code, "--downloads" in out, err) == (0, True, "")
    code, out, err = stacflask("--help", **environ)
    assert (code, "  quota " in out, err.startswith("error: STACFLASK_LINKS_KEYS: missing")) == (2, True, True)
    assert stacflask("links", "list", **environ)[2] == err


def test_an_unknown_command_names_its_plugin(stacflask: Run) -> None:
    """The error for a command of a plugin that is not enabled names that plugin."""
    code, _, err = stacflask("usage", "show", STACFLASK_PLUGINS="quota")
    message = "No such command 'usage'. It belongs to audit. Add that to STACFLASK_PLUGINS."
    assert (code, err) == (2, f"error: {message}\n")


@pytest.mark.parametrize("name", ["api_keys", "audit", "licence", "login", "quota"])
def test_declared_commands_exist(name: str) -> None:
    """The command in a module's COMMANDS is the one that its plugin adds."""
    folder = ROOT / "plugins" / name
    files = sorted(folder.glob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    source = "".join(file.read_text() for file in files)
    (declared,) = loading.declared_commands(name)
    assert f'"{declared}"' in source.partition("click.Group(")[2]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("https://me:p/w@d@h/x", "https://me:***@h/x"),
        ('{"url": "postgresql://me:pw@h/d", "client_secret": "s", "name": "n"}', '"client_secret": "***", "name": "n"'),
        ('{"a": [{"secretKey": "s"}], "token": 5}', '{"a": [{"secretKey": "***"}], "token": "***"}'),
        ('{"api_key": "s", broken', '{"api_key": ***, broken'),
        ("host=h password=s dbname=d", "host=h password=*** dbname=d"),
        ("https://h/?sig=pw&access_token=s&b=c", "sig=***&access_token=***&b=c"),
        ("https://h/?X-Amz-Signature=pw&a=b", "X-Amz-Signature=***&a=b"),
        ("https://pw@h/1", "https://***@h/1"),
        ('[{"pass": "pw"}]', '[{"pass": "***"}]'),
        ("Authorization: Bearer pw", "Authorization: ***"),
        ("Bearer pw", "Bearer=***"),
        ('{"keys": ["pw"], "n": 1}', '{"keys": "***", "n": 1}'),
        ('{"credentials": {"user": "u", "value": "pw"}}', '{"credentials": "***"}'),
        ("-----BEGIN RSA PRIVATE KEY-----\npw\n-----END RSA PRIVATE KEY-----", "MINE=***"),
        ("Basic maps", "Basic maps"),
        ("plain", "plain"),
    ],
)
def test_secrets_in_values_are_not_shown(
    value: str, shown: str, stacflask: Run, plugin: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Secrets within a value that is not declared secret are masked."""
    monkeypatch.setattr(plugin, "SETTINGS", (Setting("MINE", "What it is."),), raising=False)
    out = stacflask("settings", STACFLASK_PLUGINS=PLUGIN, MINE=value)[1]
    line = next(line for line in out.splitlines() if line.startswith("MINE="))
    assert shown in line
    assert "pw" not in line


@pytest.mark.parametrize(
    "name",
    [
        *("MY_PASSWORD", "SMTP_PASS", "AWS_SECRET_ACCESS_KEY", "STACFLASK_MY_KEYS", "MY_TOKEN"),
        *("MY_SECRET_TEXT", "MYTOKEN", "APIKEY", "MY_PASSWORDS", "MY_CREDENTIALS_JSON"),
    ],
)
def test_a_setting_with_the_name_of_a_secret_is_masked(
    name: str, stacflask: Run, plugin: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable with such a name is not shown, even if its plugin does not declare it secret."""
    monkeypatch.setattr(plugin, "SETTINGS", (Setting(name, "What it is."),), raising=False)
    out = stacflask("settings", **{"STACFLASK_PLUGINS": PLUGIN, name: "hidden"})[1]
    assert (f"{name}=***" in out, "hidden" in out) == (True, False)


def test_a_setting_is_masked_if_any_plugin_declares_it_secret(
    stacflask: Run, plugin: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that one plugin declares secret is masked for the application and other plugins, too."""
    monkeypatch.setattr(plugin, "SETTINGS", (Setting("MINE", "x"), Setting("STACFLASK_TITLE", "x")), raising=False)
    other = types.ModuleType("plugins_of_others.second")
    other.SETTINGS = (Setting("MINE", "y", secret=True), Setting("STACFLASK_TITLE", "y", secret=True))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "plugins_of_others", types.ModuleType("plugins_of_others"))
    monkeypatch.setitem(sys.modules, "plugins_of_others.second", other)
    names = f"{PLUGIN},plugins_of_others.second"
    out = stacflask("settings", STACFLASK_PLUGINS=names, MINE="hidden one", STACFLASK_TITLE="hidden two")[1]
    assert ("MINE=***" in out, "STACFLASK_TITLE=***" in out, "hidden" in out) == (True, True, False)


# --- The setup --------------------------------------------------------------------------------------------------------


def test_hooks_lists_plugins_in_the_order_of_calls(stacflask: Run, plugin: types.ModuleType) -> None:
    """Each hook is listed with the plugins that implement it, in the order of their calls."""
    plugins = f"open_access,{PLUGIN},collection_groups"
    lines = dict(line.split(maxsplit=1) for line in stacflask("hooks", STACFLASK_PLUGINS=plugins)[1].splitlines())
    assert lines["authorize"] == "open_access, collection_groups"
    assert lines["startup"] == f"{PLUGIN}, collection_groups"
    assert lines["charge"] == "-"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgres://user:se@cret@host/db", "postgresql://user:***@host/db"),
        (
            "postgresql://host/db?user=u&password=secret&sslmode=require",
            "postgresql://host/db?user=u&password=***&sslmode=require",
        ),
        ("postgresql://user@host/db", "postgresql://user@host/db"),
    ],
)
def test_settings(stacflask: Run, url: str, shown: str) -> None:
    """Every setting is listed with its value and whether that is the default. Passwords are masked."""
    code, out, _ = stacflask("settings", DATABASE_URL=url, STACFLASK_MAX_LIMIT="50")
    assert code == 0
    assert "secret" not in out
    assert {f"DATABASE_URL={shown}", "STACFLASK_MAX_LIMIT=50", "STACFLASK_DEFAULT_LIMIT=10  (default)"} <= set(
        out.splitlines()
    )


def test_check(stacflask: Run, plugin: types.ModuleType) -> None:
    """A check reports database, migrations and plugins, and starts the plugins as a server does."""
    code, out, _ = stacflask("check", STACFLASK_PLUGINS=f"{PLUGIN},open_access")
    lines = dict(line.split(": ", 1) for line in out.splitlines())
    assert (code, plugin.started) == (0, [1])
    assert "PostGIS 3" in lines["database"]
    assert lines["migrations"].startswith("up to date")
    assert lines["plugins"] == f"{PLUGIN}, open_access"


def test_settings_of_plugins(stacflask: Run) -> None:
    """Settings of the enabled plugins follow the program's own, with their defaults. Secrets are masked."""
    environ = {"STACFLASK_PLUGINS": "links,quota", "STACFLASK_LINKS_KEYS": f"one:{'x' * 32}"}
    code, out, _ = stacflask("settings", **environ, STACFLASK_QUOTA_CACHE="7")
    lines = out.splitlines()
    assert code == 0
    assert {"STACFLASK_LINKS_KEYS=***", "STACFLASK_LINKS_MAX_LIFETIME=7d  (default)", "STACFLASK_QUOTA_CACHE=7"} <= set(
        lines
    )
    assert "STACFLASK_AUDIT_WRITE" not in out
    assert "STACFLASK_LINKS_KEYS=  (missing)" in stacflask("settings", **{**environ, "STACFLASK_LINKS_KEYS": ""})[1]


def test_check_reports_every_wrong_setting(stacflask: Run) -> None:
    """Each wrong or missing setting, of the program or of a plugin, is reported in its own line."""
    plugins = "links,plugins.absent,quota"
    code, out, err = stacflask(
        "check", STACFLASK_PLUGINS=plugins, STACFLASK_MAX_LIMIT="many", STACFLASK_ID="a/b", STACFLASK_QUOTA_CACHE="soon"
    )
    reported = [line.split(": ")[:2] for line in err.splitlines()]
    assert (code, out) == (2, "")
    names = [
        "STACFLASK_ID",
        "STACFLASK_MAX_LIMIT",
        "STACFLASK_LINKS_KEYS",
        "STACFLASK_PLUGINS",
        "STACFLASK_QUOTA_CACHE",
    ]
    assert reported == [["error", name] for name in names]


def test_check_warns_about_variables_that_nothing_reads(stacflask: Run, tmp_path: Path) -> None:
    """A misspelt variable is reported. A variable that a setting names is not."""
    code, _, err = stacflask("check", STACFLASK_MAX_LIMITS="5", STACFLASK_QUOTA_CACHE="5", STACFLASK_THREADS="4")
    first, second = err.splitlines()
    assert code == 0
    assert first.startswith("warning: STACFLASK_MAX_LIMITS: ")
    assert first.endswith("is STACFLASK_MAX_LIMIT meant?")
    assert second.startswith("warning: STACFLASK_QUOTA_CACHE: ")
    environ = {"STACFLASK_PLUGINS": "local_files", "STACFLASK_LOCAL_FILES_ROOTS": str(tmp_path)}
    assert stacflask("check", **environ)[::2] == (0, "")


def test_migrate_creates_the_tables(stacflask: Run, database_url: str) -> None:
    """``check`` reports an empty database. ``migrate`` creates its tables from any folder, and can run twice."""
    name = "test_migrate"
    url = sa.make_url(database_url).set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        assert stacflask("check", DATABASE_URL=url)[::2] == (
            2,
            "error: The database has no tables of stacflask. Run stacflask migrate.\n",
        )
        environ = {**os.environ, "DATABASE_URL": url, "PYTHONPATH": str(ROOT)}
        for revisions in (True, False):
            done = subprocess.run(
                [sys.executable, "-m", "stacflask", "migrate"], cwd="/", env=environ, capture_output=True, check=True
            )
            assert done.stdout == b"The database is up to date.\n"
            assert done.stderr.startswith(b"Running upgrade  -> 0001") == revisions
        assert stacflask("check", DATABASE_URL=url)[0] == 0
    finally:
        drop(database_url, name)


# --- Load and export --------------------------------------------------------------------------------------------------


def test_load_prints_its_counts(stacflask: Run, tmp_path: Path) -> None:
    """A load prints its counts, and exits with code 0 if all documents are loaded."""
    file = write(tmp_path / "input", a_collection(), an_item("a"), an_item("b"))
    code, out, err = stacflask("load", file)
    assert (code, err) == (0, "")
    assert out.startswith("1 collections, 2 items (2 new, 0 replaced, 0 unchanged), 0 refused, ")


def test_load_stops_or_continues(stacflask: Run, tmp_path: Path) -> None:
    """Options decide whether a load stops at a refused document, continues, or continues up to a number of them."""
    file = write(tmp_path / "input", a_collection(), an_item("a"), an_item("/"), an_item("b"))
    code, out, err = stacflask("load", file)
    assert (code, out.partition(" (")[0]) == (1, "1 collections, 0 items")
    assert err.splitlines()[0].startswith(f"{file}:3: /id: expected an id without slashes")
    assert err.splitlines()[1].startswith("error: stopped")
    for option in (["--on-error", "continue"], ["--max-errors", "1"]):
        code, out, err = stacflask("load", file, "--method", "upsert", *option)
        assert (code, out.partition(" (")[0], err.count("\n")) == (1, "1 collections, 2 items", 1)


def test_load_uses_the_settings(stacflask: Run, tmp_path: Path) -> None:
    """Loads use the settings for managed hrefs and validation. An option switches validation off for one load."""
    item = an_item(
        assets={"data": {"href": "https://bucket.example.org/key"}}, stac_extensions=["https://example.org/x.json"]
    )
    file = write(tmp_path / "input", a_collection(), item)
    environ = {"STACFLASK_VALIDATE_SCHEMAS": "true", "STACFLASK_MANAGED_HREFS": "https://bucket.example.org/"}
    assert stacflask("load", file, "--on-error", "continue", **environ)[0] == 1
    assert stacflask("load", file, "--no-validate", "--method", "upsert", **environ)[0] == 0
    assert b"https://bucket.example.org/key" in stacflask("export")[1].encode()


def test_progress_on_a_terminal(database: Database, database_url: str, tmp_path: Path) -> None:
    """On a terminal, a bar shows the part done, items, rate, time left and refused documents."""
    file = write(tmp_path / "input", a_collection(), *(an_item(f"{number}") for number in range(50)), an_item("/"))
    program = [sys.executable, "-m", "stacflask", "load", file, "--on-error", "continue"]
    code, shown = on_a_terminal(program, {**os.environ, "DATABASE_URL": database_url})
    assert code == 1
    assert "100%" in shown
    assert "50 items, " in shown
    assert "1 refused, 00:00 left" in shown


@pytest.mark.parametrize("compress", [False, True])
def test_export_to_a_file(stacflask: Run, tmp_path: Path, *, compress: bool) -> None:
    """A file has the same bytes as standard output, compressed with ``--gzip``."""
    documents = [a_collection(), an_item("a"), an_item("b")]
    stacflask("load", write(tmp_path / "input", *documents))
    target = tmp_path / "out"
    result = stacflask("export", "-o", str(target), *(["--gzip"] if compress else []))
    assert result == (0, "", "3 documents exported\n")
    text = gzip.decompress(target.read_bytes()) if compress else target.read_bytes()
    assert [orjson.loads(line) for line in text.splitlines()] == documents
    assert stacflask("export")[1].encode() == text


def test_export_to_a_closed_pipe(stacflask: Run, database_url: str, tmp_path: Path) -> None:
    """An export whose pipe is closed exits without an error."""
    stacflask(
        "load", write(tmp_path / "input", a_collection(), *(an_item(f"{n}", note="x" * 5000) for n in range(100)))
    )
    export = f"{sys.executable} -m stacflask export | head -n 1 >/dev/null"
    environ = {**os.environ, "DATABASE_URL": database_url}
    done = subprocess.run(["bash", "-c", export], cwd=ROOT, env=environ, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_failed_export_leaves_no_file(stacflask: Run, tmp_path: Path) -> None:
    """If an export fails, an existing file is unchanged."""
    target = tmp_path / "out"
    target.write_bytes(b"before")
    assert stacflask("export", "--collection", "absent", "-o", str(target))[0] == 2
    assert target.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_queryables(stacflask: Run, tmp_path: Path) -> None:
    """Queryables are recomputed from the items, for all collections or for the given ones."""
    stacflask("load", write(tmp_path / "input", a_collection("one"), a_collection("two"), an_item("a", "one")))
    assert stacflask("queryables", "refresh") == (0, "one: 1 items\ntwo: 0 items\n", "")
    assert stacflask("queryables", "refresh", "one") == (0, "one: 1 items\n", "")
    assert stacflask("queryables", "refresh", "absent")[0] == 2


def test_extents(stacflask: Run, tmp_path: Path) -> None:
    """Extents are recomputed from the items, for all collections or for the given ones."""
    stacflask("load", write(tmp_path / "input", a_collection("one"), a_collection("two"), an_item("a", "one")))
    assert stacflask("extents") == (0, "one: changed\ntwo: unchanged\n", "")
    assert stacflask("extents", "one") == (0, "one: unchanged\n", "")
    one = orjson.loads(stacflask("export", "--collections-only", "--collection", "one")[1])
    assert one["extent"]["spatial"]["bbox"] == [[11, 48, 11, 48]]
