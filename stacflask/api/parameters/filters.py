"""``filter``: a condition in CQL2, in either of its languages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from stacflask.api.http import bodies
from stacflask.catalog import cql2
from stacflask.catalog.cql2 import SubExpression
from stacflask.errors import BadDocument, BadQuery

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stacflask.model.json_types import Cql2

TEXT, JSON = "cql2-text", "cql2-json"
LANGUAGES = (TEXT, JSON)
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"


def given(value: Any) -> Any:
    """Take a condition as it comes: what it means depends on the language."""
    return value


def language(value: Any) -> str:
    """Read the name of a language."""
    if value not in LANGUAGES:
        raise ValueError(f"expected {TEXT} or {JSON}")
    return str(value)


def crs(value: Any) -> str:
    """Read the name of a reference system; there is one."""
    if value != CRS84:
        raise ValueError(f"expected {CRS84}: longitude and latitude, and no other system")
    return CRS84


def expression(value: Any, language: str) -> Cql2:
    """Read a condition. Raises BadQuery; what names and types mean, the catalogue sees."""
    if language == TEXT:
        if not isinstance(value, str):
            raise BadQuery("filter", f"expected a text, because filter-lang is {TEXT}")
        return cql2.parse(value)
    return cast("Cql2", _decoded(value) if isinstance(value, str) else value)


def together(conditions: Sequence[Cql2]) -> Cql2:
    """Give the condition that all of these hold."""
    if len(conditions) == 1:
        return conditions[0]
    return {"op": "and", "args": [SubExpression(one, "filter") if type(one) is dict else one for one in conditions]}


def _decoded(text: str) -> Any:
    """Read the JSON text that GET brings."""
    try:
        return bodies.decoded(text.encode(), exact=True)
    except BadDocument as error:
        raise BadQuery("filter", f"{error.problem} (filter-lang is {JSON})") from error
