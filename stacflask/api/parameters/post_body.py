"""Converts a search by GET to the body of a search by POST, for pages whose URL would be too long."""

from collections.abc import Callable
from typing import Any

from flask import request
from marshmallow import Schema
from msgspec import Raw

from stacflask.api.parameters import filters, parse, search_parameters, sorting


def search_body(schema: type[Schema], **fixed: Any) -> dict[str, Any]:
    """Return the query parameters of the request that ``schema`` has, as the body of a search, with ``fixed``."""
    names = {field.data_key or name for name, field in schema().fields.items()} & _READ.keys()
    arguments = search_parameters.arguments(request)
    body = {name: _READ[name](text) for name, text in arguments.items() if name in names}
    if "filter" in arguments:
        language = body.setdefault("filter-lang", filters.TEXT)
        body["filter"] = arguments["filter"] if language == filters.TEXT else _raw(arguments["filter"])
    return {**body, **fixed}


def _raw(text: str) -> Raw:
    return Raw(text.encode())


def _sort(text: str) -> list[dict[str, str]]:
    return [{"field": key.name, "direction": "desc" if key.descending else "asc"} for key in sorting.sort_text(text)]


def _fields(text: str) -> dict[str, list[str]]:
    names = [name.strip() for name in text.split(",")]
    return {
        "include": [name.removeprefix("+").strip() for name in names if not name.startswith("-")],
        "exclude": [name[1:].strip() for name in names if name.startswith("-")],
    }


_READ: dict[str, Callable[[str], Any]] = {
    "limit": parse.limit_text,
    "bbox": parse.bbox_text,
    "datetime": str,
    "intersects": _raw,
    "ids": parse.names_text,
    "collections": parse.names_text,
    "q": str,
    "filter-lang": str,
    "filter-crs": str,
    "query": _raw,
    "sortby": _sort,
    "fields": _fields,
    "count": parse.flag_text,
}
