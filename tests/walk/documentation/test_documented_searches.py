"""The commands in docs/search.md work. Each is run without changes."""

import json
import re
import subprocess

import pytest

from tests.documented import DOCS
from tests.walk.conftest import Server

COMMANDS = re.findall(r"^curl .*$", (DOCS / "search.md").read_text(), re.MULTILINE)


def test_the_page_has_an_example_for_each_parameter() -> None:
    """The page has an example for each search parameter."""
    page = " ".join(COMMANDS)
    for word in ("bbox", "datetime", "intersects", "ids", "filter", "query", "q", "sortby", "fields", "limit"):
        assert re.search(rf"[?&' \"{{]{word}[=\"]", page), word


@pytest.mark.parametrize("command", COMMANDS)
def test_a_documented_command_has_results(server: Server, command: str) -> None:
    """A command of the page succeeds and its response is not empty."""
    done = subprocess.run(
        ["bash", "-c", command], env={"API": server.url, "PATH": "/usr/bin:/bin"}, capture_output=True, check=True
    )
    response = json.loads(done.stdout)
    assert response.get("features") or response.get("collections") or response.get("functions"), command
