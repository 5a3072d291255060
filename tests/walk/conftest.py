"""A whole running house: gunicorn over the private servers, with the demo catalogue and all shipped policy."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from dev import demo
from dev.demo import MEMBERS_DOWNLOAD, Download
from dev.ports import free_port
from dev.run import environ_for
from dev.stack import Stack
from stacflask.model.json_types import Document
from tests.conftest import ROOT, migrate
from tests.databases import drop


@dataclass(frozen=True)
class Server:
    """A running server: its address, the environment it was started in, and its process."""

    url: str
    environ: dict[str, str]
    process: subprocess.Popen[bytes]
    log: Path

    def address(self, download: Download) -> str:
        """Give the download address of an asset."""
        return f"{self.url}/collections/{download.collection}/items/{download.item}/download/{download.asset}"

    def item(self, download: Download) -> Document:
        """Give the document of an asset's item, as its holder sees it."""
        address = f"{self.url}/collections/{download.collection}/items/{download.item}"
        document: Document = requests.get(address, timeout=30).json()
        return document

    def workers(self) -> list[int]:
        """Give the process ids of gunicorn's workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]


@contextmanager
def serving(environ: dict[str, str], log: Path, scheme: str = "http") -> Iterator[Server]:
    """Run gunicorn in this environment until the block ends."""
    port = free_port()
    environ = {**environ, "PORT": str(port)}
    command = [sys.executable, "-m", "gunicorn", f"--bind=127.0.0.1:{port}", "wsgi:application"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=out, stderr=out)
    server = Server(f"{scheme}://127.0.0.1:{port}", environ, process, log)
    try:
        wait_until_ready(server)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(40)


def wait_until_ready(server: Server, seconds: float = 120) -> None:
    """Wait until a server can serve."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert server.process.poll() is None, server.log.read_text()
        try:
            if requests.get(f"{server.url}/health/ready", timeout=30).status_code == 200:
                return
        except requests.RequestException:
            pass
        time.sleep(0.1)
    raise AssertionError(f"not ready: {server.log.read_text()}")


@contextmanager
def own_database(stack: Stack, name: str) -> Iterator[Stack]:
    """Give the stack with another, freshly migrated database in it."""
    base, _, _ = stack.database_url.rpartition("/")
    administer(stack, f'CREATE DATABASE "{name}"')
    try:
        migrate(f"{base}/{name}")
        yield replace(stack, database_url=f"{base}/{name}")
    finally:
        drop(stack.database_url, name)


def administer(stack: Stack, statement: str) -> None:
    """Run one statement on a connection of its own: tests stop the database, and end all older ones."""
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        connection.execute(statement)


@pytest.fixture(scope="session")
def demo_stack(stack: Stack) -> Iterator[Stack]:
    """Publish the demo catalogue into a database of its own."""
    with own_database(stack, "demo") as own:
        demo.publish(own, environ_for(own, 8000))
        yield own


@pytest.fixture(scope="module")
def server(demo_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve the demo catalogue as `make run` does."""
    forget_usage(demo_stack)
    with serving(environ_for(demo_stack, 8000), tmp_path_factory.mktemp("server") / "log") as running:
        yield running


def forget_usage(stack: Stack) -> None:
    """Let every principal begin anew: nothing used, nothing accepted."""
    forget_downloads(stack)
    administer(stack, "TRUNCATE plugin_licence_acceptances")


def forget_downloads(stack: Stack) -> None:
    """Let nothing be used of anybody's quota."""
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE tablename LIKE 'plugin_quota%'").fetchall()
        for (table,) in tables:
            if "limit" not in table:
                connection.execute(f"TRUNCATE {table}")


def accept_licence(server: Server) -> None:
    """Let the member accept the licence of the scene, as its refusal says how."""
    member = bearer("member")
    refused = requests.get(server.address(MEMBERS_DOWNLOAD), headers=member, timeout=30).json()
    address = refused["links"][0]["href"]
    version = requests.get(address, headers=member, timeout=30).json()["version"]
    assert requests.post(f"{address}/acceptance", json={"version": version}, headers=member, timeout=30).ok


def link(server: Server, href: str, **more: Any) -> str:
    """Make a link, as the member does, and give the address."""
    made = requests.post(f"{server.url}/links", json={"href": href, **more}, headers=bearer("member"), timeout=30)
    assert made.status_code == 201, made.text
    return str(made.json()["href"])


def bearer(name: str) -> dict[str, str]:
    """Give the header that a holder of a demo key sends."""
    return {"Authorization": f"Bearer {demo.KEYS[name]}"}


def stacflask(*arguments: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command of the house's own."""
    command = [sys.executable, "-m", "stacflask", *arguments]
    environ = {**os.environ, **environ}
    return subprocess.run(command, check=False, cwd=ROOT, env=environ, capture_output=True, text=True)
