"""``fields``: which members of its records an answer has.

A record's text is taken apart only where it is cut; what is kept of it stays as it is, to the digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from stacflask.api.readers import expected

if TYPE_CHECKING:
    from collections.abc import Iterable

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

    def of(self, text: bytes) -> bytes:
        """Give what these leave of an object's text."""
        return _projected(text, self.include | ALWAYS, self.exclude - ALWAYS, self.others) or b"{}"


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


# --- Cutting ----------------------------------------------------------------------------------------------------------


def _projected(text: bytes | Raw, include: Iterable[str], exclude: Iterable[str], kept: bool) -> bytes | None:
    """Cut an object; None if nothing is left of it that was not asked for as a whole."""
    shown = []
    for name, raw in _members(text).items():
        wanted, unwanted = _below(name, include), _below(name, exclude)
        whole = "" in wanted or (kept and "" not in unwanted)
        part = _cut(raw, wanted - {""}, unwanted - {""}, whole)
        if part is not None:
            shown.append(b"%b:%b" % (_encode(name), part))
    return b"{%b}" % b",".join(shown) if shown or kept else None


def _cut(raw: Raw, include: Paths, exclude: Paths, kept: bool) -> bytes | None:
    text = bytes(raw)
    if (include or exclude) and text.startswith(b"{"):
        return _projected(raw, include, exclude, kept)
    return text if kept else None


def _below(name: str, paths: Iterable[str]) -> Paths:
    """Give the rest of those paths that lead to a member or further; names may have dots in them."""
    return frozenset(path[len(name) + 1 :] for path in paths if _leads(name, path))
