"""What may be asked: the parameters of searches, by GET and by POST, as one schema in two spellings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson
from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, fields, post_load, pre_load, validates_schema
from webargs.flaskparser import FlaskParser

from stacflask import current
from stacflask.api import bodies
from stacflask.api.models import BBOX
from stacflask.api.openapi import TEXT, array, maybe, obj, query, ref
from stacflask.errors import BadDocument, BadQuery
from stacflask.stac.geometry import check_geometry
from stacflask.stac.times import parse_interval
from stacflask.values import ItemQuery

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Request

    from stacflask.api.openapi import Schema as Description
    from stacflask.values import Document, Interval

_NUMBER = re.compile(r"\s*[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?\s*", re.ASCII)
_WHOLE = re.compile(r"-?[0-9]{1,1000}")
_FLAT, _TALL = 4, 6
_LONGITUDE, _LATITUDE = 180, 90


class Parser(FlaskParser):
    """webargs' parser, with the status that STAC and OGC ask for."""

    DEFAULT_VALIDATION_STATUS = 400

    def load_json(self, *_: Any) -> Any:
        """Read the body; what is not sent as JSON is refused instead of being passed over."""
        bodies.expect("application/json")
        return bodies.an_object()

    def load_querystring(self, req: Request, schema: Schema) -> Any:
        """Read the query; of a parameter given twice, none could be taken without passing over the other."""
        for name, values in req.args.lists():
            if len(values) > 1 and name in schema.fields:
                raise BadQuery(name, "is given more than once")
        return super().load_querystring(req, schema)


class Read(fields.Field[Any]):
    """A parameter that is read by a function, whose ValueError is the complaint; what it means, and how it looks."""

    def __init__(self, read: Callable[[Any], Any], text: str, schema: Description) -> None:
        super().__init__()
        self.read, self.text, self.schema = read, text, schema

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        try:
            return self.read(value)
        except ValueError as error:
            raise ValidationError(str(error)) from error


# --- Reading ----------------------------------------------------------------------------------------------------------


def limit(value: Any) -> int:
    """Read a page's size: what is above the maximum is clamped, what is below 1 an error."""
    if not _is_number(value) or value != value // 1:
        raise ValueError("expected a whole number")
    if value < 1:
        raise ValueError("expected 1 or more")
    return min(int(value), current.settings().max_limit)


def limit_text(text: str) -> int:
    """Read a page's size from digits."""
    if not _WHOLE.fullmatch(text):
        raise ValueError("expected a whole number")
    return limit(int(text))


def token(value: Any) -> str:
    """Read a page's token; what is in it is the catalogue's business."""
    if not isinstance(value, str):
        raise ValueError("expected a text")  # noqa: TRY004 - a ValueError is what makes an answer
    return value


def bbox(value: Any) -> tuple[float, ...]:
    """Read an array of 4 or 6 numbers."""
    if not isinstance(value, list) or not all(map(_is_number, value)):
        raise ValueError("expected an array of 4 or 6 numbers")
    try:
        return _checked(tuple(map(float, value)))
    except OverflowError as error:
        raise ValueError("expected finite numbers") from error


def bbox_text(text: str) -> tuple[float, ...]:
    """Read 4 or 6 numbers with commas between them."""
    numbers = text.split(",")
    if not all(map(_NUMBER.fullmatch, numbers)):
        raise ValueError("expected 4 or 6 numbers with commas between them, without brackets")
    return _checked(tuple(map(float, numbers)))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _checked(box: tuple[float, ...]) -> tuple[float, ...]:
    if len(box) not in (_FLAT, _TALL):
        raise ValueError(f"expected 4 or 6 numbers, not {len(box)}")
    if not all(abs(number) < float("inf") for number in box):
        raise ValueError("expected finite numbers")
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
        raise ValueError("expected a text: an instant or an interval")  # noqa: TRY004
    return parse_interval(value)


