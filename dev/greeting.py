"""What `make run` says when all is up: addresses, demo keys, and commands to try."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dev.demo import names, policies

if TYPE_CHECKING:
    from dev.demo.names import Download


class Trial(NamedTuple):
    """One command to try, and what it shows."""

    shows: str
    command: str


def greeting(base: str, environment: str, reset: str) -> str:
    """Return the text for the API at ``base`` (no slash at its end).

    ``environment`` is the file for commands, ``reset`` the command that forgets it all.
    """
    addresses = {"The API": f"{base}/", "For people": f"{base}/api.html"}
    parts = [
        "\nstacflask runs.",
        *(f"  {name:<12}{address}" for name, address in addresses.items()),
        "\nDemo keys (published in the source; good for nothing else):",
        *(f"  {name:<12}{key}" for name, key in names.KEYS.items()),
        f"A member may download {policies.QUOTA_DOWNLOADS} files an hour; then the answer is 429.",
        "\nTo try, in another terminal:",
        *(f"\n  # {number}. {trial.shows}\n  {trial.command}" for number, trial in enumerate(trials(base), 1)),
        f"\nTo look after it: . {environment}; .venv/bin/stacflask --help",
        f"\nCtrl-C stops it all and keeps the data; `{reset}` forgets it.",
    ]
    return "\n".join(parts)


def trials(base: str) -> list[Trial]:
    """Return the commands: a search, a download refused twice, the licence accepted, and the bytes in two ways."""
    scene = _address(base, names.MEMBERS_DOWNLOAD)
    key = f"Authorization: Bearer {names.KEYS['member']}"
    accepted = f'{{"version": "{names.LICENCE.version}"}}'
    accept = f"{base}/licences/{names.LICENCE.id}/acceptance"
    return [
        Trial("Search: anyone may.", f"curl -s '{base}/search?collections={names.MEMBERS}&limit=2'"),
        Trial("Download: not without a key (401) ...", f"curl -i '{scene}'"),
        Trial("... and not before its licence is accepted (403 says where).", f"curl -i -H '{key}' '{scene}'"),
        Trial(
            "Accept it, and download.",
            f"curl -H '{key}' -H 'Content-Type: application/json' -d '{accepted}' '{accept}'\n"
            f"  curl -LOJ -H '{key}' '{scene}'",
        ),
        Trial(
            "Or open it where it lies: GDAL reads only the parts it needs.",
            f"GDAL_HTTP_HEADERS='{key}' .venv/bin/rio info '/vsicurl/{scene}'",
        ),
    ]


def _address(base: str, download: Download) -> str:
    return f"{base}/collections/{download.collection}/items/{download.item}/download/{download.asset}"
