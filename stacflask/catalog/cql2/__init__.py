"""CQL2 1.0 (OGC 21-065r2): text becomes JSON, JSON becomes a condition in SQL.

Imports its three packages; other packages import the names below.
Start with ``compiler/compile.py``.
"""

from stacflask.catalog.cql2.compiler.compile import condition
from stacflask.catalog.cql2.compiler.cost import COSTLY, MAXIMUM_COST, cost_of
from stacflask.catalog.cql2.compiler.functions import FUNCTIONS
from stacflask.catalog.cql2.text.parser import parse
from stacflask.catalog.cql2.values.fields import COLLECTION_FIELDS, ITEM_FIELDS, Fields
from stacflask.catalog.cql2.values.problems import SubExpression
from stacflask.catalog.cql2.values.size import positions_in

__all__ = [
    "COLLECTION_FIELDS",
    "COSTLY",
    "FUNCTIONS",
    "ITEM_FIELDS",
    "MAXIMUM_COST",
    "Fields",
    "SubExpression",
    "condition",
    "cost_of",
    "parse",
    "positions_in",
]
