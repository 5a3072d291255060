"""Parameters of aggregations, in addition to those of searches: names, intervals, ranges, cell sizes."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

from marshmallow import post_load

from stacflask.api.http import bodies
from stacflask.api.http.openapi import TEXT, Schema, array, ref
from stacflask.api.parameters import parse
from stacflask.api.parameters.parse import expected
from stacflask.api.parameters.search_parameters import Parameter, SearchBody, SearchQuery, body
from stacflask.catalog.aggregation.aggregate import INTERVALS
from stacflask.catalog.aggregation.grids import GEOHASH_MAX, GEOTILE_MAX
from stacflask.errors import BadDocument
from stacflask.model.query import AggregationQuery, ItemQuery

MAX_AGGREGATIONS = 32
"""Aggregations in one request."""
MAX_BOUNDARIES = 1000
PAGE_PARAMETERS: tuple[str, ...] = ("limit", "token", "sortby", "fields_", "count")
"""Parameters of searches that aggregations do not have, because they return no items."""

NAMES = array(TEXT, maxItems=MAX_AGGREGATIONS, example=["total_count", "datetime_frequency"])
NAMES_TEXT = "Names of aggregations, as listed at /aggregations."
INTERVAL_TEXT = "The length of time buckets. By default, one that yields at most 100 buckets."
RANGES_TEXT = "For each property, the width of its numeric ranges, or an array of the boundaries between ranges."
CELLS_TEXT = "The size of the cells: characters of a geohash, or zoom level of a tile."
INTERVAL = {**TEXT, "enum": list(INTERVALS)}


class AggregationRequest(NamedTuple):
    """The items to aggregate, and the aggregations."""

    items: ItemQuery
    aggregations: AggregationQuery


# --- Reading ----------------------------------------------------------------------------------------------------------


def aggregation_names(value: Any) -> tuple[str, ...]:
    """Read an array of names of aggregations."""
    names = parse.names(value)
    if len(names) > MAX_AGGREGATIONS:
        raise expected(f"at most {MAX_AGGREGATIONS} aggregations, got {len(names)}")
    return names


def aggregation_names_text(text: str) -> tuple[str, ...]:
    """Read comma-separated names of aggregations."""
    return aggregation_names(list(parse.names_text(text)))


def interval(value: Any) -> str:
    """Read the name of an interval."""
    if not isinstance(value, str) or value not in INTERVALS:
        raise expected(f"one of {', '.join(INTERVALS)}")
    return value


def ranges(value: Any) -> dict[str, float | tuple[float, ...]]:
    """Read the ranges of each property: a width, or boundaries in ascending order."""
    if not isinstance(value, dict):
        raise expected("an object of properties")
    return {name: _range(name, bounds) for name, bounds in value.items()}


def ranges_text(text: str) -> dict[str, float | tuple[float, ...]]:
    """Read ranges from JSON text."""
    try:
        return ranges(bodies.decoded(text.encode()))
    except BadDocument as error:
        raise ValueError(f"expected an object of properties: {error.problem}") from error


def _range(name: str, value: Any) -> float | tuple[float, ...]:
    if _is_finite(value) and value > 0:
        return float(value)
    if not isinstance(value, list) or not 0 < len(value) <= MAX_BOUNDARIES or not all(map(_is_finite, value)):
        raise ValueError(f"{name[:40]}: expected a number above 0, or an array of up to {MAX_BOUNDARIES} numbers")
    boundaries = tuple(map(float, value))
    if any(low >= high for low, high in pairwise(boundaries)):
        raise ValueError(f"{name[:40]}: expected numbers in ascending order without duplicates")
    return boundaries


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300  # noqa: PLR2004


def _between(least: int, most: int) -> Callable[[Any], int]:
    def parse_integer(value: Any) -> int:
        number = int(value) if isinstance(value, str) and _DIGITS(value) else value
        # In JSON, 5.0 is the number 5.
        if isinstance(number, float) and number.is_integer():
            number = int(number)
        if not isinstance(number, int) or isinstance(number, bool) or not least <= number <= most:
            raise expected(f"an integer from {least} to {most}")
        return number

    return parse_integer


_DIGITS = re.compile(r"[0-9]{1,3}", re.ASCII).fullmatch
"""An integer in a query."""


def _precision(name: str) -> Parameter:
    least, most = (1, GEOHASH_MAX) if "geohash" in name else (0, GEOTILE_MAX)
    schema: Schema = {"type": "integer", "minimum": least, "maximum": most}
    return Parameter(_between(least, most), CELLS_TEXT, schema, data_key=f"{name}_precision")


# --- Parameters -------------------------------------------------------------------------------------------------------


class AggregateQuery(SearchQuery):
    """Parameters of GET /aggregate."""

    aggregations = Parameter(aggregation_names_text, NAMES_TEXT, NAMES)
    datetime_frequency_interval = Parameter(interval, INTERVAL_TEXT, INTERVAL)
    ranges = Parameter(ranges_text, RANGES_TEXT, ref("Ranges"))
    centroid_geohash = _precision("centroid_geohash_grid_frequency")
    centroid_geotile = _precision("centroid_geotile_grid_frequency")
    grid_geohash = _precision("grid_geohash_frequency")
    grid_geotile = _precision("grid_geotile_frequency")

    class Meta(SearchQuery.Meta):
        """Excludes the parameters of pages."""

        exclude: tuple[str, ...] = PAGE_PARAMETERS

    @post_load
    def search(self, data: dict[str, Any], **_: Any) -> Any:
        """Return the items and the aggregations."""
        own = {name: data.pop(name) for name in _OWN & data.keys()}
        cells = {name: own[key] for name, key in _CELLS.items() if key in own}
        aggregations = AggregationQuery(
            own.get("aggregations", ()), own.get("datetime_frequency_interval"), cells, own.get("ranges", {})
        )
        return AggregationRequest(super().search(data), aggregations)


_CELLS = {
    "centroid_geohash_grid_frequency": "centroid_geohash",
    "centroid_geotile_grid_frequency": "centroid_geotile",
    "grid_geohash_frequency": "grid_geohash",
    "grid_geotile_frequency": "grid_geotile",
}
_OWN = {"aggregations", "datetime_frequency_interval", "ranges", *_CELLS.values()}


class CollectionAggregateQuery(AggregateQuery):
    """Parameters of GET /collections/{collection_id}/aggregate."""

    class Meta(AggregateQuery.Meta):
        """Excludes ``collections``, because the collection is in the path."""

        exclude = (*PAGE_PARAMETERS, "collections")


class AggregateBody(SearchBody, AggregateQuery):
    """Body of POST /aggregate: the same parameters as JSON."""

    aggregations = Parameter(aggregation_names, NAMES_TEXT, NAMES)
    ranges = Parameter(ranges, RANGES_TEXT, ref("Ranges"))

    class Meta(AggregateQuery.Meta):
        """Excludes the parameters of pages."""


class CollectionAggregateBody(AggregateBody):
    """Body of POST /collections/{collection_id}/aggregate."""

    class Meta(CollectionAggregateQuery.Meta):
        """Excludes ``collections``, because the collection is in the path."""


BODIES = {schema.__name__: body(schema) for schema in (AggregateBody, CollectionAggregateBody)}
