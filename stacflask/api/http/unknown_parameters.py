"""Rejects query parameters that the OpenAPI document does not have, if a setting says so."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from apispec import APISpec
from flask import request

from stacflask.errors import BadQuery

UNKNOWN = "unknown parameter. The OpenAPI document at /api lists the parameters"
_NAME = re.compile(r"<(?:\w+:)?(\w+)>")


def checker(spec: APISpec) -> Callable[[], None]:
    """Return a function that checks the query of each request against a finished OpenAPI document."""
    document = spec.to_dict()
    schemes = document.get("components", {}).get("securitySchemes", {}).values()
    credentials = _query_names(schemes)
    components = document.get("components", {}).get("parameters", {})
    described = {
        (path, method): credentials
        | _query_names(_resolved(one, components) for one in operation.get("parameters", ()))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if method != "parameters"
    }

    def check() -> None:
        """Raise BadQuery for a parameter that this operation does not have."""
        rule = _NAME.sub(r"{\1}", request.url_rule.rule) if request.url_rule else ""
        method = "get" if request.method == "HEAD" else request.method.lower()
        for name in request.args.keys() - described.get((rule, method), request.args.keys()):
            raise BadQuery(name, UNKNOWN)

    return check


def _resolved(parameter: Any, components: Any) -> Any:
    return components[parameter["$ref"].rpartition("/")[2]] if "$ref" in parameter else parameter


def _query_names(parameters: Any) -> frozenset[str]:
    return frozenset(one["name"] for one in parameters if one.get("in") == "query")
