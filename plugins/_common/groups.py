"""How grants and limits speak of people: by the names of groups, and by three words for everybody and nobody."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stacflask import Principal, Storage

EVERYBODY, KNOWN, NOBODY = "*", "@", "-"
"""Everybody; everybody who sent credentials; nobody at all."""
SPECIAL = frozenset({EVERYBODY, KNOWN, NOBODY})


def names(principal: Principal) -> frozenset[str]:
    """Give the names under which grants and limits may speak of a principal."""
    # A group may be called * where groups come from elsewhere; it means nothing here.
    groups = principal.groups - SPECIAL | {EVERYBODY}
    return groups if principal.anonymous else groups | {KNOWN}


def is_plain(name: str) -> bool:
    """Whether a name can be read, and told from others, where it is printed."""
    return bool(name.strip()) and name.isprintable()


KNOWN_GROUPS = """
SELECT DISTINCT name FROM (
    SELECT unnest(groups) AS name FROM plugin_api_keys WHERE revoked IS NULL AND id <> :key
    UNION ALL SELECT group_name FROM plugin_collection_groups
    UNION ALL SELECT group_name FROM plugin_quota_limits WHERE group_name <> ALL(:groups) OR :key <> ''
) AS named
"""


def warn_unknown(storage: Storage, groups: Iterable[str], *, than_key: str = "") -> None:
    """Warn of groups that no grant, limit or other key names: they are probably misspelt."""
    asked = sorted(set(groups) - SPECIAL)
    if not asked:
        return
    known = {row["name"] for row in storage.rows(KNOWN_GROUPS, key=than_key, groups=asked)} - SPECIAL
    for group in asked:
        if group not in known:
            near = "".join(f"; is {name} meant?" for name in get_close_matches(group, sorted(known), 1))
            click.echo(f"warning: no grant, limit or other key names the group {group}{near}", err=True)
