"""``filter``: a condition in CQL2, as text or as JSON."""

from collections.abc import Sequence
from typing import Any, cast

from stacflask.api.http import bodies
from stacflask.catalog import cql2
from stacflask.catalog.cql2 import SubExpression
from stacflask.errors import BadDocument, BadQuery
from stacflask.model.json_types import Cql2

TEXT, JSON = "cql2-text", "cql2-json"
LANGUAGES = (TEXT, JSON)
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"


def unparsed(value: Any) -> Any:
    """Return a condition unchanged. It is parsed later, because its form depends on ``filter-lang``."""
    return value


def language(value: Any) -> str:
    """Read ``filter-lang``."""
    if value not in LANGUAGES:
        raise ValueError(f"expected {TEXT} or {JSON}")
    return str(value)


def crs(value: Any) -> str:
    """Read ``filter-crs``. CRS84 is the only one supported."""
    if value != CRS84:
        raise ValueError(f"expected {CRS84} (longitude, latitude), the only supported reference system")
    return CRS84


def expression(value: Any, language: str) -> Cql2:
    """Read a condition. The catalog checks names and types later. Raises BadQuery."""
    if language == TEXT:
        if not isinstance(value, str):
            raise BadQuery("filter", f"expected a string, because filter-lang is {TEXT}")
        return cql2.parse(value)
    return cast("Cql2", _from_json(value) if isinstance(value, str) else value)


def conjunction(conditions: Sequence[Cql2]) -> Cql2:
    """Return the condition that all of these hold."""
    if len(conditions) == 1:
        return conditions[0]
    return {"op": "and", "args": [SubExpression(one, "filter") if type(one) is dict else one for one in conditions]}


def _from_json(text: str) -> Any:
    """Parse the JSON in a query parameter."""
    try:
        return bodies.decoded(text.encode(), exact=True)
    except BadDocument as error:
        raise BadQuery("filter", f"{error.problem} (filter-lang is {JSON})") from error
