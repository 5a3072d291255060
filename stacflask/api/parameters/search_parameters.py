"""The parameters of searches, by GET and by POST: parsed by one schema each, and described in OpenAPI."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from flask import Request
from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, post_load, pre_load, validates_schema
from marshmallow.fields import Field
from webargs.flaskparser import FlaskParser

from stacflask import current
from stacflask.api.http import bodies, unknown_parameters
from stacflask.api.http.document_schemas import BBOX
from stacflask.api.http.openapi import TEXT, array, nullable, obj, query, ref
from stacflask.api.http.openapi import Schema as Description
from stacflask.api.parameters import fields, filters, freetext, parse, query_operators, sorting
from stacflask.catalog import cql2
from stacflask.errors import BadQuery
from stacflask.model.query import CollectionQuery, ItemQuery
from stacflask.settings import Settings


class Parser(FlaskParser):
    """webargs' parser with status 400, as STAC API and OGC API Features require."""

    DEFAULT_VALIDATION_STATUS = 400

    def load_json(self, *_: Any) -> Any:
        """Read the body. Raises UnsupportedMediaType if it is not sent as JSON."""
        bodies.expect("application/json")
        return bodies.an_object(exact=True)

    def load_querystring(self, req: Request, schema: Schema) -> Any:
        """Read the query. Raises BadQuery for a parameter that occurs twice, because one value would be ignored."""
        for name, values in req.args.lists():
            if len(values) > 1 and name in dict(_fields(schema)):
                raise BadQuery(name, f"expected one value, got {len(values)}")
        return arguments(req)


_UNESCAPED_OFFSET = re.compile(
    rb"(T[0-9]{2}(?::|%3A)[0-9]{2}(?::|%3A)[0-9]{2}(?:\.[0-9]+)?)\+(?=[0-9]{2}(?::|%3A)[0-9]{2})", re.IGNORECASE
)


def arguments(req: Request) -> dict[str, str]:
    """Return the parameters of the query. A + in the offset of a time (RFC 3339) stays a +, also if unescaped."""
    escaped, found = _UNESCAPED_OFFSET.subn(rb"\1%2B", req.query_string) if b"+" in req.query_string else (b"", 0)
    return dict(parse_qsl(escaped.decode(errors="replace"), keep_blank_values=True)) if found else req.args.to_dict()


def query_schema(schema: type[Schema]) -> Callable[[Request], Schema]:
    """Return a function that returns a schema with only the parameters of a request, cached by their names.

    This is faster than the complete schema, which reads each of its parameters from each query.
    """
    attributes = {field.data_key or name: name for name, field in schema().fields.items()}

    @lru_cache(maxsize=256)
    def cached(names: frozenset[str]) -> Schema:
        return schema(only=names)

    return lambda req: cached(frozenset(attributes[name] for name in attributes.keys() & req.args.keys()))


class Parameter(Field[Any]):
    """A parameter: the function that parses it, its description, and its OpenAPI schema.

    The function raises ValueError with the message for the client.
    """

    def __init__(
        self, parse: Callable[[Any], Any], text: str, schema: Description, data_key: str | None = None
    ) -> None:
        super().__init__(data_key=data_key)
        self.parse, self.text, self.schema = parse, text, schema

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        try:
            return self.parse(value)
        except ValueError as error:
            raise ValidationError(str(error)) from error


# --- Parameters -------------------------------------------------------------------------------------------------------

TIMES = "An instant (RFC 3339), or an interval: two instants separated by /, one of which can be .. or empty."
LIMIT = "The maximum number of results on a page. Values above the server's maximum are clamped."
TOKEN = "The token of a page, from a next or prev link."  # noqa: S105 - not a secret
AREA = "Only items whose geometry intersects this box. A box with west > east crosses the antimeridian."
SHAPE = "Only items whose geometry intersects this GeoJSON geometry."
IDS = "Only items with these ids."
COLLECTIONS = "Only items of these collections."
FILTER = "A condition in CQL2."
LANGUAGE = "The language of filter. Default: cql2-text for GET, cql2-json for POST."
CRS = "The reference system of the geometries in filter. Only CRS84 is supported."
QUERY = "Comparisons by property: eq, neq, lt, lte, gt, gte, startsWith, endsWith, contains, in. All must hold."
SORT = "Names to sort by; a leading - means descending. Numbers sort before strings, missing values last."
COUNT = "Whether to return the number of items on all pages."
FIELDS = "Paths of members to include; a leading - excludes a member. If empty, the default members of an item."
WORDS = (
    "Case-insensitive search terms: comma-separated phrases, or words, any of which must match. AND, OR, parentheses "
    'and "quotes" combine words; a leading + requires a word, a leading - excludes it.'
)
ONE_OR_MORE = {"type": "integer", "minimum": 1}
MOMENTS = {**TEXT, "minLength": 1, "example": "2024-01-01T00:00:00Z/.."}
NAMES = array(TEXT)
YES_OR_NO = {"type": "boolean"}
FILTER_TEXT = {**TEXT, "example": "eo:cloud_cover < 10 AND platform = 'fenlark-2a'"}
SORT_TEXT = array(TEXT, minItems=1, example=["-properties.eo:cloud_cover", "id"])
FIELDS_TEXT = array(TEXT, example=["id", "properties.eo:cloud_cover", "-geometry"])
WORDS_TEXT = {**TEXT, "maxLength": freetext.MAX_CHARACTERS, "example": '"sea ice",glacier'}
LANGUAGES = {**TEXT, "enum": list(filters.LANGUAGES)}
SYSTEMS = {**TEXT, "enum": [filters.CRS84]}


