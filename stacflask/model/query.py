"""Queries to the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from stacflask.model.json_types import Cql2, Document

FreeText: TypeAlias = "str | tuple[Any, ...]"
"""A text to find, or ``and``, ``or`` or ``not`` with its operands: ``("or", "ice", ("not", "snow"))``."""


@dataclass(frozen=True, slots=True)
class QueryInterval:
    """A closed time interval. None is an open end.

    Attributes:
        start: The first moment.
        end: The last moment.
    """

    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class SortKey:
    """A name to sort by, and the direction."""

    name: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class ItemQuery:
    """A query for a page of items. All conditions are joined by AND.

    ``sort`` is empty for the default order, newest first.
    """

    limit: int
    collections: tuple[str, ...] | None = None
    ids: tuple[str, ...] | None = None
    bbox: tuple[float, ...] | None = None
    intersects: Document | None = None
    interval: QueryInterval | None = None
    filter: Cql2 | None = None
    text: FreeText | None = None
    sort: tuple[SortKey, ...] = ()
    token: str | None = None


@dataclass(frozen=True, slots=True)
class CollectionQuery:
    """A query for a page of collections. All conditions are joined by AND.

    ``bbox`` and ``interval`` must each intersect one of those in a collection's extent. ``sort`` is empty for the order
    of ids.
    """

    limit: int
    bbox: tuple[float, ...] | None = None
    interval: QueryInterval | None = None
    filter: Cql2 | None = None
    text: FreeText | None = None
    sort: tuple[SortKey, ...] = ()
    token: str | None = None


@dataclass(frozen=True, slots=True)
class AggregationQuery:
    """A query for aggregations, by name.

    ``interval`` is the length of time buckets, ``precision`` the size of a grid's cells by its name. ``ranges`` is the
    width of number ranges, or all their bounds, by property. stacflask chooses each of them if it is missing.
    """

    names: tuple[str, ...]
    interval: str | None = None
    precision: Mapping[str, int] = field(default_factory=dict)
    ranges: Mapping[str, float | tuple[float, ...]] = field(default_factory=dict)
