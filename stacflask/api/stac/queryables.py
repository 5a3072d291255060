"""Queryables and sortables: the names that a search can use, with the JSON Schema of each."""

from collections.abc import Mapping
from typing import Any

import orjson
from flask import Response

from stacflask import current
from stacflask.api.http import public_url, responses
from stacflask.api.http.media_types import SCHEMA
from stacflask.api.http.openapi import IF_NONE_MATCH, NOT_MODIFIED, response_object
from stacflask.api.parameters.blueprints import Blueprint
from stacflask.catalog.cql2 import COLLECTION_FIELDS, ITEM_FIELDS, Fields
from stacflask.catalog.cql2.values.types import GeometryValue, InstantValue, Text
from stacflask.catalog.properties.observations import Observation, Observations
from stacflask.model.json_types import Document
from stacflask.stac import known_fields

DIALECT = "https://json-schema.org/draft/2019-09/schema"
SCALARS = frozenset({"string", "number", "integer", "boolean"})

bp = Blueprint("queryables", __name__, description="Names that searches can use")
describes = bp.describes(
    412, parameters=[IF_NONE_MATCH], _200=response_object("The names.", "Names", SCHEMA), _304=NOT_MODIFIED
)
describes_of_collection = bp.describes(
    404, 412, parameters=[IF_NONE_MATCH], _200=response_object("The names.", "Names", SCHEMA), _304=NOT_MODIFIED
)


@bp.route("/queryables")
@describes
def queryables() -> Response:
    """List the names by which items of all collections can be filtered."""
    return _answer("Queryables", _of_items(None))


@bp.route("/sortables")
@describes
def sortables() -> Response:
    """List the names by which items of all collections can be sorted."""
    return _answer("Sortables", _sortable(_of_items(None)))


@bp.route("/collections/<collection_id>/queryables")
@describes_of_collection
def collection_queryables(collection_id: str) -> Response:
    """List the names by which items of a collection can be filtered."""
    return _answer(f"Queryables of {collection_id}", _of_collection(collection_id))


@bp.route("/collections/<collection_id>/sortables")
@describes_of_collection
def collection_sortables(collection_id: str) -> Response:
    """List the names by which items of a collection can be sorted."""
    return _answer(f"Sortables of {collection_id}", _sortable(_of_collection(collection_id)))


@bp.route("/collections-queryables")
@describes
def collections_queryables() -> Response:
    """List the names by which collections can be filtered."""
    return _answer("Queryables of collections", _of_collections())


@bp.route("/collections-sortables")
@describes
def collections_sortables() -> Response:
    """List the names by which collections can be sorted."""
    return _answer("Sortables of collections", _sortable(_of_collections()))


# --- Names ------------------------------------------------------------------------------------------------------------


def _of_collection(collection: str) -> dict[str, Document]:
    current.catalog().stored_collection(collection, current.restriction())
    return _of_items((collection,))


def _of_items(collections: tuple[str, ...] | None) -> dict[str, Document]:
    observed = current.catalog().observe_items(collections, current.restriction(), current.settings().queryables_sample)
    return _described(ITEM_FIELDS, observed)


def _of_collections() -> dict[str, Document]:
    return _described(COLLECTION_FIELDS, current.catalog().observe_collections(current.restriction()))


def _described(fields: Fields, observed: Observations) -> dict[str, Document]:
    columns = {name: _column(name, value) for name, value in fields.columns.items() if "." not in name}
    return columns | {name: member(name, observed[name]) for name in sorted(observed.keys() - columns.keys())}


def _sortable(members: Mapping[str, Document]) -> dict[str, Document]:
    return {name: one for name, one in members.items() if _types(one) and _types(one) <= SCALARS}


def _types(described: Document) -> set[str]:
    types = described.get("type", [])
    return set(types if isinstance(types, list) else [types])


def _answer(title: str, members: Mapping[str, Document]) -> Response:
    body = {
        "$schema": DIALECT,
        "$id": public_url.request_url(),
        "type": "object",
        "title": title,
        "properties": members,
        "additionalProperties": not current.settings().strict_names,
    }
    return responses.tagged(responses.reply(orjson.dumps(body), SCHEMA))


# --- One name ---------------------------------------------------------------------------------------------------------

_TITLES = {"id": "Id", "collection": "Id of the collection", "geometry": "Footprint"}


def _column(name: str, value: Any) -> Document:
    """Describe a name with a column of its own."""
    title = {"title": _TITLES.get(name) or known_fields.fields().get(name, {}).get("title", name)}
    match value:
        case Text():
            return {**title, "type": "string"}
        case InstantValue():
            return {**title, "type": "string", "format": "date-time"}
        case GeometryValue():
            return {**title, "format": "geometry-any"}
    return {**title, **_schema(Observation(frozenset({"string", "number", "boolean"})), {})}


def member(name: str, observed: Observation) -> Document:
    """Describe a property by its observed values and by the definition in its extension."""
    defined = known_fields.fields().get(name, {})
    return {"title": name, **_only(defined, "title", "description"), **_schema(observed, defined)}


def _only(schema: Document, *names: str) -> Document:
    return {name: schema[name] for name in names if name in schema}


def _schema(observed: Observation, defined: Document) -> Document:
    kinds = (
        observed.kinds - {"integer"}
        if "number" in observed.kinds or defined.get("type") == "number"
        else observed.kinds
    )
    types = sorted({_TYPES.get(kind, kind) for kind in kinds}) or [defined.get("type", "string")]
    if observed.kinds == {"integer"} and defined.get("type") == "number":
        types = ["number"]
    schema: Document = {"type": types[0] if len(types) == 1 else types}
    if observed.kinds == {"time"}:
        schema["format"] = "date-time"
    if len(types) == 1:
        schema |= _limits(types[0], observed, defined)
    return schema


_TYPES = {"time": "string"}


def _limits(kind: str, observed: Observation, defined: Document) -> Document:
    """Return the observed bounds or values, or the defined bounds if none are observed."""
    match kind:
        case "number" | "integer":
            if observed.low is None:
                return _only(defined, "minimum", "maximum")
            return {"minimum": observed.low, "maximum": observed.high}
        case "string" if "time" not in observed.kinds and observed.words:
            return {"enum": sorted(observed.words)}
        case "array" if observed.members is not None and observed.members.kinds:
            return {"items": _schema(observed.members, defined.get("items", {}))}
    return {}
