"""Responses of the server itself to invalid requests. They have the form of the application's errors."""

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

MAX_REQUEST_LINE = 8190
"""Characters of a request line. A GET search can have a long list of ids, and gunicorn accepts no more."""


class RequestTooSlow(ParseException):  # type: ignore[misc]
    """The request was not complete in time."""


_BAD = "400"
_REFUSALS: tuple[tuple[type[Exception], str, str, str], ...] = (
    (
        LimitRequestLine,
        "414",
        "AddressTooLong",
        f"URL: expected a request line of at most {MAX_REQUEST_LINE} characters. Send the search by POST.",
    ),
    (
        LimitRequestHeaders,
        "431",
        "HeadersTooLarge",
        f"Headers: expected at most {MAX_HEAD >> 10} KiB. Send fewer or shorter header fields.",
    ),
    (RequestTooSlow, "408", "RequestTimeout", "The request did not arrive in time. Send it again."),
    (BodyTooLarge, "413", "ContentTooLarge", "The body is larger than this server accepts. Send less at a time."),
    (SpoolFull, "503", "TooManyBodies", "Too many large request bodies are arriving. Send the request again later."),
    (HostRequired, _BAD, "BadRequest", "Host: every HTTP/1.1 request must have this header."),
    (
        TargetNotEncoded,
        _BAD,
        "BadRequest",
        "URL: expected characters outside ASCII to be percent-encoded as UTF-8, such as %C3%A9.",
    ),
    (RequestIncomplete, _BAD, "BadRequest", "The connection was closed before the request was complete."),
    (ExpectationFailed, "417", "ExpectationFailed", "Expect: expected 100-continue or nothing."),
    (InvalidResponseHeaderName, "", "", ""),
    (InvalidResponseHeader, "", "", ""),
    (InvalidHeaderName, _BAD, "BadRequest", "A header field has a name that is not allowed."),
    (InvalidHeader, _BAD, "BadRequest", "A header field is malformed, repeated, or contradicts another."),
    (ParseException, _BAD, "BadRequest", "Expected an HTTP/1.1 request."),
)
_INTERNAL = ("500", "ServerError", "Internal server error. The server's log has the reason.")


def is_fault_of_request(error: Exception) -> bool:
    """Return whether an error is the client's and not an internal error."""
    return bool(_entry(error)[0] != _INTERNAL[0])


def refusal(error: Exception) -> bytes:
    """Return the whole response to an invalid request."""
    status, code, description = _entry(error)
    # Many clients show only the reason phrase.
    reason = description.partition(". ")[0].rstrip(".")
    body = json.dumps({"code": code, "description": description})
    fields = ["Connection: close", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    if isinstance(error, SpoolFull):
        fields.append("Retry-After: 10")
    return "\r\n".join([f"HTTP/1.1 {status} {reason}", *fields, "", body]).encode()


def _entry(error: Exception) -> tuple[str, str, str]:
    if isinstance(error, InvalidChunk):
        return _BAD, "BadRequest", f"The chunked body is malformed: {error}."
    found = next(((status, code, text) for kind, status, code, text in _REFUSALS if isinstance(error, kind)), _INTERNAL)
    return found if found[0] else _INTERNAL
