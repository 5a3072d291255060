"""Where the hrefs of assets lead: counts by their beginnings, for warnings of those that nothing resolves."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from stacflask.catalog.database.tables import collections, items
from stacflask.catalog.documents.documents import HERE, closed, is_relative, public, storage_hrefs
from stacflask.catalog.reader import Catalog
from stacflask.errors import StacflaskError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stacflask.catalog.database.engine import Database

RELATIVE = ""
"""The beginning of relative hrefs."""
MOST_BEGINNINGS = 1000
"""Beginnings that are counted apart. Further ones are counted by their scheme alone."""
SAMPLE = 10_000
"""Items that a survey reads, unless it reads all."""
ROWS = 500


class _Asset(msgspec.Struct, gc=False):
    href: str


class _Document(msgspec.Struct, gc=False):
    assets: dict[str, _Asset] | None = None


_assets = msgspec.json.Decoder(_Document).decode


@dataclass(slots=True)
class Group:
    """Hrefs with the same beginning. ``collection`` and ``href`` are those of the first."""

    collection: str
    href: str
    count: int = 0


@dataclass(slots=True)
class HrefCounts:
    """Counts hrefs of assets by scheme, authority and first step of the path.

    ``damaged`` are the documents of each collection that cannot be read.
    """

    groups: dict[str, Group] = field(default_factory=dict)
    documents: int = 0
    damaged: Counter[str] = field(default_factory=Counter)
    _beginning: str = ""
    _latest: Group | None = None

    def add(self, collection: str, managed: Iterable[str], others: Iterable[str]) -> None:
        """Count the hrefs of a document: storage addresses, and the relative ones of the others."""
        self.documents += 1
        for href in managed:
            # Most hrefs of a document begin alike.
            if self._latest is not None and href.startswith(self._beginning):
                self._latest.count += 1
            else:
                beginning = _beginning(href)
                self._latest, self._beginning = self._add(beginning, collection, href), f"{beginning}/"
        for href in others:
            if is_relative(href):
                self._add(RELATIVE, collection, href)

    def add_body(self, body: bytes, collection: str) -> None:
        """Count the hrefs of a stored document."""
        hrefs = storage_hrefs(body)
        assets = _assets(closed(public(body).replace(HERE, b""))).assets or {}
        self.add(collection, hrefs.values(), [asset.href for key, asset in assets.items() if key not in hrefs])

    def merge(self, other: HrefCounts) -> None:
        """Add the counts of others."""
        self.documents += other.documents
        for beginning, group in other.groups.items():
            self._add(beginning, group.collection, group.href, group.count)

    def _add(self, beginning: str, collection: str, href: str, count: int = 1) -> Group:
        if beginning not in self.groups and len(self.groups) >= MOST_BEGINNINGS:
            beginning = f"{scheme(href)}:"
        group = self.groups.setdefault(beginning, Group(collection, href))
        group.count += count
        return group


def scheme(href: str) -> str:
    """Return the scheme of an href; of GDAL's own form, the name of its file system (``/vsigs``)."""
    return "/" + href[1:].partition("/")[0] if href.startswith("/") else href.partition(":")[0].lower()


def _beginning(href: str) -> str:
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
    """Return the statements for all collections, and for so many items of each."""
    of_collection = sa.select(items.c.body).where(items.c.collection == collections.c.id).limit(limit).lateral()
    return [
        sa.select(collections.c.id, collections.c.body),
        sa.select(collections.c.id, of_collection.c.body).join(of_collection, sa.true()),
    ]
