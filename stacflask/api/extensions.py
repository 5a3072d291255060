"""Addresses that plugins add: served and described like the core's own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson
from flask import Response, request

from stacflask import current
from stacflask.api import address, bodies, render
from stacflask.api.openapi import answer, content, failures
from stacflask.values import Call, Challenge, Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from apispec import APISpec
    from flask import Flask

_VALUE = re.compile(r"\{(\w+)\}")


def register(app: Flask, spec: APISpec, challenges: Sequence[Challenge], endpoints: Sequence[Endpoint]) -> None:
    """Add the plugins' endpoints to the application and to its description, and their ways to be asked."""
    for challenge in challenges:
        spec.components.security_scheme(challenge.name, dict(challenge.scheme))
    if challenges:
        # The empty requirement says that credentials are never needed by the address alone: policy decides.
        spec.options["security"] = [{}, *({challenge.name: []} for challenge in challenges)]
    if endpoints:
        spec.tag({"name": "plugins", "description": "What the plugins of this deployment add"})
    for endpoint in endpoints:
        name = f"{endpoint.method} {endpoint.path}".replace(".", "_")
        app.add_url_rule(
            _VALUE.sub(r"<\1>", endpoint.path), name, _view(endpoint), methods=[endpoint.method], defaults={}
        )
        rule = next(app.url_map.iter_rules(name))
        spec.path(rule=rule, operations={endpoint.method.lower(): _operation(endpoint)})


def _view(endpoint: Endpoint) -> Callable[..., Response]:
    def view(**values: str) -> Response:
        body = _body() if endpoint.request is not None else None
        reply = endpoint.handler(Call(current.principal(), values, body, address.base_url()))
        return render.reply(orjson.dumps(reply.body), status=reply.status, headers=reply.headers)

    return view


def _body() -> Any:
    if request.mimetype:
        bodies.expect(render.JSON)
    return bodies.parsed()


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    success = {str(endpoint.status): answer("Done.", dict(endpoint.response))}
    operation: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{endpoint.method.lower()} {endpoint.path}").strip("_"),
        "summary": endpoint.summary,
        "responses": {**success, **failures(*endpoint.statuses)},
        "tags": ["plugins"],
    }
    if endpoint.request is not None:
        operation["requestBody"] = {"required": True, "content": content(dict(endpoint.request))}
    return operation
