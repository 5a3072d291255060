"""Byte ranges (RFC 9110, section 14): the part of a file that a response contains."""

import re
from dataclasses import dataclass

from flask import request
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.http import parse_date

from stacflask.api.http.conditional import State, not_modified, whole_seconds
from stacflask.model.delivery import Stream

WHOLE, PART, NOT_MODIFIED = 200, 206, 304
_RANGE = re.compile(r"bytes\s*=[\s,]*([0-9]*)\s*-\s*([0-9]*)[\s,]*", re.IGNORECASE | re.ASCII)
"""One range. Empty list elements are ignored (RFC 9110, 5.6.1.2)."""
_MAX_DIGITS = 30
"""More digits than any file length has."""


@dataclass(frozen=True, slots=True)
class Part:
    """The status of a response, and the bytes of the file in it: offset of the first byte, and length."""

    status: int
    first: int = 0
    length: int = 0


def part_of(stream: Stream) -> Part:
    """Return the part of a stream that the current request gets.

    A request with several ranges gets the whole file, as RFC 9110 permits.
    Raises PreconditionFailed, RequestedRangeNotSatisfiable.
    """
    if not_modified(State(stream.etag and stream.etag.strip('"'), stream.last_modified)):
        return Part(NOT_MODIFIED)
    found = _RANGE.fullmatch(request.headers.get("Range", "").strip())
    if stream.length is None or not stream.ranges:
        return Part(WHOLE, 0, stream.length or 0)
    if request.method != "GET" or found is None or not _if_range_holds(stream):
        return Part(WHOLE, 0, stream.length)
    return _range(found[1], found[2], stream.length)


def _if_range_holds(stream: Stream) -> bool:
    """Return whether If-Range is absent or names the current state; a weak ETag or another date does not."""
    condition = request.headers.get("If-Range")
    if condition is None or condition.strip() == stream.etag:
        return True
    return stream.last_modified is not None and whole_seconds(stream.last_modified) == parse_date(condition)


def _range(first: str, last: str, length: int) -> Part:
    """Return the bytes from first to last, both included; without a first, the last ``last`` bytes."""
    if not (first or last) or (first and last and _number(last) < _number(first)):
        return Part(WHOLE, 0, length)
    if not first:
        return _suffix(_number(last), length)
    start = _number(first)
    end = min(length, _number(last) + 1) if last else length
    if start >= end:
        raise RequestedRangeNotSatisfiable(length)
    return Part(PART, start, end - start)


def _suffix(suffix_length: int, length: int) -> Part:
    """Return the last bytes. Only a suffix of length 0 is not satisfiable (RFC 9110, 14.1.2).

    An empty file is returned as a whole, because Content-Range cannot express an empty range.
    """
    if not suffix_length:
        raise RequestedRangeNotSatisfiable(length)
    if not length:
        return Part(WHOLE)
    start = max(0, length - suffix_length)
    return Part(PART, start, length - start)


def _number(digits: str) -> int:
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= _MAX_DIGITS else int("9" * _MAX_DIGITS)
