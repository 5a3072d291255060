"""Group names in grants and limits, with three special names: everybody, everybody with credentials, nobody."""

from collections.abc import Iterable
from difflib import get_close_matches

import click

from stacflask import Principal, Storage

EVERYBODY, AUTHENTICATED, NOBODY = "*", "@", "-"
"""Everybody; everybody with credentials; nobody."""
SPECIAL = frozenset({EVERYBODY, AUTHENTICATED, NOBODY})


def names_of(principal: Principal) -> frozenset[str]:
    """Return the group names in grants and limits that include a principal."""
    # An identity provider can have a group called *. It must not get the special meaning.
    groups = principal.groups - SPECIAL | {EVERYBODY}
    return groups if principal.anonymous else groups | {AUTHENTICATED}


def is_plain(name: str) -> bool:
    """Return whether a name is printable and not blank."""
    return bool(name.strip()) and name.isprintable()


NAMED_GROUPS = """
SELECT DISTINCT name FROM (
    SELECT unnest(groups) AS name FROM plugin_api_keys WHERE revoked IS NULL AND id <> :key
    UNION ALL SELECT group_name FROM plugin_collection_groups_grants
    UNION ALL SELECT group_name FROM plugin_quota_limits WHERE group_name <> ALL(:groups) OR :key <> ''
) AS named
"""


def warn_unknown(storage: Storage, groups: Iterable[str], *, except_key: str = "") -> None:
    """Print a warning for each group that no grant, limit or other key names: it is probably misspelt."""
    checked = sorted(set(groups) - SPECIAL)
    if not checked:
        return
    named = {row["name"] for row in storage.rows(NAMED_GROUPS, key=except_key, groups=checked)} - SPECIAL
    for group in checked:
        if group not in named:
            similar = "".join(f". Did you mean {name}?" for name in get_close_matches(group, sorted(named), 1))
            click.echo(f"warning: no grant, limit or other key names the group {group}{similar}", err=True)
