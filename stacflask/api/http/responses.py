"""Responses with JSON bodies, ETags and answers to conditional requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from flask import Response, request

from stacflask.api.http.conditional import State, not_modified
from stacflask.api.http.media_types import JSON

if TYPE_CHECKING:
    from collections.abc import Mapping

CODED = ":gzip"
"""What Flask-Compress adds to the ETag of what it compresses."""


def reply(body: bytes, media_type: str = JSON, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with JSON text."""
    response = Response(body, status, content_type=media_type)
    if headers:
        response.headers.update(headers)
    return response


def encoded(value: Any) -> bytes:
    """Give JSON text."""
    return orjson.dumps(value)


def document(value: Any, media_type: str = JSON, status: int = 200) -> Response:
    """Answer with a JSON document."""
    return tagged(reply(encoded(value), media_type, status))


def tagged(response: Response) -> Response:
    """Give an answer an ETag of its bytes, and answer 304 where the client has them. Raises PreconditionFailed."""
    response.add_etag()
    return conditional(response)


def conditional(response: Response) -> Response:
    """Answer 304 to a GET or HEAD of what the client has already. Raises PreconditionFailed."""
    etag, _ = response.get_etag()
    if request.method in ("GET", "HEAD") and not_modified(State(etag, same=_uncoded)):
        response.status_code = 304
        if f"{etag}{CODED}" in request.if_none_match.as_set(include_weak=True):
            response.set_etag(f"{etag}{CODED}")
    return response


def _uncoded(tag: str) -> str:
    return tag.removesuffix(CODED)
