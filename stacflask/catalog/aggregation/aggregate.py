"""Aggregations: numbers and distributions of the items that a search finds, each computed by one statement.

The names of aggregations are those of a fixed table, and those of the properties of the visible items.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from difflib import get_close_matches
from functools import partial
from itertools import pairwise
from math import floor, log10
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection

from stacflask.catalog.aggregation import grids
from stacflask.catalog.cql2 import ITEM_FIELDS
from stacflask.catalog.cql2.values.types import Stored
from stacflask.catalog.database.tables import items
from stacflask.catalog.properties.observations import Observation, Observations
from stacflask.catalog.search.item_search import search_conditions
from stacflask.errors import BadQuery
from stacflask.model.decision import Restriction
from stacflask.model.page import Aggregation, Bucket
from stacflask.model.query import AggregationQuery, ItemQuery
from stacflask.stac.times import format_instant

MAX_BUCKETS = 10_000
"""Most buckets. More are an error if the client can choose their size. Otherwise the rest is the overflow."""
TARGET_TIME_BUCKETS = 100
"""Most buckets of time if the client chooses no interval."""
MAX_DEFAULT_RANGES = 20
"""Most ranges of numbers if the client chooses no width."""
SUFFIX = "_frequency"

INTERVALS = {
    "second": timedelta(seconds=1),
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
    "month": timedelta(days=30),
    "quarter": timedelta(days=91),
    "year": timedelta(days=365),
}
"""Names of intervals in PostgreSQL, and their approximate lengths."""

ALIASES = {
    "cloud_cover": "eo:cloud_cover",
    "snow_cover": "eo:snow_cover",
    "sun_elevation": "view:sun_elevation",
    "sun_azimuth": "view:sun_azimuth",
    "off_nadir": "view:off_nadir",
    "grid_code": "grid:code",
}
"""Names of properties that other servers use."""


class FoundItems:
    """The items that a search finds, and queries on them."""

    def __init__(
        self, connection: Connection, query: ItemQuery, restriction: Restriction, request: AggregationQuery
    ) -> None:
        self._connection = connection
        self._where = search_conditions(query, restriction)
        self.request = request

    def select(self, *columns: Any) -> sa.Select[Any]:
        """Return a statement that selects from these items."""
        return sa.select(*columns).select_from(items).where(*self._where)

    def value(self, column: Any, *where: Any) -> Any:
        """Return one value, such as an aggregate, of all items."""
        return self._connection.execute(self.select(column).where(*where)).scalar_one()

    def extremes(self, column: Any, *where: Any) -> tuple[Any, Any]:
        """Return the least and the greatest value, with one statement."""
        both = self.select(sa.func.min(column), sa.func.max(column)).where(*where)
        least, greatest = self._connection.execute(both).one()
        return least, greatest

    def count_by(self, key: Any, *more: Any) -> tuple[list[tuple[Any, int]], int]:
        """Return counts by key, the most frequent first, and the count of the rest (no key, too many keys)."""
        groups = self.select(key.label("key"), sa.func.count().label("frequency"))
        for joined in more:
            groups = groups.join(joined, sa.true(), isouter=True)
        grouped = groups.group_by(sa.literal_column("1")).subquery()
        whole = sa.func.sum(grouped.c.frequency).over()
        ordered = sa.select(grouped.c.key, grouped.c.frequency, whole).order_by(
            grouped.c.key.is_(None), grouped.c.frequency.desc(), grouped.c.key
        )
        rows = self._connection.execute(ordered.limit(MAX_BUCKETS)).all()
        counts = [(key, frequency) for key, frequency, _ in rows if key is not None]
        return counts, int(rows[0][2]) - sum(frequency for _, frequency in counts) if rows else 0


@dataclass(frozen=True, slots=True)
class AggregationKind:
    """An aggregation: the type of its result, and how to compute it."""

    data_type: str
    compute: Callable[[str, FoundItems], Aggregation]
    distributed: str | None = None
    """Type of the buckets of a distribution: ``string``, ``numeric``, ``datetime`` or ``boolean``."""


# --- Single values ----------------------------------------------------------------------------------------------------


def _total(name: str, items_found: FoundItems) -> Aggregation:
    return Aggregation(name, "integer", items_found.value(sa.func.count()))


def _extreme(of: Any, name: str, items_found: FoundItems) -> Aggregation:
    # An index on items with a datetime serves this form at once.
    moment = items_found.value(of(items.c.datetime), items.c.has_datetime)
    return Aggregation(name, "datetime", format_instant(moment) if moment is not None else None)


# --- Distributions ----------------------------------------------------------------------------------------------------


def _terms(key: Any, name: str, items_found: FoundItems, *joined: Any, of: str = "string") -> Aggregation:
    counts, overflow = items_found.count_by(key, *joined)
    buckets = tuple(Bucket(str(key), of, frequency) for key, frequency in counts)
    return Aggregation(name, buckets=buckets, overflow=overflow, distributed=of)


def _moments(moment: Any, name: str, items_found: FoundItems) -> Aggregation:
    return _by_time(moment, name, items_found, lambda: items_found.extremes(moment))


def _datetimes(name: str, items_found: FoundItems) -> Aggregation:
    own = sa.case((items.c.has_datetime, items.c.datetime))
    return _by_time(own, name, items_found, lambda: items_found.extremes(items.c.datetime, items.c.has_datetime))


def _by_time(moment: Any, name: str, items_found: FoundItems, ends: Callable[[], tuple[Any, Any]]) -> Aggregation:
    interval = items_found.request.interval or _default_interval(*ends())
    counts, overflow = items_found.count_by(sa.func.date_trunc(interval, moment, "UTC"))
    if len(counts) == MAX_BUCKETS:
        raise BadQuery("datetime_frequency_interval", f"expected one with fewer than {MAX_BUCKETS} buckets")
    buckets = tuple(Bucket(format_instant(key), "datetime", frequency) for key, frequency in sorted(counts))
    return Aggregation(name, buckets=buckets, overflow=overflow, distributed="datetime", interval=interval)


def _default_interval(first: Any, last: Any) -> str:
    span: timedelta = last - first if first is not None else timedelta()
    return next((name for name, length in INTERVALS.items() if span <= TARGET_TIME_BUCKETS * length), "year")


def _numbers(property_name: str, observed: Observation, number: Any, name: str, items_found: FoundItems) -> Aggregation:
    requested = items_found.request.ranges.get(property_name)
    edges = requested if isinstance(requested, tuple) else _edges(observed, requested)
    if not edges:
        return Aggregation(name, buckets=(), overflow=items_found.value(sa.func.count()), distributed="numeric")
    sides = sa.cast(sa.literal([Decimal(repr(edge)) for edge in edges], ARRAY(sa.Numeric)), ARRAY(sa.Numeric))
    counts, overflow = items_found.count_by(sa.func.width_bucket(number, sides, type_=sa.Integer))
    buckets = tuple(_range_buckets(edges, dict(counts), open_ends=isinstance(requested, tuple)))
    return Aggregation(name, buckets=buckets, overflow=overflow, distributed="numeric")


def _edges(observed: Observation, width: float | None) -> tuple[float, ...]:
    """Return the edges of ranges that contain all observed numbers, of this width or of a round one.

    They come from statistics and not from the items found, so the items are read once.
    """
    if observed.low is None or observed.high is None:
        return ()
    low, high = Decimal(repr(observed.low)), Decimal(repr(observed.high))
    step = Decimal(repr(width)) if width is not None else _round_step(high - low)
    first, last = floor(low / step), floor(high / step) + 1
    if last - first > MAX_BUCKETS:
        raise BadQuery("ranges", f"expected at most {MAX_BUCKETS} ranges")
    return tuple(float(step * number) for number in range(first, last + 1))


def _round_step(span: Decimal) -> Decimal:
    """Return the least of 1, 2, 5, 10, 20 ... that divides a span into at most ``MAX_DEFAULT_RANGES`` ranges."""
    if not span:
        return Decimal(1)
    magnitude = Decimal(10) ** floor(log10(span / MAX_DEFAULT_RANGES))
    return next(step for factor in (1, 2, 5, 10) if (step := magnitude * factor) * MAX_DEFAULT_RANGES >= span)


def _range_buckets(edges: Sequence[float], counts: Mapping[int, int], *, open_ends: bool) -> Iterator[Bucket]:
    sides = [None, *edges, None]
    for number, (low, high) in enumerate(pairwise(sides)):
        # Numbers outside of the observed range have buckets, too.
        if open_ends or number in counts or (low is not None and high is not None):
            key = f"{'*' if low is None else low}-{'*' if high is None else high}"
            yield Bucket(key, "numeric", counts.get(number, 0), low, high)


# --- Available aggregations -------------------------------------------------------------------------------------------


def _grid(cell: Callable[[int], Any], default: int, name: str, items_found: FoundItems) -> Aggregation:
    return _terms(cell(items_found.request.precision.get(name, default)), name, items_found)


_GEOHASH = partial(_grid, grids.geohash, grids.GEOHASH_DEFAULT)
_GEOTILE = partial(_grid, grids.geotile, grids.GEOTILE_DEFAULT)
FREQUENCY = "frequency_distribution"

GRIDS = {
    "centroid_geohash_grid_frequency": AggregationKind(FREQUENCY, _GEOHASH, "string"),
    "centroid_geotile_grid_frequency": AggregationKind(FREQUENCY, _GEOTILE, "string"),
    "grid_geohash_frequency": AggregationKind(FREQUENCY, _GEOHASH, "string"),
    "grid_geotile_frequency": AggregationKind(FREQUENCY, _GEOTILE, "string"),
}
FIXED = {
    "total_count": AggregationKind("integer", _total),
    "datetime_min": AggregationKind("datetime", partial(_extreme, sa.func.min)),
    "datetime_max": AggregationKind("datetime", partial(_extreme, sa.func.max)),
    "datetime_frequency": AggregationKind(FREQUENCY, _datetimes, "datetime"),
    "collection_frequency": AggregationKind(FREQUENCY, partial(_terms, items.c.collection), "string"),
    **GRIDS,
}


def available(observed: Observations) -> dict[str, AggregationKind]:
    """Return the aggregations of items with these properties by name."""
    own = {name: kind for name, one in sorted(observed.items()) if (kind := _of_property(name, one)) is not None}
    aliases = {
        name: own[property_name] for name, property_name in ALIASES.items() if property_name in own and name not in own
    }
    # The fixed ones come last, so that no property can replace one.
    return {f"{name}{SUFFIX}": kind for name, kind in (aliases | own).items()} | FIXED


def _of_property(name: str, observed: Observation) -> AggregationKind | None:
    """Return the distribution of a property, or None if its values cannot be counted."""
    stored = ITEM_FIELDS.stored(name)
    match sorted(observed.kinds):
        case ["time"]:
            return AggregationKind(FREQUENCY, partial(_moments, stored.moment), "datetime")
        case ["integer"] | ["number"] | ["integer", "number"]:
            return AggregationKind(FREQUENCY, partial(_numbers, name, observed, stored.number), "numeric")
        case ["array"] if observed.members is not None and observed.members.kinds <= _SCALARS:
            return AggregationKind(FREQUENCY, partial(_members, stored), "string")
        case kinds if _SCALARS.issuperset(kinds):
            of = "boolean" if kinds == ["boolean"] else "string"
            return AggregationKind(FREQUENCY, partial(_terms, stored.content, of=of), of)
    return None


_SCALARS = frozenset({"string", "time", "integer", "number", "boolean"})


def _members(stored: Stored, name: str, items_found: FoundItems) -> Aggregation:
    """Count items by the distinct members of an array."""
    members = sa.func.jsonb_array_elements_text(stored.array).column_valued("member")
    distinct = sa.select(members.label("member")).distinct().lateral("members")
    return _terms(distinct.c.member, name, items_found, distinct)


def aggregate(
    connection: Connection,
    query: ItemQuery,
    restriction: Restriction,
    request: AggregationQuery,
    observed: Observations,
) -> list[Aggregation]:
    """Compute the requested aggregations. Raises BadQuery if one does not exist."""
    kinds = available(observed)
    for name in request.names:
        if name not in kinds:
            similar = get_close_matches(name, kinds, n=1)
            hint = f"; is {similar[0]!r} meant?" if similar else ""
            raise BadQuery("aggregations", f"there is no aggregation {name[:80]!r} here{hint}")
    items_found = FoundItems(connection, query, restriction, request)
    return [kinds[name].compute(name, items_found) for name in dict.fromkeys(request.names)]
