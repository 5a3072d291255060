"""Reading the catalogue: one query each."""

from __future__ import annotations

import hashlib
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, partial, wraps
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import msgspec
import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from stacflask.catalog.aggregation import aggregate, by_time, counting
from stacflask.catalog.cql2 import COLLECTION_FIELDS, ITEM_FIELDS, condition
from stacflask.catalog.database.database_errors import TIMEOUT
from stacflask.catalog.database.engine import lookup
from stacflask.catalog.database.tables import collections, dictionaries, items, metadata
from stacflask.catalog.documents.assets import Directories, asset_of, assets_of
from stacflask.catalog.documents.codec import Codec
from stacflask.catalog.documents.dictionaries import is_dictionary, lost, sample_frames, unusable
from stacflask.catalog.properties import queryables
from stacflask.catalog.properties.indexes import IndexCache
from stacflask.catalog.search import paging, restrictions, visible_extents
from stacflask.catalog.search.collection_search import reads_documents, select_collections
from stacflask.catalog.search.durations import DurationBounds
from stacflask.catalog.search.item_search import (
    ListPart,
    collection_order,
    item_order,
    list_parts,
    ordered_types,
    page_statements,
    reads_each_collection,
    visible,
)
from stacflask.catalog.search.item_search import visible_collections as seen_collections
from stacflask.catalog.search.ordering import SortOrder, inlined_limit
from stacflask.catalog.search.page_tokens import PageTokens
from stacflask.catalog.search.restrictions import ALL_IDS
from stacflask.catalog.search.statement_cache import (
    StatementCache,
    cache_key,
    has_generic_plan,
    is_cacheable,
    is_costly,
    may_scan_many,
    statement_parameters,
)
from stacflask.catalog.search.time_windows import ALL_TIME, TimeWindows
from stacflask.catalog.search.visibility import EVERYTHING_VISIBLE, VisibilityFilter, VisibilityReader
from stacflask.catalog.search.visible_extents import WITHHELD
from stacflask.errors import BadQuery, BadValue, NotFound, StacflaskError, Unavailable
from stacflask.large_pages import turn
from stacflask.model.decision import UNRESTRICTED, Restriction
from stacflask.model.page import Aggregation, Contents, Count, Page, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy.engine import Connection
    from sqlalchemy.sql import Select

    from stacflask.catalog.aggregation.aggregate import AggregationKind
    from stacflask.catalog.aggregation.by_time import Period
    from stacflask.catalog.cql2 import Fields
    from stacflask.catalog.database.engine import Database, Lookup
    from stacflask.catalog.properties.observations import Observations
    from stacflask.catalog.search.durations import DurationBound
    from stacflask.catalog.search.time_windows import TimeWindow
    from stacflask.catalog.search.visible_extents import VisibleExtents
    from stacflask.model.asset import Asset
    from stacflask.model.query import AggregationQuery, CollectionQuery, ItemQuery

_ITEM = sa.select(items.c.body).where(
    items.c.collection == sa.bindparam("collection", ""), items.c.id == sa.bindparam("item", "")
)
# What a later release adds does no harm to this one.
_NEEDED = [sa.select(table).limit(0) for table in metadata.sorted_tables]
_COLLECTION = sa.select(collections.c.body).where(collections.c.id == sa.bindparam("collection", ""))

P = ParamSpec("P")
T = TypeVar("T")

QUICK = 10_000
"""Items of a catalogue that are counted as fast as a page is read, unless the condition is costly."""
SIZE_SECONDS = 60
"""How long it is remembered how many items the catalogue has."""
LOST = "DictionaryLost"
"""The error's code if a document cannot be read without a dictionary that the database does not have."""
DICTIONARY_SAMPLE = 3
"""Items at either end of a collection of which the check for readiness reads the dictionary's id."""
DICTIONARIES_CHECKED = 300.0
"""Seconds for which that check is not repeated."""

REMEMBERED = 128
"""Restrictions whose lookups are kept; with thousands of collections one takes a megabyte."""


def etag_of(frame: bytes) -> str:
    """Give the validator of what is kept, without quotes. It changes with the document."""
    return hashlib.blake2b(frame, digest_size=8).hexdigest()


