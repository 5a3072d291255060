"""Addresses that plugins add: served and described like the core's own."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson
from flask import Response, request

from stacflask import current
from stacflask.api import address, bodies, render
from stacflask.api.openapi import TEXT, answer, content, failures, query
from stacflask.errors import SettingError
from stacflask.values import ANONYMOUS, Answer, Call, Challenge, Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from apispec import APISpec
    from flask import Flask

VARIABLE = "STACFLASK_PLUGINS"
FORM = "application/x-www-form-urlencoded"
_VALUE = re.compile(r"\{(\w+)\}")


def register(app: Flask, spec: APISpec, challenges: Sequence[Challenge], endpoints: Sequence[Endpoint]) -> None:
    """Add the plugins' endpoints to the application and to its description, and their ways to be asked.

    Raises SettingError for an address that is none, or taken already.
    """
    for challenge in challenges:
        spec.components.security_scheme(challenge.name, dict(challenge.scheme))
    if challenges:
        # The empty requirement says that credentials are never needed by the address alone: policy decides.
        spec.options["security"] = [{}, *({challenge.name: []} for challenge in challenges)]
    if endpoints:
        spec.tag({"name": "plugins", "description": "What the plugins of this deployment add"})
    for endpoint in endpoints:
        _see_that_it_is_free(app, endpoint)
        name = f"{endpoint.method} {endpoint.path}".replace(".", "_")
        app.add_url_rule(
            _VALUE.sub(r"<\1>", endpoint.path), name, _view(endpoint), methods=[endpoint.method], defaults={}
        )
        rule = next(app.url_map.iter_rules(name))
        spec.path(rule=rule, operations={endpoint.method.lower(): _operation(endpoint)})


def _see_that_it_is_free(app: Flask, endpoint: Endpoint) -> None:
    """See that nobody else answers there: it would never be asked. Raises SettingError."""
    said = f"extend_api: {endpoint.method} {endpoint.path}"
    if not endpoint.path.startswith("/"):
        raise SettingError(VARIABLE, f"{said}: expected a path that begins with a slash")
    taken = {(method, _shape(rule.rule)) for rule in app.url_map.iter_rules() for method in rule.methods or ()}
    if (endpoint.method, _shape(endpoint.path)) in taken:
        raise SettingError(VARIABLE, f"{said}: this address is taken")


def _shape(path: str) -> str:
    """Give a path without the names of its values."""
    return re.sub(r"<[^>]*>|\{\w+\}", "{}", path)


def _view(endpoint: Endpoint) -> Callable[..., Response]:
    def view(**values: str) -> Response:
        principal = ANONYMOUS
        if not endpoint.for_anybody:
            principal = current.principal()
            current.gate().admit(principal, endpoint.needed)
        form = endpoint.forms and request.mimetype == FORM
        body = None
        if endpoint.request is not None:
            body = request.form.to_dict() if form else _body()
        given = endpoint.handler(Call(principal, values, body, address.base_url(), current.asked(), form))
        if not isinstance(given, Answer):
            raise TypeError(f"{endpoint.method} {endpoint.path}: expected Answer, got {type(given).__name__}")
        return _reply(given)

    return view


def _reply(given: Answer) -> Response:
    body = orjson.dumps(given.body) if given.media_type == render.JSON else str(given.body).encode()
    media_type = given.media_type + ("; charset=utf-8" if given.media_type.startswith("text/") else "")
    response = render.reply(body, media_type, given.status, given.headers)
    for one in given.cookies:
        response.set_cookie(
            one.name, one.value, one.seconds, path=one.path, secure=one.secure, httponly=True, samesite="Lax"
        )
    return response


def _body() -> Any:
    if request.mimetype:
        bodies.expect(render.JSON)
    return bodies.parsed()


def _statuses(endpoint: Endpoint) -> list[int]:
    return sorted({*endpoint.statuses} if endpoint.for_anybody else {HTTPStatus.FORBIDDEN.value, *endpoint.statuses})


def _success(endpoint: Endpoint) -> dict[str, Any]:
    if endpoint.status == HTTPStatus.SEE_OTHER:
        return answer("Go on there.", Location="Where.")
    return answer("Done.", dict(endpoint.response), endpoint.media_type)


def _failures(endpoint: Endpoint) -> dict[str, Any]:
    described = failures(*_statuses(endpoint))
    if endpoint.media_type != render.JSON:
        for failure in described.values():
            failure["content"][endpoint.media_type] = {"schema": TEXT}
    return described


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    success = {str(endpoint.status): _success(endpoint)}
    operation: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{endpoint.method.lower()} {endpoint.path}").strip("_"),
        "summary": endpoint.summary,
        "responses": {**success, **_failures(endpoint)},
        "tags": ["plugins"],
        "parameters": [query(name, text, TEXT) for name, text in endpoint.query.items()],
    }
    if endpoint.request is not None:
        operation["requestBody"] = {"required": True, "content": content(dict(endpoint.request))}
    return operation
