"""Metrics in a server with several processes."""

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
CALLS, STREAMS = 20, 8


def metric(server: Server, pattern: str) -> float:
    response = requests.get(f"{server.url}/metrics", timeout=30)
    assert response.status_code == 200, (response.text, server.log.read_text())
    return sum(float(value) for value in re.findall(pattern, response.text, re.MULTILINE))


def download(server: Server) -> None:
    # Each request has a new connection, so that both processes handle some.
    for _ in range(CALLS):
        response = requests.get(server.address(FIRST_DOWNLOAD), allow_redirects=False, timeout=30)
        assert response.status_code == 307


def test_each_process_reports_the_sum_of_all(demo_stack: Stack, tmp_path: Path) -> None:
    """Each process reports the sum of all processes, including ended ones. The server removes its folder at the end."""
    environ = {**environ_for(demo_stack, 8000), "STACFLASK_METRICS_NETWORKS": "127.0.0.0/8", "TMPDIR": str(tmp_path)}
    environ["STACFLASK_PLUGINS"] += ",metrics"
    with serving(environ, tmp_path / "log") as server:
        download(server)
        assert {metric(server, GRANTED) for _ in range(10)} == {CALLS}
        # A process that is killed while it creates its file leaves an empty one.
        next(tmp_path.glob("stacflask-metrics-*")).joinpath("counter_0.db").touch()
        before = server.workers()
        os.kill(before[0], signal.SIGKILL)
        waiting_for(lambda: len(set(server.workers()) - {before[0]}) == len(before))
        download(server)
        assert {metric(server, GRANTED) for _ in range(10)} == {2 * CALLS}
        assert metric(server, r"^stacflask_streams_in_flight (\S+)$") == 0
        assert metric(server, r"^stacflask_store_seconds_count\{store=.* (\S+)$") > 0
        assert metric(server, r"^stacflask_queue_seconds_count (\S+)$") > 2 * CALLS
        # Every process samples its shares, whichever is read.
        waiting_for(lambda: metric(server, r"^stacflask_share_limit\{share=\"streams\"\} (\S+)$") == 2 * STREAMS)
        assert len(list(tmp_path.glob("stacflask-metrics-*"))) == 1
    assert list(tmp_path.glob("stacflask-metrics-*")) == []


def test_metrics_are_kept_in_memory(demo_stack: Stack, tmp_path: Path) -> None:
    """The files of metrics are in /dev/shm. On a full disk, processes with files on it could not start."""
    environ = {**environ_for(demo_stack, 8000), "STACFLASK_METRICS_NETWORKS": "127.0.0.0/8"}
    environ["STACFLASK_PLUGINS"] += ",metrics"
    environ.pop("TMPDIR", None)
    with serving(environ, tmp_path / "log") as server:
        assert metric(server, r"^stacflask_streams_in_flight (\S+)$") == 0
        waiting_for(lambda: bool(mapped_folders(server)))
        folders = mapped_folders(server)
        assert {str(folder.parent) for folder in folders} == {"/dev/shm"}
    assert not any(folder.exists() for folder in folders)


def mapped_folders(server: Server) -> set[Path]:
    """Return the metrics folders with files that a worker has mapped."""
    maps = "".join(Path(f"/proc/{pid}/maps").read_text() for pid in server.workers())
    return {Path(folder) for folder in re.findall(r"(/\S+/stacflask-metrics-\w+)/", maps)}


def is_locked(folder: Path) -> bool:
    """Return whether a process has locked a folder."""
    file = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def test_the_folder_of_a_killed_server_is_removed(demo_stack: Stack, tmp_path: Path) -> None:
    """A new server removes the folders of killed servers, and keeps those of running ones."""
    environ = {**environ_for(demo_stack, 8000), "STACFLASK_METRICS_NETWORKS": "127.0.0.0/8", "TMPDIR": str(tmp_path)}
    environ["STACFLASK_PLUGINS"] += ",metrics"
    with serving(environ, tmp_path / "log") as killed:
        (abandoned,) = tmp_path.glob("stacflask-metrics-*")
        for pid in (killed.process.pid, *killed.workers()):
            os.kill(pid, signal.SIGKILL)
    waiting_for(lambda: not is_locked(abandoned))
    with serving(environ, tmp_path / "log"):
        (own,) = tmp_path.glob("stacflask-metrics-*")
        assert own != abandoned
        with serving(environ, tmp_path / "log of another"):
            assert len(list(tmp_path.glob("stacflask-metrics-*"))) == 2
        assert list(tmp_path.glob("stacflask-metrics-*")) == [own]