def geometry(value: Any) -> Document:
    """Read a GeoJSON geometry."""
    try:
        check_geometry(value)
    except BadDocument as error:
        raise ValueError(f"{error.pointer}: {error.problem}".removeprefix(": ")) from error
    return dict(value)


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
        raise ValueError("expected an array of ids")
    if any("\0" in name for name in value):
        raise ValueError("an id holds no NUL")
    return tuple(value)


def names_text(text: str) -> tuple[str, ...]:
    """Read ids with commas between them."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


# --- Parameters -------------------------------------------------------------------------------------------------------

TIMES = "An instant (RFC 3339), or an interval with / between its ends, of which one may be .. or empty."
LIMIT = "How many at most; what is above the server's maximum is clamped."
TOKEN = "The place of a page, as its neighbours' links say it."  # noqa: S105 - not a secret
AREA = "Only items whose footprint meets this box; west greater than east crosses the antimeridian."
SHAPE = "Only items whose footprint meets this GeoJSON geometry."
IDS = "Only items with these ids."
COLLECTIONS = "Only items of these collections."
ONE_OR_MORE = {"type": "integer", "minimum": 1}
MOMENTS = {**TEXT, "minLength": 1, "example": "2024-01-01T00:00:00Z/.."}
NAMES = array(TEXT)


class PageQuery(Schema):
    """A list's page."""

    limit = Read(limit_text, LIMIT, ONE_OR_MORE)
    token = Read(token, TOKEN, TEXT)

    class Meta:
        """Of unknown parameters nothing comes; where they are an error, ``strict.py`` says so."""

        unknown = EXCLUDE


class ItemsQuery(PageQuery):
    """GET of a collection's items."""

    bbox = Read(bbox_text, AREA, BBOX)
    datetime = Read(interval, TIMES, MOMENTS)

    @post_load
    def query(self, data: dict[str, Any], **_: Any) -> ItemQuery:
        """Make the catalogue's query."""
        named = {"datetime": "interval"}
        given = {named.get(name, name): value for name, value in data.items()}
        return ItemQuery(**{"limit": current.settings().default_limit, **given})


class SearchQuery(ItemsQuery):
    """GET of a search."""

    intersects = Read(geometry_text, SHAPE, ref("Geometry"))
    ids = Read(names_text, IDS, NAMES)
    collections = Read(names_text, COLLECTIONS, NAMES)

    @validates_schema
    def one_area(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse two areas at once."""
        if "bbox" in data and "intersects" in data:
            raise ValidationError("give bbox or intersects, not both", "intersects")


class SearchBody(SearchQuery):
    """POST of a search: the same words as JSON."""

    limit = Read(limit, LIMIT, ONE_OR_MORE)
    bbox = Read(bbox, AREA, BBOX)
    intersects = Read(geometry, SHAPE, ref("Geometry"))
    ids = Read(names, IDS, NAMES)
    collections = Read(names, COLLECTIONS, NAMES)

    def load(self, data: Any, **kwargs: Any) -> Any:
        """Read the members; unknown ones are an error where the deployment says so."""
        kwargs["unknown"] = RAISE if current.settings().strict_parameters else EXCLUDE
        return super().load(data, **kwargs)

    @pre_load
    def given(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Take a null as not said, as many clients mean it."""
        return {name: value for name, value in data.items() if value is not None}


# --- Their description -----------------------------------------------------------------------------------------------


def parameters(schema: type[Schema]) -> list[Description]:
    """Describe what a query may hold."""
    return [query(name, field.text, field.schema) for name, field in _fields(schema)]


def _fields(schema: type[Schema]) -> list[tuple[str, Read]]:
    return [(name, field) for name, field in schema().fields.items() if isinstance(field, Read)]


def _described(field: Read) -> Description:
    if "$ref" in field.schema:
        return {"allOf": [field.schema], "nullable": True, "description": field.text}
    return maybe({**field.schema, "description": field.text})


BODIES = {"SearchBody": obj([], **{name: _described(field) for name, field in _fields(SearchBody)})}
