"""Searches as the catalogue takes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from stacflask.model.json_types import Cql2, Document


FreeText: TypeAlias = "str | tuple[Any, ...]"
"""A text to be found; or ``and``, ``or`` or ``not``, and what it joins: ``("or", "ice", ("not", "snow"))``."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A closed interval of time; None is an open end."""

    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class SortKey:
    """One of the names that a list is sorted by, and in which direction."""

    name: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class ItemQuery:
    """Which items, in which order, and which page of them. All conditions hold together.

    ``sort`` is empty for the usual order: newest first.
    """

    limit: int
    collections: tuple[str, ...] | None = None
    ids: tuple[str, ...] | None = None
    bbox: tuple[float, ...] | None = None
    intersects: Document | None = None
    interval: Interval | None = None
    filter: Cql2 | None = None
    text: FreeText | None = None
    sort: tuple[SortKey, ...] = ()
    token: str | None = None


@dataclass(frozen=True, slots=True)
class CollectionQuery:
    """Which collections, in which order, and which page of them. All conditions hold together.

    ``bbox`` and ``interval`` must meet any of those in a collection's extent; ``sort`` is empty for the order of ids.
    """

    limit: int
    bbox: tuple[float, ...] | None = None
    interval: Interval | None = None
    filter: Cql2 | None = None
    text: FreeText | None = None
    sort: tuple[SortKey, ...] = ()
    token: str | None = None


@dataclass(frozen=True, slots=True)
class AggregationQuery:
    """Which aggregations, by name.

    ``interval`` is the length of buckets of time, ``precision`` the size of a grid's cells by its name, ``ranges`` the
    width of ranges of numbers or the sides of them all, by property; each is chosen where nothing is said.
    """

    names: tuple[str, ...]
    interval: str | None = None
    precision: Mapping[str, int] = field(default_factory=dict)
    ranges: Mapping[str, float | tuple[float, ...]] = field(default_factory=dict)