class PageQuery(Schema):
    """Parameters of a page."""

    limit = Parameter(parse.limit_text, LIMIT, ONE_OR_MORE)
    token = Parameter(parse.token, TOKEN, TEXT)

    class Meta:
        """Ignores unknown parameters. If a setting rejects them, ``unknown_parameters.py`` does so."""

        unknown = EXCLUDE


@dataclass(frozen=True, slots=True)
class ItemSearch(ItemQuery):
    """The items to find, and the members and count to return."""

    fields: fields.Fields | None = None
    count: bool | None = None


@dataclass(frozen=True, slots=True)
class CollectionSearch(CollectionQuery):
    """The collections to find, and the members to return."""

    fields: fields.Fields | None = None


class FindingQuery(PageQuery):
    """Parameters of searches for items and for collections."""

    language = filters.TEXT

    bbox = Parameter(parse.bbox_text, AREA, BBOX)
    datetime = Parameter(parse.interval_text, TIMES, MOMENTS)
    q = Parameter(freetext.text, WORDS, WORDS_TEXT)
    filter = Parameter(filters.unparsed, FILTER, FILTER_TEXT)
    filter_lang = Parameter(filters.language, LANGUAGE, LANGUAGES, data_key="filter-lang")
    filter_crs = Parameter(filters.crs, CRS, SYSTEMS, data_key="filter-crs")
    query = Parameter(query_operators.comparisons_text, QUERY, ref("Query"))
    sortby = Parameter(sorting.sort_text, SORT, SORT_TEXT)

    def query_members(self, data: dict[str, Any], default_limit: int) -> dict[str, Any]:
        """Return the parameters by the names that the catalog's query has. Raises BadQuery."""
        renamed = {"datetime": "interval", "sortby": "sort", "fields_": "fields", "q": "text"}
        members = _with_condition(data, self.language)
        if "filter" in members:
            _check_cost(members["filter"], "filter" if "filter" in data else "query")
        if "intersects" in members and "filter" in members:
            _check_positions(members["intersects"], members["filter"])
        return {"limit": default_limit, **{renamed.get(name, name): value for name, value in members.items()}}


class ItemsQuery(FindingQuery):
    """Parameters of GET /collections/{collection_id}/items."""

    fields_ = Parameter(fields.item_fields_text, FIELDS, FIELDS_TEXT, data_key="fields")
    count = Parameter(parse.flag_text, COUNT, YES_OR_NO)

    @post_load
    def search(self, data: dict[str, Any], **_: Any) -> ItemSearch:
        """Return the query for the catalog."""
        return ItemSearch(**self.query_members(data, current.settings().default_limit))


class CollectionsQuery(FindingQuery):
    """Parameters of GET /collections."""

    fields_ = Parameter(fields.collection_fields_text, FIELDS, FIELDS_TEXT, data_key="fields")

    @post_load
    def search(self, data: dict[str, Any], **_: Any) -> CollectionSearch:
        """Return the query for the catalog."""
        return CollectionSearch(**self.query_members(data, current.settings().max_limit))


def _check_positions(*expressions: Any) -> None:
    """Check that all geometries together have at most the positions of one. Raises BadQuery."""
    if sum(map(cql2.positions_in, expressions)) > parse.MAX_POSITIONS:
        raise BadQuery("filter", f"expected at most {parse.MAX_POSITIONS} positions, those of intersects included")


def _check_cost(expression: Any, parameter: str) -> None:
    """Check the cost of a condition per item. Raises BadQuery."""
    cost = cql2.cost_of(expression)
    if cost > cql2.MAXIMUM_COST:
        problem = f"expected a condition that costs at most {cql2.MAXIMUM_COST} units for each item, got {cost}"
        raise BadQuery(parameter, f"{problem}. Use fewer properties, functions and positions, or IN instead of OR")


