"""Responses to what is no request, written by the server itself in the form of the application's errors."""

from __future__ import annotations

import json

from gunicorn.http.errors import (
    ExpectationFailed,
    InvalidHeader,
    InvalidHeaderName,
    InvalidResponseHeader,
    InvalidResponseHeaderName,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
)

from stacflask.server.chunked import InvalidChunk
from stacflask.server.incoming import MAX_HEAD, BodyTooLarge, HostRequired, RequestIncomplete, TargetNotEncoded
from stacflask.server.spool import SpoolFull

LONGEST = 8190
"""Characters of a request's first line: a search by GET may name a long list of ids. gunicorn allows no more."""


class RequestTooSlow(ParseException):  # type: ignore[misc]
    """The request was not complete in time."""


_BAD = "400"
_REFUSALS: tuple[tuple[type[Exception], str, str, str], ...] = (
    (
        LimitRequestLine,
        "414",
        "AddressTooLong",
        f"Expected at most {LONGEST} characters: send it by POST.",
    ),
    (
        LimitRequestHeaders,
        "431",
        "HeadersTooLarge",
        f"Expected shorter header fields: {MAX_HEAD >> 10} KiB at most.",
    ),
    (RequestTooSlow, "408", "RequestTimeout", "The request did not arrive in time. Send it again."),
    (BodyTooLarge, "413", "ContentTooLarge", "The body is larger than any that is accepted here."),
    (SpoolFull, "503", "TooManyBodies", "Too many large request bodies are arriving just now."),
    (HostRequired, _BAD, "BadRequest", "Host: expected in every HTTP/1.1 request."),
    (
        TargetNotEncoded,
        _BAD,
        "BadRequest",
        "The address holds characters outside ASCII: expected them percent-encoded as UTF-8, such as %C3%A9.",
    ),
    (RequestIncomplete, _BAD, "BadRequest", "The connection was closed before the request was complete."),
    (ExpectationFailed, "417", "ExpectationFailed", "Expect: expected 100-continue or nothing."),
    (InvalidResponseHeaderName, "", "", ""),
    (InvalidResponseHeader, "", "", ""),
    (InvalidHeaderName, _BAD, "BadRequest", "A header field has a name that is not allowed."),
    (InvalidHeader, _BAD, "BadRequest", "A header field is malformed, repeated, or contradicts another."),
    (ParseException, _BAD, "BadRequest", "Expected a request in HTTP/1.1."),
)
_BROKEN = ("500", "ServerError", "Something broke here. The log has it.")


def is_fault_of_request(error: Exception) -> bool:
    """Whether an error says that what a client sent cannot be served, and not that something broke here."""
    return bool(_entry(error)[0] != _BROKEN[0])


def refusal(error: Exception) -> bytes:
    """Write the response to what is no request."""
    status, code, description = _entry(error)
    # Many clients show nothing but the reason phrase.
    reason = description.partition(". ")[0].rstrip(".")
    body = json.dumps({"code": code, "description": description})
    fields = ["Connection: close", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    if isinstance(error, SpoolFull):
        fields.append("Retry-After: 10")
    return "\r\n".join([f"HTTP/1.1 {status} {reason}", *fields, "", body]).encode()


def _entry(error: Exception) -> tuple[str, str, str]:
    if isinstance(error, InvalidChunk):
        return _BAD, "BadRequest", f"The chunked body is malformed: {error}."
    found = next(((status, code, text) for kind, status, code, text in _REFUSALS if isinstance(error, kind)), _BROKEN)
    return found if found[0] else _BROKEN
