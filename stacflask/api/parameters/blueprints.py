"""The blueprint class of all endpoints: parses requests with status 400 for errors, and describes operations."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, cast

import flask_smorest
from flask import Response
from marshmallow import Schema

from stacflask.api.http.openapi import PATH, content, failures
from stacflask.api.http.openapi import Schema as Description
from stacflask.api.parameters import search_parameters
from stacflask.api.parameters.search_parameters import Parser

View: TypeAlias = Callable[..., Response]
Decorator: TypeAlias = Callable[[View], View]

PARSER = Parser()
_PARAMETERS_BY_NAME = "parameters by name"
_NAME = re.compile(r"<(?:\w+:)?(\w+)>")


class Api(flask_smorest.Api):  # type: ignore[misc]
    """The OpenAPI document, without the errors and header fields that flask-smorest adds by default."""

    def _register_responses(self) -> None:
        pass

    def _register_etag_headers(self) -> None:
        pass

    def _register_pagination_header(self) -> None:
        pass


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]
    """A blueprint whose operations are described only by the decorators of their views."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._prepare_doc_cbks = [_with_parameter_list]

    def route(self, rule: str, **options: Any) -> Decorator:
        """Register a route, and describe its path variables."""
        names = [dict(PATH[name]) for name in _NAME.findall(rule)]
        return cast("Decorator", super().route(rule, parameters=names, **options))

    def takes(self, schema: type[Schema]) -> Decorator:
        """Parse and describe query parameters. The view gets the result as its first argument."""
        parsed = PARSER.use_args(search_parameters.query_schema(schema), location="query")
        described = self._with_parameters(search_parameters.parameters(schema))
        return lambda view: described(cast("View", parsed(view)))

    def takes_posted(self, schema: type[Schema]) -> Decorator:
        """Parse and describe a JSON body. The view gets the result as its first argument."""
        # One schema object for all requests: webargs would create one per request, which takes longer than parsing.
        parsed = PARSER.use_args(schema(), location="json")
        described = self.takes_body(content(schema.__name__))
        return lambda view: described(cast("View", parsed(view)))

    def takes_body(self, content: Description) -> Decorator:
        """Describe a body that the view parses itself."""
        return cast("Decorator", self.doc(requestBody={"required": True, "content": content}))

    def describes(self, *statuses: int, parameters: Sequence[Description] = (), **success: Description) -> Decorator:
        """Describe an operation: successes as ``_200=response_object(...)``, errors by status, and parameters."""
        successes = {name.removeprefix("_"): described for name, described in success.items()}
        described = self._with_parameters(parameters)

        def decorate(view: View) -> View:
            document = self.doc(operationId=view.__name__, responses={**successes, **failures(*statuses)})
            return described(cast("View", document(view)))

        return decorate

    def _with_parameters(self, parameters: Sequence[Description]) -> Decorator:
        # By name, because flask-smorest merges mappings of several decorators and replaces lists.
        by_name = {parameter["name"]: parameter for parameter in parameters}
        return cast("Decorator", self.doc(**{_PARAMETERS_BY_NAME: by_name}))


def _with_parameter_list(doc: Description, doc_info: Description, **_: Any) -> Description:
    """Return the description with parameters as the list that OpenAPI requires."""
    parameters = doc_info["manual_doc"].pop(_PARAMETERS_BY_NAME).values()
    return {**doc, "parameters": [parameter.get("component", parameter) for parameter in parameters]}
