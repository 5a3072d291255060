"""The audit in a server with killed workers: each completed request is recorded once."""

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
    """Send requests from several threads until the block ends. Yield the ids of requests that got a redirect."""
    granted: set[str] = set()
    stopped = threading.Event()

    def send() -> None:
        while not stopped.is_set():
            name = uuid.uuid4().hex
            try:
                response = requests.get(url, headers={"X-Request-ID": name}, allow_redirects=False, timeout=30)
            except requests.RequestException:
                continue
            if response.status_code == 307:
                granted.add(name)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield granted
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def recorded(stack: Stack) -> Counter[str]:
    with psycopg.connect(stack.database_url) as connection:
        return Counter(request for (request,) in connection.execute("SELECT request FROM plugin_audit_events"))


def environ_with_audit(stack: Stack, **more: str) -> dict[str, str]:
    environ = environ_for(stack, 8000)
    return {**environ, "STACFLASK_PLUGINS": f"{environ['STACFLASK_PLUGINS']},audit", **more}


def wait_for_downloads(granted: set[str], more: int = 50) -> None:
    """Wait until ``more`` further downloads are granted."""
    before = len(granted)
    waiting_for(lambda: len(granted) >= before + more)


def kill_worker(server: Server, granted: set[str]) -> None:
    """Kill a worker during traffic."""
    wait_for_downloads(granted)
    os.kill(server.workers()[0], signal.SIGKILL)
    wait_for_downloads(granted)


def test_killed_workers_with_a_spool_lose_no_record(demo_stack: Stack, tmp_path: Path) -> None:
    """Each granted download is recorded once, although workers are killed during traffic.

    The next start records the events that the last worker left in the spool.
    """
    spool = tmp_path / "spool"
    spool.mkdir()
    environ = environ_with_audit(demo_stack, STACFLASK_AUDIT_SPOOL=str(spool))
    with serving(environ, tmp_path / "log") as server, traffic(server.address(FIRST_DOWNLOAD)) as granted:
        for _ in range(4):
            kill_worker(server, granted)
    with serving(environ, tmp_path / "log"):
        pass
    counted = recorded(demo_stack)
    assert granted - counted.keys() == set()
    assert {counted[name] for name in granted} == {1}
    assert list(spool.iterdir()) == []


def test_stopped_workers_lose_no_record(demo_stack: Stack, tmp_path: Path) -> None:
    """A server that stops or reloads writes the events that it holds in memory."""
    environ = environ_with_audit(demo_stack, STACFLASK_AUDIT_INTERVAL="30")
    with serving(environ, tmp_path / "log") as server, traffic(server.address(FIRST_DOWNLOAD)) as granted:
        wait_for_downloads(granted)
        before = set(server.workers())
        server.process.send_signal(signal.SIGHUP)
        waiting_for(lambda: not before & set(server.workers()))
        wait_for_downloads(granted)
    assert granted - recorded(demo_stack).keys() == set()


def test_killed_workers_lose_no_synchronous_record(demo_stack: Stack, tmp_path: Path) -> None:
    """With ``sync``, each event is written before the response is sent, so a killed worker loses none."""
    environ = environ_with_audit(demo_stack, STACFLASK_AUDIT_WRITE="sync")
    with serving(environ, tmp_path / "log") as server, traffic(server.address(FIRST_DOWNLOAD)) as granted:
        kill_worker(server, granted)
    assert granted - recorded(demo_stack).keys() == set()


def test_streams_that_a_reload_aborts_are_recorded(demo_stack: Stack, tmp_path: Path) -> None:
    """A stream that is not complete when its worker must exit is aborted and recorded as incomplete."""
    environ = environ_with_audit(demo_stack, GUNICORN_CMD_ARGS="--graceful-timeout=6")
    name = uuid.uuid4().hex
    with serving(environ, tmp_path / "log") as server, stalled(server, LARGE_DOWNLOAD, name):
        waiting_for(lambda: "granted" in events(demo_stack, name))
        before = set(server.workers())
        server.process.send_signal(signal.SIGHUP)
        waiting_for(lambda: not before & set(server.workers()))
        waiting_for(lambda: events(demo_stack, name).get("finished") is False)


@contextmanager
def stalled(server: Server, download: Download, request: str) -> Iterator[None]:
    """Request a stream and read none of it until the block ends."""
    path = server.address(download).removeprefix(server.url)
    head = f"GET {path}?delivery=stream HTTP/1.1\r\nHost: x\r\nX-Request-ID: {request}\r\n\r\n"
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", int(server.environ["PORT"])))
        client.sendall(head.encode())
        yield


def events(stack: Stack, request: str) -> dict[str, bool | None]:
    """Return the recorded events of a request, each with its ``complete``."""
    with psycopg.connect(stack.database_url) as connection:
        sql = "SELECT event, complete FROM plugin_audit_events WHERE request = %s"
        return dict(connection.execute(sql, [request]).fetchall())
