"""A quota is exact under concurrent requests to several processes."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from dev.demo import FIRST_DOWNLOAD
from dev.run import environ_for
from dev.stack import Stack
from tests.walk.conftest import serving, stacflask


def test_a_quota_is_exact_under_concurrency(demo_stack: Stack, tmp_path: Path) -> None:
    """200 concurrent downloads by one principal with a quota of 50, over 4 processes: exactly 50 are granted."""
    environ = {**environ_for(demo_stack, 8000), "WEB_CONCURRENCY": "4"}
    key = "sfk_000000ff_ARacerWhoAsksForTooMuchAtOnce000001"
    for command in (
        ["quota", "set", "racers", "--downloads", "50", "--window", "1h"],
        ["keys", "create", "racer", "--group", "racers", "--key", key],
    ):
        done = stacflask(*command, environ=environ)
        assert done.returncode == 0, done.stderr
    with serving(environ, tmp_path / "log") as server, ThreadPoolExecutor(32) as clients:
        url, headers = server.address(FIRST_DOWNLOAD), {"Authorization": f"Bearer {key}"}
        statuses = clients.map(
            lambda _: requests.get(url, headers=headers, allow_redirects=False, timeout=60).status_code, range(200)
        )
        assert Counter(statuses) == {307: 50, 429: 150}
