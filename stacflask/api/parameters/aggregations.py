"""The words of an aggregation beside those of a search: what to aggregate, and how fine."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from marshmallow import post_load

from stacflask.api.http import bodies
from stacflask.api.http.openapi import TEXT, array, ref
from stacflask.api.parameters import parse
from stacflask.api.parameters.parse import expected
from stacflask.api.parameters.search_parameters import Read, SearchBody, SearchQuery, body
from stacflask.catalog.aggregation.aggregate import INTERVALS
from stacflask.catalog.aggregation.grids import GEOHASH_MAX, GEOTILE_MAX
from stacflask.errors import BadDocument
from stacflask.model.query import AggregationQuery, ItemQuery

if TYPE_CHECKING:
    from collections.abc import Callable

    from stacflask.api.http.openapi import Schema

MOST = 32
"""Aggregations in one request."""
MOST_SIDES = 1000
NOT_OF_PAGES: tuple[str, ...] = ("limit", "token", "sortby", "shown", "count")
"""Words of a search that mean nothing where no items are listed."""

NAMES = array(TEXT, maxItems=MOST, example=["total_count", "datetime_frequency"])
WHICH = "Which aggregations, by the names that /aggregations lists."
LENGTH = "The length of buckets of time; unless said, one that makes a hundred of them or fewer."
RANGES = "By property, the width of ranges of numbers, or an array of the sides between them."
CELLS = "The size of the cells: characters of a geohash, or zoom of a tile."
INTERVAL = {**TEXT, "enum": list(INTERVALS)}


class Asked(NamedTuple):
    """Which items, and what to make of them."""

    items: ItemQuery
    aggregations: AggregationQuery


# --- Reading ----------------------------------------------------------------------------------------------------------


def several(value: Any) -> tuple[str, ...]:
    """Read an array of names, of which there are not too many."""
    names = parse.names(value)
    if len(names) > MOST:
        raise expected(f"{MOST} aggregations at most")
    return names


def several_text(text: str) -> tuple[str, ...]:
    """Read names with commas between them."""
    return several(list(parse.names_text(text)))


def interval(value: Any) -> str:
    """Read the name of an interval."""
    if not isinstance(value, str) or value not in INTERVALS:
        raise expected(f"one of {', '.join(INTERVALS)}")
    return value


def ranges(value: Any) -> dict[str, float | tuple[float, ...]]:
    """Read ranges by property: a width, or their sides in order."""
    if not isinstance(value, dict):
        raise expected("an object of properties")
    return {name: _sides(name, given) for name, given in value.items()}


def ranges_text(text: str) -> dict[str, float | tuple[float, ...]]:
    """Read ranges from JSON text."""
    try:
        return ranges(bodies.decoded(text.encode()))
    except BadDocument as error:
        raise ValueError(f"expected an object of properties: {error.problem}") from error


def _sides(name: str, given: Any) -> float | tuple[float, ...]:
    if _is_finite(given) and given > 0:
        return float(given)
    if not isinstance(given, list) or not 0 < len(given) <= MOST_SIDES or not all(map(_is_finite, given)):
        raise ValueError(f"{name[:40]}: expected a number above 0, or an array of up to {MOST_SIDES} numbers")
    sides = tuple(map(float, given))
    if any(low >= high for low, high in pairwise(sides)):
        raise ValueError(f"{name[:40]}: expected numbers in order, none of them twice")
    return sides


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300  # noqa: PLR2004


def _between(least: int, most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        number = int(value) if isinstance(value, str) and _DIGITS(value) else value
        # In JSON, 5.0 is the number 5.
        if isinstance(number, float) and number.is_integer():
            number = int(number)
        if not isinstance(number, int) or isinstance(number, bool) or not least <= number <= most:
            raise expected(f"a whole number from {least} to {most}")
        return number

    return read


_DIGITS = re.compile(r"[0-9]{1,3}", re.ASCII).fullmatch
"""A number as GET brings it."""


def _precision(name: str) -> Read:
    least, most = (1, GEOHASH_MAX) if "geohash" in name else (0, GEOTILE_MAX)
    schema: Schema = {"type": "integer", "minimum": least, "maximum": most}
    return Read(_between(least, most), CELLS, schema, data_key=f"{name}{_PRECISION}")


_PRECISION = "_precision"

# --- Parameters -------------------------------------------------------------------------------------------------------


class AggregateQuery(SearchQuery):
    """GET of an aggregation."""

    aggregations = Read(several_text, WHICH, NAMES)
    datetime_frequency_interval = Read(interval, LENGTH, INTERVAL)
    ranges = Read(ranges_text, RANGES, ref("Ranges"))
    centroid_geohash = _precision("centroid_geohash_grid_frequency")
    centroid_geotile = _precision("centroid_geotile_grid_frequency")
    grid_geohash = _precision("grid_geohash_frequency")
    grid_geotile = _precision("grid_geotile_frequency")

    class Meta(SearchQuery.Meta):
        """Without the words of pages."""

        exclude: tuple[str, ...] = NOT_OF_PAGES

    @post_load
    def search(self, data: dict[str, Any], **_: Any) -> Any:
        """Tell what to aggregate from which items."""
        own = {name: data.pop(name) for name in _OWN & data.keys()}
        cells = {name: own[key] for name, key in _CELLS.items() if key in own}
        asked = AggregationQuery(
            own.get("aggregations", ()), own.get("datetime_frequency_interval"), cells, own.get("ranges", {})
        )
        return Asked(super().search(data), asked)


_CELLS = {
    "centroid_geohash_grid_frequency": "centroid_geohash",
    "centroid_geotile_grid_frequency": "centroid_geotile",
    "grid_geohash_frequency": "grid_geohash",
    "grid_geotile_frequency": "grid_geotile",
}
_OWN = {"aggregations", "datetime_frequency_interval", "ranges", *_CELLS.values()}


class CollectionAggregateQuery(AggregateQuery):
    """GET of an aggregation of one collection's items."""

    class Meta(AggregateQuery.Meta):
        """The collection stands in the address."""

        exclude = (*NOT_OF_PAGES, "collections")


class AggregateBody(SearchBody, AggregateQuery):
    """POST of an aggregation: the same words as JSON."""

    aggregations = Read(several, WHICH, NAMES)
    ranges = Read(ranges, RANGES, ref("Ranges"))

    class Meta(AggregateQuery.Meta):
        """Without the words of pages."""


class CollectionAggregateBody(AggregateBody):
    """POST of an aggregation of one collection's items."""

    class Meta(CollectionAggregateQuery.Meta):
        """The collection stands in the address."""


BODIES = {schema.__name__: body(schema) for schema in (AggregateBody, CollectionAggregateBody)}
