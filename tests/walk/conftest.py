"""A complete server: gunicorn on private backing services, with the demo catalogue and all shipped policies."""

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
    """A running server: its base URL, its environment, its process and its log file."""

    url: str
    environ: dict[str, str]
    process: subprocess.Popen[bytes]
    log: Path

    def address(self, download: Download) -> str:
        """Return the download URL of an asset."""
        return f"{self.url}/collections/{download.collection}/items/{download.item}/download/{download.asset}"

    def item(self, download: Download) -> Document:
        """Return the item of an asset, as an anonymous client sees it."""
        address = f"{self.url}/collections/{download.collection}/items/{download.item}"
        document: Document = requests.get(address, timeout=30).json()
        return document

    def workers(self) -> list[int]:
        """Return the process ids of gunicorn's workers."""
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
    """Wait until a server is ready, for at most ``seconds``."""
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
    """Yield the stack with a new, migrated database that is dropped at the end."""
    base, _, _ = stack.database_url.rpartition("/")
    administer(stack, f'CREATE DATABASE "{name}"')
    try:
        migrate(f"{base}/{name}")
        yield replace(stack, database_url=f"{base}/{name}")
    finally:
        drop(stack.database_url, name)


def administer(stack: Stack, statement: str) -> None:
    """Run one statement on a new connection. Tests stop the database, which closes all older connections."""
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        connection.execute(statement)


@pytest.fixture(scope="session")
def demo_stack(stack: Stack) -> Iterator[Stack]:
    """Publish the demo catalogue to a new database."""
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
    """Delete the counted downloads and the accepted licences of every principal."""
    forget_downloads(stack)
    administer(stack, "TRUNCATE plugin_licence_acceptances")


def forget_downloads(stack: Stack) -> None:
    """Delete the counted downloads of every principal."""
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE tablename LIKE 'plugin_quota%'").fetchall()
        for (table,) in tables:
            if "limit" not in table:
                connection.execute(f"TRUNCATE {table}")


def accept_licence(server: Server) -> None:
    """Accept the licence of the scene as the member, with the link in the refusal."""
    member = bearer("member")
    refused = requests.get(server.address(MEMBERS_DOWNLOAD), headers=member, timeout=30).json()
    address = refused["links"][0]["href"]
    version = requests.get(address, headers=member, timeout=30).json()["version"]
    assert requests.post(f"{address}/acceptance", json={"version": version}, headers=member, timeout=30).ok


def link(server: Server, href: str, **more: Any) -> str:
    """Create a link as the member and return its URL."""
    created = requests.post(f"{server.url}/links", json={"href": href, **more}, headers=bearer("member"), timeout=30)
    assert created.status_code == 201, created.text
    return str(created.json()["href"])


def bearer(name: str) -> dict[str, str]:
    """Return the header with a demo key."""
    return {"Authorization": f"Bearer {demo.KEYS[name]}"}


def stacflask(*arguments: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command of stacflask."""
    command = [sys.executable, "-m", "stacflask", *arguments]
    environ = {**os.environ, **environ}
    return subprocess.run(command, check=False, cwd=ROOT, env=environ, capture_output=True, text=True)
