"""Results of searches."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Count:
    """The number of items on all pages. ``matched`` is exact, ``estimate`` is not; None is not known."""

    matched: int | None = None
    estimate: int | None = None


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of a period: the names of its parts, or the ids of its items.

    ``more`` is the last id if the period has further items.
    """

    periods: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    more: str | None = None


@dataclass(frozen=True, slots=True)
class Bucket:
    """A part of a distribution: the number of items with this key, or with a number in [``low``, ``high``)."""

    key: str
    data_type: str
    frequency: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Aggregation:
    """The result of an aggregation: a ``value``, or ``buckets``. ``overflow`` counts the items in no bucket."""

    name: str
    data_type: str = "frequency_distribution"
    value: str | int | None = None
    buckets: tuple[Bucket, ...] | None = None
    overflow: int = 0
    distributed: str | None = None
    interval: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """A stored collection or item. ``catalog/documents/documents.py`` describes the form of ``body``."""

    collection: str
    id: str
    body: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class Page:
    """Records in order, with the tokens of the next and the previous page, if these exist.

    ``matched`` is the number of records on all pages, if it was counted with the page.
    """

    records: tuple[Record, ...]
    next: str | None = None
    prev: str | None = None
    matched: int | None = None
