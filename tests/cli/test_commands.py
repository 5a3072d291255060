"""The command line: what each command does, and one line for whatever goes wrong."""

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
    """Run a command against the test's database: exit code, output, errors."""

    def stacflask(*arguments: str, **environ: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run(arguments, {"DATABASE_URL": database_url, **environ})
        return (code, *capfd.readouterr())

    return stacflask


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Install a module that is a plugin with commands, and notes when it is started."""
    module = types.ModuleType(PLUGIN)
    module.started = []  # type: ignore[attr-defined]

    @click.command()
    @click.argument("word")
    def greet(word: str) -> None:
        """Greet somebody."""
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
    """Run a program whose standard error is a terminal of 120 columns: exit code, and all that was shown there.

    It is read while the program runs: a terminal that nobody reads holds a page, and then its writer.
    """
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    process = subprocess.Popen(program, cwd=ROOT, env=environ, stderr=theirs, stdout=subprocess.DEVNULL)
    os.close(theirs)
    shown = b""
    with suppress(OSError), os.fdopen(ours, "rb", buffering=0) as file:  # EIO, once nobody holds the other end
        while part := file.read(4096):
            shown += part
    return process.wait(), shown.decode()


# --- The program ------------------------------------------------------------------------------------------------------


def test_help_names_every_command(stacflask: Run) -> None:
    """The help lists all commands with a line on each, and needs no setting."""
    code, out, _ = stacflask("--help", DATABASE_URL="")
    assert code == 0
    commands = dict(line.split(maxsplit=1) for line in out.partition("Commands:\n")[2].splitlines())
    assert commands.keys() == {
        *("check", "delete", "export", "extents", "hooks", "index", "load", "migrate", "queryables", "settings")
    }
    assert all(text.endswith(".") and not text.endswith("...") for text in commands.values())


@pytest.mark.parametrize(
    ("arguments", "environ", "said"),
    [
        (["nonsense"], {}, "No such command 'nonsense'."),
        (["load"], {}, "Missing argument 'FILES...'."),
        (["load", "/absent.json"], {}, "Invalid value for 'FILES...': File '/absent.json' does not exist."),
        (["check"], {"DATABASE_URL": ""}, "DATABASE_URL: missing. The PostGIS database, in Heroku's spelling too."),
        (["check"], {"DATABASE_URL": "x"}, "DATABASE_URL: expected postgresql://user:password@host:port/name"),
        (["check"], {"DATABASE_URL": "postgresql://127.0.0.1:1/x"}, "The database cannot be reached. ("),
        (["migrate"], {"DATABASE_URL": "x"}, "DATABASE_URL: expected postgresql://user:password@host:port/name"),
        (["extents", "absent"], {}, "There is no collection 'absent'."),
        (["export", "--collection", "absent"], {}, "There is no collection 'absent'."),
        (["export", "-o", "/absent/folder/file"], {}, "/absent/folder/"),
        (["hooks"], {"STACFLASK_PLUGINS": "plugins.absent"}, "STACFLASK_PLUGINS: there is no module 'plugins.absent'"),
    ],
)
def test_errors_are_one_line(stacflask: Run, arguments: list[str], environ: dict[str, str], said: str) -> None:
    """Whatever cannot be done is told in one line that says why, with exit code 2."""
    code, out, err = stacflask(*arguments, **environ)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: {said}")


def test_it_is_a_program(database_url: str) -> None:
    """``python -m stacflask`` works from any folder."""
    environ = {**os.environ, "DATABASE_URL": database_url, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "stacflask", "check"], cwd="/", env=environ, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


# --- Commands of plugins ----------------------------------------------------------------------------------------------


def test_commands_of_plugins(stacflask: Run, plugin: types.ModuleType) -> None:
    """A plugin's commands stand in the help and run after its startup; help and other commands do not start it."""
    assert "  greet       Greet somebody.\n" in stacflask("--help", STACFLASK_PLUGINS=PLUGIN)[1]
    assert stacflask("many", "greet", "--help", STACFLASK_PLUGINS=PLUGIN)[0] == 0
    stacflask("extents", STACFLASK_PLUGINS=PLUGIN)
    assert plugin.started == []
    assert stacflask("greet", "Ann", STACFLASK_PLUGINS=PLUGIN) == (0, "Hello, Ann! 1\n", "")
    assert stacflask("many", "greet", "Ann", STACFLASK_PLUGINS=PLUGIN) == (0, "Hello, Ann! 2\n", "")


def test_failing_command_of_a_plugin(stacflask: Run, plugin: types.ModuleType) -> None:
    """What a plugin's command complains of is one line, too, with the plugin's own exit code."""
    assert stacflask("greet", "nobody", STACFLASK_PLUGINS=PLUGIN) == (1, "", "error: there is nobody to greet\n")


def test_failing_plugin_hides_no_help(stacflask: Run) -> None:
    """With a plugin that does not load, the help shows the program's own commands, and then says what is wrong."""
    code, out, err = stacflask("--help", STACFLASK_PLUGINS="plugins.absent")
    assert (code, err) == (2, "error: STACFLASK_PLUGINS: there is no module 'plugins.absent' on Python's path\n")
    assert "  migrate " in out
    assert stacflask("greet", STACFLASK_PLUGINS="plugins.absent")[2] == err
    assert stacflask("extents", STACFLASK_PLUGINS="plugins.absent")[0] == 0


def test_two_commands_of_one_name(stacflask: Run, plugin: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin cannot put its command in another's place unnoticed."""
    monkeypatch.setattr(plugin, "extend_cli", hookimpl(lambda: [click.Command("load")]))
    code, _, err = stacflask("anything", STACFLASK_PLUGINS=PLUGIN)
    told = f"error: STACFLASK_PLUGINS: {PLUGIN}: the command load is one of stacflask already\n"
    assert (code, err) == (2, told)
    assert stacflask("check", STACFLASK_PLUGINS=PLUGIN)[::2] == (2, told)


def test_a_command_that_breaks_names_its_plugin(
    stacflask: Run, plugin: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a plugin's command raises is one line with the plugin's name."""

    def breaks() -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(plugin, "extend_cli", hookimpl(lambda: [click.Command("mine", callback=breaks)]))
    code, _, err = stacflask("mine", STACFLASK_PLUGINS=PLUGIN)
    assert (code, err) == (2, f"error: {PLUGIN}: the command mine raised RuntimeError: boom\n")


def test_a_plugin_that_cannot_be_loaded_hides_no_other(stacflask: Run) -> None:
    """A setting that one plugin misses keeps nobody from the help of another's commands."""
    environ = {"STACFLASK_PLUGINS": "plugins.links,plugins.quota"}
    code, out, err = stacflask("quota", "set", "--help", **environ)
    assert (code, "--downloads" in out, err) == (0, True, "")
    code, out, err = stacflask("--help", **environ)
    assert (code, "  quota " in out, err.startswith("error: STACFLASK_LINKS_KEYS: missing")) == (2, True, True)
    assert stacflask("links", "list", **environ)[2] == err


def test_an_unknown_command_names_its_plugin(stacflask: Run) -> None:
    """A command of a plugin that is not enabled is told with that plugin's name."""
    code, _, err = stacflask("usage", "show", STACFLASK_PLUGINS="plugins.quota")
    told = "No such command 'usage'. It belongs to plugins.audit, which STACFLASK_PLUGINS does not name."
    assert (code, err) == (2, f"error: {told}\n")


@pytest.mark.parametrize("name", [f"plugins.{one}" for one in ("api_keys", "audit", "licence", "login", "quota")])
def test_declared_commands_are_those_there_are(name: str) -> None:
    """What a module declares in COMMANDS is what its plugin adds."""
    folder = Path(name.replace(".", "/"))
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
    """A value that is not declared secret may hold secrets: they are left out of it."""
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
def test_secret_is_what_its_name_calls_secret(
    name: str, stacflask: Run, plugin: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable with such a name is not shown, even if its plugin forgot to call it secret."""
    monkeypatch.setattr(plugin, "SETTINGS", (Setting(name, "What it is."),), raising=False)
    out = stacflask("settings", **{"STACFLASK_PLUGINS": PLUGIN, name: "hidden"})[1]
    assert (f"{name}=***" in out, "hidden" in out) == (True, False)


def test_secret_is_what_anybody_calls_secret(
    stacflask: Run, plugin: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that another plugin lists as secret is shown by nobody, be it one of core's."""
    monkeypatch.setattr(plugin, "SETTINGS", (Setting("MINE", "x"), Setting("STACFLASK_TITLE", "x")), raising=False)
    other = types.ModuleType("plugins_of_others.second")
    other.SETTINGS = (Setting("MINE", "y", secret=True), Setting("STACFLASK_TITLE", "y", secret=True))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "plugins_of_others", types.ModuleType("plugins_of_others"))
    monkeypatch.setitem(sys.modules, "plugins_of_others.second", other)
    names = f"{PLUGIN},plugins_of_others.second"
    out = stacflask("settings", STACFLASK_PLUGINS=names, MINE="hidden one", STACFLASK_TITLE="hidden two")[1]
    assert ("MINE=***" in out, "STACFLASK_TITLE=***" in out, "hidden" in out) == (True, True, False)


# --- The set-up -------------------------------------------------------------------------------------------------------


def test_hooks(stacflask: Run, plugin: types.ModuleType) -> None:
    """Each hook is listed with those who answer it, in the order in which they are asked."""
    plugins = f"plugins.open_access,{PLUGIN},plugins.collection_groups"
    lines = dict(line.split(maxsplit=1) for line in stacflask("hooks", STACFLASK_PLUGINS=plugins)[1].splitlines())
    assert lines["authorize"] == "plugins.open_access, plugins.collection_groups"
    assert lines["startup"] == f"{PLUGIN}, plugins.collection_groups"
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
    """Every setting is listed with its value, and whether that is the default; never a password."""
    code, out, _ = stacflask("settings", DATABASE_URL=url, STACFLASK_MAX_LIMIT="50")
    assert code == 0
    assert "secret" not in out
    assert {f"DATABASE_URL={shown}", "STACFLASK_MAX_LIMIT=50", "STACFLASK_DEFAULT_LIMIT=10  (default)"} <= set(
        out.splitlines()
    )


def test_check(stacflask: Run, plugin: types.ModuleType) -> None:
    """A check says what is there, starting the plugins as a server does."""
    code, out, _ = stacflask("check", STACFLASK_PLUGINS=f"{PLUGIN},plugins.open_access")
    lines = dict(line.split(": ", 1) for line in out.splitlines())
    assert (code, plugin.started) == (0, [1])
    assert "PostGIS 3" in lines["database"]
    assert lines["migrations"].startswith("up to date")
    assert lines["plugins"] == f"{PLUGIN}, plugins.open_access"


def test_settings_of_plugins(stacflask: Run) -> None:
    """Those of the plugins named stand behind the program's own, with their defaults; what is secret stays so."""
    environ = {"STACFLASK_PLUGINS": "plugins.links,plugins.quota", "STACFLASK_LINKS_KEYS": f"one:{'x' * 32}"}
    code, out, _ = stacflask("settings", **environ, STACFLASK_QUOTA_CACHE="7")
    lines = out.splitlines()
    assert code == 0
    assert {"STACFLASK_LINKS_KEYS=***", "STACFLASK_LINKS_LONGEST=7d  (default)", "STACFLASK_QUOTA_CACHE=7"} <= set(
        lines
    )
    assert "STACFLASK_AUDIT_WRITE" not in out
    assert "STACFLASK_LINKS_KEYS=  (missing)" in stacflask("settings", **{**environ, "STACFLASK_LINKS_KEYS": ""})[1]


def test_check_tells_all_that_is_wrong(stacflask: Run) -> None:
    """Each setting that is wrong or missing, of the program or of a plugin, is told in a line of its own."""
    plugins = "plugins.links,plugins.absent,plugins.quota"
    code, out, err = stacflask(
        "check", STACFLASK_PLUGINS=plugins, STACFLASK_MAX_LIMIT="many", STACFLASK_ID="a/b", STACFLASK_QUOTA_CACHE="soon"
    )
    told = [line.split(": ")[:2] for line in err.splitlines()]
    assert (code, out) == (2, "")
    names = [
        "STACFLASK_ID",
        "STACFLASK_MAX_LIMIT",
        "STACFLASK_LINKS_KEYS",
        "STACFLASK_PLUGINS",
        "STACFLASK_QUOTA_CACHE",
    ]
    assert told == [["error", name] for name in names]


def test_check_warns_of_what_nobody_reads(stacflask: Run, tmp_path: Path) -> None:
    """A misspelt variable would be silently nothing; one that a setting points to is read by that."""
    code, _, err = stacflask("check", STACFLASK_MAX_LIMITS="5", STACFLASK_QUOTA_CACHE="5", STACFLASK_THREADS="4")
    first, second = err.splitlines()
    assert code == 0
    assert first.startswith("warning: STACFLASK_MAX_LIMITS: ")
    assert first.endswith("is STACFLASK_MAX_LIMIT meant?")
    assert second.startswith("warning: STACFLASK_QUOTA_CACHE: ")
    environ = {"STACFLASK_PLUGINS": "plugins.local_files", "STACFLASK_LOCAL_FILES_ROOTS": str(tmp_path)}
    assert stacflask("check", **environ)[::2] == (0, "")


def test_migrate_brings_the_tables(stacflask: Run, database_url: str) -> None:
    """An empty database is told apart from a migrated one, and migrated from whatever folder; twice does no harm."""
    name = "test_migrate"
    url = sa.make_url(database_url).set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        assert stacflask("check", DATABASE_URL=url)[::2] == (
            2,
            "error: The database has no tables of this program yet.\n",
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


# --- Documents in and out ---------------------------------------------------------------------------------------------


def test_load_says_what_it_did(stacflask: Run, tmp_path: Path) -> None:
    """A load ends with its figures, and with exit code 0 where all is loaded."""
    file = write(tmp_path / "input", a_collection(), an_item("a"), an_item("b"))
    code, out, err = stacflask("load", file)
    assert (code, err) == (0, "")
    assert out.startswith("1 collections, 2 items (2 new, 0 replaced, 0 left as they were), 0 refused, ")


def test_load_stops_or_goes_on(stacflask: Run, tmp_path: Path) -> None:
    """As asked, a load stops at what it refuses, goes on, or goes on up to a number; the exit code is 1 either way."""
    file = write(tmp_path / "input", a_collection(), an_item("a"), an_item("/"), an_item("b"))
    code, out, err = stacflask("load", file)
    assert (code, out.partition(" (")[0]) == (1, "1 collections, 0 items")
    assert err.splitlines()[0].startswith(f"{file}:3: /id: expected an id without slashes")
    assert err.splitlines()[1].startswith("error: stopped")
    for option in (["--on-error", "continue"], ["--max-errors", "1"]):
        code, out, err = stacflask("load", file, "--method", "upsert", *option)
        assert (code, out.partition(" (")[0], err.count("\n")) == (1, "1 collections, 2 items", 1)


def test_load_uses_the_settings(stacflask: Run, tmp_path: Path) -> None:
    """Settings on managed addresses and on validation hold for loads; validation can be switched off for one."""
    item = an_item(
        assets={"data": {"href": "https://bucket.example.org/key"}}, stac_extensions=["https://example.org/x.json"]
    )
    file = write(tmp_path / "input", a_collection(), item)
    environ = {"STACFLASK_VALIDATE_SCHEMAS": "true", "STACFLASK_MANAGED_HREFS": "https://bucket.example.org/"}
    assert stacflask("load", file, "--on-error", "continue", **environ)[0] == 1
    assert stacflask("load", file, "--no-validate", "--method", "upsert", **environ)[0] == 0
    assert b"https://bucket.example.org/key" in stacflask("export")[1].encode()


def test_progress_on_a_terminal(database: Database, database_url: str, tmp_path: Path) -> None:
    """On a terminal, a bar shows how much is done, items, rate, time left and what was refused."""
    file = write(tmp_path / "input", a_collection(), *(an_item(f"{number}") for number in range(50)), an_item("/"))
    program = [sys.executable, "-m", "stacflask", "load", file, "--on-error", "continue"]
    code, shown = on_a_terminal(program, {**os.environ, "DATABASE_URL": database_url})
    assert code == 1
    assert "100%" in shown
    assert "50 items, " in shown
    assert "1 refused, 00:00 left" in shown


@pytest.mark.parametrize("compress", [False, True])
def test_export_to_a_file(stacflask: Run, tmp_path: Path, *, compress: bool) -> None:
    """An export into a file is what goes to standard output, compressed if asked."""
    documents = [a_collection(), an_item("a"), an_item("b")]
    stacflask("load", write(tmp_path / "input", *documents))
    target = tmp_path / "out"
    said = stacflask("export", "-o", str(target), *(["--gzip"] if compress else []))
    assert said == (0, "", "3 documents exported\n")
    text = gzip.decompress(target.read_bytes()) if compress else target.read_bytes()
    assert [orjson.loads(line) for line in text.splitlines()] == documents
    assert stacflask("export")[1].encode() == text


def test_export_to_a_closed_pipe(stacflask: Run, database_url: str, tmp_path: Path) -> None:
    """An export whose reader goes away ends quietly."""
    stacflask(
        "load", write(tmp_path / "input", a_collection(), *(an_item(f"{n}", note="x" * 5000) for n in range(100)))
    )
    export = f"{sys.executable} -m stacflask export | head -n 1 >/dev/null"
    environ = {**os.environ, "DATABASE_URL": database_url}
    done = subprocess.run(["bash", "-c", export], cwd=ROOT, env=environ, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_failed_export_leaves_no_file(stacflask: Run, tmp_path: Path) -> None:
    """Where an export cannot be done, the file that stood there stays as it was."""
    target = tmp_path / "out"
    target.write_bytes(b"before")
    assert stacflask("export", "--collection", "absent", "-o", str(target))[0] == 2
    assert target.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_queryables(stacflask: Run, tmp_path: Path) -> None:
    """What is known of properties is made anew from the items, for all collections or those that are named."""
    stacflask("load", write(tmp_path / "input", a_collection("one"), a_collection("two"), an_item("a", "one")))
    assert stacflask("queryables", "refresh") == (0, "one: 1 items\ntwo: 0 items\n", "")
    assert stacflask("queryables", "refresh", "one") == (0, "one: 1 items\n", "")
    assert stacflask("queryables", "refresh", "absent")[0] == 2


def test_extents(stacflask: Run, tmp_path: Path) -> None:
    """Extents are made from the items, for all collections or those that are named."""
    stacflask("load", write(tmp_path / "input", a_collection("one"), a_collection("two"), an_item("a", "one")))
    assert stacflask("extents") == (0, "one: changed\ntwo: as it was\n", "")
    assert stacflask("extents", "one") == (0, "one: as it was\n", "")
    one = orjson.loads(stacflask("export", "--collections-only", "--collection", "one")[1])
    assert one["extent"]["spatial"]["bbox"] == [[11, 48, 11, 48]]
