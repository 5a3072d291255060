"""Who may see and take what of the demo catalogue, as commands that an operator would type."""

from pathlib import Path

from dev.demo.names import (
    CURATORS_GROUP,
    EDGES,
    HIDDEN,
    KEYS,
    LICENCE,
    MEMBERS,
    MEMBERS_GROUP,
    OPEN,
    OPERATORS_GROUP,
    RESPONSE_GROUP,
)

QUOTA_DOWNLOADS = 25
"""What a member may download in an hour."""

EVERYBODY = "*"
HOLDERS = {
    "member": ([MEMBERS_GROUP], ["read", "download"]),
    "responder": ([RESPONSE_GROUP], ["read", "download"]),
    "curator": ([CURATORS_GROUP, MEMBERS_GROUP], ["read", "write", "download"]),
    "operator": ([OPERATORS_GROUP], ["read", "write", "download"]),
}
ACCESS = [
    *((collection, action, [EVERYBODY]) for collection in (OPEN, EDGES) for action in ("see", "download")),
    (MEMBERS, "see", [EVERYBODY]),
    (MEMBERS, "preview", [EVERYBODY]),
    (MEMBERS, "download", [MEMBERS_GROUP]),
    (HIDDEN, "see", [RESPONSE_GROUP, CURATORS_GROUP]),
    (HIDDEN, "download", [RESPONSE_GROUP]),
    *((collection, "write", [CURATORS_GROUP]) for collection in (OPEN, EDGES, MEMBERS, HIDDEN)),
]


def commands(licence_text: Path) -> list[list[str]]:
    """Give the commands, each as the arguments of ``stacflask``; the licence's text is written to the path given."""
    licence_text.write_text(LICENCE.text, "utf-8")
    return [
        *(_key(holder) for holder in HOLDERS),
        *(["access", "grant", collection, action, *groups] for collection, action, groups in ACCESS),
        ["licence", "add", LICENCE.id, LICENCE.version, "--title", LICENCE.title, "--text-file", str(licence_text)],
        ["licence", "require", MEMBERS, LICENCE.id],
        ["quota", "set", MEMBERS_GROUP, "--downloads", str(QUOTA_DOWNLOADS), "--bytes", "2GB", "--window", "1h"],
    ]


def _key(holder: str) -> list[str]:
    groups, scopes = HOLDERS[holder]
    named = [*(f"--group={group}" for group in groups), *(f"--scope={scope}" for scope in scopes)]
    return ["keys", "create", holder, *named, "--key", KEYS[holder], "--note", "demo, published in the source"]
