"""Maps exceptions to error responses. Every 4xx and 5xx has the body ``{"code", "description"}``."""

import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import orjson
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from stacflask import current, errors
from stacflask.api.http import reason_phrases
from stacflask.api.http.public_url import base_url

log = logging.getLogger(__name__)

STATUS: dict[type[errors.StacflaskError], int] = {
    errors.NotFound: 404,
    errors.Missing: 404,
    errors.NoStore: 404,
    errors.TooManyItems: 413,
    errors.BadQuery: 400,
    errors.BadDocument: 400,
    errors.BadValue: 400,
    errors.BadCredentials: 401,
    errors.Refused: 403,
    errors.Conflict: 409,
    errors.PreconditionFailed: 412,
    errors.PreconditionRequired: 428,
    errors.NoAnswer: 500,
    errors.NotStreamable: 501,
    errors.Unavailable: 503,
    errors.Offline: 202,
    errors.SettingError: 500,
    errors.StacflaskError: 500,
}
QUOTA_EXHAUSTED = 429

CODES = {
    400: "BadRequest",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    413: "ContentTooLarge",
    415: "UnsupportedMediaType",
    416: "RangeNotSatisfiable",
}


def register(app: Flask) -> None:
    """Register handlers for all errors of this application."""
    app.register_error_handler(errors.StacflaskError, stacflask_error_response)
    app.register_error_handler(HTTPException, http_error_response)
    app.register_error_handler(Exception, unexpected_error_response)


def stacflask_error_response(error: errors.StacflaskError) -> Response:
    """Return the response for one of stacflask's exceptions."""
    if isinstance(error, errors.Refused):
        return _refusal_response(error)
    if isinstance(error, errors.SettingError):
        return unexpected_error_response(error)  # its text may contain the value of a setting
    # A plugin may have derived its own exception from one of these.
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("server error", exc_info=error)  # a note in the exception names the plugin that raised it
    headers = {}
    if isinstance(error, errors.Unavailable):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, errors.Offline):
        headers["Retry-After"] = str(error.order.retry_after)
    response = error_response(status, error.code, error.description, headers)
    if isinstance(error, errors.BadCredentials):
        _add_challenges(response, error="invalid_token", error_description=error.description)
    return response


def _refusal_response(error: errors.Refused) -> Response:
    decision = error.decision
    headers = dict(decision.headers)
    extra = dict(decision.extra)
    if decision.retry_after is not None:
        headers["Retry-After"] = str(decision.retry_after)
    description = error.description
    if decision.link is not None:
        description = f"{description} See {base_url()}{decision.link}."
        extra["links"] = [{"rel": decision.rel, "href": base_url() + decision.link, "type": "application/json"}]
        headers["Link"] = f'<{base_url()}{decision.link}>; rel="{decision.rel}"'
    if current.is_anonymous() if error.anonymous is None else error.anonymous:
        required = _authentication_required()
        text = f"{required} {description}" if decision.detail else required
        response = error_response(401, "Unauthorized", text, headers, extra)
        _add_challenges(response)
        return response
    status = QUOTA_EXHAUSTED if decision.kind == "exhausted" else STATUS[errors.Refused]
    response = error_response(status, error.code, description, headers, extra)
    if decision.scope is not None and _authorization_is("bearer"):
        _add_challenges(
            response, "bearer", error="insufficient_scope", scope=decision.scope, error_description=error.description
        )
    return response


def _authentication_required() -> str:
    """Return that authentication is required, with the instructions of the plugins."""
    instructions = dict.fromkeys(one.instruction for one in current.gate().challenges() if one.instruction)
    steps = ", or ".join(instructions).replace("{base_url}", base_url())
    return f"Authentication required: {steps}." if steps else "Authentication required."


def _add_challenges(response: Response, only: str = "", **attributes: str) -> None:
    """Add WWW-Authenticate fields of the plugins; ``attributes`` are for a client that sent a token (RFC 6750, 3)."""
    headers = dict.fromkeys(challenge.header for challenge in current.gate().challenges() if challenge.header)
    for header in _for_scripts(headers) if request.headers.get("Sec-Fetch-Dest") == "empty" else headers:
        scheme = header.partition(" ")[0].lower()
        if scheme.startswith(only):
            added = attributes if scheme == "bearer" and _authorization_is("bearer") else {}
            response.headers.add("WWW-Authenticate", _with_attributes(header, added))


def _for_scripts(headers: Iterable[str]) -> Iterable[str]:
    """Omit Basic if there are other schemes, because browsers open a password dialog for it during a script."""
    return [header for header in headers if not header.lower().startswith("basic ")] or headers


def _authorization_is(scheme: str) -> bool:
    return request.headers.get("Authorization", "").partition(" ")[0].lower() == scheme


def _with_attributes(header: str, attributes: dict[str, str]) -> str:
    parts = [f'{name}="{_quotable(value)}"' for name, value in attributes.items()]
    return ", ".join([header, *parts]) if "=" in header else " ".join([header, ", ".join(parts)]).rstrip()


def _quotable(text: str) -> str:
    return "".join(c for c in text if " " <= c <= "~" and c not in '"\\')


def http_error_response(error: HTTPException) -> Response:
    """Return the response for an exception of the framework, with its header fields (Allow, Accept-Patch)."""
    if error.response is not None:
        return error.response  # type: ignore[return-value]
    status = error.code or 500
    kept = {
        name: value for name, value in error.get_headers() if name.lower() not in ("content-type", "content-length")
    }
    messages = getattr(error, "data", {}).get("messages")
    if messages:
        return error_response(status, errors.BadQuery.code, "; ".join(_lines(messages)), kept)
    description = error.description or error.name
    if isinstance(error, RequestEntityTooLarge):
        description = f"Expected a body of at most {request.max_content_length} bytes."
    return error_response(status, CODES.get(status) or error.name.replace(" ", ""), description, kept)


def _lines(messages: Any, path: tuple[str, ...] = ()) -> list[str]:
    """Return marshmallow's nested messages as ``parameter: what is wrong``, without their location (query, json)."""
    if isinstance(messages, dict):
        return [line for key, inner in messages.items() for line in _lines(inner, (*path, str(key)))]
    text = " ".join(str(message) for message in messages) if isinstance(messages, list) else str(messages)
    name = ".".join(part for part in path[1:] if part != "_schema")
    return [f"{name}: {text}" if name else text]


def unexpected_error_response(error: Exception) -> Response:
    """Log an unexpected exception, and return a response without its details."""
    log.error("unexpected error", exc_info=error)
    return error_response(
        500,
        "ServerError",
        f"Internal server error. Report it to the operator with request id {g.get('request_id')}, which is in the log.",
    )


def error_response(
    status: int,
    code: str,
    description: str,
    headers: dict[str, str] | None = None,
    extra: dict[str, Any] | None = None,
) -> Response:
    """Return an error response, as JSON or as plain text."""
    more = extra or {}
    line = reason_phrases.status_line(status, description) if status >= HTTPStatus.BAD_REQUEST else status
    if reason_phrases.wants_text():
        response = Response(reason_phrases.as_text(description, more), line, mimetype="text/plain")
    else:
        body = orjson.dumps({"code": code, "description": description, **more})
        response = Response(body, line, mimetype="application/json")
    response.headers.update(headers or {})
    # A later request may be granted, or the resource may exist then.
    response.headers["Cache-Control"] = "no-store"
    return response
