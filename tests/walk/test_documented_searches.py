"""The commands of docs/search.md are what they say: each is run as it stands."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.walk.conftest import Server

PAGE = Path(__file__).parent.parent.parent / "docs/search.md"
COMMANDS = re.findall(r"^curl .*$", PAGE.read_text(), re.MULTILINE)


def test_there_are_commands() -> None:
    """The page has an example for each parameter."""
    page = " ".join(COMMANDS)
    for word in ("bbox", "datetime", "intersects", "ids", "filter", "query", "q", "sortby", "fields", "limit"):
        assert re.search(rf"[?&' \"{{]{word}[=\"]", page), word


@pytest.mark.parametrize("command", COMMANDS)
def test_command_finds_something(server: Server, command: str) -> None:
    """A command of the page is answered, and finds something."""
    done = subprocess.run(
        ["bash", "-c", command], env={"API": server.url, "PATH": "/usr/bin:/bin"}, capture_output=True, check=True
    )
    answer = json.loads(done.stdout)
    assert answer.get("features") or answer.get("collections") or answer.get("functions"), command