def _with_condition(data: dict[str, Any], language: str) -> dict[str, Any]:
    """Return the parameters with ``filter`` and ``query`` combined as one ``filter``."""
    combined = {"filter", "filter_lang", "filter_crs", "query"}
    rest = {name: value for name, value in data.items() if name not in combined}
    conditions = list(data.get("query", ()))
    if "filter" in data:
        conditions.insert(0, filters.expression(data["filter"], data.get("filter_lang", language)))
    return {**rest, "filter": filters.conjunction(conditions)} if conditions else rest


class SearchQuery(ItemsQuery):
    """Parameters of GET /search."""

    intersects = Parameter(parse.geometry_text, SHAPE, ref("Geometry"))
    ids = Parameter(parse.names_text, IDS, NAMES)
    collections = Parameter(parse.names_text, COLLECTIONS, NAMES)

    @validates_schema
    def one_area(self, data: dict[str, Any], **_: Any) -> None:
        """Check that there is only one of bbox and intersects."""
        if "bbox" in data and "intersects" in data:
            raise ValidationError("expected bbox or intersects, got both", "intersects")


class SearchBody(SearchQuery):
    """Body of POST /search: the same parameters as JSON."""

    language = filters.JSON
    error_messages = {"unknown": unknown_parameters.UNKNOWN}  # noqa: RUF012 - marshmallow declares it

    limit = Parameter(parse.limit, LIMIT, ONE_OR_MORE)
    bbox = Parameter(parse.bbox, AREA, BBOX)
    datetime = Parameter(parse.interval, TIMES, MOMENTS)
    intersects = Parameter(parse.geometry, SHAPE, ref("Geometry"))
    ids = Parameter(parse.names, IDS, NAMES)
    collections = Parameter(parse.names, COLLECTIONS, NAMES)
    q = Parameter(freetext.texts, WORDS, {"anyOf": [WORDS_TEXT, array(TEXT)]})
    query = Parameter(query_operators.comparisons, QUERY, ref("Query"))
    sortby = Parameter(sorting.sort, SORT, ref("SortBy"))
    fields_ = Parameter(fields.item_fields, FIELDS, ref("Fields"), data_key="fields")
    count = Parameter(parse.flag, COUNT, YES_OR_NO)
    filter = Parameter(filters.unparsed, FILTER, {"anyOf": [ref("Cql2"), FILTER_TEXT]})

    def load(self, data: Any, **kwargs: Any) -> Any:
        """Read the members. Unknown ones are an error if ``strict_parameters`` is set."""
        kwargs["unknown"] = RAISE if current.settings().strict_parameters else EXCLUDE
        return super().load(data, **kwargs)

    @pre_load
    def nulls(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Remove members that are null, as many clients send them; ``fields: null`` means the default members."""
        members = {name: value for name, value in data.items() if value is not None}
        return {**members, "fields": {}} if "fields" in data and data["fields"] is None else members


# --- OpenAPI ---------------------------------------------------------------------------------------------------------


def parameters(schema: type[Schema]) -> list[Description]:
    """Describe the parameters of a query. ``limit`` is a component, because its bounds depend on the settings."""
    limit = {"name": "limit", "component": "limit" if issubclass(schema, ItemsQuery) else COLLECTIONS_LIMIT}
    described = [(name, query(name, field.text, field.schema)) for name, field in _fields(schema())]
    return [limit if name == "limit" else parameter for name, parameter in described]


COLLECTIONS_LIMIT = "limitOfCollections"


def components(settings: Settings) -> dict[str, Description]:
    """Describe the parameters that depend on the settings, by component name."""
    defaults = {"limit": settings.default_limit, COLLECTIONS_LIMIT: settings.max_limit}
    return {
        name: query("limit", LIMIT, {**ONE_OR_MORE, "maximum": settings.max_limit, "default": default})
        for name, default in defaults.items()
    }


def _fields(schema: Schema) -> list[tuple[str, Parameter]]:
    return [(field.data_key or name, field) for name, field in schema.fields.items() if isinstance(field, Parameter)]


def _described(field: Parameter) -> Description:
    if "$ref" in field.schema:
        return {"allOf": [field.schema], "nullable": True, "description": field.text}
    return nullable({**field.schema, "description": field.text})


def body(schema: type[Schema]) -> Description:
    """Describe a body by the members of a schema."""
    return obj([], **{name: _described(field) for name, field in _fields(schema())})


BODIES = {"SearchBody": body(SearchBody)}
