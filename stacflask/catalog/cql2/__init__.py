"""CQL2 1.0 (OGC 21-065r2): from text to JSON, and from JSON to a condition in SQL."""

from stacflask.catalog.cql2.compile import condition
from stacflask.catalog.cql2.cost import COSTLY, MAXIMUM_COST, cost_of
from stacflask.catalog.cql2.fields import COLLECTION_FIELDS, ITEM_FIELDS, Fields
from stacflask.catalog.cql2.functions import FUNCTIONS
from stacflask.catalog.cql2.problems import Part
from stacflask.catalog.cql2.size import positions_in
from stacflask.catalog.cql2.text import parse

__all__ = [
    "COLLECTION_FIELDS",
    "COSTLY",
    "FUNCTIONS",
    "ITEM_FIELDS",
    "MAXIMUM_COST",
    "Fields",
    "Part",
    "condition",
    "cost_of",
    "parse",
    "positions_in",
]
