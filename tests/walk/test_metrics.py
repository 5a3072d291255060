"""Metrics in a server of several processes."""

import fcntl
import os
import re
import signal
from pathlib import Path

import requests

from dev.demo import FIRST_DOWNLOAD
from dev.run import environ_for
from dev.stack import Stack
from tests.waiting import waiting_for
from tests.walk.conftest import Server, serving

GRANTED = r'^stacflask_download_decisions_total\{.*decision="granted".*\} (\S+)$'
CALLS = 20


def figure(server: Server, pattern: str) -> float:
    answer = requests.get(f"{server.url}/metrics", timeout=30)
    assert answer.status_code == 200, (answer.text, server.log.read_text())
    return sum(float(value) for value in re.findall(pattern, answer.text, re.MULTILINE))


def download(server: Server) -> None:
    # Without a kept connection, both processes get their share.
    for _ in range(CALLS):
        answer = requests.get(server.address(FIRST_DOWNLOAD), allow_redirects=False, timeout=30)
        assert answer.status_code == 307


def test_whoever_is_asked_answers_for_all(demo_stack: Stack, tmp_path: Path) -> None:
    """Every process gives the sum of all, those that have ended included; the folder goes with the server."""
    environ = {**environ_for(demo_stack, 8000), "STACFLASK_METRICS_NETWORKS": "127.0.0.0/8", "TMPDIR": str(tmp_path)}
    environ["STACFLASK_PLUGINS"] += ",plugins.metrics"
    with serving(environ, tmp_path / "log") as server:
        download(server)
        assert {figure(server, GRANTED) for _ in range(10)} == {CALLS}
        # As a process leaves its file that is killed just when it creates it.
        next(tmp_path.glob("stacflask-metrics-*")).joinpath("counter_0.db").touch()
        before = server.workers()
        os.kill(before[0], signal.SIGKILL)
        waiting_for(lambda: len(set(server.workers()) - {before[0]}) == len(before))
        download(server)
        assert {figure(server, GRANTED) for _ in range(10)} == {2 * CALLS}
        assert figure(server, r"^stacflask_streams_in_flight (\S+)$") == 0
        assert figure(server, r"^stacflask_store_seconds_count (\S+)$") > 0
        assert len(list(tmp_path.glob("stacflask-metrics-*"))) == 1
    assert list(tmp_path.glob("stacflask-metrics-*")) == []


def test_figures_are_kept_in_memory(demo_stack: Stack, tmp_path: Path) -> None:
    """Where disks are full, processes that count in files on them could not even start: they count elsewhere."""
    environ = {**environ_for(demo_stack, 8000), "STACFLASK_METRICS_NETWORKS": "127.0.0.0/8"}
    environ["STACFLASK_PLUGINS"] += ",plugins.metrics"
    environ.pop("TMPDIR", None)
    with serving(environ, tmp_path / "log") as server:
        assert figure(server, r"^stacflask_streams_in_flight (\S+)$") == 0
        waiting_for(lambda: bool(counted_in(server)))
        counted = counted_in(server)
        assert {str(folder.parent) for folder in counted} == {"/dev/shm"}
    assert not any(folder.exists() for folder in counted)


def counted_in(server: Server) -> set[Path]:
    """Give the folders of figures that any worker has in its memory."""
    maps = "".join(Path(f"/proc/{pid}/maps").read_text() for pid in server.workers())
    return {Path(folder) for folder in re.findall(r"(/\S+/stacflask-metrics-\w+)/", maps)}


def is_held(folder: Path) -> bool:
    """Whether a process lives that holds a folder's lock."""
    file = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def test_what_a_killed_server_left_goes(demo_stack: Stack, tmp_path: Path) -> None:
    """The next one removes it, or who is killed again and again would fill the memory; who lives keeps its own."""
    environ = {**environ_for(demo_stack, 8000), "STACFLASK_METRICS_NETWORKS": "127.0.0.0/8", "TMPDIR": str(tmp_path)}
    environ["STACFLASK_PLUGINS"] += ",plugins.metrics"
    with serving(environ, tmp_path / "log") as killed:
        (left,) = tmp_path.glob("stacflask-metrics-*")
        for pid in (killed.process.pid, *killed.workers()):
            os.kill(pid, signal.SIGKILL)
    waiting_for(lambda: not is_held(left))
    with serving(environ, tmp_path / "log"):
        (own,) = tmp_path.glob("stacflask-metrics-*")
        assert own != left
        with serving(environ, tmp_path / "log of another"):
            assert len(list(tmp_path.glob("stacflask-metrics-*"))) == 2
        assert list(tmp_path.glob("stacflask-metrics-*")) == [own]
