"""The words that the OpenAPI document is put together of: schemas, parameters, answers and errors."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """Refer to one of the schemas of ``models.py``."""
    return {"$ref": f"#/components/schemas/{name}"}


def array(of: Schema, **more: Any) -> Schema:
    """Describe an array."""
    return {"type": "array", "items": of, **more}


def obj(required: list[str], **properties: Schema) -> Schema:
    """Describe an object that may hold more than what is named."""
    described: Schema = {"type": "object", "properties": properties}
    return {**described, "required": required} if required else described


def nullable(schema: Schema) -> Schema:
    """Describe what may be null, too."""
    return {**schema, "nullable": True}


TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}

# --- Parameters -------------------------------------------------------------------------------------------------------


def _parameter(place: str, name: str, text: str, schema: Schema = TEXT) -> Schema:
    return {"in": place, "name": name, "required": place == "path", "description": text, "schema": schema}


def header(name: str, text: str) -> Schema:
    """Describe a header field that a request may have."""
    return _parameter("header", name, text)


def query(name: str, text: str, schema: Schema) -> Schema:
    """Describe a parameter of the query; an array has commas between its parts, an object is JSON."""
    described = _parameter("query", name, text, schema)
    if "$ref" in schema:
        return {**{key: value for key, value in described.items() if key != "schema"}, "content": content(schema)}
    return {**described, "style": "form", "explode": False}


IF_NONE_MATCH = header("If-None-Match", "ETags that the client has; answered 304 where the present one is among them.")
IF_MATCH = header("If-Match", "ETags, one of which must be the present one; else 412.")
PREFER = header("Prefer", "return=representation: answer with what has become of it (RFC 7240).")
PATH: dict[str, Schema] = {
    name: _parameter("path", name, text, {**TEXT, "minLength": 1})
    for name, text in {
        "collection_id": "The collection's id.",
        "item_id": "The item's id.",
        "period_name": "A year, month, day or less, as ISO 8601 writes it: 2024, 2024-06, 2024-06-15, 2024-06-15T12.",
        "asset_id": "The asset's key, its slashes percent-encoded; of a directory, followed by / and a path in it.",
        "name": "The file's name.",
    }.items()
}

# --- Bodies and answers -----------------------------------------------------------------------------------------------


def content(schema: Schema | str, *media_types: str) -> Schema:
    """Describe a body: a schema, or the name of one here, under these media types."""
    described = ref(schema) if isinstance(schema, str) else schema
    return {media_type: {"schema": described} for media_type in media_types or ("application/json",)}


def response_object(description: str, schema: Schema | str | None = None, *media_types: str, **headers: str) -> Schema:
    """Describe an answer, with its header fields by name and meaning."""
    described: Schema = {"description": description}
    if schema is not None:
        described["content"] = content(schema, *media_types)
    if headers:
        described["headers"] = {
            name.replace("_", "-"): {"schema": TEXT, "description": text} for name, text in headers.items()
        }
    return described


STATE = "Its state."
NOT_MODIFIED = response_object("The client has it already.")
REASONS = {
    400: "A parameter or the body is wrong; the description names the place.",
    401: "Credentials are missing or wrong.",
    403: "You may not do this; where something can be accepted first, a link says what.",
    404: "There is no such thing, or none that you may see.",
    409: "It exists already, or is still in use.",
    412: "It is in another state than If-Match says.",
    413: "The body is too large.",
    415: "The body's media type is not understood.",
    416: "The range lies outside the bytes there are.",
    428: "This deployment asks for If-Match.",
    429: "A quota is used up; Retry-After says when to come again.",
    500: "Something broke here.",
    503: "Something is away or too busy; Retry-After says when to come again.",
}


FIELDS = {
    401: {"WWW_Authenticate": "How to say who you are."},
    416: {"Content_Range": "How many bytes there are."},
    429: {"Retry_After": "Seconds."},
    503: {"Retry_After": "Seconds."},
}


def failures(*statuses: int) -> dict[str, Schema]:
    """Describe the errors that an operation may answer, besides those every operation may."""
    return {
        str(status): response_object(REASONS[status], "Exception", **FIELDS.get(status, {}))
        for status in sorted({400, 401, 500, 503, *statuses})
    }
