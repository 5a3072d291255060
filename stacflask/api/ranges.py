"""Conditions and ranges (RFC 9110, sections 13 and 14): which part of a representation an answer holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import request
from werkzeug.http import http_date, is_resource_modified, parse_if_range_header, parse_range_header, unquote_etag

if TYPE_CHECKING:
    from stacflask.values import Stream

WHOLE, PART, NOT_MODIFIED, FAILED, UNSATISFIABLE = 200, 206, 304, 412, 416


@dataclass(frozen=True, slots=True)
class Part:
    """An answer's status and, if bytes are to leave, which."""

    status: int
    first: int = 0
    length: int = 0


def part_of(stream: Stream) -> Part:
    """Say what the request at hand gets of a stream. Several ranges at once are answered with the whole, as HTTP allows."""
    if not _modified(stream):
        failed = "If-Match" in request.headers or "If-Unmodified-Since" in request.headers
        return Part(FAILED if failed and not _none_match() else NOT_MODIFIED)
    if request.method == "GET" and "Range" in request.headers and _range_holds(stream):
        return _ranged(stream)
    return Part(WHOLE, 0, stream.length)


def _modified(stream: Stream) -> bool:
    return is_resource_modified(
        request.environ, etag=_plain(stream.etag), last_modified=stream.last_modified, ignore_if_range=True
    )


def _none_match() -> bool:
    return "If-None-Match" in request.headers


def _plain(etag: str | None) -> str | None:
    return unquote_etag(etag)[0] if etag else None


def _range_holds(stream: Stream) -> bool:
    """Whether If-Range, if there is one, names the present state; a weak or older validator does not."""
    condition = parse_if_range_header(request.headers.get("If-Range"))
    if condition.etag is not None:
        return condition.etag == _plain(stream.etag)
    if condition.date is not None:
        return stream.last_modified is not None and http_date(condition.date) == http_date(stream.last_modified)
    return True


def _ranged(stream: Stream) -> Part:
    asked = parse_range_header(request.headers.get("Range"))
    if asked is None or asked.units != "bytes" or len(asked.ranges) != 1:
        return Part(WHOLE, 0, stream.length)
    span = asked.range_for_length(stream.length)
    if span is None:
        return Part(UNSATISFIABLE)
    return Part(PART, span[0], span[1] - span[0])
