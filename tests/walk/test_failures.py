"""What breaks, breaks clearly: every answer is right or a 503, and all is well afterwards without a restart."""

import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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
    """Clients that go on asking, and what they were answered. ``kept``: each over a connection that it keeps."""

    def __init__(self, *urls: str, clients: int = 4, kept: bool = False) -> None:
        self._answers: list[int | str] = []
        self._kept = kept
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(urls[n % len(urls)],)) for n in range(clients)]

    def _ask(self, url: str) -> None:
        get = requests.Session().get if self._kept else requests.get
        while not self._over.is_set():
            try:
                # Patient: after a reload, workers that take long to start answer late, which is no loss.
                answer: int | str = get(url, allow_redirects=False, timeout=120).status_code
            except requests.RequestException as error:
                answer = type(error).__name__
            self._answers.append(answer)

    @property
    def answers(self) -> Counter[int | str]:
        """How often each answer was given."""
        return Counter(self._answers)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    @contextmanager
    def around(self, answers: int = 100) -> Iterator[Self]:
        """Let so many answers come before the block, and so many after it."""
        self._go_on(answers)
        yield self
        self._go_on(answers)

    def _go_on(self, answers: int) -> None:
        enough = len(self._answers) + answers
        waiting_for(lambda: len(self._answers) >= enough)

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def test_database_stopped_and_started(server: Server, stack: Stack) -> None:
    """While the database is away every answer is a 503 with Retry-After, in bounded time; then all is as before."""
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
    assert traffic.answers.keys() <= {200, 307, 503}
    waiting_for(lambda: statuses(urls * 4) == [200, 200, 307] * 4)


def statuses(urls: list[str]) -> list[int]:
    return [requests.get(url, allow_redirects=False, timeout=30).status_code for url in urls]


def test_store_stopped_and_started(server: Server, stack: Stack) -> None:
    """While the store is away a download is a 503 within seconds, and search does not notice; then all is well."""
    fresh = server.address(LARGE_DOWNLOAD)
    with Traffic(f"{server.url}/search", clients=2) as searches, searches.around():
        stack.stop_store()
        try:
            for url in (f"{fresh}?delivery=stream", fresh):
                answer = requests.get(url, allow_redirects=False, timeout=30)
                assert (answer.status_code, int(answer.headers["Retry-After"]) > 0) == (503, True)
        finally:
            stack.start_store()
    assert searches.answers.keys() == {200}
    # The store listens before it has found its own volumes again, and answers 500 until then.
    waiting_for(lambda: requests.get(fresh, timeout=30).ok)
    assert requests.get(f"{fresh}?delivery=stream", timeout=30).ok


def test_worker_killed(server: Server) -> None:
    """A worker that dies takes its own connections with it and nothing else; another takes its place."""
    before = server.workers()
    with Traffic(f"{server.url}/search", clients=4) as traffic, traffic.around():
        os.kill(before[0], signal.SIGKILL)
        waiting_for(lambda: len(set(server.workers()) - {before[0]}) == len(before))
    assert set(traffic.answers) - {"ConnectionError", "ChunkedEncodingError"} == {200}
    assert sum(count for answer, count in traffic.answers.items() if answer != 200) <= 4


@pytest.mark.parametrize("kept", [False, True])
def test_restart_loses_no_request(server: Server, *, kept: bool) -> None:
    """A reload (SIGHUP) replaces every worker while requests run, and each is answered, on a connection kept or new."""
    before = set(server.workers())
    urls = f"{server.url}/search", server.address(FIRST_DOWNLOAD)
    with Traffic(*urls, clients=4, kept=kept) as traffic, traffic.around():
        server.process.send_signal(signal.SIGHUP)
        waiting_for(lambda: not before & set(server.workers()))
    assert traffic.answers.keys() == {200, 307}


def test_streams_are_bounded_and_the_rest_answers(demo_stack: Stack, tmp_path: Path) -> None:
    """Clients that read slowly hold their streams; one more is a 503 with Retry-After, and search goes on."""
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