def _from_one_server(method: Callable[Concatenate[Catalog, P], T]) -> Callable[Concatenate[Catalog, P], T]:
    """Have a method that reads more than once read from one server: a row, and the dictionary that it needs."""

    @wraps(method)
    def reading(self: Catalog, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self.database.one_server():
            return method(self, *args, **kwargs)

    return reading


class Catalog:
    """The catalogue as seen under a restriction, which every call takes."""

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
        self._costly_timeout = costly_timeout
        self._hidden_extents = hidden_extents
        self.directories = directories
        self.codec = Codec(self._dictionary)
        self._items = lru_cache(maxsize=REMEMBERED)(_item_lookup)
        self._collections = lru_cache(maxsize=REMEMBERED)(_collection_lookup)
        self._duration_bounds = DurationBounds(database)
        self._statements, self._filter_statements = StatementCache(), StatementCache()
        self._time_windows = TimeWindows(database)
        self._visibility = VisibilityReader(database)
        self._indexes = IndexCache(database)
        self._dictionaries_until = 0.0
        self._size = (0, 0.0)

    def collection(self, collection: str, restriction: Restriction) -> Record:
        """Give one collection as it is shown. Raises NotFound, for a hidden one too."""
        kept = self.kept(collection, restriction)
        return self.as_shown(kept, self.shown(restriction, [collection]))

    @_from_one_server
    def kept(self, collection: str, restriction: Restriction) -> Record:
        """Give one collection as it is kept. Raises NotFound, for a hidden one too."""
        name, left = restrictions.resolve_collection(collection, restriction)
        frame = self.database.value(self._collections(_told(left)), collection=name)
        if frame is None:
            raise NotFound(f"There is no collection {collection!r}.")
        return self._record(collection, collection, frame)

    @_from_one_server
    def collections(self, query: CollectionQuery, restriction: Restriction) -> Page:
        """Give a page of collections, as they are shown."""
        shown = self.shown(restriction) if reads_documents(query) else None
        order = collection_order(query.sort)
        tokens = PageTokens(query, order)
        if query.token is not None:
            query = replace(query, token=tokens.read(partial(self._collection_row, query, shown, restriction)))
        with _attributed(query):
            rows = self._found_collections(query, shown, restriction)
        part = paging.slice_page(rows, query.limit, order.position(query.token), order.values)
        if shown is None:
            shown = self.shown(restriction, [row.id for row in part.rows])
        records = (self._record(row.id, row.id, row.body) for row in part.rows)
        if shown is not None:
            # A page has one state, that of its text.
            records = (Record(one.collection, one.id, shown.body(one.id, one.body), "") for one in records)
        return Page(tuple(records), tokens.write(part.next), tokens.write(part.prev))

    def _collection_row(
        self, query: CollectionQuery, shown: VisibleExtents | None, restriction: Restriction, _: str, collection: str
    ) -> Any:
        """Read the row of one collection; None: the query does not find it, or not any more."""
        select = partial(select_collections, replace(query, limit=1, token=None), shown)
        rows = self._listed(lambda conditions: select([*conditions, collections.c.id == collection]), restriction)
        return next(iter(rows), None)

    def _found_collections(
        self, query: CollectionQuery, shown: VisibleExtents | None, restriction: Restriction
    ) -> Sequence[Any]:
        """Read one page. If the query wants but the next of all, its statement is made once."""
        select, ids = partial(select_collections, query, shown), restrictions.visible_ids(restriction.collections)
        if ids is None or reads_documents(query) or query.text is not None:
            return self._listed(select, restriction, long=reads_documents(query) or query.text is not None)
        position = collection_order(query.sort).position(query.token)
        place = {**collection_order(query.sort).parameters(position), "rows": query.limit + 1}

        def read(visibility: VisibilityFilter) -> Sequence[Any]:
            values = {**place, **visibility.parameters()}
            way = position is not None and position.backward
            shape = ("collections", frozenset(values), inlined_limit(query.limit), way)
            (found,) = self._statements.get_or_build(shape, lambda: [_of_seen(select, visibility)], prepared=True)
            return self.database.records(found, values)

        return self._visibility.read_visible(ids, read, attrgetter("id"))

    def shown(self, restriction: Restriction, asked: Sequence[str] | None = None) -> VisibleExtents | None:
        """Give what is shown of collections to who may not see all items, or of all of them; None: what is kept."""
        if restriction.items is None or self._hidden_extents == "stored":
            return None
        if self._hidden_extents == "withheld":
            return WITHHELD
        named = [] if asked is None else [items.c.collection == sa.any_(sa.literal(list(asked), ARRAY(sa.Text())))]
        work = partial(visible_extents.visible_to, conditions=[*named, *visible(restriction)])
        return self.database.within(self._aggregate_timeout, work)

    def as_shown(self, record: Record, shown: VisibleExtents | None) -> Record:
        """Give a collection as it is shown. Its state is that of what is shown, too."""
        if shown is None:
            return record
        body = shown.body(record.id, record.body)
        return Record(record.collection, record.id, body, etag_of(self.codec.compress(body)))

    def titles(self, restriction: Restriction) -> list[tuple[str, str | None]]:
        """Give id and title of every collection, in the order of their ids."""
        title = collections.c.document["title"].astext.label("title")
        statement = sa.select(collections.c.id, title).order_by(collections.c.id)
        return [
            (row.id, row.title) for row in self._listed(lambda conditions: statement.where(*conditions), restriction)
        ]

    def _listed(
        self,
        select: Callable[[list[sa.ColumnElement[bool]]], Select[Any]],
        restriction: Restriction,
        *,
        long: bool = False,
    ) -> Sequence[Any]:
        """Read rows of collections that may be seen, with the conditions for that put into a statement."""
        ids = restrictions.visible_ids(restriction.collections)
        if ids is None:
            return self._read(select(list(seen_collections(restriction))), long=long)
        return self._visibility.read_visible(
            ids, lambda visibility: self._read(_of_seen(select, visibility), long=long), attrgetter("id")
        )

    def item_names(self, asked: Sequence[str] | None, restriction: Restriction, sample: int) -> Observations:
        """Give what the items of these collections hold, by name; None: of all.

        See ``catalog/properties/queryables.py``.
        """
        # Whatever is shown of extents, no summaries are.
        withheld = self._hidden_extents != "stored" and restriction.items is not None
        work = partial(queryables.of_items, codec=self.codec, summaries=not withheld)
        return self.database.read(lambda connection: work(connection, asked, restriction, sample), long=True)

    def collection_names(self, restriction: Restriction) -> Observations:
        """Give what the documents of collections hold, by name."""
        shown = self.shown(restriction)
        return self.database.read(
            lambda connection: queryables.of_collections(connection, restriction, shown), long=True
        )

    def fields_for(self, asked: Sequence[str] | None, restriction: Restriction, sample: int) -> Fields:
        """Give what names mean in a search of these collections where only those that are listed are right."""
        return ITEM_FIELDS.only(self.item_names(asked, restriction, sample))

    def check_names(self, query: ItemQuery, restriction: Restriction, sample: int) -> None:
        """Raise BadQuery where a query filters or sorts by a name that is not listed."""
        if query.filter is not None or query.sort:
            _check(query, self.fields_for(query.collections, restriction, sample))

    def check_collection_names(self, query: CollectionQuery, restriction: Restriction) -> None:
        """Do the same for a query of collections."""
        if query.filter is not None or query.sort:
            _check(query, COLLECTION_FIELDS.only(self.collection_names(restriction)))

    def count(self, query: ItemQuery, restriction: Restriction, bound: int) -> Count:
        """Return how many items a search finds on all its pages: exactly, if they are no more than ``bound``."""
        number = self._number(query, restriction, bound)
        if number <= bound:
            return Count(matched=number)
        if restriction != UNRESTRICTED:
            return Count()
        return Count(estimate=max(number, self._look_at_all(query, partial(counting.estimate, query=query))))

    def _number(self, query: ItemQuery, restriction: Restriction, bound: int) -> int:
        """Count what a query finds, up to one more than ``bound``."""
        narrowed, left, ids = restrictions.resolve_query(query, restriction)
        visibility, most = VisibilityFilter(ids), bound + 1
        build = partial(counting.count_statement, narrowed, left, visibility)
        if not is_cacheable(query) or self.database.pooled:
            apart = build().params(most=most)
            return self._look_at_all(query, lambda connection: int(connection.execute(apart).scalar_one()))
        values = counting.parameters(narrowed, visibility, most)
        shape = ("count", frozenset(values), _told(left), orjson.dumps(query.filter))
        shapes = self._statements if query.filter is None else self._filter_statements
        (counted,) = shapes.get_or_build(shape, lambda: [build()], prepared=False)
        run = (counted.sql, counted.arguments(values))
        return self._look_at_all(query, lambda connection: int(connection.exec_driver_sql(*run).scalar_one()))

    def _is_quick(self, query: ItemQuery, bound: int | None) -> bool:
        """Whether all that a query finds is counted about as fast as its page is read."""
        if bound is None or bound > QUICK or self.database.pooled or not is_cacheable(query) or is_costly(query):
            return False
        return self.holds_at_most(bound)

    def holds_at_most(self, bound: int) -> bool:
        """Whether the catalogue has no more items than this, seen or hidden. It is looked up once in a while."""
        size, until = self._size
        if time.monotonic() >= until:
            some = sa.select(sa.literal(1)).select_from(items).limit(bound + 1).subquery()
            size = self._read(sa.select(sa.func.count()).select_from(some))[0][0]
            self._size = (size, time.monotonic() + SIZE_SECONDS)
        return size <= bound

    def browse(
        self, collection: str, within: Period | None, restriction: Restriction, after: str | None = None
    ) -> Contents:
        """Give what a span of time holds of a collection's items. See ``catalog/aggregation/by_time.py``."""
        work = partial(by_time.contents, collection=collection, within=within, after=after, restriction=restriction)
        return self.database.within(self._aggregate_timeout, work)

    def aggregations(
        self, asked: Sequence[str] | None, restriction: Restriction, sample: int
    ) -> dict[str, AggregationKind]:
        """Give the aggregations there are of the items of these collections; None: of all."""
        return aggregate.available(self.item_names(asked, restriction, sample))

    def aggregate(
        self, query: ItemQuery, restriction: Restriction, asked: AggregationQuery, sample: int
    ) -> list[Aggregation]:
        """Aggregate the items that a search finds. Raises BadQuery: an aggregation is not there."""
        seen = self.item_names(query.collections, restriction, sample)
        work = partial(aggregate.aggregate, query=query, restriction=restriction, request=asked, observed=seen)
        return self._look_at_all(query, work, len(asked.names))

    def _look_at_all(self, query: ItemQuery, work: Callable[[Connection], T], times: int = 1) -> T:
        """Do work on all that a query finds, ``times`` over. If that is costly, all statements share one timeout."""
        together = is_costly(query, times)
        seconds = min(self._costly_timeout, self._aggregate_timeout) if together else self._aggregate_timeout
        with _attributed(query):
            return self.database.within(seconds, work, together=together)

    def check(self) -> None:
        """See that the database answers and has the tables and columns that this release needs. Raises Unavailable."""
        try:
            self.database.read(lambda connection: [connection.execute(statement) for statement in _NEEDED])
        except Unavailable:
            raise
        except StacflaskError as error:
            raise Unavailable("The database has not been migrated to this release.", code="NotMigrated") from error
        if time.monotonic() >= self._dictionaries_until:
            self._check_dictionaries()

    def _check_dictionaries(self) -> None:
        """Check a sample of items for dictionaries that are lost or damaged. Raises Unavailable."""
        most = queryables.MAX_COLLECTIONS
        found = self.database.read(partial(lost, sample=DICTIONARY_SAMPLE, collections=most))
        frames = self.database.read(partial(sample_frames, rows=DICTIONARY_SAMPLE, collections=most))
        for one in found or unusable(self.codec, frames):
            raise Unavailable(f"Documents cannot be read: {one}.", code=LOST)
        self._dictionaries_until = time.monotonic() + DICTIONARIES_CHECKED

    @_from_one_server
    def item(self, collection: str, item: str, restriction: Restriction) -> Record:
        """Give one item. Raises NotFound, whether item or collection are absent or hidden."""
        name, left = restrictions.resolve_collection(collection, restriction)
        frame = self.database.value(self._items(_told(left)), collection=name, item=item)
        if frame is None:
            raise NotFound(f"There is no item {item!r} in collection {collection!r}.")
        return self._record(collection, item, frame)

    @_from_one_server
    def search(self, query: ItemQuery, restriction: Restriction, bound: int | None = None) -> Page:
        """Give a page of items. Raises BadQuery: they cannot be sorted like this, or the token is of another list.

        Items of all pages are counted with it up to ``bound``, if that costs one statement no more than the page.
        """
        order = item_order(query.sort)
        tokens = PageTokens(query, order)
        if query.token is not None:
            query = replace(query, token=tokens.read(partial(self._item_row, query, restriction)))
        with _attributed(query):
            rows = self._counted(query, restriction, bound) if self._is_quick(query, bound) else None
            rows = self._found(query, restriction) if rows is None else rows
        part = paging.slice_page(rows, query.limit, order.position(query.token), order.values)
        with turn(len(part.rows)):
            records = tuple(self._record(row.collection, row.id, row.body) for row in part.rows)
        matched = next((row.matched for row in reversed(rows) if getattr(row, "matched", None) is not None), None)
        return Page(records, tokens.write(part.next), tokens.write(part.prev), matched)

    def _counted(self, query: ItemQuery, restriction: Restriction, bound: int | None) -> Sequence[Any] | None:
        """Read one page and count with it; None: counting fails, which the page alone may not."""
        try:
            return self._found(query, restriction, bound)
        except BadValue:
            return None
        except Unavailable as error:
            if error.code != TIMEOUT:
                raise
            return None

    def _item_row(self, query: ItemQuery, restriction: Restriction, collection: str, item: str) -> Any:
        """Read the row of one item; None: the query does not find it, or not any more."""
        one = replace(query, limit=1, token=None, collections=(collection,), ids=(item,))
        return next(iter(self._found(one, restriction)), None)

    def _found(self, query: ItemQuery, restriction: Restriction, bound: int | None = None) -> Sequence[Any]:
        """Read one page. Of collections the statement tells in short what may be seen, if ids are all it takes."""
        narrowed, left, ids = restrictions.resolve_query(query, restriction)
        # What is told in short is right for rows, whose collections are looked at, and not for their number.
        read = partial(self._rows, narrowed, left, bound=bound if ids is ALL_IDS else None)
        return self._visibility.read_visible(ids, read, attrgetter("collection"))

    def _rows(
        self,
        query: ItemQuery,
        restriction: Restriction,
        visibility: VisibilityFilter = EVERYTHING_VISIBLE,
        *,
        bound: int | None = None,
    ) -> Sequence[Any]:
        """Read one page. Once an item has come that lasts longer than any before, nothing is found: read again."""
        duration_bound = None if query.interval is None else self._duration_bounds.get(query.collections)
        rows: list[Any] = []
        last: Sequence[Any] = ()
        for own, read in self._reads(query, restriction, visibility, duration_bound, bound):
            last = read()
            own.extend(last)
            # Between two statements an item can come to lie where the second one looks.
            rows.extend(_others(last, rows) if rows else last)
            if len(rows) > query.limit:
                return rows[: query.limit + 1]
        # What was found last was found while it still held.
        if last or duration_bound is None or self._duration_bounds.is_current(duration_bound):
            return rows
        return self._rows(query, restriction, visibility, bound=bound)

    def _reads(
        self,
        query: ItemQuery,
        restriction: Restriction,
        visibility: VisibilityFilter,
        duration_bound: DurationBound | None,
        bound: int | None,
    ) -> Iterator[tuple[list[Any], Callable[[], Sequence[Any]]]]:
        """Give what reads the rows of one page, one after the other, each with the list of its part's rows so far."""
        deadline = time.monotonic() + self._costly_timeout if is_costly(query) else None
        for part in list_parts(query):
            own: list[Any] = []
            # To be counted, all that the query finds is looked at anyway.
            counted = bound is not None
            for window in (
                [ALL_TIME] if counted else self._time_windows.plan(query, restriction, duration_bound, part, own)
            ):
                for read in self._steps(query, restriction, visibility, duration_bound, window, part, deadline, bound):
                    yield own, read
            bound = None  # a page that takes further statements is counted by one of its own

    def _steps(
        self,
        query: ItemQuery,
        restriction: Restriction,
        visibility: VisibilityFilter,
        duration_bound: DurationBound | None,
        window: TimeWindow,
        part: ListPart,
        deadline: float | None,
        bound: int | None,
    ) -> Iterator[Callable[[], Sequence[Any]]]:
        """Give what reads the rows of one stretch."""
        types = ordered_types(query, self._indexes.indexed_types)
        long = may_scan_many(query, restriction)
        if deadline is not None:
            for statement in page_statements(query, restriction, duration_bound, types, window, visibility, part):
                yield partial(self._read_before, deadline, statement)
            return
        build = partial(page_statements, query, restriction, duration_bound, types, window, visibility, part)
        if not is_cacheable(query) or self.database.pooled:
            for statement in build():
                yield partial(self._read, statement, long=long)
            return
        values = {**statement_parameters(query, duration_bound, window, part), **visibility.parameters()}
        if bound is not None:
            values["most"] = bound + 1
            build = partial(counting.page_statements_with_count, build, query, restriction)
        # Filters are many: those that come once must not push out what is asked for all the time.
        shapes = self._statements if query.filter is None else self._filter_statements
        way = window.scanned, reads_each_collection(query, restriction, part)
        shape = cache_key(query, values, part, (_told(restriction), types, orjson.dumps(query.filter), *way))
        settled = has_generic_plan(query, restriction) or window.scanned
        for found in shapes.get_or_build(shape, build, prepared=settled):
            yield partial(self.database.records, found, values, long=long)

    def _read(self, statement: Select[Any], *, long: bool = False) -> Sequence[Any]:
        return self.database.read(lambda connection: connection.execute(statement).all(), long=long)

    def _read_before(self, deadline: float, statement: Select[Any]) -> Sequence[Any]:
        """Read as one of several statements that must all end before a time on the monotonic clock."""
        seconds = deadline - time.monotonic()
        return self.database.within(seconds, lambda connection: connection.execute(statement).all())

    def asset(self, collection: str, item: str | None, key: str, restriction: Restriction) -> Asset:
        """Give one asset that is downloaded through the server, of an item or, with None, of the collection itself.

        A key that goes on below a directory asset's is a file in it, see ``Asset.path``.
        Raises NotFound: collection, item or asset are absent or hidden, or the asset's href is an ordinary one.
        """
        record = self.kept(collection, restriction) if item is None else self.item(collection, item, restriction)
        asset = asset_of(record.body, collection, item, key, self.directories)
        if asset is None:
            raise NotFound(f"There is no asset {key!r} that can be downloaded.")
        return asset

    def assets(self, record: Record, *, of_item: bool = True) -> list[Asset]:
        """Give all assets of an item, or of a collection, that are downloaded through the server."""
        return assets_of(record.body, record.collection, record.id if of_item else None)

    def _record(self, collection: str, identifier: str, frame: bytes) -> Record:
        return Record(collection, identifier, self.codec.decompress(frame), etag_of(frame))

    def _dictionary(self, identifier: int) -> bytes:
        statement = sa.select(dictionaries.c.data).where(dictionaries.c.id == identifier)
        data = self.database.read(lambda connection: connection.execute(statement).scalar_one_or_none())
        if data is None or not is_dictionary(identifier, data):
            raise StacflaskError(f"The compression dictionary {identifier} is missing or damaged.", code=LOST)
        return bytes(data)


@contextmanager
def _attributed(query: ItemQuery | CollectionQuery) -> Iterator[None]:
    """Name the filter as the parameter that is wrong if the database fails on a value."""
    try:
        yield
    except BadValue as error:
        if query.filter is None:
            raise
        raise BadQuery("filter", "the database cannot compute this condition for all that it is asked of") from error


def _others(rows: Sequence[Any], known: Sequence[Any]) -> list[Any]:
    """Return the rows of items that are not known yet."""
    keys = {(row.collection, row.id) for row in known}
    return [row for row in rows if (row.collection, row.id) not in keys]


def _item_lookup(told: bytes) -> Lookup:
    return lookup(_ITEM.where(*visible(_restriction(told))))


def _collection_lookup(told: bytes) -> Lookup:
    return lookup(_COLLECTION.where(*seen_collections(_restriction(told))))


def _of_seen(
    select: Callable[[list[sa.ColumnElement[bool]]], Select[Any]], visibility: VisibilityFilter
) -> Select[Any]:
    """Give a statement on collections that are seen."""
    return select(list(visibility.conditions(collections.c.id)))


def _told(restriction: Restriction) -> bytes:
    """Give a restriction as text, by which what was made of it is remembered: the same text is the same restriction."""
    if restriction is UNRESTRICTED:
        return b""
    try:
        return orjson.dumps([restriction.items, restriction.collections])
    except TypeError:  # an integer of more than 64 bits
        return msgspec.json.encode([restriction.items, restriction.collections])


def _restriction(told: bytes) -> Restriction:
    return Restriction(*msgspec.json.decode(told)) if told else UNRESTRICTED


def _check(query: ItemQuery | CollectionQuery, fields: Fields) -> None:
    """See whether all names are among these fields. Raises BadQuery."""
    if query.filter is not None:
        condition(query.filter, fields)
    if query.sort:
        SortOrder(query.sort, fields, ())
