"""What may be asked: the parameters of searches, by GET and by POST, as one schema in two spellings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, post_load, pre_load, validates_schema
from marshmallow.fields import Field
from webargs.flaskparser import FlaskParser

from stacflask import current
from stacflask.api.http import bodies, unknown_parameters
from stacflask.api.http.document_schemas import BBOX
from stacflask.api.http.openapi import TEXT, array, nullable, obj, query, ref
from stacflask.api.parameters import fields, filters, freetext, parse, query_operators, sorting
from stacflask.catalog import cql2
from stacflask.errors import BadQuery
from stacflask.model.query import CollectionQuery, ItemQuery

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Request

    from stacflask.api.http.openapi import Schema as Description
    from stacflask.settings import Settings


class Parser(FlaskParser):
    """webargs' parser, with the status that STAC and OGC ask for."""

    DEFAULT_VALIDATION_STATUS = 400

    def load_json(self, *_: Any) -> Any:
        """Read the body; what is not sent as JSON is refused instead of being passed over."""
        bodies.expect("application/json")
        return bodies.an_object(exact=True)

    def load_querystring(self, req: Request, schema: Schema) -> Any:
        """Read the query; of a parameter given twice, none could be taken without passing over the other."""
        for name, values in req.args.lists():
            if len(values) > 1 and name in dict(_fields(schema)):
                raise BadQuery(name, "is given more than once")
        return arguments(req)


_UNESCAPED_OFFSET = re.compile(
    rb"(T[0-9]{2}(?::|%3A)[0-9]{2}(?::|%3A)[0-9]{2}(?:\.[0-9]+)?)\+(?=[0-9]{2}(?::|%3A)[0-9]{2})", re.IGNORECASE
)


def arguments(req: Request) -> dict[str, str]:
    """Return the parameters of the query. A plus in the offset of a time (RFC 3339) is a plus, escaped or not."""
    mended, found = _UNESCAPED_OFFSET.subn(rb"\1%2B", req.query_string) if b"+" in req.query_string else (b"", 0)
    return dict(parse_qsl(mended.decode(errors="replace"), keep_blank_values=True)) if found else req.args.to_dict()


def reader(schema: type[Schema]) -> Callable[[Request], Schema]:
    """Give what reads the parameters of a query: a schema of those alone that it has, made once for all queries alike.

    A schema of all that there may be would look for each of them in each query.
    """
    attributes = {field.data_key or name: name for name, field in schema().fields.items()}

    @lru_cache(maxsize=256)
    def made(given: frozenset[str]) -> Schema:
        return schema(only=given)

    return lambda req: made(frozenset(attributes[name] for name in attributes.keys() & req.args.keys()))


class Read(Field[Any]):
    """A parameter that is read by a function, whose ValueError is the complaint; what it means, and how it looks."""

    def __init__(self, read: Callable[[Any], Any], text: str, schema: Description, data_key: str | None = None) -> None:
        super().__init__(data_key=data_key)
        self.read, self.text, self.schema = read, text, schema

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        try:
            return self.read(value)
        except ValueError as error:
            raise ValidationError(str(error)) from error


# --- Parameters -------------------------------------------------------------------------------------------------------

TIMES = "An instant (RFC 3339), or an interval with / between its ends, of which one may be .. or empty."
LIMIT = "How many at most; what is above the server's maximum is clamped."
TOKEN = "The place of a page, as its neighbours' links say it."  # noqa: S105 - not a secret
AREA = "Only items whose footprint meets this box; west greater than east crosses the antimeridian."
SHAPE = "Only items whose footprint meets this GeoJSON geometry."
IDS = "Only items with these ids."
COLLECTIONS = "Only items of these collections."
FILTER = "A condition in CQL2."
LANGUAGE = "The language of filter: by GET cql2-text unless said, by POST cql2-json."
CRS = "The reference system of the geometries in filter, of which there is one."
QUERY = "Comparisons by property: eq, neq, lt, lte, gt, gte, startsWith, endsWith, contains, in. All must hold."
SORT = "Names to sort by, each with - in front for descending. Numbers come before strings, no value last."
COUNT = "Whether to tell how many items there are on all pages together."
FIELDS = "Members to show, by their paths, or with - in front to leave out; with none, the usual ones of an item."
WORDS = (
    "Texts to be found, without regard to case: alternatives with commas between them; or words, of which any will do, "
    'with AND, OR, brackets, "quotes", and + or - in front of what must be there or must not.'
)
ONE_OR_MORE = {"type": "integer", "minimum": 1}
MOMENTS = {**TEXT, "minLength": 1, "example": "2024-01-01T00:00:00Z/.."}
NAMES = array(TEXT)
YES_OR_NO = {"type": "boolean"}
FILTER_TEXT = {**TEXT, "example": "eo:cloud_cover < 10 AND platform = 'fenlark-2a'"}
SORT_TEXT = array(TEXT, minItems=1, example=["-properties.eo:cloud_cover", "id"])
FIELDS_TEXT = array(TEXT, example=["id", "properties.eo:cloud_cover", "-geometry"])
WORDS_TEXT = {**TEXT, "maxLength": freetext.LONGEST, "example": '"sea ice",glacier'}
LANGUAGES = {**TEXT, "enum": list(filters.LANGUAGES)}
SYSTEMS = {**TEXT, "enum": [filters.CRS84]}


