"""The text that `make run` prints when the servers are ready: URLs, demo keys, and commands to try."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dev.demo import names, policies

if TYPE_CHECKING:
    from dev.demo.names import Download


class Example(NamedTuple):
    """A command to try."""

    title: str
    command: str


def instructions(base: str, environment: str, reset: str) -> str:
    """Return the text for the API at ``base``, a URL without a slash at the end.

    ``environment`` is the file with the environment of commands, ``reset`` the command that deletes the data.
    """
    urls = {"API": f"{base}/", "Web page": f"{base}/api.html"}
    parts = [
        "\nstacflask is running.",
        *(f"  {name:<12}{url}" for name, url in urls.items()),
        "\nDemo keys (public: they are in the source):",
        *(f"  {name:<12}{key}" for name, key in names.KEYS.items()),
        f"A member can download {policies.QUOTA_DOWNLOADS} files an hour. Further downloads return 429.",
        "\nCommands to try in another terminal:",
        *(f"\n  # {number}. {example.title}\n  {example.command}" for number, example in enumerate(examples(base), 1)),
        f"\nTo run stacflask commands: . {environment}; .venv/bin/stacflask --help",
        f"\nCtrl-C stops all servers and keeps the data. `{reset}` deletes the data.",
    ]
    return "\n".join(parts)


def examples(base: str) -> list[Example]:
    """Return the commands: a search, two refused downloads, the acceptance of the licence, and two downloads."""
    scene = _address(base, names.MEMBERS_DOWNLOAD)
    key = f"Authorization: Bearer {names.KEYS['member']}"
    body = f'{{"version": "{names.LICENCE.version}"}}'
    acceptance = f"{base}/licences/{names.LICENCE.id}/acceptance"
    return [
        Example("Search. It needs no key.", f"curl -s '{base}/search?collections={names.MEMBERS}&limit=2'"),
        Example("Download without a key. It is refused (401).", f"curl -i '{scene}'"),
        Example("Download with a key. Its licence must be accepted first (403).", f"curl -i -H '{key}' '{scene}'"),
        Example(
            "Accept the licence, and download.",
            f"curl -H '{key}' -H 'Content-Type: application/json' -d '{body}' '{acceptance}'\n"
            f"  curl -LOJ -H '{key}' '{scene}'",
        ),
        Example(
            "Or open the file by its URL. GDAL reads only the parts that it needs.",
            f"GDAL_HTTP_HEADERS='{key}' .venv/bin/rio info '/vsicurl/{scene}'",
        ),
    ]


def _address(base: str, download: Download) -> str:
    return f"{base}/collections/{download.collection}/items/{download.item}/download/{download.asset}"
