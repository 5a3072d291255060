"""Responses with JSON bodies and ETags, and 304 for conditional requests."""

from collections.abc import Mapping
from typing import Any

import orjson
from flask import Response, request

from stacflask.api.http.conditional import State, not_modified
from stacflask.api.http.media_types import JSON

GZIP_SUFFIX = ":gzip"
"""Flask-Compress appends this to the ETag of a compressed response."""


def reply(body: bytes, media_type: str = JSON, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response with this body."""
    response = Response(body, status, content_type=media_type)
    if headers:
        response.headers.update(headers)
    return response


def encoded(value: Any) -> bytes:
    """Return a value as JSON."""
    return orjson.dumps(value)


def document(value: Any, media_type: str = JSON, status: int = 200) -> Response:
    """Return a JSON document with its ETag. Raises PreconditionFailed."""
    return tagged(reply(encoded(value), media_type, status))


def tagged(response: Response) -> Response:
    """Add an ETag of the body, and return 304 if the client has the same body. Raises PreconditionFailed."""
    response.add_etag()
    return conditional(response)


def conditional(response: Response) -> Response:
    """Return 304 for a GET or HEAD if the client has the current state. Raises PreconditionFailed."""
    etag, _ = response.get_etag()
    if request.method in ("GET", "HEAD") and not_modified(State(etag, same=_without_suffix)):
        response.status_code = 304
        if f"{etag}{GZIP_SUFFIX}" in request.if_none_match.as_set(include_weak=True):
            response.set_etag(f"{etag}{GZIP_SUFFIX}")
    return response


def _without_suffix(tag: str) -> str:
    return tag.removesuffix(GZIP_SUFFIX)
