"""Addresses that plugins add: served and described like the core's own."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson
from flask import Response, request

from stacflask import current
from stacflask.api.http import bodies, media_types, path_tokens, public_url, responses
from stacflask.api.http.openapi import TEXT, content, failures, query, response_object
from stacflask.errors import SettingError
from stacflask.model.endpoint import EndpointRequest
from stacflask.model.principal import ANONYMOUS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from apispec import APISpec
    from flask import Flask

    from stacflask.model.endpoint import Endpoint, EndpointResponse
    from stacflask.model.principal import Challenge

VARIABLE = "STACFLASK_PLUGINS"
FORM = "application/x-www-form-urlencoded"
_VALUE = re.compile(r"\{(\w+)\}")
_VARIABLE = re.compile(r"<[^>]*>|\{\w+\}")


def register(app: Flask, spec: APISpec, challenges: Sequence[Challenge], endpoints: Sequence[Endpoint]) -> None:
    """Add the plugins' endpoints to the application and to its description, and their ways to be asked.

    Raises SettingError for an address that is taken already.
    """
    for challenge in challenges:
        spec.components.security_scheme(challenge.name, dict(challenge.scheme))
    if challenges:
        # The empty requirement says that credentials are never needed by the address alone: policy decides.
        spec.options["security"] = [{}, *({challenge.name: []} for challenge in challenges)]
    if endpoints:
        spec.tag({"name": "plugins", "description": "What the plugins of this deployment add"})
    core = [*(rule.rule for rule in app.url_map.iter_rules()), f"{path_tokens.PREFIX}<path:rest>"]
    for number, endpoint in enumerate(endpoints):
        _check_free(core, endpoints[:number], endpoint)
        name = f"{endpoint.method} {endpoint.path}".replace(".", "_")
        app.add_url_rule(
            _VALUE.sub(r"<\1>", endpoint.path), name, _view(endpoint), methods=[endpoint.method], defaults={}
        )
        rule = next(app.url_map.iter_rules(name))
        spec.path(rule=rule, operations={endpoint.method.lower(): _operation(endpoint)})


def _check_free(core: Sequence[str], others: Sequence[Endpoint], endpoint: Endpoint) -> None:
    """Check that a path leads to this endpoint alone. Raises SettingError.

    Of core, no path may be taken, by whatever method: a variable would catch what belongs to core, or be caught by it.
    Endpoints of one plugin may overlap, as /links/{linkId} does with /links/narrowed.
    """
    said = f"{endpoint.by}: extend_api: {endpoint.method} {endpoint.path}"
    taken = next((rule for rule in core if overlaps(rule, endpoint.path)), None)
    if taken is not None:
        raise SettingError(VARIABLE, f"{said}: this address is taken by {taken}")
    for other in others:
        if other.method == endpoint.method and _collide(other, endpoint):
            raise SettingError(VARIABLE, f"{said}: this address is taken by {other.path} of {other.by}")


def _collide(one: Endpoint, other: Endpoint) -> bool:
    if one.by == other.by:
        return _shape(one.path) == _shape(other.path)
    return overlaps(one.path, other.path)


def _shape(path: str) -> str:
    """Return a path without the names of its variables, and without a slash at its end."""
    return _VARIABLE.sub("{}", path).rstrip("/")


def overlaps(one: str, other: str) -> bool:
    """Whether some path would match both of these, whose variables stand in <> or {}."""
    return _overlap(one.rstrip("/").split("/"), other.rstrip("/").split("/"))


def _overlap(one: Sequence[str], other: Sequence[str]) -> bool:
    if not one or not other:
        return not one and not other
    if _is_rest(one[0]) or _is_rest(other[0]):
        return True
    return _meet(one[0], other[0]) and _overlap(one[1:], other[1:])


def _is_rest(segment: str) -> bool:
    """Whether a variable matches slashes, too."""
    return segment.startswith(("<key:", "<path:"))


def _meet(one: str, other: str) -> bool:
    """Whether two segments can be the same; two that both have variables are taken to be."""
    variables = [bool(_VARIABLE.search(segment)) for segment in (one, other)]
    if all(variables):
        return True
    fixed, form = (other, one) if variables[0] else (one, other)
    pattern = "(.+)".join(map(re.escape, _VARIABLE.split(form)))
    return re.fullmatch(pattern, fixed) is not None


def _view(endpoint: Endpoint) -> Callable[..., Response]:
    def view(**values: str) -> Response:
        principal = ANONYMOUS
        if not endpoint.for_anybody:
            principal = current.principal()
            current.gate().require_scope(principal, endpoint.required_scope)
        form = endpoint.forms and request.mimetype == FORM
        body = None
        if endpoint.request is not None:
            body = request.form.to_dict() if form else _body()
        return _reply(
            endpoint.handler(
                EndpointRequest(principal, values, body, public_url.base_url(), current.plugin_request(), form)
            )
        )

    return view


def _reply(given: EndpointResponse) -> Response:
    body = orjson.dumps(given.body) if given.media_type == media_types.JSON else str(given.body).encode()
    media_type = given.media_type + ("; charset=utf-8" if given.media_type.startswith("text/") else "")
    response = responses.reply(body, media_type, given.status, given.headers)
    for one in given.cookies:
        response.set_cookie(
            one.name, one.value, one.seconds, path=one.path, secure=one.secure, httponly=True, samesite="Lax"
        )
    return response


def _body() -> Any:
    if request.mimetype:
        bodies.expect(media_types.JSON)
    return bodies.parsed()


def _statuses(endpoint: Endpoint) -> list[int]:
    return sorted({*endpoint.statuses} if endpoint.for_anybody else {HTTPStatus.FORBIDDEN.value, *endpoint.statuses})


def _success(endpoint: Endpoint) -> dict[str, Any]:
    if endpoint.status == HTTPStatus.SEE_OTHER:
        return response_object("Go on there.", Location="Where.")
    return response_object("Done.", dict(endpoint.response), endpoint.media_type)


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
