"""Where the hrefs of assets lead: counts by their beginnings, for warnings of those that nothing resolves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from stacflask.catalog.documents import HERE, closed, is_relative, public, storage_hrefs
from stacflask.catalog.lines import BLANK
from stacflask.catalog.reading import Catalog
from stacflask.catalog.tables import collections, items

if TYPE_CHECKING:
    from collections.abc import Callable

    from stacflask.catalog.database import Database

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
    """Counts hrefs of assets by scheme, authority and first step of the path."""

    groups: dict[str, Group] = field(default_factory=dict)
    documents: int = 0

    def add_text(self, text: bytes, collection: str, managed: Callable[[str], bool]) -> None:
        """Count the hrefs of a document that was checked: storage addresses and relative ones."""
        self.documents += 1
        for asset in (_assets(text.strip(BLANK)).assets or {}).values():
            if managed(asset.href):
                self._add(_beginning(asset.href), collection, asset.href)
            elif is_relative(asset.href):
                self._add(RELATIVE, collection, asset.href)

    def add_body(self, body: bytes, collection: str) -> None:
        """Count the hrefs of a stored document."""
        self.documents += 1
        hrefs = storage_hrefs(body)
        for href in hrefs.values():
            self._add(_beginning(href), collection, href)
        for key, asset in (_assets(closed(public(body).replace(HERE, b""))).assets or {}).items():
            if key not in hrefs and is_relative(asset.href):
                self._add(RELATIVE, collection, asset.href)

    def merge(self, other: HrefCounts) -> None:
        """Add the counts of others."""
        self.documents += other.documents
        for beginning, group in other.groups.items():
            self._add(beginning, group.collection, group.href, group.count)

    def _add(self, beginning: str, collection: str, href: str, count: int = 1) -> None:
        if beginning not in self.groups and len(self.groups) >= MOST_BEGINNINGS:
            beginning = f"{scheme(href)}:"
        self.groups.setdefault(beginning, Group(collection, href)).count += count


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
                counts.add_body(codec.decompress(row.body), row.id)
    return counts


def _statements(limit: int | None) -> list[sa.Select[Any]]:
    """Return the statements for all collections, and for so many items of each."""
    of_collection = sa.select(items.c.body).where(items.c.collection == collections.c.id).limit(limit).lateral()
    return [
        sa.select(collections.c.id, collections.c.body),
        sa.select(collections.c.id, of_collection.c.body).join(of_collection, sa.true()),
    ]
