"""The how-to guides for operators: their commands run as they are printed, in their order."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from dev.stack import Stack
from tests.conftest import ROOT
from tests.databases import drop
from tests.walk.conftest import Server

PAGES = ROOT / "docs" / "how-to"
BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def run_page(name: str, server: Server, folder: Path) -> str:
    """Run the shell blocks of a page in one shell and return their output."""
    script = "".join(BLOCK.findall((PAGES / name).read_text()))
    environ = {**os.environ, **server.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["bash", "-e", "-o", "pipefail", "-c", script]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def restored(demo_stack: Stack) -> Iterator[str]:
    """Return the URL of the database that the guide creates, and drop it at the end."""
    base, _, _ = demo_stack.database_url.rpartition("/")
    yield f"{base}/restored"
    drop(demo_stack.database_url, "restored")


def test_a_backup_is_restored(server: Server, demo_stack: Stack, restored: str, tmp_path: Path) -> None:
    """The restored database has the same items, and ``check`` finds no error in it."""
    shown = run_page("backup.md", server, tmp_path)
    count = "SELECT collection, count(*) FROM items GROUP BY collection ORDER BY collection"
    with psycopg.connect(demo_stack.database_url) as before, psycopg.connect(restored) as after:
        items = before.execute(count).fetchall()
        assert after.execute(count).fetchall() == items
    assert len(items) > 1
    assert str(items[0][0]) in shown
    assert (tmp_path / "catalogue.ndjson.gz").stat().st_size > 1000


def test_secrets_are_rotated(server: Server, tmp_path: Path) -> None:
    """The commands create a key, list it, and print a signing key."""
    shown = run_page("rotate-secrets.md", server, tmp_path)
    assert "sfk_" in shown
    assert "alice" in shown


def test_upgrade_commands_work(server: Server, tmp_path: Path) -> None:
    """The commands before and after an upgrade work on the current release."""
    assert "migrations: up to date" in run_page("upgrade.md", server, tmp_path)
    assert (tmp_path / "changed.ndjson.gz").exists()
