"""Reloads (SIGHUP): changed files are read again, and a wrong setting does not stop the server."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from dev.run import environ_for
from dev.stack import Stack
from stacflask.server.worker import streams_end_after
from tests.conftest import ROOT
from tests.waiting import waiting_for
from tests.walk.conftest import serving


def test_a_reload_with_a_wrong_setting_keeps_the_workers(demo_stack: Stack, tmp_path: Path) -> None:
    """An error in a file of settings is logged. The current workers serve until it is corrected."""
    environ, stores = environ_for(demo_stack, 8000), tmp_path / "stores.json"
    correct = environ["STACFLASK_S3_STORES"]
    stores.write_text(correct)
    environ["WEB_CONCURRENCY"] = "1"  # The server is ready when its first worker has read the file.
    with serving({**environ, "STACFLASK_S3_STORES": str(stores)}, tmp_path / "log") as server:
        before = set(server.workers())
        stores.write_text("{}")
        server.process.send_signal(signal.SIGHUP)
        waiting_for(lambda: "Not reloaded" in server.log.read_text())
        assert "STACFLASK_S3_STORES" in server.log.read_text()
        waiting_for(lambda: set(server.workers()) == before)
        assert requests.get(f"{server.url}/search", timeout=120).ok
        stores.write_text(correct)
        server.process.send_signal(signal.SIGHUP)
        waiting_for(lambda: not before & set(server.workers()))
        assert requests.get(f"{server.url}/search", timeout=120).ok


def test_the_first_process_does_not_load_the_application(demo_stack: Stack, tmp_path: Path) -> None:
    """Workers of a reload would inherit modules of the first process, which can be older than their files."""
    with serving(environ_for(demo_stack, 8000), tmp_path / "log") as server:
        first, worker = (Path(f"/proc/{pid}/maps").read_text() for pid in (server.process.pid, server.workers()[0]))
        libraries = [library for library in ("/orjson/", "/msgspec/") if library in worker]
        assert libraries
        assert [library for library in libraries if library in first] == []


STORES = (
    '{"a": {"endpoint": "http://h", "region": "eu-a-1", "buckets": ["assets/"], "access_key": "c", "secret_key": "d"}}'
)


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ({"DATABASE_URL": "postgresql://h/db?sslmode=bogus"}, 'DATABASE_URL: invalid sslmode value: "bogus"'),
        ({"STACFLASK_REPLICA_URL": "postgresql://h:0/db"}, "STACFLASK_REPLICA_URL: port: expected a number"),
        # Only the plugin finds this error, at its start in the worker.
        (
            {
                "STACFLASK_PLUGINS": "s3,collection_groups",
                "STACFLASK_S3_STORES": STORES,
            },
            "STACFLASK_S3_STORES: /a/collections: missing",
        ),
    ],
)
def test_a_wrong_setting_stops_the_start_with_one_line(setting: dict[str, str], problem: str) -> None:
    """The line names the setting, and there is no traceback."""
    command = [sys.executable, "-m", "gunicorn", "--bind=127.0.0.1:0", "--workers=1", "wsgi:application"]
    environ = {**os.environ, "DATABASE_URL": "postgresql://h/db", **setting}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert f"error: {problem}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("graceful", "seconds"), [(120, 115), (30, 25), (10, 5), (5, 2.5), (1, 0.5)])
def test_streams_have_at_least_half_of_the_graceful_timeout(graceful: int, seconds: float) -> None:
    """Streams are aborted 5 seconds before the worker is killed, so that their sizes can be recorded."""
    assert streams_end_after(graceful) == seconds
