"""Request bodies: media type and JSON."""

import re
from typing import Any

import msgspec
import orjson
from flask import request
from werkzeug.exceptions import UnsupportedMediaType

from stacflask.errors import BadDocument
from stacflask.model.json_types import Document
from stacflask.stac.numbers import ExactFloat, read_decimal

_decode = msgspec.json.Decoder().decode
"""Keeps integers of any length exact. Other decoders convert long integers to floats without an error."""
_decode_exactly = msgspec.json.Decoder(float_hook=read_decimal).decode
_MAY_BE_INEXACT = re.compile(rb"[0-9.]{16}|[eE][+-]?[0-9]{3}").search
"""Matches every number that no float is equal to, and some others."""


def expect(*media_types: str) -> None:
    """Check the media type of the body and that it is not compressed. Raises UnsupportedMediaType."""
    if request.mimetype not in media_types:
        raise UnsupportedMediaType(f"Content-Type: expected {' or '.join(media_types)}, got {request.mimetype!r}.")
    if request.content_encoding not in (None, "", "identity"):
        raise UnsupportedMediaType(f"Content-Encoding: expected none, got {request.content_encoding!r}.")


def parsed(*, exact: bool = False) -> Any:
    """Read the body as JSON; for ``exact``, see ``decoded``. Raises BadDocument."""
    return decoded(request.get_data(), exact=exact)


def decoded(text: bytes, *, exact: bool = False) -> Any:
    """Read JSON text. Raises BadDocument.

    If ``exact``, a number that no float is equal to becomes an ExactFloat, which SQL compares by its exact value.
    Coordinates are always plain floats.
    """
    try:
        return _with_plain_coordinates(_decode_exactly(text)) if exact and _MAY_BE_INEXACT(text) else _decode(text)
    except RecursionError:
        raise BadDocument("", "is nested too deep") from None
    except ValueError as error:
        raise BadDocument("", f"is not JSON: {_json_error(text, error)}") from error


def _with_plain_coordinates(document: Any) -> Any:
    """Round the numbers in coordinates and bboxes, in place. Not recursive, because the client chooses the depth."""
    waiting = [(document, False)] if isinstance(document, dict | list) else []
    while waiting:
        node, inside = waiting.pop()
        for key, part in list(node.items() if isinstance(node, dict) else enumerate(node)):
            if isinstance(part, dict | list):
                waiting.append((part, isinstance(part, list) and (inside or key in ("coordinates", "bbox"))))
            elif inside and isinstance(part, ExactFloat):
                node[key] = float(part)
    return document


def _json_error(text: bytes, error: ValueError) -> str:
    """Return the error with line and column, if orjson finds one."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as better:
        return str(better)
    return str(error)


def an_object(*, exact: bool = False) -> Document:
    """Read the body as a JSON object; for ``exact``, see ``decoded``. Raises BadDocument."""
    body = parsed(exact=exact)
    if not isinstance(body, dict):
        raise BadDocument("", "expected a JSON object")
    return body