def test_no_worker_takes_all_clients(demo_stack: Stack, tmp_path: Path) -> None:
    """New clients go to the worker that has less to do: eight streams find room in two workers of five each."""
    environ = {**environ_for(demo_stack, 8000), "STACFLASK_METRICS_NETWORKS": "127.0.0.0/8", "WEB_CONCURRENCY": "2"}
    environ |= {"STACFLASK_PLUGINS": f"{environ['STACFLASK_PLUGINS']},plugins.metrics", "STACFLASK_MAX_STREAMS": "5"}
    with serving(environ, tmp_path / "log") as server:
        waiting_for(lambda: server.log.read_text().count("Worker ready") == 2)
        url = f"{server.address(LARGE_DOWNLOAD)}?delivery=stream"
        for _ in range(3):
            with ThreadPoolExecutor(8) as clients:
                held = list(clients.map(lambda _: requests.get(url, stream=True, timeout=30), range(8)))
            assert [stream.status_code for stream in held] == [200] * 8
            for stream in held:
                stream.close()
            waiting_for(lambda: free_again(server))


def free_again(server: Server) -> bool:
    """Whether no stream is under way any more."""
    return "stacflask_streams_in_flight 0.0" in requests.get(f"{server.url}/metrics", timeout=30).text


def test_busy_connections_keep_nobody_waiting(demo_stack: Stack, tmp_path: Path) -> None:
    """Clients that ask again as soon as they are answered hold no thread for good: who comes beside them is served."""
    environ = {**environ_for(demo_stack, 8000), "WEB_CONCURRENCY": "1", "STACFLASK_THREADS": "2"}
    with serving(environ, tmp_path / "log") as server:
        url = f"{server.url}/search"
        with Traffic(url, clients=6, kept=True) as traffic, traffic.around():
            assert [requests.get(url, timeout=30).status_code for _ in range(5)] == [200] * 5
    assert traffic.answers.keys() == {200}


def test_requests_that_come_together_are_answered_in_turn(server: Server) -> None:
    """Requests that a client sends without waiting for an answer are each answered, on the same connection."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    asked = (
        b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 3 + b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(asked)
        answers = b"".join(iter(lambda: client.recv(65536), b""))
    assert answers.count(b"HTTP/1.1 200 OK") == 4


def test_slow_clients_are_hung_up_on(server: Server) -> None:
    """Clients that begin requests and never end them hold every thread for some seconds only; then all are served."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    begun = [socket.create_connection((host, int(port))) for _ in range(80)]
    for number, client in enumerate(begun):
        client.sendall(b"GET /search HTTP/1.1\r\nX-Slow: " if number % 2 else SLOW_BODY)
    waiting_for(lambda: all(hung_up(client) for client in begun[1::2]))
    assert requests.get(f"{server.url}/search", timeout=60).status_code == 200
    for client in begun:
        client.close()


def hung_up(client: socket.socket) -> bool:
    """Whether the server has closed this connection."""
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
    ("change", "complaint"),
    [
        ({"DATABASE_URL": ""}, "DATABASE_URL: missing"),
        ({"STACFLASK_PLUGINS": "plugins.nonsense"}, "STACFLASK_PLUGINS: there is no module 'plugins.nonsense'"),
        ({"STACFLASK_S3_STORES": "{"}, "STACFLASK_S3_STORES"),
        ({"STACFLASK_MAX_LIMIT": "many"}, "STACFLASK_MAX_LIMIT"),
        ({"STACFLASK_MAX_STREAMS": "many"}, "STACFLASK_MAX_STREAMS"),
        ({"STACFLASK_THREADS": "0"}, "STACFLASK_THREADS"),
    ],
)
def test_wrong_setting_is_one_clear_line(
    demo_stack: Stack, tmp_path: Path, change: dict[str, str], complaint: str
) -> None:
    """A server that is set up wrongly does not start, and one line says which setting it is."""
    environ = {**environ_for(demo_stack, 8000), **change}
    with pytest.raises(AssertionError), serving(environ, tmp_path / "log"):
        pass
    lines = [line for line in (tmp_path / "log").read_text().splitlines() if complaint in line]
    assert len(lines) == 1
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_demo_keys_are_marked_as_such() -> None:
    """Keys that stand in the source say so in themselves."""
    assert all("DemoOnly" in key for key in demo.KEYS.values())
