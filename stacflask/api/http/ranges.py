"""Byte ranges (RFC 9110, section 14): which part of an object an answer holds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import request
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.http import parse_date

from stacflask.api.http.conditional import State, not_modified, whole_seconds

if TYPE_CHECKING:
    from stacflask.model.delivery import Stream

WHOLE, PART, NOT_MODIFIED = 200, 206, 304
_RANGE = re.compile(r"bytes\s*=[\s,]*([0-9]*)\s*-\s*([0-9]*)[\s,]*", re.IGNORECASE | re.ASCII)
"""One range. Empty elements beside it are ignored (RFC 9110, 5.6.1.2)."""
_DIGITS = 30
"""More than any length has."""


@dataclass(frozen=True, slots=True)
class Part:
    """An answer's status and, if bytes are to leave, which."""

    status: int
    first: int = 0
    length: int = 0


def part_of(stream: Stream) -> Part:
    """Say what the request at hand gets of a stream.

    Several ranges at once are answered with the whole, as HTTP allows.
    Raises PreconditionFailed, RequestedRangeNotSatisfiable.
    """
    if not_modified(State(stream.etag and stream.etag.strip('"'), stream.last_modified)):
        return Part(NOT_MODIFIED)
    asked = _RANGE.fullmatch(request.headers.get("Range", "").strip())
    if request.method != "GET" or asked is None or not _range_holds(stream):
        return Part(WHOLE, 0, stream.length)
    return _ranged(asked[1], asked[2], stream.length)


def _range_holds(stream: Stream) -> bool:
    """Whether If-Range, if there is one, names the present state; a weak ETag or another date does not."""
    condition = request.headers.get("If-Range")
    if condition is None or condition.strip() == stream.etag:
        return True
    return stream.last_modified is not None and whole_seconds(stream.last_modified) == parse_date(condition)


def _ranged(first: str, last: str, length: int) -> Part:
    """Take the bytes from first to last, both included; without a first, so many at the end."""
    if not (first or last) or (first and last and _number(last) < _number(first)):
        return Part(WHOLE, 0, length)
    if not first:
        return _suffix(_number(last), length)
    start = _number(first)
    end = min(length, _number(last) + 1) if last else length
    if start >= end:
        raise RequestedRangeNotSatisfiable(length)
    return Part(PART, start, end - start)


def _suffix(wanted: int, length: int) -> Part:
    """Take so many bytes at the end. Only a suffix of length 0 is not satisfiable (RFC 9110, 14.1.2).

    Of an empty representation it is the whole, for which there is no Content-Range.
    """
    if not wanted:
        raise RequestedRangeNotSatisfiable(length)
    if not length:
        return Part(WHOLE)
    start = max(0, length - wanted)
    return Part(PART, start, length - start)


def _number(digits: str) -> int:
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= _DIGITS else int("9" * _DIGITS)