class PageQuery(Schema):
    """A list's page."""

    limit = Read(parse.limit_text, LIMIT, ONE_OR_MORE)
    token = Read(parse.token, TOKEN, TEXT)

    class Meta:
        """Of unknown parameters nothing comes; where they are an error, ``strict.py`` says so."""

        unknown = EXCLUDE


@dataclass(frozen=True, slots=True)
class ItemSearch(ItemQuery):
    """Which items, and what of them is to be shown."""

    fields: fields.Fields | None = None
    count: bool | None = None


@dataclass(frozen=True, slots=True)
class CollectionSearch(CollectionQuery):
    """Which collections, and what of them is to be shown."""

    fields: fields.Fields | None = None


class FindingQuery(PageQuery):
    """What lists of items and of collections have in common."""

    language = filters.TEXT

    bbox = Read(parse.bbox_text, AREA, BBOX)
    datetime = Read(parse.interval_text, TIMES, MOMENTS)
    q = Read(freetext.text, WORDS, WORDS_TEXT)
    filter = Read(filters.given, FILTER, FILTER_TEXT)
    filter_lang = Read(filters.language, LANGUAGE, LANGUAGES, data_key="filter-lang")
    filter_crs = Read(filters.crs, CRS, SYSTEMS, data_key="filter-crs")
    query = Read(query_operators.comparisons_text, QUERY, ref("Query"))
    sortby = Read(sorting.sort_text, SORT, SORT_TEXT)

    def given(self, data: dict[str, Any], limit: int) -> dict[str, Any]:
        """Give what was sent under the names of the catalogue's query, with this limit unless one was sent."""
        named = {"datetime": "interval", "sortby": "sort", "shown": "fields", "q": "text"}
        said = _with_condition(data, self.language)
        if "filter" in said:
            _check_cost(said["filter"], "filter" if "filter" in data else "query")
        if "intersects" in said and "filter" in said:
            _check_positions(said["intersects"], said["filter"])
        return {"limit": limit, **{named.get(name, name): value for name, value in said.items()}}


class ItemsQuery(FindingQuery):
    """GET of a collection's items."""

    shown = Read(fields.item_fields_text, FIELDS, FIELDS_TEXT, data_key="fields")
    count = Read(parse.flag_text, COUNT, YES_OR_NO)

    @post_load
    def search(self, data: dict[str, Any], **_: Any) -> ItemSearch:
        """Make the catalogue's query."""
        return ItemSearch(**self.given(data, current.settings().default_limit))


class CollectionsQuery(FindingQuery):
    """GET of the collections."""

    shown = Read(fields.collection_fields_text, FIELDS, FIELDS_TEXT, data_key="fields")

    @post_load
    def search(self, data: dict[str, Any], **_: Any) -> CollectionSearch:
        """Make the catalogue's query."""
        return CollectionSearch(**self.given(data, current.settings().max_limit))


def _check_positions(*expressions: Any) -> None:
    """Check that all geometries together are within the bound of one. Raises BadQuery."""
    if sum(map(cql2.positions_in, expressions)) > parse.MOST_POSITIONS:
        raise BadQuery("filter", f"expected at most {parse.MOST_POSITIONS} positions, those of intersects included")


def _check_cost(expression: Any, parameter: str) -> None:
    """Check what a condition costs for each row. Raises BadQuery."""
    cost = cql2.cost_of(expression)
    if cost > cql2.MAXIMUM_COST:
        problem = f"expected a condition that costs at most {cql2.MAXIMUM_COST} units for each item, got {cost}"
        raise BadQuery(parameter, f"{problem}. Use fewer properties, functions and positions, or IN instead of OR")


