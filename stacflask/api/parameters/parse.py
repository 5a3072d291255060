"""Reading the words of a search: functions from what was sent to what is meant. A ValueError is the complaint."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson

from stacflask import current
from stacflask.errors import BadDocument
from stacflask.stac.geometry import SearchGeometry, check_geometry
from stacflask.stac.times import parse_interval

if TYPE_CHECKING:
    from stacflask.model.json_types import Document
    from stacflask.model.query import Interval

_NUMBER = re.compile(r"\s*[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?\s*", re.ASCII)
_WHOLE = re.compile(r"-?[0-9]{1,1000}")
_FLAT, _TALL = 4, 6
_LONGITUDE, _LATITUDE = 180, 90

MOST_POSITIONS = 10_000
"""In a geometry that is searched with: each item in its reach is compared with all of it."""
MOST_NAMES = 10_000
"""Ids in one list."""


def expected(what: str) -> ValueError:
    """Give the complaint that something else was expected."""
    return ValueError(f"expected {what}")


def limit(value: Any) -> int:
    """Read a page's size: what is above the maximum is clamped, what is below 1 an error."""
    if not _is_number(value) or value != value // 1:
        raise expected("a whole number")
    if value < 1:
        raise expected("1 or more")
    return min(int(value), current.settings().max_limit)


def limit_text(text: str) -> int:
    """Read a page's size from digits."""
    if not _WHOLE.fullmatch(text):
        raise expected("a whole number")
    return limit(int(text))


def token(value: Any) -> str:
    """Read a page's token; what is in it is the catalogue's business."""
    if not isinstance(value, str):
        raise expected("a text")
    return value


def flag(value: Any) -> bool:
    """Read a boolean."""
    if not isinstance(value, bool):
        raise expected("true or false")
    return value


def flag_text(text: str) -> bool:
    """Read a boolean from its name."""
    return flag({"true": True, "false": False}.get(text))


def bbox(value: Any) -> tuple[float, ...]:
    """Read an array of 4 or 6 numbers."""
    if not isinstance(value, list) or not all(map(_is_number, value)):
        raise expected("an array of 4 or 6 numbers")
    try:
        return _checked(tuple(map(float, value)))
    except OverflowError as error:
        raise expected("finite numbers") from error


def bbox_text(text: str) -> tuple[float, ...]:
    """Read 4 or 6 numbers with commas between them."""
    numbers = text.split(",")
    if not all(map(_NUMBER.fullmatch, numbers)):
        raise expected("4 or 6 numbers with commas between them, without brackets")
    return _checked(tuple(map(float, numbers)))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _checked(box: tuple[float, ...]) -> tuple[float, ...]:
    if len(box) not in (_FLAT, _TALL):
        raise ValueError(f"expected 4 or 6 numbers, not {len(box)}")
    if not all(abs(number) < float("inf") for number in box):
        raise expected("finite numbers")
    half = len(box) // 2
    (west, south), (east, north) = box[:2], box[half : half + 2]
    if max(abs(west), abs(east)) > _LONGITUDE:
        raise ValueError("longitudes go from -180 to 180")
    if max(abs(south), abs(north)) > _LATITUDE:
        raise ValueError("latitudes go from -90 to 90")
    if south > north:
        raise ValueError("south lies north of north")
    if len(box) == _TALL and box[2] > box[5]:
        raise ValueError("the lowest height lies above the highest")
    return box


def interval(value: Any) -> Interval:
    """Read an instant or an interval."""
    if not isinstance(value, str):
        raise expected("a text: an instant or an interval")
    return parse_interval(value)


def interval_text(text: str) -> Interval:
    """Read an instant or an interval from a query, in which an unescaped + of an offset has become a space."""
    return parse_interval(text.replace(" ", "+"))


def geometry(value: Any) -> Document:
    """Read a GeoJSON geometry."""
    try:
        check_geometry(value, maximum_positions=MOST_POSITIONS)
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
        raise ValueError("an id holds no NUL")
    return _few(tuple(value))


def names_text(text: str) -> tuple[str, ...]:
    """Read ids with commas between them."""
    return _few(tuple(name.strip() for name in text.split(",") if name.strip()))


def _few(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(names) > MOST_NAMES:
        raise ValueError(f"expected {MOST_NAMES} ids at most, got {len(names)}")
    return names
