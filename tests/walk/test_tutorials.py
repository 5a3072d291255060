"""The tutorials and guides: each block of code runs as it is printed, and its output is what the page shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dev.stack import Stack
from tests.conftest import ROOT, migrate
from tests.databases import drop
from tests.walk.conftest import Server, administer

DOCS = ROOT / "docs"
PAGES = DOCS / "tutorials"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_first_download(server: Server, tmp_path: Path) -> None:
    """The commands of the first tutorial work in their order, and print what the page shows."""
    blocks = BLOCK.findall((PAGES / "first-download.md").read_text())
    script = "".join(f"{text}echo ---\n" for kind, text in blocks if kind == "sh")
    script = script.replace("http://127.0.0.1:8000", server.url)
    done = subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    parts = iter(done.stdout.split("---\n"))
    part = ""
    for kind, text in blocks:
        if kind == "sh":
            part = next(parts)
        elif kind == "text":
            assert all(line in part for line in text.splitlines()), part


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a folder with the files of the tutorial on plugins."""
    return write_package(PAGES / "first-plugin.md", tmp_path)


def write_package(page: Path, folder: Path) -> Path:
    """Write the files of a page, each with its name in the first line, and return their folder."""
    for kind, text in BLOCK.findall(page.read_text()):
        if kind in ("toml", "python"):
            name, _, content = text.removeprefix("# ").partition("\n")
            (folder / name).write_text(content)
    return folder


@pytest.mark.parametrize("page", ["tutorials/first-plugin.md", "how-to/watermark.md"])
def test_a_documented_plugin_passes_its_tests(page: str, stack: Stack, tmp_path: Path) -> None:
    """The tests of the plugin pass."""
    package = write_package(DOCS / page, tmp_path)
    base, _, _ = stack.database_url.rpartition("/")
    url = f"{base}/tutorial_test"
    administer(stack, "CREATE DATABASE tutorial_test")
    try:
        migrate(url)
        environ = {**os.environ, "STACFLASK_TEST_DATABASE_URL": url, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        done = subprocess.run(command, cwd=package, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        assert " passed" in done.stdout
    finally:
        drop(stack.database_url, "tutorial_test")


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
