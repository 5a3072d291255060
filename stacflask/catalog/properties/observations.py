"""Observations of properties: types, ranges of numbers, words. Pure functions from documents to observations.

Documents are read by columns, all values of one name together, so that most of the work is done in C.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias

from stacflask.model.json_types import Document

Observations: TypeAlias = "dict[str, Observation]"
"""Observations by the name that a filter uses. A dot is part of a key, or separates a key from an inner key."""

MAX_WORDS = 50
"""Most distinct words of an enumeration."""
MAX_WORD_CHARACTERS = 100
"""Most characters of a word of an enumeration."""
MAX_NAMES = 1000
"""Most names of a collection. Further names are not kept."""
MAX_DEPTH = 3
"""Levels of nested objects whose members are observed."""

_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII).fullmatch
_KINDS = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
EMPTY: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Observation:
    """Observation of one property.

    ``kinds`` are types of JSON Schema, and ``time`` for strings if all of them are times. ``words`` are other strings,
    or None if there are too many. ``low`` and ``high`` are the range of numbers. ``members`` is the observation of the
    members of arrays.
    """

    kinds: frozenset[str] = EMPTY
    low: float | None = None
    high: float | None = None
    words: frozenset[str] | None = EMPTY
    members: Observation | None = None

    def __or__(self, other: Observation) -> Observation:
        """Return an observation that covers both."""
        if self.members is None or other.members is None:
            members = self.members or other.members
        else:
            members = self.members | other.members
        return Observation(
            self.kinds | other.kinds,
            _extreme(min, self.low, other.low),
            _extreme(max, self.high, other.high),
            _limit_words(None if self.words is None or other.words is None else self.words | other.words),
            members,
        )

    def to_json(self) -> Document:
        """Return the observation as JSON, without empty members."""
        members = {
            "kinds": sorted(self.kinds),
            "low": self.low,
            "high": self.high,
            "words": sorted(self.words) if self.words else None,
            "many": self.words is None,
            "members": self.members.to_json() if self.members is not None else None,
        }
        return {name: value for name, value in members.items() if value is not None and value is not False}


def from_json(members: Document) -> Observation:
    """Return the observation that ``to_json`` wrote."""
    return Observation(
        frozenset(members["kinds"]),
        members.get("low"),
        members.get("high"),
        None if members.get("many") else frozenset(members.get("words", ())),
        from_json(members["members"]) if "members" in members else None,
    )


def merge(several: Iterable[Mapping[str, Observation]]) -> Observations:
    """Return observations that cover all of these."""
    whole: Observations = {}
    for observations in several:
        for name, observed in observations.items():
            if name in whole:
                whole[name] |= observed
            elif len(whole) < MAX_NAMES:
                whole[name] = observed
    return whole


def observe(documents: Sequence[Mapping[str, Any]], prefix: str = "", depth: int = 1) -> Observations:
    """Observe the members of these documents. A null is ignored."""
    columns = _columns(documents)
    observed = {f"{prefix}{name}": observe_values(column) for name, column in columns.items()}
    inner = [
        observe([value for value in column if type(value) is dict], f"{prefix}{name}.", depth + 1)
        for name, column in columns.items()
        if depth < MAX_DEPTH and f"{prefix}{name}" in observed and "object" in observed[f"{prefix}{name}"].kinds
    ]
    return merge([{name: one for name, one in observed.items() if one.kinds}, *inner])


def _columns(documents: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return all values of each name."""
    makes: dict[tuple[str, ...], list[Iterable[Any]]] = defaultdict(list)
    for document in documents:
        makes[tuple(document)].append(document.values())
    columns: dict[str, list[Any]] = defaultdict(list)
    # Most documents have the same names in the same order. Those are transposed in one step.
    for names, rows in makes.items():
        for name, column in zip(names, zip(*rows, strict=True), strict=True):
            columns[name] += column
    return columns


def observe_values(column: Sequence[Any]) -> Observation:
    """Observe all values of one name."""
    types = set(map(type, column))
    observed = Observation()
    for kind in types & _KINDS.keys():
        observed |= _observe_kind(
            kind, column if len(types) == 1 else [value for value in column if type(value) is kind]
        )
    return observed


def _observe_kind(kind: type[Any], column: Sequence[Any]) -> Observation:
    if kind is str:
        return _observe_strings(set(column))
    kinds = frozenset({_KINDS[kind]})
    if kind is int or kind is float:
        return Observation(kinds, min(column), max(column))
    if kind is list:
        return Observation(kinds, members=observe_values(list(chain.from_iterable(column))))
    return Observation(kinds)


def _observe_strings(words: set[str]) -> Observation:
    # ``all`` stops at the first string that is not a time, so most columns of words cost one match.
    if all(map(_TIME, words)):
        return Observation(frozenset({"time"}))
    return Observation(frozenset({"string"}), words=_limit_words(frozenset(words)))


def _limit_words(words: frozenset[str] | None) -> frozenset[str] | None:
    if words is None or len(words) > MAX_WORDS or any(len(word) > MAX_WORD_CHARACTERS for word in words):
        return None
    return words


def _extreme(of: Any, one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    chosen: float = of(one, other)
    return chosen
