"""How grants and limits speak of people: by the names of groups, and by three words for everybody and nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stacflask import Principal

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
