"""Properties of a search that determine its plan and its share of time and connections."""

from stacflask.catalog.cql2 import COSTLY, cost_of, positions_in
from stacflask.catalog.search import freetext
from stacflask.model.decision import Restriction
from stacflask.model.json_types import Cql2
from stacflask.model.query import ItemQuery

INDEXED_NAMES = ("datetime", "properties.datetime", "id", "collection")
"""Sort keys that an index serves, without reading every item."""
COSTLY_TEXTS = 50
"""Number of free texts above which a search is costly."""
COSTLY_POSITIONS = 5_000
"""Number of positions in ``intersects`` above which a search is costly."""


def is_unfiltered(query: ItemQuery) -> bool:
    """Return whether a query finds all items of its collections, or all of those in some time range."""
    conditions = (query.bbox, query.intersects, query.ids, query.text, query.filter)
    return all(part is None for part in conditions)


def compares_only_datetime(condition: Cql2 | None) -> bool:
    """Return whether a condition compares only the item's datetime, as that of an embargo does."""
    match condition:
        case None | {"op": "<" | "<=" | ">" | ">=", "args": [{"property": "datetime"}, {"timestamp": str()}]}:
            return True
    return False


def may_scan_many(query: ItemQuery, restriction: Restriction) -> bool:
    """Return whether a search may read many items for each item found, because no index serves its conditions."""
    filtered = query.filter is not None or query.text is not None or query.intersects is not None
    return (
        filtered
        or any(key.name not in INDEXED_NAMES for key in query.sort)
        or not compares_only_datetime(restriction.items)
    )


def is_costly(query: ItemQuery, times: int = 1) -> bool:
    """Return whether the conditions of a search are so slow that 100,000 items take seconds.

    ``times`` is how often the conditions are computed for an item.
    """
    cost = 0 if query.filter is None else cost_of(query.filter)
    positions = 0 if query.intersects is None else positions_in(query.intersects)
    terms = 0 if query.text is None else freetext.count(query.text)
    shares = (cost / COSTLY, positions / COSTLY_POSITIONS, terms / COSTLY_TEXTS)
    return sum(shares) * times > 1
