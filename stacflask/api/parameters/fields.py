"""``fields``: the members of records in a response.

A record's JSON is parsed only along the paths in ``fields``. Members that stay keep their text, to the digit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from stacflask.api.parameters.parse import expected

Paths = frozenset[str]

ALWAYS = frozenset({"type", "id", "collection", "links"})
"""Members that every record has: without them, clients could not identify it or get the rest of it."""
TIMES = frozenset(f"properties.{name}" for name in ("datetime", "start_datetime", "end_datetime"))
ITEM = TIMES | {"stac_version", "geometry", "bbox", "assets"}
"""Default members of an item, with which it is a valid item."""
COLLECTION = frozenset({"stac_version", "title", "description", "license", "extent"})

_members = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.encode
_MAX_PATHS = 1000
"""Paths in one request."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Paths of members to include and to exclude. The longest matching path decides; ``others`` if none matches."""

    include: Paths = frozenset()
    exclude: Paths = frozenset()
    others: bool = False
    _cache: dict[Rule, dict[str, tuple[bytes, Rule]]] = field(default_factory=dict, compare=False)
    """Decisions by name, because the records of a page have mostly the same names."""

    def of(self, text: bytes) -> bytes:
        """Return the JSON of an object with these members."""
        return self._cut(text, self._rule) or b"{}"

    def show(self, *names: str) -> bool:
        """Return whether a member that is not an object is included; ``names`` are its path from the outside in."""
        rule = self._rule
        for name in names:
            rule = rule.below(name)
        return rule.included

    @property
    def _rule(self) -> Rule:
        return Rule(self.include | ALWAYS, self.exclude - ALWAYS, self.others)

    def _cut(self, text: bytes | Raw, rule: Rule) -> bytes | None:
        """Return the object with the selected members; None if no member is left and the object is not included."""
        cached = self._cache.setdefault(rule, {})
        selected = []
        for name, raw in _members(text).items():
            if name not in cached:
                cached[name] = (_encode(name) + b":", rule.below(name))
            start, (include, exclude, included) = cached[name]
            if not include and not exclude:
                if included:
                    selected.append(start + bytes(raw))
            elif (part := self._part(raw, cached[name][1])) is not None:
                selected.append(start + part)
        return b"{%b}" % b",".join(selected) if selected or rule.included else None

    def _part(self, raw: Raw, rule: Rule) -> bytes | None:
        """Select the members of a member that paths lead into, if it is an object."""
        text = bytes(raw)
        if text.startswith(b"{"):
            return self._cut(raw, rule)
        return text if rule.included else None


class Rule(NamedTuple):
    """Selects members of an object: paths below it to include and to exclude, and whether others are included."""

    include: Paths
    exclude: Paths
    included: bool

    def below(self, name: str) -> Rule:
        """Return the rule for a member. Names can contain dots."""
        include, exclude = (
            frozenset(path[len(name) + 1 :] for path in paths if _is_prefix(name, path))
            for paths in (self.include, self.exclude)
        )
        return Rule(include - {""}, exclude - {""}, "" in include or (self.included and "" not in exclude))


# --- Reading ----------------------------------------------------------------------------------------------------------


def item_fields(value: Any) -> Fields:
    """Read the fields of items from an object."""
    return _read(value, ITEM)


def collection_fields(value: Any) -> Fields:
    """Read the fields of collections from an object."""
    return _read(value, COLLECTION)


def item_fields_text(text: str) -> Fields:
    """Read the fields of items from comma-separated names."""
    return _read_text(text, ITEM)


def collection_fields_text(text: str) -> Fields:
    """Read the fields of collections from comma-separated names."""
    return _read_text(text, COLLECTION)


def _read_text(text: str, default: Paths) -> Fields:
    """Read names; a leading - excludes a member. URL decoding has turned a leading + into a space."""
    names = [name.strip() for name in text.split(",")]
    exclude = _paths([name[1:].strip() for name in names if name.startswith("-")])
    include = _paths([name.removeprefix("+").strip() for name in names if not name.startswith("-")])
    return _fields(include, exclude, default)


def _read(value: Any, default: Paths) -> Fields:
    if not isinstance(value, dict):
        raise expected("an object with include and exclude")
    unknown = value.keys() - {"include", "exclude"}
    if unknown:
        raise ValueError(f"expected include and exclude, got {min(unknown)!r}")
    include, exclude = _paths(value.get("include")), _paths(value.get("exclude"))
    if exclude and "include" not in value:
        return Fields(exclude=exclude, others=True)
    return _fields(include, exclude, default)


def _paths(value: Any) -> Paths:
    if value is None:
        return frozenset()
    if not isinstance(value, list) or not all(isinstance(path, str) for path in value) or len(value) > _MAX_PATHS:
        raise expected(f"arrays of at most {_MAX_PATHS} names")
    return frozenset(filter(None, value))


def _fields(include: Paths, exclude: Paths, default: Paths) -> Fields:
    """Return the included members, or the default members without the excluded ones."""
    if include:
        return Fields(include, exclude - include)
    left = frozenset(path for path in default if not any(_is_prefix(above, path) for above in exclude))
    return Fields(left, exclude)


def _is_prefix(above: str, path: str) -> bool:
    """Return whether a path is equal to ``above`` or below it."""
    return path == above or path.startswith(f"{above}.")
