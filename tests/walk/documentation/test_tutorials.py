"""Tutorials and guides for plugin authors: each block of code runs as it is printed, and prints what the page shows."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.stack import Stack
from stacflask.cli import run
from tests.conftest import ROOT, migrate
from tests.databases import drop
from tests.documented import BLOCK, DOCS, GUIDES, TUTORIALS, blocks, write_files
from tests.walk.conftest import Server, administer

COMMANDS = [path.stem for path in sorted(GUIDES.glob("*.md")) if "```python\n# rules/" in path.read_text()]


def test_first_download(server: Server, tmp_path: Path) -> None:
    """The commands of the first tutorial work in their order, and print what the page shows."""
    page = TUTORIALS / "first-download.md"
    script = "".join(f"{text}echo ---\n" for text in blocks(page, "sh"))
    script = script.replace("http://127.0.0.1:8000", server.url)
    done = subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    parts = iter(done.stdout.split("---\n"))
    part = ""
    for kind, text in BLOCK.findall(page.read_text()):
        if kind == "sh":
            part = next(parts)
        elif kind == "text":
            assert all(line in part for line in text.splitlines()), part


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a folder with the files of the tutorial on plugins."""
    return write_files(TUTORIALS / "first-plugin.md", tmp_path)


@pytest.fixture(scope="module")
def guides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the files of all guides for plugin authors, and of the page on tests."""
    folder = tmp_path_factory.mktemp("guides")
    for page in [*GUIDES.glob("*.md"), DOCS / "testing.md"]:
        write_files(page, folder)
    return folder


@pytest.fixture(scope="module")
def plugin_database(stack: Stack) -> Iterator[str]:
    """Return the URL of a migrated database in which plugins can create tables."""
    url = f"{stack.database_url.rpartition('/')[0]}/tutorial_test"
    administer(stack, "CREATE DATABASE tutorial_test")
    try:
        migrate(url)
        yield url
    finally:
        drop(stack.database_url, "tutorial_test")


def run_tests(folder: Path, database_url: str = "") -> str:
    """Run the tests in a folder as a plugin's author does, and return the output of pytest."""
    environ = {**os.environ, "STACFLASK_TEST_DATABASE_URL": database_url}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_first_plugin_passes_its_tests(package: Path) -> None:
    """The tests of the plugin pass, without a database."""
    assert "4 passed" in run_tests(package)


def test_guides_pass_their_tests(guides: Path, plugin_database: str) -> None:
    """The tests in the guides for plugin authors and in docs/testing.md pass, and each guide has one."""
    run_tests(guides, plugin_database)
    tested = {path.stem.removeprefix("test_") for path in guides.glob("test_*.py")}
    assert {path.stem for path in (guides / "rules").glob("*.py")} <= tested


@pytest.mark.parametrize("guide", COMMANDS)
def test_the_commands_of_a_guide_work(
    guide: str,
    guides: Path,
    plugin_database: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With the settings that a guide prints, ``stacflask check`` accepts its plugin."""
    monkeypatch.syspath_prepend(str(guides))
    environ = {"DATABASE_URL": plugin_database}
    lines = "".join(blocks(GUIDES / f"{guide}.md", "sh")).splitlines()
    for command, *arguments in map(shlex.split, lines):
        if command == "export":
            name, _, value = arguments[0].partition("=")
            environ[name] = value
        else:
            assert (command, run(arguments, environ)) == ("stacflask", 0)
    assert f"plugins: {environ['STACFLASK_PLUGINS'].replace(',', ', ')}" in capsys.readouterr().out


def test_first_plugin_is_installed_and_found(package: Path, server: Server, tmp_path: Path) -> None:
    """The package installs, ``stacflask check`` accepts the plugin by its name, and its hook is listed."""
    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), "."], cwd=package, check=True, capture_output=True)
    environ = {
        **server.environ,
        "PYTHONPATH": str(target),
        "STACFLASK_PLUGINS": f"embargo,{server.environ['STACFLASK_PLUGINS']}",
    }
    for command, shown in (("check", "plugins: embargo, "), ("hooks", "authorize             embargo, ")):
        run = [sys.executable, "-m", "stacflask", command]
        done = subprocess.run(run, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert shown.split()[-1] in done.stdout
