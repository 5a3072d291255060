"""Unknown parameters of a query are an error, where the deployment says so. What is known, the description says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from flask import request

from stacflask.errors import BadQuery

if TYPE_CHECKING:
    from collections.abc import Callable

    from apispec import APISpec

UNKNOWN = "there is no such parameter here"
_NAME = re.compile(r"<(?:\w+:)?(\w+)>")


def checker(spec: APISpec) -> Callable[[], None]:
    """Make the check of each request's query against a finished description."""
    document = spec.to_dict()
    schemes = document.get("components", {}).get("securitySchemes", {}).values()
    always = _queried(schemes)
    components = document.get("components", {}).get("parameters", {})
    known = {
        (path, method): always | _queried(_resolved(one, components) for one in operation.get("parameters", ()))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if method != "parameters"
    }

    def check() -> None:
        """Raise BadQuery for a parameter that this operation does not have."""
        rule = _NAME.sub(r"{\1}", request.url_rule.rule) if request.url_rule else ""
        method = "get" if request.method == "HEAD" else request.method.lower()
        for name in request.args.keys() - known.get((rule, method), request.args.keys()):
            raise BadQuery(name, UNKNOWN)

    return check


def _resolved(parameter: Any, components: Any) -> Any:
    return components[parameter["$ref"].rpartition("/")[2]] if "$ref" in parameter else parameter


def _queried(parameters: Any) -> frozenset[str]:
    return frozenset(one["name"] for one in parameters if one.get("in") == "query")
