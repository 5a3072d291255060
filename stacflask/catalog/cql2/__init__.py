"""CQL2 1.0 (OGC 21-065r2): from text to JSON, and from JSON to a condition in SQL.

Other packages import it from here; it imports its three parts.
Start with ``compiler/compile.py``.
"""

from stacflask.catalog.cql2.compiler.compile import condition
from stacflask.catalog.cql2.compiler.cost import COSTLY, MAXIMUM_COST, cost_of
from stacflask.catalog.cql2.compiler.functions import FUNCTIONS
from stacflask.catalog.cql2.text.parser import parse
from stacflask.catalog.cql2.values.fields import COLLECTION_FIELDS, ITEM_FIELDS, Fields
from stacflask.catalog.cql2.values.problems import Part
from stacflask.catalog.cql2.values.size import positions_in

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
