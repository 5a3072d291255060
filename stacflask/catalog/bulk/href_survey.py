"""Count hrefs of assets by their prefix, for warnings about hrefs that no plugin resolves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import sqlalchemy as sa

from stacflask.catalog.database.engine import Database
from stacflask.catalog.database.tables import collections, items
from stacflask.catalog.documents.documents import HERE, closed, is_relative, public, storage_hrefs
from stacflask.catalog.reader import Catalog
from stacflask.errors import StacflaskError

RELATIVE = ""
"""The prefix of relative hrefs."""
MAX_PREFIXES = 1000
"""Prefixes that are counted separately. Further hrefs are counted by their scheme."""
SAMPLE = 10_000
"""Items that a survey reads, unless it reads all."""
ROWS = 500


class _Asset(msgspec.Struct, gc=False):
    href: str


class _Document(msgspec.Struct, gc=False):
    assets: dict[str, _Asset] | None = None


_assets = msgspec.json.Decoder(_Document).decode


@dataclass(slots=True)
class HrefGroup:
    """Hrefs with the same prefix. ``collection`` and ``href`` are those of the first one."""

    collection: str
    href: str
    count: int = 0


@dataclass(slots=True)
class HrefCounts:
    """Counts hrefs of assets by scheme, authority and first path segment.

    ``damaged`` are the numbers of documents of each collection that cannot be read.
    """

    groups: dict[str, HrefGroup] = field(default_factory=dict)
    documents: int = 0
    damaged: Counter[str] = field(default_factory=Counter)
    _last_prefix: str = ""
    _last_group: HrefGroup | None = None

    def add(self, collection: str, managed: Iterable[str], others: Iterable[str]) -> None:
        """Count the hrefs of a document: storage addresses, and relative hrefs among the others."""
        self.documents += 1
        for href in managed:
            # Most hrefs of a document have the same prefix.
            if self._last_group is not None and href.startswith(self._last_prefix):
                self._last_group.count += 1
            else:
                prefix = _prefix_of(href)
                self._last_group, self._last_prefix = self._add(prefix, collection, href), f"{prefix}/"
        for href in others:
            if is_relative(href):
                self._add(RELATIVE, collection, href)

    def add_body(self, body: bytes, collection: str) -> None:
        """Count the hrefs of a stored document."""
        hrefs = storage_hrefs(body)
        assets = _assets(closed(public(body).replace(HERE, b""))).assets or {}
        self.add(collection, hrefs.values(), [asset.href for key, asset in assets.items() if key not in hrefs])

    def merge(self, other: HrefCounts) -> None:
        """Add other counts."""
        self.documents += other.documents
        for prefix, group in other.groups.items():
            self._add(prefix, group.collection, group.href, group.count)

    def _add(self, prefix: str, collection: str, href: str, count: int = 1) -> HrefGroup:
        if prefix not in self.groups and len(self.groups) >= MAX_PREFIXES:
            prefix = f"{scheme(href)}:"
        group = self.groups.setdefault(prefix, HrefGroup(collection, href))
        group.count += count
        return group


def scheme(href: str) -> str:
    """Return the scheme of an href. For GDAL's form, return the name of its file system (``/vsigs``)."""
    return "/" + href[1:].partition("/")[0] if href.startswith("/") else href.partition(":")[0].lower()


def _prefix_of(href: str) -> str:
    start = href.find("://") + 3
    if start < 3 or href.startswith("/"):  # noqa: PLR2004 - not found
        return f"{scheme(href)}:"
    authority = href.find("/", start)
    step = href.find("/", authority + 1) if authority >= 0 else -1
    return href[: step if step >= 0 else authority + 1]


def survey(database: Database, *, every_item: bool = False) -> HrefCounts:
    """Count the hrefs of all collections and of a sample of their items, or of all items."""
    codec = Catalog(database).codec
    counts = HrefCounts()
    with database.write() as connection:
        number = connection.execute(sa.select(sa.func.count()).select_from(collections)).scalar_one()
        for statement in _statements(None if every_item else max(10, SAMPLE // max(1, number))):
            for row in connection.execution_options(yield_per=ROWS).execute(statement):
                try:
                    counts.add_body(codec.decompress(row.body), row.id)
                except (StacflaskError, ValueError):
                    counts.damaged[row.id] += 1
    return counts


def _statements(limit: int | None) -> list[sa.Select[Any]]:
    """Return the statements for all collections, and for ``limit`` items of each."""
    of_collection = sa.select(items.c.body).where(items.c.collection == collections.c.id).limit(limit).lateral()
    return [
        sa.select(collections.c.id, collections.c.body),
        sa.select(collections.c.id, of_collection.c.body).join(of_collection, sa.true()),
    ]
