"""Endpoints that plugins add, served and described in the same way as the core's endpoints."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from apispec import APISpec
from flask import Flask, Response, request

from stacflask import current
from stacflask.api.http import bodies, media_types, path_tokens, public_url, responses
from stacflask.api.http.openapi import TEXT, content, failures, query, response_object
from stacflask.errors import SettingError
from stacflask.model.endpoint import Endpoint, EndpointRequest, EndpointResponse
from stacflask.model.principal import ANONYMOUS, Challenge

VARIABLE = "STACFLASK_PLUGINS"
FORM = "application/x-www-form-urlencoded"
_BRACED_VARIABLE = re.compile(r"\{(\w+)\}")
_VARIABLE = re.compile(r"<[^>]*>|\{\w+\}")


def register(app: Flask, spec: APISpec, challenges: Sequence[Challenge], endpoints: Sequence[Endpoint]) -> None:
    """Add the plugins' endpoints and security schemes to the application and its OpenAPI document.

    Raises SettingError if a path is already in use.
    """
    for challenge in challenges:
        spec.components.security_scheme(challenge.name, dict(challenge.scheme))
    if challenges:
        # The empty requirement makes credentials optional, because policies decide and not the path.
        spec.options["security"] = [{}, *({challenge.name: []} for challenge in challenges)]
    if endpoints:
        spec.tag({"name": "plugins", "description": "Endpoints of this deployment's plugins"})
    core = [*(rule.rule for rule in app.url_map.iter_rules()), f"{path_tokens.PREFIX}<path:rest>"]
    for number, endpoint in enumerate(endpoints):
        _check_free(core, endpoints[:number], endpoint)
        name = f"{endpoint.method} {endpoint.path}".replace(".", "_")
        app.add_url_rule(
            _BRACED_VARIABLE.sub(r"<\1>", endpoint.path), name, _view(endpoint), methods=[endpoint.method], defaults={}
        )
        rule = next(app.url_map.iter_rules(name))
        spec.path(rule=rule, operations={endpoint.method.lower(): _operation(endpoint)})


def _check_free(core: Sequence[str], others: Sequence[Endpoint], endpoint: Endpoint) -> None:
    """Check that a path belongs to one endpoint. Raises SettingError.

    A path must not overlap with a path of the core, with any method: a variable would match requests for the core, or
    the reverse. Endpoints of one plugin may overlap, as /links/{linkId} does with /links/narrowed.
    """
    place = f"{endpoint.by}: extend_api: {endpoint.method} {endpoint.path}"
    taken = next((rule for rule in core if overlaps(rule, endpoint.path)), None)
    if taken is not None:
        raise SettingError(VARIABLE, f"{place}: the path is already used by {taken}. Choose another path")
    for other in others:
        if other.method == endpoint.method and _conflict(other, endpoint):
            raise SettingError(
                VARIABLE, f"{place}: the path is already used by {other.path} of {other.by}. Choose another path"
            )


def _conflict(one: Endpoint, other: Endpoint) -> bool:
    if one.by == other.by:
        return _normalized(one.path) == _normalized(other.path)
    return overlaps(one.path, other.path)


def _normalized(path: str) -> str:
    """Return a path without the names of its variables and without a trailing slash."""
    return _VARIABLE.sub("{}", path).rstrip("/")


def overlaps(one: str, other: str) -> bool:
    """Return whether a path exists that matches both of these. Their variables are in <> or {}."""
    return _overlap(one.rstrip("/").split("/"), other.rstrip("/").split("/"))


def _overlap(one: Sequence[str], other: Sequence[str]) -> bool:
    if not one or not other:
        return not one and not other
    if _matches_slashes(one[0]) or _matches_slashes(other[0]):
        return True
    return _segments_overlap(one[0], other[0]) and _overlap(one[1:], other[1:])


def _matches_slashes(segment: str) -> bool:
    return segment.startswith(("<key:", "<path:"))


def _segments_overlap(one: str, other: str) -> bool:
    """Return whether two segments can be equal. Two segments with variables count as overlapping."""
    variables = [bool(_VARIABLE.search(segment)) for segment in (one, other)]
    if all(variables):
        return True
    fixed, variable = (other, one) if variables[0] else (one, other)
    pattern = "(.+)".join(map(re.escape, _VARIABLE.split(variable)))
    return re.fullmatch(pattern, fixed) is not None


def _view(endpoint: Endpoint) -> Callable[..., Response]:
    def view(**values: str) -> Response:
        principal = ANONYMOUS
        if not endpoint.public:
            principal = current.principal()
            current.gate().require_scope(principal, endpoint.required_scope)
        form = endpoint.forms and request.mimetype == FORM
        body = None
        if endpoint.request is not None:
            body = request.form.to_dict() if form else _body()
        return _response(
            endpoint.handler(
                EndpointRequest(principal, values, body, public_url.base_url(), current.plugin_request(), form)
            )
        )

    return view


def _response(result: EndpointResponse) -> Response:
    body = orjson.dumps(result.body) if result.media_type == media_types.JSON else str(result.body).encode()
    media_type = result.media_type + ("; charset=utf-8" if result.media_type.startswith("text/") else "")
    response = responses.reply(body, media_type, result.status, result.headers)
    for cookie in result.cookies:
        response.set_cookie(
            cookie.name,
            cookie.value,
            cookie.seconds,
            path=cookie.path,
            secure=cookie.secure,
            httponly=True,
            samesite="Lax",
        )
    return response


def _body() -> Any:
    if request.mimetype:
        bodies.expect(media_types.JSON)
    return bodies.parsed()


def _statuses(endpoint: Endpoint) -> list[int]:
    return sorted({*endpoint.statuses} if endpoint.public else {HTTPStatus.FORBIDDEN.value, *endpoint.statuses})


def _success(endpoint: Endpoint) -> dict[str, Any]:
    if endpoint.status == HTTPStatus.SEE_OTHER:
        return response_object("See Location.", Location="The URL to continue at.")
    return response_object("Success.", dict(endpoint.response), endpoint.media_type)


def _failures(endpoint: Endpoint) -> dict[str, Any]:
    described = failures(*_statuses(endpoint))
    if endpoint.media_type != media_types.JSON:
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
