"""Literal values of expressions."""

import re
from datetime import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from stacflask.catalog.cql2.values.limits import LARGEST, MAXIMUM_DIGITS, MAXIMUM_POSITIONS
from stacflask.catalog.cql2.values.problems import Problem
from stacflask.catalog.cql2.values.sql import TIMESTAMP, Sql
from stacflask.catalog.cql2.values.times import parse_date, parse_timestamp
from stacflask.catalog.cql2.values.types import BooleanValue, GeometryValue, InstantValue, Number, Text
from stacflask.errors import BadDocument
from stacflask.model.json_types import Document, Json
from stacflask.stac.bbox import check_bbox
from stacflask.stac.geometry import boxes_to_wkb, check_geometry, to_wkb
from stacflask.stac.numbers import exact_value

OPEN = ".."
_SURROGATE = re.compile("[\ud800-\udfff]").search


_FORMS = {
    "op": "the name of an operator or function, and its operands in an array args",
    "property": "the name of a property",
    "interval": "an interval of two ends",
}
"""Expected contents of objects with these members."""


def scalar(value: Json) -> BooleanValue | Number | Text:
    """Return the value of a JSON scalar. Raises Problem if it is null."""
    if isinstance(value, bool):
        return truth(value)
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, str):
        return text(value)
    raise Problem("expected a value, got null; use isNull to find missing values")


def tagged(value: Document) -> InstantValue | GeometryValue:
    """Return the value of an object that names its type. Raises Problem if it does not."""
    for tag, make in (("date", date), ("timestamp", timestamp)):
        if tag in value:
            return make(value[tag])
    for tag, expected in _FORMS.items():
        if tag in value:
            raise Problem(f"expected {expected}")
    if "type" in value:
        return geometry(value)
    if "bbox" in value:
        return bbox(value["bbox"])
    raise Problem("expected an object with op, property, date, timestamp, interval or bbox, or a GeoJSON geometry")


def truth(value: bool) -> BooleanValue:
    """Return a boolean."""
    return BooleanValue(literal=value)


def number(value: float) -> Number:
    """Return a number with its exact value. Raises Problem if it is too large, too small, or too long."""
    exact = exact_value(value)
    if exact == 0:
        return Number(literal=Decimal(0), bounded=True)
    if not exact.is_finite() or not 1 / LARGEST <= exact.copy_abs() <= LARGEST:
        raise Problem(f"expected 0 or a number between {1 / LARGEST:g} and {LARGEST:g}, or its negative")
    if len(exact.as_tuple().digits) > MAXIMUM_DIGITS:
        raise Problem(f"expected a number of at most {MAXIMUM_DIGITS} digits")
    return Number(literal=exact, bounded=True)


def text(value: str) -> Text:
    """Return a string. Raises Problem if PostgreSQL cannot store it."""
    check_storable(value)
    return Text(literal=value, pattern=value)


def check_storable(value: str) -> None:
    """Check that PostgreSQL can store a string. Raises Problem."""
    if "\0" in value or (not value.isprintable() and _SURROGATE(value)):
        raise Problem("expected a string without U+0000 and without halves of surrogate pairs")


def date(value: Any) -> InstantValue:
    """Return a day."""
    first, last = parse_date(_string(value))
    return InstantValue(_instant(first), _instant(last))


def timestamp(value: Any) -> InstantValue:
    """Return an instant."""
    return InstantValue(_instant(parse_timestamp(_string(value))))


def moment(value: str) -> InstantValue:
    """Return an instant or a day of a string."""
    return date(value) if _is_date(value) else timestamp(value)


def check_order(start: str, end: str) -> None:
    """Check the order of two literal ends of an interval. Raises Problem."""
    first, last = (parse_date(text)[1] if _is_date(text) else parse_timestamp(text) for text in (start, end))
    if last < first:
        raise Problem(f"expected an end that is not before the start, got {start} and {end}")


def _is_date(text: str) -> bool:
    return len(text) == len("2020-01-31")


def infinity(sign: str) -> InstantValue:
    """Return the instant before (``-``) or after all others."""
    return InstantValue(sa.cast(sa.literal(f"{sign}infinity", sa.Text()), TIMESTAMP))


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise Problem("expected a string with a date or a time")
    return value


def _instant(value: datetime) -> Sql:
    return sa.literal(value, TIMESTAMP)


def geometry(value: Document) -> GeometryValue:
    """Return a geometry of GeoJSON. Raises Problem if it is not valid."""
    try:
        check_geometry(value, maximum_positions=MAXIMUM_POSITIONS)
        return _shape(to_wkb(value, repair=False))
    except BadDocument as error:
        raise _within(error) from None


def bbox(value: Any) -> GeometryValue:
    """Return a geometry of a box of 4 or 6 numbers; two boxes if it crosses the antimeridian. Heights are ignored."""
    try:
        check_bbox(value)
    except BadDocument as error:
        raise _within(error) from None
    return _shape(boxes_to_wkb([value]))


def _within(error: BadDocument) -> Problem:
    return Problem(f"{error.pointer}: {error.problem}" if error.pointer else error.problem)


def _shape(wkb: bytes) -> GeometryValue:
    return GeometryValue(sa.func.ST_GeomFromEWKB(sa.literal(wkb, sa.LargeBinary())))
