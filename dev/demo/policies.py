"""The keys, rights, licence and quota of the demo catalogue, as commands of an operator."""

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
"""Number of downloads that a member has in an hour."""

EVERYONE = "*"
PRINCIPALS = {
    "member": ([MEMBERS_GROUP], ["read", "download"]),
    "responder": ([RESPONSE_GROUP], ["read", "download"]),
    "curator": ([CURATORS_GROUP, MEMBERS_GROUP], ["read", "write", "download"]),
    "operator": ([OPERATORS_GROUP], ["read", "write", "download"]),
}
ACCESS = [
    *((collection, action, [EVERYONE]) for collection in (OPEN, EDGES) for action in ("see", "download")),
    *((MEMBERS, action, [EVERYONE]) for action in ("see", "preview")),
    (MEMBERS, "download", [MEMBERS_GROUP]),
    (HIDDEN, "see", [RESPONSE_GROUP, CURATORS_GROUP]),
    (HIDDEN, "download", [RESPONSE_GROUP]),
    *((collection, "write", [CURATORS_GROUP]) for collection in (OPEN, EDGES, MEMBERS, HIDDEN)),
]


def commands(licence_text: Path) -> list[list[str]]:
    """Return the commands, each as arguments of ``stacflask``. Write the text of the licence to ``licence_text``."""
    licence_text.write_text(LICENCE.text, "utf-8")
    return [
        *(_key(principal) for principal in PRINCIPALS),
        *(["access", "grant", collection, action, *groups] for collection, action, groups in ACCESS),
        ["licence", "add", LICENCE.id, LICENCE.version, "--title", LICENCE.title, "--text-file", str(licence_text)],
        ["licence", "require", MEMBERS, LICENCE.id],
        ["quota", "set", MEMBERS_GROUP, "--downloads", str(QUOTA_DOWNLOADS), "--bytes", "2GB", "--window", "1h"],
    ]


def _key(principal: str) -> list[str]:
    groups, scopes = PRINCIPALS[principal]
    options = [*(f"--group={group}" for group in groups), *(f"--scope={scope}" for scope in scopes)]
    return ["keys", "create", principal, *options, "--key", KEYS[principal], "--note", "demo, public in the source"]