def _with_condition(data: dict[str, Any], language: str) -> dict[str, Any]:
    """Give the words with all that is said in CQL2, or in what becomes CQL2, as one ``filter``."""
    apart = {"filter", "filter_lang", "filter_crs", "query"}
    rest = {name: value for name, value in data.items() if name not in apart}
    conditions = list(data.get("query", ()))
    if "filter" in data:
        conditions.insert(0, filters.expression(data["filter"], data.get("filter_lang", language)))
    return {**rest, "filter": filters.together(conditions)} if conditions else rest


class SearchQuery(ItemsQuery):
    """GET of a search."""

    intersects = Read(parse.geometry_text, SHAPE, ref("Geometry"))
    ids = Read(parse.names_text, IDS, NAMES)
    collections = Read(parse.names_text, COLLECTIONS, NAMES)

    @validates_schema
    def one_area(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse two areas at once."""
        if "bbox" in data and "intersects" in data:
            raise ValidationError("give bbox or intersects, not both", "intersects")


class SearchBody(SearchQuery):
    """POST of a search: the same words as JSON."""

    language = filters.JSON
    error_messages = {"unknown": unknown_parameters.UNKNOWN}  # noqa: RUF012 - marshmallow declares it

    limit = Read(parse.limit, LIMIT, ONE_OR_MORE)
    bbox = Read(parse.bbox, AREA, BBOX)
    datetime = Read(parse.interval, TIMES, MOMENTS)
    intersects = Read(parse.geometry, SHAPE, ref("Geometry"))
    ids = Read(parse.names, IDS, NAMES)
    collections = Read(parse.names, COLLECTIONS, NAMES)
    q = Read(freetext.texts, WORDS, {"anyOf": [WORDS_TEXT, array(TEXT)]})
    query = Read(query_operators.comparisons, QUERY, ref("Query"))
    sortby = Read(sorting.sort, SORT, ref("SortBy"))
    shown = Read(fields.item_fields, FIELDS, ref("Fields"), data_key="fields")
    count = Read(parse.flag, COUNT, YES_OR_NO)
    filter = Read(filters.given, FILTER, {"anyOf": [ref("Cql2"), FILTER_TEXT]})

    def load(self, data: Any, **kwargs: Any) -> Any:
        """Read the members; unknown ones are an error where the deployment says so."""
        kwargs["unknown"] = RAISE if current.settings().strict_parameters else EXCLUDE
        return super().load(data, **kwargs)

    @pre_load
    def nulls(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Take a null as not said, as many clients mean it; of fields, it means the usual ones."""
        said = {name: value for name, value in data.items() if value is not None}
        return {**said, "fields": {}} if "fields" in data and data["fields"] is None else said


# --- Their description -----------------------------------------------------------------------------------------------


def parameters(schema: type[Schema]) -> list[Description]:
    """Describe what a query may hold. ``limit`` is a component, because what it says depends on the settings."""
    limit = {"name": "limit", "component": "limit" if issubclass(schema, ItemsQuery) else COLLECTIONS_LIMIT}
    described = [(name, query(name, field.text, field.schema)) for name, field in _fields(schema())]
    return [limit if name == "limit" else parameter for name, parameter in described]


COLLECTIONS_LIMIT = "limitOfCollections"


def components(settings: Settings) -> dict[str, Description]:
    """Describe the parameters that depend on the settings, by the names of their components."""
    defaults = {"limit": settings.default_limit, COLLECTIONS_LIMIT: settings.max_limit}
    return {
        name: query("limit", LIMIT, {**ONE_OR_MORE, "maximum": settings.max_limit, "default": default})
        for name, default in defaults.items()
    }


def _fields(schema: Schema) -> list[tuple[str, Read]]:
    return [(field.data_key or name, field) for name, field in schema.fields.items() if isinstance(field, Read)]


def _described(field: Read) -> Description:
    if "$ref" in field.schema:
        return {"allOf": [field.schema], "nullable": True, "description": field.text}
    return nullable({**field.schema, "description": field.text})


def body(schema: type[Schema]) -> Description:
    """Describe what a body may hold."""
    return obj([], **{name: _described(field) for name, field in _fields(schema())})


BODIES = {"SearchBody": body(SearchBody)}
