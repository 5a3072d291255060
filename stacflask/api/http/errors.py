"""From error to answer: one table. Every 4xx and 5xx has the body ``{"code", "description"}``."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson
from flask import Response, g, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from stacflask import current, errors
from stacflask.api.http import reason_phrases
from stacflask.api.http.public_url import base_url

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flask import Flask

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
    errors.Unavailable: 503,
    errors.Offline: 202,
    errors.SettingError: 500,
    errors.StacflaskError: 500,
}
EXHAUSTED = 429

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
    """Answer every error of this application in the house's form."""
    app.register_error_handler(errors.StacflaskError, answer)
    app.register_error_handler(HTTPException, answer_http)
    app.register_error_handler(Exception, answer_unforeseen)


def answer(error: errors.StacflaskError) -> Response:
    """Answer one of the house's own errors."""
    if isinstance(error, errors.Refused):
        return _refusal(error)
    if isinstance(error, errors.SettingError):
        return answer_unforeseen(error)  # its text may hold a setting's value
    # A plugin may have made an error of its own out of one of these.
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("server error", exc_info=error)  # it has a note of the plugin that raised it
    headers = {}
    if isinstance(error, errors.Unavailable):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, errors.Offline):
        headers["Retry-After"] = str(error.order.retry_after)
    response = respond(status, error.code, error.description, headers)
    if isinstance(error, errors.BadCredentials):
        _challenge(response, error="invalid_token", error_description=error.description)
    return response


def _refusal(error: errors.Refused) -> Response:
    decision = error.decision
    headers = dict(decision.headers)
    extra = dict(decision.extra)
    if decision.retry_after is not None:
        headers["Retry-After"] = str(decision.retry_after)
    description = error.description
    if decision.link is not None:
        description = f"{description} See {base_url()}{decision.link}."
        extra["links"] = [{"rel": "license", "href": base_url() + decision.link, "type": "application/json"}]
        headers["Link"] = f'<{base_url()}{decision.link}>; rel="license"'
    if error.anonymous:
        told = f"{_required()} {description}" if decision.detail else _required()
        response = respond(401, "Unauthorized", told, headers, extra)
        _challenge(response)
        return response
    status = EXHAUSTED if decision.kind == "exhausted" else STATUS[errors.Refused]
    response = respond(status, error.code, description, headers, extra)
    if decision.scope is not None and _used("bearer"):
        _challenge(
            response, "bearer", error="insufficient_scope", scope=decision.scope, error_description=error.description
        )
    return response


def _required() -> str:
    """Say that authentication is required, and how to authenticate, as far as plugins say it."""
    how = dict.fromkeys(one.instruction for one in current.gate().challenges() if one.instruction)
    steps = ", or ".join(how).replace("{base_url}", base_url())
    return f"Authentication required: {steps}." if steps else "Authentication required."


def _challenge(response: Response, only: str = "", **attributes: str) -> None:
    """Add WWW-Authenticate: how plugins want to be asked and, for who sent a token, what of it (RFC 6750, 3)."""
    headers = dict.fromkeys(challenge.header for challenge in current.gate().challenges() if challenge.header)
    for header in _for_scripts(headers) if request.headers.get("Sec-Fetch-Dest") == "empty" else headers:
        scheme = header.partition(" ")[0].lower()
        if scheme.startswith(only):
            told = attributes if scheme == "bearer" and _used("bearer") else {}
            response.headers.add("WWW-Authenticate", _with(header, told))


def _for_scripts(headers: Iterable[str]) -> Iterable[str]:
    """Leave Basic away, unless there is nothing else: a browser asks its user for a password then, amid a script."""
    return [header for header in headers if not header.lower().startswith("basic ")] or headers


def _used(scheme: str) -> bool:
    return request.headers.get("Authorization", "").partition(" ")[0].lower() == scheme


def _with(header: str, attributes: dict[str, str]) -> str:
    parts = [f'{name}="{_quotable(value)}"' for name, value in attributes.items()]
    return ", ".join([header, *parts]) if "=" in header else " ".join([header, ", ".join(parts)]).rstrip()


def _quotable(text: str) -> str:
    return "".join(c for c in text if " " <= c <= "~" and c not in '"\\')


def answer_http(error: HTTPException) -> Response:
    """Answer an error of the framework, keeping what it says in header fields (Allow, Accept-Patch)."""
    if error.response is not None:
        return error.response  # type: ignore[return-value]
    status = error.code or 500
    kept = {
        name: value for name, value in error.get_headers() if name.lower() not in ("content-type", "content-length")
    }
    messages = getattr(error, "data", {}).get("messages")
    if messages:
        return respond(status, errors.BadQuery.code, "; ".join(_flat(messages)), kept)
    description = error.description or error.name
    if isinstance(error, RequestEntityTooLarge):
        description = f"Expected a body of at most {request.max_content_length} bytes."
    return respond(status, CODES.get(status) or error.name.replace(" ", ""), description, kept)


def _flat(messages: Any, path: tuple[str, ...] = ()) -> list[str]:
    """Spell marshmallow's nested messages out as ``parameter: what is wrong``, without where they were looked for."""
    if isinstance(messages, dict):
        return [line for key, inner in messages.items() for line in _flat(inner, (*path, str(key)))]
    text = " ".join(str(message) for message in messages) if isinstance(messages, list) else str(messages)
    name = ".".join(part for part in path[1:] if part != "_schema")
    return [f"{name}: {text}" if name else text]


def answer_unforeseen(error: Exception) -> Response:
    """Answer what nobody foresaw: nothing of it is shown, all of it is logged."""
    log.error("unforeseen error", exc_info=error)
    return respond(500, "ServerError", f"Something broke here. The log has it under request id {g.get('request_id')}.")


def respond(
    status: int,
    code: str,
    description: str,
    headers: dict[str, str] | None = None,
    extra: dict[str, Any] | None = None,
) -> Response:
    """Make an error's answer."""
    more = extra or {}
    line = reason_phrases.status_line(status, description) if status >= HTTPStatus.BAD_REQUEST else status
    if reason_phrases.wants_text():
        response = Response(reason_phrases.as_text(description, more), line, mimetype="text/plain")
    else:
        body = orjson.dumps({"code": code, "description": description, **more})
        response = Response(body, line, mimetype="application/json")
    response.headers.update(headers or {})
    # What is refused or absent today may be granted or present at the next try.
    response.headers["Cache-Control"] = "no-store"
    return response
