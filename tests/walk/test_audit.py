"""The audit in a server whose workers are killed: what was answered is recorded, once."""

import os
import signal
import socket
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import requests

from dev.demo import FIRST_DOWNLOAD, LARGE_DOWNLOAD, Download
from dev.run import environ_for
from dev.stack import Stack
from tests.waiting import waiting_for
from tests.walk.conftest import Server, serving


@contextmanager
def traffic(url: str) -> Iterator[set[str]]:
    """Ask from several threads until the block ends; give the request ids that were answered by a redirect."""
    granted: set[str] = set()
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            name = uuid.uuid4().hex
            try:
                answer = requests.get(url, headers={"X-Request-ID": name}, allow_redirects=False, timeout=30)
            except requests.RequestException:
                continue
            if answer.status_code == 307:
                granted.add(name)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield granted
    finally:
        over.set()
        for thread in threads:
            thread.join()


def recorded(stack: Stack) -> Counter[str]:
    with psycopg.connect(stack.database_url) as connection:
        return Counter(request for (request,) in connection.execute("SELECT request FROM plugin_audit"))


def auditing(stack: Stack, **more: str) -> dict[str, str]:
    environ = environ_for(stack, 8000)
    return {**environ, "STACFLASK_PLUGINS": f"{environ['STACFLASK_PLUGINS']},plugins.audit", **more}


def go_on(granted: set[str], answers: int = 50) -> None:
    """Let traffic run until so many more downloads are answered."""
    before = len(granted)
    waiting_for(lambda: len(granted) >= before + answers)


def kill(server: Server, granted: set[str]) -> None:
    """Kill a worker in the midst of traffic, and let the others go on for a while."""
    go_on(granted)
    os.kill(server.workers()[0], signal.SIGKILL)
    go_on(granted)


def test_killed_workers_lose_no_record_where_there_is_a_spool(demo_stack: Stack, tmp_path: Path) -> None:
    """However often workers are killed in the midst of traffic, each download that was answered is recorded once.

    What the last of them left in the spool is recorded at the next start.
    """
    spool = tmp_path / "spool"
    spool.mkdir()
    environ = auditing(demo_stack, STACFLASK_AUDIT_SPOOL=str(spool))
    with serving(environ, tmp_path / "log") as server, traffic(server.address(FIRST_DOWNLOAD)) as granted:
        for _ in range(4):
            kill(server, granted)
    with serving(environ, tmp_path / "log"):
        pass
    counted = recorded(demo_stack)
    assert granted - counted.keys() == set()
    assert {counted[name] for name in granted} == {1}
    assert list(spool.iterdir()) == []


def test_stopped_workers_lose_no_record(demo_stack: Stack, tmp_path: Path) -> None:
    """A server that is told to stop or to reload writes what waits, with nothing but memory to keep it."""
    environ = auditing(demo_stack, STACFLASK_AUDIT_INTERVAL="30")
    with serving(environ, tmp_path / "log") as server, traffic(server.address(FIRST_DOWNLOAD)) as granted:
        go_on(granted)
        before = set(server.workers())
        server.process.send_signal(signal.SIGHUP)
        waiting_for(lambda: not before & set(server.workers()))
        go_on(granted)
    assert granted - recorded(demo_stack).keys() == set()


def test_sync_records_are_there_whoever_is_killed(demo_stack: Stack, tmp_path: Path) -> None:
    """Where each record is written before its bytes leave, nothing needs to be left to come back for."""
    environ = auditing(demo_stack, STACFLASK_AUDIT_WRITE="sync")
    with serving(environ, tmp_path / "log") as server, traffic(server.address(FIRST_DOWNLOAD)) as granted:
        kill(server, granted)
    assert granted - recorded(demo_stack).keys() == set()


def test_streams_that_a_reload_cuts_are_recorded(demo_stack: Stack, tmp_path: Path) -> None:
    """A client that takes longer than a worker that ends can wait is cut off, and how much it has got is recorded."""
    environ = auditing(demo_stack, GUNICORN_CMD_ARGS="--graceful-timeout=6")
    name = uuid.uuid4().hex
    with serving(environ, tmp_path / "log") as server, stalled(server, LARGE_DOWNLOAD, name):
        waiting_for(lambda: "granted" in events(demo_stack, name))
        before = set(server.workers())
        server.process.send_signal(signal.SIGHUP)
        waiting_for(lambda: not before & set(server.workers()))
        waiting_for(lambda: events(demo_stack, name).get("finished") is False)


@contextmanager
def stalled(server: Server, download: Download, request: str) -> Iterator[None]:
    """Ask for a stream, and take nothing of it until the block ends."""
    path = server.address(download).removeprefix(server.url)
    head = f"GET {path}?delivery=stream HTTP/1.1\r\nHost: x\r\nX-Request-ID: {request}\r\n\r\n"
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", int(server.environ["PORT"])))
        client.sendall(head.encode())
        yield


def events(stack: Stack, request: str) -> dict[str, bool | None]:
    """Give what is recorded of a request, and whether it was complete."""
    with psycopg.connect(stack.database_url) as connection:
        return dict(
            connection.execute("SELECT event, complete FROM plugin_audit WHERE request = %s", [request]).fetchall()
        )
