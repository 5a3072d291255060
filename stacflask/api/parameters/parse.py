"""Parses the parameters of searches. Each function raises ValueError with the message for the client."""

import re
from typing import Any

import orjson

from stacflask import current
from stacflask.errors import BadDocument
from stacflask.model.json_types import Document
from stacflask.model.query import QueryInterval
from stacflask.stac.geometry import SearchGeometry, check_geometry
from stacflask.stac.times import parse_interval

_NUMBER = re.compile(r"\s*[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?\s*", re.ASCII)
_INTEGER = re.compile(r"-?[0-9]{1,1000}")
_LENGTH_2D, _LENGTH_3D = 4, 6
_MAX_LONGITUDE, _MAX_LATITUDE = 180, 90

MAX_POSITIONS = 10_000
"""Positions in a search geometry. The database compares each item whose bbox meets its bbox with all of them."""
MAX_IDS = 10_000
"""Ids in one list."""


def expected(expectation: str) -> ValueError:
    """Return the error that something else was expected."""
    return ValueError(f"expected {expectation}")


def limit(value: Any) -> int:
    """Read a page size. Values above the maximum are clamped."""
    if not _is_number(value) or value != value // 1:
        raise expected("an integer")
    if value < 1:
        raise expected("1 or more")
    return min(int(value), current.settings().max_limit)


def limit_text(text: str) -> int:
    """Read a page size from a string."""
    if not _INTEGER.fullmatch(text):
        raise expected("an integer")
    return limit(int(text))


def token(value: Any) -> str:
    """Read a page token, which the catalog checks later."""
    if not isinstance(value, str):
        raise expected("a string")
    return value


def flag(value: Any) -> bool:
    """Read a boolean."""
    if not isinstance(value, bool):
        raise expected("true or false")
    return value


def flag_text(text: str) -> bool:
    """Read a boolean from ``true`` or ``false``."""
    return flag({"true": True, "false": False}.get(text))


def bbox(value: Any) -> tuple[float, ...]:
    """Read an array of 4 or 6 numbers."""
    if not isinstance(value, list) or not all(map(_is_number, value)):
        raise expected("an array of 4 or 6 numbers")
    try:
        return _check_bbox(tuple(map(float, value)))
    except OverflowError as error:
        raise expected("finite numbers") from error


def bbox_text(text: str) -> tuple[float, ...]:
    """Read 4 or 6 comma-separated numbers."""
    numbers = text.split(",")
    if not all(map(_NUMBER.fullmatch, numbers)):
        raise expected("4 or 6 comma-separated numbers without brackets")
    return _check_bbox(tuple(map(float, numbers)))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_bbox(box: tuple[float, ...]) -> tuple[float, ...]:
    if len(box) not in (_LENGTH_2D, _LENGTH_3D):
        raise ValueError(f"expected 4 or 6 numbers, got {len(box)}")
    if not all(abs(number) < float("inf") for number in box):
        raise expected("finite numbers")
    half = len(box) // 2
    (west, south), (east, north) = box[:2], box[half : half + 2]
    if max(abs(west), abs(east)) > _MAX_LONGITUDE:
        raise ValueError(f"expected longitudes from -180 to 180, got {west:g} and {east:g}")
    if max(abs(south), abs(north)) > _MAX_LATITUDE:
        raise ValueError(f"expected latitudes from -90 to 90, got {south:g} and {north:g}")
    if south > north:
        raise ValueError(f"expected south <= north, got {south:g} > {north:g}")
    if len(box) == _LENGTH_3D and box[2] > box[5]:
        raise ValueError(f"expected lowest height <= highest height, got {box[2]:g} > {box[5]:g}")
    return box


def interval(value: Any) -> QueryInterval:
    """Read an instant or an interval."""
    if not isinstance(value, str):
        raise expected("a string with an instant or an interval")
    return parse_interval(value)


def interval_text(text: str) -> QueryInterval:
    """Read an instant or an interval from a query. URL decoding has turned an unescaped + of an offset into a space."""
    return parse_interval(text.replace(" ", "+"))


def geometry(value: Any) -> Document:
    """Read a GeoJSON geometry."""
    try:
        check_geometry(value, maximum_positions=MAX_POSITIONS)
    except BadDocument as error:
        raise ValueError(f"{error.pointer}: {error.problem}".removeprefix(": ")) from error
    return SearchGeometry(value)


def geometry_text(text: str) -> Document:
    """Read a GeoJSON geometry from JSON text."""
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"expected a GeoJSON geometry: {error}") from error
    return geometry(parsed)


def names(value: Any) -> tuple[str, ...]:
    """Read an array of ids."""
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise expected("an array of ids")
    if any("\0" in name for name in value):
        raise expected("ids without NUL")
    return _check_count(tuple(value))


def names_text(text: str) -> tuple[str, ...]:
    """Read comma-separated ids."""
    return _check_count(tuple(name.strip() for name in text.split(",") if name.strip()))


def _check_count(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(names) > MAX_IDS:
        raise expected(f"at most {MAX_IDS} ids, got {len(names)}")
    return names
