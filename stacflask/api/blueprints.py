"""What all blueprints share: the parser that answers 400, and how an operation is described."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import flask_smorest
from flask import Response

from stacflask.api.openapi import PATH, failures
from stacflask.api.schemas import Parser

if TYPE_CHECKING:
    from marshmallow import Schema

    from stacflask.api.openapi import Schema as Description

View: TypeAlias = Callable[..., Response]
Decorator: TypeAlias = Callable[[View], View]

_FURTHER = "further parameters"
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
    """A blueprint whose wrong parameters are answered 400, and whose answers are described by ``describes`` alone."""

    ARGUMENTS_PARSER = Parser()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._prepare_doc_cbks = [self._prepare_arguments_doc]

    def route(self, rule: str, **options: Any) -> Decorator:
        """Serve a rule, and describe the names in it."""
        names = [dict(PATH[name]) for name in _NAME.findall(rule)]
        return cast("Decorator", super().route(rule, parameters=names, **options))

    def takes(self, schema: type[Schema], location: Literal["query", "json"]) -> Decorator:
        """Read the parameters of a search, and describe them; the view gets them first."""
        return cast("Decorator", self.arguments(schema, location=location))

    def takes_body(self, content: Description) -> Decorator:
        """Describe the body that the view reads itself."""
        return cast("Decorator", self.doc(requestBody={"required": True, "content": content}))

    def _prepare_arguments_doc(self, doc: Any, doc_info: Any, **more: Any) -> Any:
        doc = super()._prepare_arguments_doc(doc, doc_info, **more)
        further = doc_info["manual_doc"].pop(_FURTHER)
        return {**doc, "parameters": [*doc.get("parameters", ()), *map(dict, further)]} if further else doc

    def describes(self, *statuses: int, parameters: tuple[Description, ...] = (), **success: Description) -> Decorator:
        """Describe an operation: its successes as ``_200=answer(...)``, its errors by status, further parameters."""
        answers = {name.removeprefix("_"): described for name, described in success.items()}
        described = {"responses": {**answers, **failures(*statuses)}, _FURTHER: list(parameters)}

        def decorate(view: View) -> View:
            return cast("View", self.doc(operationId=view.__name__, **described)(view))

        return decorate
