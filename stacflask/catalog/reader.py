"""Read the catalogue: records, searches, counts and aggregations."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial, wraps
from operator import attrgetter
from threading import Lock
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec
import sqlalchemy as sa
from cachetools import TTLCache, cached
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql import Select

from stacflask.catalog.aggregation import aggregate, by_time
from stacflask.catalog.aggregation.aggregate import AggregationKind
from stacflask.catalog.aggregation.by_time import Period
from stacflask.catalog.cql2 import COLLECTION_FIELDS, ITEM_FIELDS, Fields, condition
from stacflask.catalog.database.engine import Database, Lookup, lookup
from stacflask.catalog.database.migrations import PluginTables
from stacflask.catalog.database.tables import collections, dictionaries, items, metadata
from stacflask.catalog.documents.assets import Directories, asset_of, assets_of
from stacflask.catalog.documents.codec import Codec
from stacflask.catalog.documents.dictionaries import find_missing, find_unusable, is_dictionary, sample_frames
from stacflask.catalog.documents.large_pages import turn
from stacflask.catalog.item_pages import ItemPages, filter_errors, read
from stacflask.catalog.properties import queryables
from stacflask.catalog.properties.observations import Observations
from stacflask.catalog.search import paging, restrictions, visible_extents
from stacflask.catalog.search.collection_search import collection_order, reads_documents, select_collections
from stacflask.catalog.search.item_search import item_order
from stacflask.catalog.search.long_name_lists import VisibilityFilter, VisibilityReader
from stacflask.catalog.search.ordering import SortOrder, inlined_limit
from stacflask.catalog.search.page_tokens import PageTokens
from stacflask.catalog.search.restrictions import restriction_key, visible, visible_collections
from stacflask.catalog.search.statement_cache import StatementCache
from stacflask.catalog.search.visible_extents import WITHHELD, VisibleExtents
from stacflask.errors import NotFound, StacflaskError, Unavailable
from stacflask.model.asset import Asset
from stacflask.model.decision import UNRESTRICTED, Restriction
from stacflask.model.page import Aggregation, Contents, Count, Page, Record
from stacflask.model.query import AggregationQuery, CollectionQuery, ItemQuery

_ITEM = sa.select(items.c.body).where(
    items.c.collection == sa.bindparam("collection", ""), items.c.id == sa.bindparam("item", "")
)
# Tables and columns of a later release do not matter.
_SCHEMA_PROBES = [sa.select(table).limit(0) for table in metadata.sorted_tables]
_COLLECTION = sa.select(collections.c.body).where(collections.c.id == sa.bindparam("collection", ""))

P = ParamSpec("P")
T = TypeVar("T")

LOST = "DictionaryLost"
"""Error code for a document whose compression dictionary is missing or damaged."""
DICTIONARY_SAMPLE = 3
"""The readiness check reads the dictionaries of this number of first and of last items of each collection."""
DICTIONARY_CHECK_SECONDS = 300.0
"""Time for which that check is not repeated."""

CACHED_RESTRICTIONS = 128
"""Restrictions whose statements are cached. With thousands of collections, one takes a megabyte."""


def etag_of(frame: bytes) -> str:
    """Return the entity tag of a stored body, without quotes. It changes with the document."""
    return hashlib.blake2b(frame, digest_size=8).hexdigest()


def _one_server(method: Callable[Concatenate[Catalog, P], T]) -> Callable[Concatenate[Catalog, P], T]:
    """Make all reads of a method use one server, because a body and its dictionary must be read from the same one."""

    @wraps(method)
    def reading(self: Catalog, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self.database.one_server():
            return method(self, *args, **kwargs)

    return reading


class Catalog:
    """Reads the catalogue. Methods that return records take the restriction of the user."""

    def __init__(
        self,
        database: Database,
        directories: Directories = Directories(),  # noqa: B008 - frozen
        aggregate_timeout: float = 10.0,
        costly_timeout: float = 2.0,
        hidden_extents: str = "withheld",
    ) -> None:
        self.database = database
        self._aggregate_timeout = aggregate_timeout
        self._hidden_extents = hidden_extents
        self.directories = directories
        self.codec = Codec(self._dictionary)
        self._items = lru_cache(maxsize=CACHED_RESTRICTIONS)(_item_lookup)
        self._collections = lru_cache(maxsize=CACHED_RESTRICTIONS)(_collection_lookup)
        self._statements, self._visibility = StatementCache(), VisibilityReader(database)
        self._pages = ItemPages(database, self._statements, self._visibility, aggregate_timeout, costly_timeout)
        self._check_dictionaries = cached(TTLCache(1, DICTIONARY_CHECK_SECONDS), lock=Lock())(self._find_lost)
        self.plugin_tables = PluginTables(())

    def collection(self, collection: str, restriction: Restriction) -> Record:
        """Return one collection as the user can see it. Raises NotFound if it does not exist or is hidden."""
        stored = self.stored_collection(collection, restriction)
        return self.with_visible_extents(stored, self.visible_extents(restriction, [collection]))

    @_one_server
    def stored_collection(self, collection: str, restriction: Restriction) -> Record:
        """Return one stored collection. Raises NotFound if it does not exist or is hidden."""
        name, left = restrictions.resolve_collection(collection, restriction)
        frame = self.database.value(self._collections(restriction_key(left)), collection=name)
        if frame is None:
            raise NotFound(f"There is no collection {collection!r}.")
        return self._record(collection, collection, frame)

    @_one_server
    def collections(self, query: CollectionQuery, restriction: Restriction) -> Page:
        """Return a page of collections as the user can see them."""
        extents = self.visible_extents(restriction) if reads_documents(query) else None
        order = collection_order(query.sort)
        tokens = PageTokens(query, order)
        if query.token is not None:
            query = replace(query, token=tokens.read(partial(self._collection_row, query, extents, restriction)))
        with filter_errors(query):
            rows = self._read_collections(query, extents, restriction)
        part = paging.slice_page(rows, query.limit, order.position(query.token), order.values)
        if extents is None:
            extents = self.visible_extents(restriction, [row.id for row in part.rows])
        records = (self._record(row.id, row.id, row.body) for row in part.rows)
        if extents is not None:
            # The entity tag of a page is that of its text, so the records do not need any.
            records = (Record(one.collection, one.id, extents.body(one.id, one.body), "") for one in records)
        return Page(tuple(records), tokens.write(part.next), tokens.write(part.prev))

    def _collection_row(
        self, query: CollectionQuery, extents: VisibleExtents | None, restriction: Restriction, _: str, collection: str
    ) -> Any:
        """Return the row of one collection, or None if the query does not find it."""
        select = partial(select_collections, replace(query, limit=1, token=None), extents)
        rows = self._read_visible_collections(
            lambda conditions: select([*conditions, collections.c.id == collection]), restriction
        )
        return next(iter(rows), None)

    def _read_collections(
        self, query: CollectionQuery, extents: VisibleExtents | None, restriction: Restriction
    ) -> Sequence[Any]:
        """Return the rows of one page. The statement is cached if the query has no conditions."""
        select, filtered = partial(select_collections, query, extents), reads_documents(query) or query.text is not None
        if restriction.collections is not None or filtered:
            return self._read_visible_collections(select, restriction, long=filtered)
        order = collection_order(query.sort)
        position = order.position(query.token)
        position_values = {**order.parameters(position), "rows": query.limit + 1}

        def read_page(visibility: VisibilityFilter) -> Sequence[Any]:
            values = {**position_values, **visibility.parameters()}
            key = ("collections", frozenset(values), inlined_limit(query.limit), bool(position and position.backward))
            (found,) = self._statements.get_or_build(
                key, lambda: [select(list(visibility.conditions(collections.c.id)))], prepared=True
            )
            return self.database.records(found, values)

        return self._visibility.read_visible(restrictions.split_ids(restriction)[1], read_page, attrgetter("id"))

    def visible_extents(
        self, restriction: Restriction, requested: Sequence[str] | None = None
    ) -> VisibleExtents | None:
        """Return the extents of collections for a user who cannot see all items; None for the stored extents.

        ``requested`` are the collections; None is all of them.
        """
        if restriction.items is None or self._hidden_extents == "stored":
            return None
        if self._hidden_extents == "withheld":
            return WITHHELD
        named = (
            [] if requested is None else [items.c.collection == sa.any_(sa.literal(list(requested), ARRAY(sa.Text())))]
        )
        work = partial(visible_extents.visible_to, conditions=[*named, *visible(restriction)])
        return self.database.within(self._aggregate_timeout, work)

    def with_visible_extents(self, record: Record, extents: VisibleExtents | None) -> Record:
        """Return a collection with the extents that the user can see, and the entity tag of that form."""
        if extents is None:
            return record
        body = extents.body(record.id, record.body)
        return Record(record.collection, record.id, body, etag_of(self.codec.compress(body)))

    def titles(self, restriction: Restriction) -> list[tuple[str, str | None]]:
        """Return id and title of every visible collection, in the order of their ids."""
        title = collections.c.document["title"].astext.label("title")
        statement = sa.select(collections.c.id, title).order_by(collections.c.id)
        return [
            (row.id, row.title)
            for row in self._read_visible_collections(lambda conditions: statement.where(*conditions), restriction)
        ]

    def _read_visible_collections(
        self,
        select: Callable[[list[sa.ColumnElement[bool]]], Select[Any]],
        restriction: Restriction,
        *,
        long: bool = False,
    ) -> Sequence[Any]:
        """Return the rows of visible collections. ``select`` returns the statement with the conditions for them."""
        conditions, ids = restrictions.split_ids(restriction)

        def read_with(visibility: VisibilityFilter) -> Sequence[Any]:
            visible_ones = [*visible_collections(conditions), *visibility.conditions(collections.c.id)]
            return read(self.database, select(visible_ones), long=long)

        return self._visibility.read_visible(ids, read_with, attrgetter("id"))

    def observe_items(self, requested: Sequence[str] | None, restriction: Restriction, sample: int) -> Observations:
        """Return the properties of items of these collections (None is all), with their types and values.

        See ``catalog/properties/queryables.py``.
        """
        # Summaries can reveal hidden items, whichever extents the user can see.
        withheld = self._hidden_extents != "stored" and restriction.items is not None
        work = partial(queryables.of_items, codec=self.codec, summaries=not withheld)
        return self.database.read(lambda connection: work(connection, requested, restriction, sample), long=True)

    def observe_collections(self, restriction: Restriction) -> Observations:
        """Return the properties of documents of collections, with their types and values."""
        extents = self.visible_extents(restriction)
        return self.database.read(
            lambda connection: queryables.of_collections(connection, restriction, extents), long=True
        )

    def listed_item_fields(self, requested: Sequence[str] | None, restriction: Restriction, sample: int) -> Fields:
        """Return the fields for searches of these collections in which only listed names are allowed."""
        return ITEM_FIELDS.only(self.observe_items(requested, restriction, sample))

    def check_names(self, query: ItemQuery, restriction: Restriction, sample: int) -> None:
        """Check that a query filters and sorts by listed names only. Raises BadQuery."""
        if query.filter is not None or query.sort:
            _check_names(query, self.listed_item_fields(query.collections, restriction, sample))

    def check_collection_names(self, query: CollectionQuery, restriction: Restriction) -> None:
        """Check that a query of collections filters and sorts by listed names only. Raises BadQuery."""
        if query.filter is not None or query.sort:
            _check_names(query, COLLECTION_FIELDS.only(self.observe_collections(restriction)))

    def count(self, query: ItemQuery, restriction: Restriction, bound: int) -> Count:
        """Return the number of items on all pages of a search: exact up to ``bound``, otherwise an estimate."""
        return self._pages.count(query, restriction, bound)

    def holds_at_most(self, bound: int) -> bool:
        """Whether the catalogue has at most ``bound`` items, visible or hidden. The result is cached."""
        return self._pages.holds_at_most(bound)

    def browse(
        self, collection: str, within: Period | None, restriction: Restriction, after: str | None = None
    ) -> Contents:
        """Return the contents of a period of a collection. See ``catalog/aggregation/by_time.py``."""
        work = partial(by_time.contents, collection=collection, within=within, after=after, restriction=restriction)
        return self.database.within(self._aggregate_timeout, work)

    def aggregations(
        self, requested: Sequence[str] | None, restriction: Restriction, sample: int
    ) -> dict[str, AggregationKind]:
        """Return the available aggregations of items of these collections; None is all."""
        return aggregate.available(self.observe_items(requested, restriction, sample))

    def aggregate(
        self, query: ItemQuery, restriction: Restriction, requested: AggregationQuery, sample: int
    ) -> list[Aggregation]:
        """Aggregate the items that a search finds. Raises BadQuery if an aggregation does not exist."""
        seen = self.observe_items(query.collections, restriction, sample)
        work = partial(aggregate.aggregate, query=query, restriction=restriction, request=requested, observed=seen)
        return self._pages.aggregate(query, work, len(requested.names))

    def check(self) -> None:
        """Check that the database responds and has the tables of this release and its plugins. Raises Unavailable."""
        try:
            self.database.read(lambda connection: [connection.execute(statement) for statement in _SCHEMA_PROBES])
        except Unavailable:
            raise
        except StacflaskError as error:
            raise Unavailable("The database has not been migrated to this release.", code="NotMigrated") from error
        self.plugin_tables.check(self.database)
        self._check_dictionaries()

    def _find_lost(self) -> None:
        """Check the dictionaries of a sample of items. Raises Unavailable if one is missing or damaged."""
        most = queryables.MAX_COLLECTIONS
        found = self.database.read(partial(find_missing, sample=DICTIONARY_SAMPLE, collections=most))
        frames = self.database.read(partial(sample_frames, rows=DICTIONARY_SAMPLE, collections=most))
        for one in found or find_unusable(self.codec, frames):
            raise Unavailable(f"Documents cannot be read: {one}.", code=LOST)

    @_one_server
    def item(self, collection: str, item: str, restriction: Restriction) -> Record:
        """Return one item. Raises NotFound if the item or the collection does not exist or is hidden."""
        name, left = restrictions.resolve_collection(collection, restriction)
        frame = self.database.value(self._items(restriction_key(left)), collection=name, item=item)
        if frame is None:
            raise NotFound(f"There is no item {item!r} in collection {collection!r}.")
        return self._record(collection, item, frame)

    @_one_server
    def search(self, query: ItemQuery, restriction: Restriction, bound: int | None = None) -> Page:
        """Return a page of items, with their number up to ``bound`` if counting is cheap.

        Raises:
            BadQuery: The items cannot be sorted in this order, or the token belongs to another query.
        """
        order = item_order(query.sort)
        tokens = PageTokens(query, order)
        if query.token is not None:
            query = replace(query, token=tokens.read(partial(self._pages.row, query, restriction)))
        with filter_errors(query):
            rows = self._pages.rows(query, restriction, bound)
        part = paging.slice_page(rows, query.limit, order.position(query.token), order.values)
        with turn(len(part.rows)):
            records = tuple(self._record(row.collection, row.id, row.body) for row in part.rows)
        matched = next((row.matched for row in reversed(rows) if getattr(row, "matched", None) is not None), None)
        return Page(records, tokens.write(part.next), tokens.write(part.prev), matched)

    def asset(self, collection: str, item: str | None, key: str, restriction: Restriction) -> Asset:
        """Return one managed asset of an item, or of the collection if ``item`` is None.

        A key that continues the key of a directory asset is a file in it, see ``Asset.path``.

        Raises:
            NotFound: The collection, item or asset does not exist or is hidden, or the asset is not managed.
        """
        record = (
            self.stored_collection(collection, restriction)
            if item is None
            else self.item(collection, item, restriction)
        )
        asset = asset_of(record.body, collection, item, key, self.directories)
        if asset is None:
            raise NotFound(f"There is no asset {key!r} that can be downloaded.")
        return asset

    def assets(self, record: Record, *, of_item: bool = True) -> list[Asset]:
        """Return all managed assets of an item, or of a collection."""
        return assets_of(record.body, record.collection, record.id if of_item else None)

    def _record(self, collection: str, identifier: str, frame: bytes) -> Record:
        return Record(collection, identifier, self.codec.decompress(frame), etag_of(frame))

    def _dictionary(self, identifier: int) -> bytes:
        statement = sa.select(dictionaries.c.data).where(dictionaries.c.id == identifier)
        data = self.database.read(lambda connection: connection.execute(statement).scalar_one_or_none())
        if data is None or not is_dictionary(identifier, data):
            raise StacflaskError(f"The compression dictionary {identifier} is missing or damaged.", code=LOST)
        return bytes(data)


def _item_lookup(restriction_key: bytes) -> Lookup:
    return lookup(_ITEM.where(*visible(_restriction(restriction_key))))


def _collection_lookup(restriction_key: bytes) -> Lookup:
    return lookup(_COLLECTION.where(*visible_collections(_restriction(restriction_key))))


def _restriction(restriction_key: bytes) -> Restriction:
    return Restriction(*msgspec.json.decode(restriction_key)) if restriction_key else UNRESTRICTED


def _check_names(query: ItemQuery | CollectionQuery, fields: Fields) -> None:
    """Check that all names of a query are among these fields. Raises BadQuery."""
    if query.filter is not None:
        condition(query.filter, fields)
    if query.sort:
        SortOrder(query.sort, fields, ())
