"""Results of searches."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Count:
    """How many items there are on all pages: ``matched`` is exact, ``estimate`` is not; None: not known."""

    matched: int | None = None
    estimate: int | None = None


@dataclass(frozen=True, slots=True)
class Contents:
    """What a span of time holds: the names of its parts, or ids of items, and after which of these there are more."""

    periods: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    more: str | None = None


@dataclass(frozen=True, slots=True)
class Bucket:
    """A part of a distribution: how many items have this key, or a number from ``low`` to below ``high``."""

    key: str
    data_type: str
    frequency: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Aggregation:
    """What came of an aggregation: a ``value``, or ``buckets``. ``overflow`` counts the items in none of them."""

    name: str
    data_type: str = "frequency_distribution"
    value: str | int | None = None
    buckets: tuple[Bucket, ...] | None = None
    overflow: int = 0
    distributed: str | None = None
    interval: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """A collection or an item as it is kept: see ``catalog/documents/documents.py`` for the form of ``body``."""

    collection: str
    id: str
    body: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class Page:
    """Records in order, with the tokens of the pages before and after, where there are such.

    ``matched`` is the number of records on all pages, if it was counted with the page.
    """

    records: tuple[Record, ...]
    next: str | None = None
    prev: str | None = None
    matched: int | None = None
