"""Functions that expressions can call, beyond those of the standard, in one table. ``GET /functions`` returns it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa
from geoalchemy2 import Geography
from sqlalchemy.sql.elements import Grouping

from stacflask.catalog.cql2.compiler.spatial import meets
from stacflask.catalog.cql2.values import coercion, times
from stacflask.catalog.cql2.values.problems import Problem
from stacflask.catalog.cql2.values.sql import CODE_POINTS, UNICODE, Sql, constant, once
from stacflask.catalog.cql2.values.types import GeometryValue, InstantValue, Number, Stored, Text, Value
from stacflask.model.json_types import Document

Type: TypeAlias = Literal["string", "number", "integer", "datetime", "geometry", "boolean"]

_SEGMENT_DEGREES = 1.0
_EQUAL_AREA_EPSG = 6933
"""A projection of the WGS 84 ellipsoid that preserves areas, with straight parallels and meridians."""
_DAY_SECONDS = 86_400
_MAX_DAYS_AGO = 100_000
_NUMBER = r"^[+-]?([0-9]{1,100}([.][0-9]{0,100})?|[.][0-9]{1,100})([eE][+-]?[0-9]{1,2})?$"


@dataclass(frozen=True, slots=True)
class Function:
    """A function with the members of OGC API - Features - Part 3, section 8. ``args`` are names and types."""

    name: str
    description: str
    args: Mapping[str, tuple[Type, ...]]
    returns: Type
    apply: Callable[..., Value]

    def document(self) -> Document:
        """Return the description for clients."""
        return {
            "name": self.name,
            "description": self.description,
            "args": [{"title": title, "type": list(types)} for title, types in self.args.items()],
            "returns": [self.returns],
        }


# --- Geometries -------------------------------------------------------------------------------------------------------


def _segmentized(shape: Sql) -> Sql:
    """Return a shape with short edges.

    Edges are straight in the plane. Short edges are nearly the same on the ellipsoid, and none is half the Earth long.
    """
    return sa.func.ST_Segmentize(shape, _SEGMENT_DEGREES)


def _area(geometry: Value) -> Number:
    # ST_Area on the ellipsoid returns the area of the complement if a geometry is larger than a hemisphere.
    flat = sa.func.ST_Transform(_segmentized(coercion.shape(geometry)), _EQUAL_AREA_EPSG)
    return Number(sa.cast(sa.func.ST_Area(flat), sa.Numeric()))


def _distance(first: Value, second: Value) -> Number:
    one, other = coercion.shape(first), coercion.shape(second, 1)
    distance = sa.func.ST_Distance(*(sa.cast(_segmentized(shape), Geography(srid=4326)) for shape in (one, other)))
    met = Grouping(meets(one, other))
    return Number(sa.cast(sa.case((met, 0.0), (sa.not_(met), distance)), sa.Numeric()))


def _intersection(first: Value, second: Value) -> GeometryValue:
    # ST_Intersection does not accept mixed collections. Of those, the parts with the most dimensions are used.
    sides = (sa.func.ST_CollectionExtract(coercion.shape(value, index)) for index, value in enumerate((first, second)))
    return GeometryValue(sa.func.ST_Intersection(*sides))


def _centroid(geometry: Value) -> GeometryValue:
    return GeometryValue(sa.func.ST_Centroid(coercion.shape(geometry)))


# --- Times ------------------------------------------------------------------------------------------------------------


def _part(field: str) -> Callable[[Value], Number]:
    def part(time: Value) -> Number:
        return Number(sa.extract(field, sa.func.timezone(constant("UTC"), coercion.moment(time).sql)))

    return part


def _now() -> InstantValue:
    return InstantValue(sa.func.now())


def _ago(days: Value) -> InstantValue:
    if not isinstance(days, Number) or days.literal is None or not 0 <= days.literal <= _MAX_DAYS_AGO:
        raise Problem(f"expected a literal number of days from 0 to {_MAX_DAYS_AGO}", 0)
    seconds: Sql = sa.literal(float(days.literal) * _DAY_SECONDS, sa.Double())
    return InstantValue(sa.func.now() - sa.func.make_interval(0, 0, 0, 0, 0, 0, seconds))


# --- Types ------------------------------------------------------------------------------------------------------------


def _number_in(text: Sql) -> Sql:
    return sa.case((text.regexp_match(constant(_NUMBER)), sa.cast(text, sa.Numeric())))


def _to_number(value: Value) -> Number:
    if isinstance(value, Number):
        return value
    if isinstance(value, Stored):
        return Number(_number_in(value.content))
    return Number(once(_number_in, coercion.text(value)))


def _to_string(value: Value) -> Text:
    if isinstance(value, Text):
        return value
    sql = value.content if isinstance(value, Stored) else sa.cast(coercion.number(value), sa.Text())
    return Text(sql.collate(CODE_POINTS))


def _to_datetime(value: Value) -> InstantValue:
    if isinstance(value, Text) and value.literal is None:
        return InstantValue(times.read(value.sql))
    return coercion.moment(value)


# --- Strings, numbers, arrays -----------------------------------------------------------------------------------------


def _cased(function: Any) -> Callable[[Value], Text]:
    def cased(string: Value) -> Text:
        return Text(function(coercion.text(string).collate(UNICODE), type_=sa.Text()).collate(CODE_POINTS))

    return cased


def _length(string: Value) -> Number:
    return Number(sa.cast(sa.func.char_length(coercion.text(string)), sa.Numeric()))


def _rounded(function: Any) -> Callable[[Value], Number]:
    def rounded(number: Value) -> Number:
        return Number(function(coercion.number(number), type_=sa.Numeric()))

    return rounded


def _size(array: Value) -> Number:
    if not isinstance(array, Stored):
        raise Problem("expected a property that holds an array", 0)
    return Number(sa.cast(sa.func.jsonb_array_length(array.array), sa.Numeric()))


_ONE_TIME: Mapping[str, tuple[Type, ...]] = {"time": ("datetime",)}
_ONE_NUMBER: Mapping[str, tuple[Type, ...]] = {"number": ("number",)}
_ONE_STRING: Mapping[str, tuple[Type, ...]] = {"string": ("string",)}
_ONE_GEOMETRY: Mapping[str, tuple[Type, ...]] = {"geometry": ("geometry",)}
_TWO_GEOMETRIES: Mapping[str, tuple[Type, ...]] = {"first": ("geometry",), "second": ("geometry",)}
_ANY: Mapping[str, tuple[Type, ...]] = {"value": ("string", "number", "boolean")}

_TABLE = (
    Function("area", "Area on the Earth's ellipsoid, in square metres.", _ONE_GEOMETRY, "number", _area),
    Function("distance", "Shortest distance on the ellipsoid, in metres.", _TWO_GEOMETRIES, "number", _distance),
    Function("intersection", "The intersection of two geometries.", _TWO_GEOMETRIES, "geometry", _intersection),
    Function("centroid", "The centre of a geometry in the plane.", _ONE_GEOMETRY, "geometry", _centroid),
    Function("year", "The year, in UTC.", _ONE_TIME, "integer", _part("year")),
    Function("month", "The month from 1 to 12, in UTC.", _ONE_TIME, "integer", _part("month")),
    Function("day", "The day of the month, in UTC.", _ONE_TIME, "integer", _part("day")),
    Function("dayofyear", "The day of the year from 1 to 366, in UTC.", _ONE_TIME, "integer", _part("doy")),
    Function("hour", "The hour from 0 to 23, in UTC.", _ONE_TIME, "integer", _part("hour")),
    Function("now", "The time of the request.", {}, "datetime", _now),
    Function("ago", "The time of the request minus a number of days.", {"days": ("number",)}, "datetime", _ago),
    Function("to_number", "A value converted to a number; null if that is not possible.", _ANY, "number", _to_number),
    Function("to_string", "A value converted to a string.", _ANY, "string", _to_string),
    Function(
        "to_datetime",
        "A string converted to a time; null if that is not possible.",
        _ONE_STRING,
        "datetime",
        _to_datetime,
    ),
    Function("lower", "A string in lower case.", _ONE_STRING, "string", _cased(sa.func.lower)),
    Function("upper", "A string in upper case.", _ONE_STRING, "string", _cased(sa.func.upper)),
    Function("length", "The number of characters of a string.", _ONE_STRING, "integer", _length),
    Function("size", "The number of elements of an array.", {"array": ("string",)}, "integer", _size),
    Function("abs", "A number without its sign.", _ONE_NUMBER, "number", _rounded(sa.func.abs)),
    Function("floor", "The next integer below.", _ONE_NUMBER, "integer", _rounded(sa.func.floor)),
    Function("ceiling", "The next integer above.", _ONE_NUMBER, "integer", _rounded(sa.func.ceiling)),
    Function(
        "round",
        "The nearest integer; halves are rounded away from zero.",
        _ONE_NUMBER,
        "integer",
        _rounded(sa.func.round),
    ),
)
FUNCTIONS: Mapping[str, Function] = {function.name: function for function in _TABLE}
