"""Failures of services and processes: every response is right or a 503, and the server recovers by itself."""

import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest
import requests

from dev import demo
from dev.demo import FIRST_DOWNLOAD, LARGE_DOWNLOAD, OPEN
from dev.run import environ_for
from dev.stack import Stack
from tests.waiting import waiting_for
from tests.walk.conftest import Server, serving

SLOW_BODY = b"POST /search HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"


class Traffic:
    """Clients that send requests continuously, and their results. ``kept``: each keeps its connection."""

    def __init__(self, *urls: str, clients: int = 4, kept: bool = False) -> None:
        self._results: list[int | str] = []
        self._kept = kept
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(urls[n % len(urls)],)) for n in range(clients)]

    def _send(self, url: str) -> None:
        get = requests.Session().get if self._kept else requests.get
        while not self._stopped.is_set():
            try:
                # After a reload, workers can start slowly. A late response is not a lost one.
                result: int | str = get(url, allow_redirects=False, timeout=120).status_code
            except requests.RequestException as error:
                result = type(error).__name__
            self._results.append(result)

    @property
    def results(self) -> Counter[int | str]:
        """The number of responses by status, and of errors by class."""
        return Counter(self._results)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    @contextmanager
    def around(self, results: int = 100) -> Iterator[Self]:
        """Wait for this many results before the block, and for as many after it."""
        self._wait_for_results(results)
        yield self
        self._wait_for_results(results)

    def _wait_for_results(self, more: int) -> None:
        enough = len(self._results) + more
        waiting_for(lambda: len(self._results) >= enough)

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()


def test_the_server_recovers_from_a_stopped_database(server: Server, stack: Stack) -> None:
    """While the database is stopped, every response is a 503 with Retry-After in bounded time. Then all work again."""
    urls = [f"{server.url}/search", f"{server.url}/collections/{OPEN}", server.address(FIRST_DOWNLOAD)]
    with Traffic(*urls, clients=6) as traffic, traffic.around():
        stack.stop_database()
        try:
            down = requests.get(urls[0], timeout=30)
            ready = requests.get(f"{server.url}/health/ready", timeout=30)
            live = requests.get(f"{server.url}/health", timeout=30)
        finally:
            stack.start_database()
    assert (down.status_code, down.json()["code"]) == (503, "DatabaseUnavailable")
    assert int(down.headers["Retry-After"]) > 0
    assert (ready.status_code, live.status_code) == (503, 200)
    assert traffic.results.keys() <= {200, 307, 503}
    waiting_for(lambda: statuses(urls * 4) == [200, 200, 307] * 4)


def statuses(urls: list[str]) -> list[int]:
    return [requests.get(url, allow_redirects=False, timeout=30).status_code for url in urls]


def test_the_server_recovers_from_a_stopped_store(server: Server, stack: Stack) -> None:
    """While the store is stopped, a download is a 503 within seconds and searches work. Then downloads work again."""
    fresh = server.address(LARGE_DOWNLOAD)
    with Traffic(f"{server.url}/search", clients=2) as searches, searches.around():
        stack.stop_store()
        try:
            for url in (f"{fresh}?delivery=stream", fresh):
                response = requests.get(url, allow_redirects=False, timeout=30)
                assert (response.status_code, int(response.headers["Retry-After"]) > 0) == (503, True)
        finally:
            stack.start_store()
    assert searches.results.keys() == {200}
    # The store listens before it has loaded its volumes. Until then its responses are 500.
    waiting_for(lambda: requests.get(fresh, timeout=30).ok)
    assert requests.get(f"{fresh}?delivery=stream", timeout=30).ok


def test_a_killed_worker_is_replaced(server: Server) -> None:
    """A killed worker loses only its own connections, and another is started."""
    before = server.workers()
    with Traffic(f"{server.url}/search", clients=4) as traffic, traffic.around():
        os.kill(before[0], signal.SIGKILL)
        waiting_for(lambda: len(set(server.workers()) - {before[0]}) == len(before))
    assert set(traffic.results) - {"ConnectionError", "ChunkedEncodingError"} == {200}
    assert sum(count for result, count in traffic.results.items() if result != 200) <= 4


@pytest.mark.parametrize("kept", [False, True])
def test_a_reload_loses_no_request(server: Server, *, kept: bool) -> None:
    """A reload (SIGHUP) replaces every worker while requests run. All succeed, on kept and new connections."""
    before = set(server.workers())
    urls = f"{server.url}/search", server.address(FIRST_DOWNLOAD)
    with Traffic(*urls, clients=4, kept=kept) as traffic, traffic.around():
        server.process.send_signal(signal.SIGHUP)
        waiting_for(lambda: not before & set(server.workers()))
    assert traffic.results.keys() == {200, 307}


