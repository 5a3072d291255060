"""What may be asked: the parameters of searches, by GET and by POST, as one schema in two spellings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, fields, post_load, pre_load, validates_schema
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import UnsupportedMediaType

from stacflask import current
from stacflask.errors import BadDocument
from stacflask.stac.geometry import check_geometry
from stacflask.stac.times import parse_interval
from stacflask.values import Interval, ItemQuery

if TYPE_CHECKING:
    from flask import Request

SOUTH_OF, NORTH_OF = {4: 1, 6: 1}, {4: 3, 6: 4}


class Parser(FlaskParser):
    """webargs' parser, with the status that STAC and OGC ask for."""

    DEFAULT_VALIDATION_STATUS = 400

    def load_json(self, req: Request, schema: Schema) -> Any:
        """Read the body; what is not sent as JSON is refused instead of being passed over."""
        if not req.is_json:
            raise UnsupportedMediaType(f"Content-Type: expected application/json, not {req.mimetype!r}.")
        body = super().load_json(req, schema)
        if not isinstance(body, dict):
            raise BadDocument("", "expected a JSON object")
        return body


class Limit(fields.Integer):
    """A page's size: what is above the maximum is clamped, what is below 1 an error."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise ValidationError("expected a whole number")
        number: int = super()._deserialize(value, attr, data, **kwargs)
        if number < 1:
            raise ValidationError("expected 1 or more")
        return min(number, current.settings().max_limit)


class Bbox(fields.Field[tuple[float, ...]]):
    """4 or 6 numbers in an array."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[float, ...]:
        if not isinstance(value, list) or not all(_is_number(number) for number in value):
            raise ValidationError("expected an array of 4 or 6 numbers")
        return _checked_bbox(tuple(float(number) for number in value))


class BboxText(fields.Field[tuple[float, ...]]):
    """4 or 6 numbers with commas between them."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[float, ...]:
        try:
            return _checked_bbox(tuple(float(part) for part in value.split(",")))
        except ValueError as error:
            raise ValidationError("expected 4 or 6 numbers with commas between them, without brackets") from error


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _checked_bbox(box: tuple[float, ...]) -> tuple[float, ...]:
    if len(box) not in SOUTH_OF:
        raise ValidationError(f"expected 4 or 6 numbers, not {len(box)}")
    if not all(abs(number) < float("inf") for number in box):
        raise ValidationError("expected finite numbers")
    west, east = box[0], box[len(box) // 2]
    south, north = box[SOUTH_OF[len(box)]], box[NORTH_OF[len(box)]]
    if not (-180 <= west <= 180 and -180 <= east <= 180):
        raise ValidationError("longitudes go from -180 to 180")
    if not (-90 <= south <= 90 and -90 <= north <= 90):
        raise ValidationError("latitudes go from -90 to 90")
    if south > north:
        raise ValidationError("south lies north of north")
    if len(box) == 6 and box[2] > box[5]:
        raise ValidationError("the lowest height lies above the highest")
    return box


class When(fields.Field[Interval]):
    """An instant or an interval."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Interval:
        if not isinstance(value, str):
            raise ValidationError("expected a text: an instant or an interval")
        try:
            return parse_interval(value)
        except ValueError as error:
            raise ValidationError(str(error)) from error


class Geometry(fields.Field[dict[str, Any]]):
    """A GeoJSON geometry."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            check_geometry(value, "")
        except BadDocument as error:
            raise ValidationError(f"{error.pointer}: {error.problem}".removeprefix(": ")) from error
        return dict(value)


class GeometryText(Geometry):
    """A GeoJSON geometry as JSON text."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            parsed = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise ValidationError(f"expected a GeoJSON geometry: {error}") from error
        return super()._deserialize(parsed, attr, data, **kwargs)


class Names(fields.Field[tuple[str, ...]]):
    """An array of ids."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise ValidationError("expected an array of ids")
        if any("\0" in name for name in value):
            raise ValidationError("an id holds no NUL")
        return tuple(value)


class NamesText(Names):
    """Ids with commas between them."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[str, ...]:
        names = [name.strip() for name in value.split(",") if name.strip()]
        return super()._deserialize(names, attr, data, **kwargs)


NUMBERS = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 6, "example": [5, 44, 12, 48]}
TIMES = "An instant (RFC 3339), or an interval with / between its ends, of which one may be .. or empty."
LIMIT = "How many at most; what is above the server's maximum is clamped."
TOKEN = "The place of a page, as its neighbours' links say it."
AREA = "Only items whose footprint meets this box; west greater than east crosses the antimeridian."


def _described(text: str, **more: Any) -> dict[str, Any]:
    return {"description": text, **more}


class PageQuery(Schema):
    """A list's page."""

    limit = Limit(metadata=_described(LIMIT, minimum=1))
    token = fields.String(metadata=_described(TOKEN))

    class Meta:
        """How unknown parameters are taken is the deployment's choice, see ``load``."""

        unknown = EXCLUDE

    def load(self, data: Any, **kwargs: Any) -> Any:
        """Read the parameters; unknown ones are an error where the deployment says so."""
        kwargs["unknown"] = RAISE if current.settings().strict_parameters else EXCLUDE
        return super().load(data, **kwargs)


class ItemsQuery(PageQuery):
    """GET of a collection's items."""

    bbox = BboxText(metadata=_described(AREA, type="string", example="5,44,12,48"))
    datetime = When(metadata=_described(TIMES, type="string", example="2024-01-01T00:00:00Z/.."), data_key="datetime")

    @post_load
    def query(self, data: dict[str, Any], **_: Any) -> ItemQuery:
        """Make the catalogue's query."""
        named = {"datetime": "interval"}
        given = {named.get(name, name): value for name, value in data.items()}
        return ItemQuery(**{"limit": current.settings().default_limit, **given})


class SearchQuery(ItemsQuery):
    """GET of a search."""

    intersects = GeometryText(
        metadata=_described("Only items whose footprint meets this GeoJSON geometry.", type="string")
    )
    ids = NamesText(metadata=_described("Only items with these ids.", type="string"))
    collections = NamesText(metadata=_described("Only items of these collections.", type="string"))

    @validates_schema
    def one_area(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse two areas at once."""
        if "bbox" in data and "intersects" in data:
            raise ValidationError("give bbox or intersects, not both", "intersects")


class SearchBody(SearchQuery):
    """POST of a search: the same words as JSON."""

    bbox = Bbox(metadata=_described(AREA, **NUMBERS))
    intersects = Geometry(metadata={"allOf": [{"$ref": "#/components/schemas/Geometry"}]})
    ids = Names(metadata=_described("Only items with these ids.", type="array", items={"type": "string"}))
    collections = Names(
        metadata=_described("Only items of these collections.", type="array", items={"type": "string"})
    )

    @pre_load
    def given(self, data: Any, **_: Any) -> Any:
        """Take a null as not said, as many clients mean it."""
        return {name: value for name, value in data.items() if value is not None} if isinstance(data, dict) else data
