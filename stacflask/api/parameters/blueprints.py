"""What all blueprints share: the parser that answers 400, and how an operation is described."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import flask_smorest
from flask import Response

from stacflask.api.http.openapi import PATH, content, failures
from stacflask.api.parameters import search_parameters
from stacflask.api.parameters.search_parameters import Parser

if TYPE_CHECKING:
    from marshmallow import Schema

    from stacflask.api.http.openapi import Schema as Description

View: TypeAlias = Callable[..., Response]
Decorator: TypeAlias = Callable[[View], View]

PARSER = Parser()
_BY_NAME = "parameters by name"
_NAME = re.compile(r"<(?:\w+:)?(\w+)>")


class Api(flask_smorest.Api):  # type: ignore[misc]
    """The description, without the errors and headers that flask-smorest would describe by itself."""

    def _register_responses(self) -> None:
        pass

    def _register_etag_headers(self) -> None:
        pass

    def _register_pagination_header(self) -> None:
        pass


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]
    """A blueprint whose operations are described by what stands on their views, and by nothing else."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._prepare_doc_cbks = [_listed]

    def route(self, rule: str, **options: Any) -> Decorator:
        """Serve a rule, and describe the names in it."""
        names = [dict(PATH[name]) for name in _NAME.findall(rule)]
        return cast("Decorator", super().route(rule, parameters=names, **options))

    def takes(self, schema: type[Schema]) -> Decorator:
        """Read the words of a search from the query, and describe them. The view gets them first."""
        read = PARSER.use_args(search_parameters.reader(schema), location="query")
        described = self._has(search_parameters.parameters(schema))
        return lambda view: described(cast("View", read(view)))

    def takes_posted(self, schema: type[Schema]) -> Decorator:
        """Read the words of a search from the body, and describe them. The view gets them first."""
        # One for all requests: webargs would make one for each, which costs more than reading with it.
        read = PARSER.use_args(schema(), location="json")
        described = self.takes_body(content(schema.__name__))
        return lambda view: described(cast("View", read(view)))

    def takes_body(self, content: Description) -> Decorator:
        """Describe the body that the view reads itself."""
        return cast("Decorator", self.doc(requestBody={"required": True, "content": content}))

    def describes(self, *statuses: int, parameters: Sequence[Description] = (), **success: Description) -> Decorator:
        """Describe an operation: successes as ``_200=response_object(...)``, errors by status, and parameters."""
        answers = {name.removeprefix("_"): described for name, described in success.items()}
        described = self._has(parameters)

        def decorate(view: View) -> View:
            document = self.doc(operationId=view.__name__, responses={**answers, **failures(*statuses)})
            return described(cast("View", document(view)))

        return decorate

    def _has(self, parameters: Sequence[Description]) -> Decorator:
        # By name, because what several decorators say is joined, and a list would replace another.
        return cast("Decorator", self.doc(**{_BY_NAME: {one["name"]: one for one in parameters}}))


def _listed(doc: Description, doc_info: Description, **_: Any) -> Description:
    """Bring parameters into the form of OpenAPI."""
    parameters = doc_info["manual_doc"].pop(_BY_NAME).values()
    return {**doc, "parameters": [one.get("component", one) for one in parameters]}
