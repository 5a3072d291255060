"""``fields``: which members of its records an answer has.

A record's text is taken apart only where it is cut; what is kept of it stays as it is, to the digit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from stacflask.api.parameters.parse import expected

Paths = frozenset[str]

ALWAYS = frozenset({"type", "id", "collection", "links"})
"""What every record has, whatever is asked for: without these nobody could tell it or get the rest of it."""
TIMES = frozenset(f"properties.{name}" for name in ("datetime", "start_datetime", "end_datetime"))
ITEM = TIMES | {"stac_version", "geometry", "bbox", "assets"}
"""What is sent of an item unless something else is asked for: enough to be one."""
COLLECTION = frozenset({"stac_version", "title", "description", "license", "extent"})

_members = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.encode
_MOST = 1000
"""Paths in one request."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Members by their paths, and whether the others are there: of paths that lead to one, the longest decides."""

    include: Paths = frozenset()
    exclude: Paths = frozenset()
    others: bool = False
    _known: dict[Rule, dict[str, tuple[bytes, Rule]]] = field(default_factory=dict, compare=False)
    """What has been decided for names: the records of a page have the same ones."""

    def of(self, text: bytes) -> bytes:
        """Give what these leave of an object's text."""
        return self._cut(text, self._rule) or b"{}"

    def show(self, *names: str) -> bool:
        """Whether a member of a record is shown, that is no object; ``names`` lead to it, from the outside in."""
        rule = self._rule
        for name in names:
            rule = rule.below(name)
        return rule.kept

    @property
    def _rule(self) -> Rule:
        return Rule(self.include | ALWAYS, self.exclude - ALWAYS, self.others)

    def _cut(self, text: bytes | Raw, rule: Rule) -> bytes | None:
        """Cut an object; None if nothing is left of it that was not asked for as a whole."""
        known = self._known.setdefault(rule, {})
        shown = []
        for name, raw in _members(text).items():
            if name not in known:
                known[name] = (_encode(name) + b":", rule.below(name))
            start, (include, exclude, kept) = known[name]
            if not include and not exclude:
                if kept:
                    shown.append(start + bytes(raw))
            elif (part := self._part(raw, known[name][1])) is not None:
                shown.append(start + part)
        return b"{%b}" % b",".join(shown) if shown or rule.kept else None

    def _part(self, raw: Raw, rule: Rule) -> bytes | None:
        """Cut a member that paths lead into, if it is an object."""
        text = bytes(raw)
        if text.startswith(b"{"):
            return self._cut(raw, rule)
        return text if rule.kept else None


class Rule(NamedTuple):
    """How to cut an object: paths below it to show and to leave out, and whether its other members are kept."""

    include: Paths
    exclude: Paths
    kept: bool

    def below(self, name: str) -> Rule:
        """Give the rule for a member. Names may have dots in them."""
        wanted, unwanted = (
            frozenset(path[len(name) + 1 :] for path in paths if _leads(name, path))
            for paths in (self.include, self.exclude)
        )
        return Rule(wanted - {""}, unwanted - {""}, "" in wanted or (self.kept and "" not in unwanted))


# --- Reading ----------------------------------------------------------------------------------------------------------


def item_fields(value: Any) -> Fields:
    """Read what is asked for of items."""
    return _read(value, ITEM)


def collection_fields(value: Any) -> Fields:
    """Read what is asked for of collections."""
    return _read(value, COLLECTION)


def item_fields_text(text: str) -> Fields:
    """Read what is asked for of items from names with commas between them."""
    return _read_text(text, ITEM)


def collection_fields_text(text: str) -> Fields:
    """Read what is asked for of collections from names with commas between them."""
    return _read_text(text, COLLECTION)


def _read_text(text: str, usual: Paths) -> Fields:
    """Read names: those with - in front are left out. A + in front has become a space on its way."""
    names = [name.strip() for name in text.split(",")]
    left_out = _paths([name[1:].strip() for name in names if name.startswith("-")])
    wanted = _paths([name.removeprefix("+").strip() for name in names if not name.startswith("-")])
    return _chosen(wanted, left_out, usual)


def _read(value: Any, usual: Paths) -> Fields:
    if not isinstance(value, dict):
        raise expected("an object with include and exclude")
    unknown = value.keys() - {"include", "exclude"}
    if unknown:
        raise ValueError(f"expected include and exclude, got {min(unknown)!r}")
    include, exclude = _paths(value.get("include")), _paths(value.get("exclude"))
    if exclude and "include" not in value:
        return Fields(exclude=exclude, others=True)
    return _chosen(include, exclude, usual)


def _paths(value: Any) -> Paths:
    if value is None:
        return frozenset()
    if not isinstance(value, list) or not all(isinstance(path, str) for path in value) or len(value) > _MOST:
        raise expected(f"arrays of at most {_MOST} names")
    return frozenset(filter(None, value))


def _chosen(include: Paths, exclude: Paths, usual: Paths) -> Fields:
    """Choose what is included, or else the usual members but for those excluded."""
    if include:
        return Fields(include, exclude - include)
    left = frozenset(path for path in usual if not any(_leads(above, path) for above in exclude))
    return Fields(left, exclude)


def _leads(above: str, path: str) -> bool:
    """Whether a path is this one or goes on from it."""
    return path == above or path.startswith(f"{above}.")