def test_the_number_of_streams_is_bounded(demo_stack: Stack, tmp_path: Path) -> None:
    """With STACFLASK_MAX_STREAMS slow readers, another stream is a 503 with Retry-After, and searches work."""
    environ = {**environ_for(demo_stack, 8000), "WEB_CONCURRENCY": "1", "STACFLASK_MAX_STREAMS": "2"}
    with serving(environ, tmp_path / "log") as server:
        url = f"{server.address(LARGE_DOWNLOAD)}?delivery=stream"
        held = [requests.get(url, stream=True, timeout=30) for _ in range(2)]
        assert [stream.status_code for stream in held] == [200, 200]
        refused = requests.get(url, timeout=30)
        assert (refused.status_code, refused.json()["code"]) == (503, "TooManyStreams")
        assert int(refused.headers["Retry-After"]) > 0
        assert requests.get(f"{server.url}/search", timeout=30).ok
        for stream in held:
            stream.close()
        waiting_for(lambda: requests.get(url, timeout=30).status_code == 200)


def test_new_connections_go_to_the_less_busy_worker(demo_stack: Stack, tmp_path: Path) -> None:
    """Two workers with at most five streams each accept eight streams."""
    environ = {**environ_for(demo_stack, 8000), "STACFLASK_METRICS_NETWORKS": "127.0.0.0/8", "WEB_CONCURRENCY": "2"}
    environ |= {"STACFLASK_PLUGINS": f"{environ['STACFLASK_PLUGINS']},metrics", "STACFLASK_MAX_STREAMS": "5"}
    with serving(environ, tmp_path / "log") as server:
        waiting_for(lambda: server.log.read_text().count("Worker ready") == 2)
        url = f"{server.address(LARGE_DOWNLOAD)}?delivery=stream"
        for _ in range(3):
            # One after the other: how many of a burst one worker accepts depends on the machine.
            held = [requests.get(url, stream=True, timeout=30) for _ in range(8)]
            assert [stream.status_code for stream in held] == [200] * 8
            for stream in held:
                stream.close()
            waiting_for(lambda: has_no_streams(server))


def has_no_streams(server: Server) -> bool:
    """Return whether no stream is in flight."""
    return "stacflask_streams_in_flight 0.0" in requests.get(f"{server.url}/metrics", timeout=30).text


def test_busy_connections_do_not_block_others(demo_stack: Stack, tmp_path: Path) -> None:
    """Clients that send requests without a pause do not occupy the threads. Other clients are served."""
    environ = {**environ_for(demo_stack, 8000), "WEB_CONCURRENCY": "1", "STACFLASK_THREADS": "2"}
    with serving(environ, tmp_path / "log") as server:
        url = f"{server.url}/search"
        with Traffic(url, clients=6, kept=True) as traffic, traffic.around():
            assert [requests.get(url, timeout=30).status_code for _ in range(5)] == [200] * 5
    assert traffic.results.keys() == {200}


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    """Requests that a client sends without waiting each get a response on the same connection."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    pipelined = (
        b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 3 + b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(pipelined)
        responses = b"".join(iter(lambda: client.recv(65536), b""))
    assert responses.count(b"HTTP/1.1 200 OK") == 4


def test_connections_of_slow_clients_are_closed(server: Server) -> None:
    """The server closes connections with incomplete requests after some seconds, and serves other clients."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    slow = [socket.create_connection((host, int(port))) for _ in range(80)]
    for number, client in enumerate(slow):
        client.sendall(b"GET /search HTTP/1.1\r\nX-Slow: " if number % 2 else SLOW_BODY)
    waiting_for(lambda: all(is_closed(client) for client in slow[1::2]))
    assert requests.get(f"{server.url}/search", timeout=60).status_code == 200
    for client in slow:
        client.close()


def is_closed(client: socket.socket) -> bool:
    """Return whether the server has closed a connection."""
    client.settimeout(0.01)
    try:
        while client.recv(65536):
            continue
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"DATABASE_URL": ""}, "DATABASE_URL: missing"),
        ({"STACFLASK_PLUGINS": "plugins.nonsense"}, "STACFLASK_PLUGINS: there is no module 'plugins.nonsense'"),
        ({"STACFLASK_S3_STORES": "{"}, "STACFLASK_S3_STORES"),
        ({"STACFLASK_MAX_LIMIT": "many"}, "STACFLASK_MAX_LIMIT"),
        ({"STACFLASK_MAX_STREAMS": "many"}, "STACFLASK_MAX_STREAMS"),
        ({"STACFLASK_THREADS": "0"}, "STACFLASK_THREADS"),
    ],
)
def test_a_wrong_setting_is_reported_in_one_line(
    demo_stack: Stack, tmp_path: Path, change: dict[str, str], message: str
) -> None:
    """A server with a wrong setting does not start, and one line names the setting."""
    environ = {**environ_for(demo_stack, 8000), **change}
    with pytest.raises(AssertionError), serving(environ, tmp_path / "log"):
        pass
    lines = [line for line in (tmp_path / "log").read_text().splitlines() if message in line]
    assert len(lines) == 1
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_demo_keys_are_marked_as_such() -> None:
    """Keys in the source contain the text DemoOnly."""
    assert all("DemoOnly" in key for key in demo.KEYS.values())
