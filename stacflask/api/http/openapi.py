"""Parts of the OpenAPI document: schemas, parameters, responses and errors."""

from typing import Any

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """Refer to one of the schemas of ``document_schemas.py``."""
    return {"$ref": f"#/components/schemas/{name}"}


def array(of: Schema, **more: Any) -> Schema:
    """Describe an array."""
    return {"type": "array", "items": of, **more}


def obj(required: list[str], **properties: Schema) -> Schema:
    """Describe an object, which may have other members than these."""
    described: Schema = {"type": "object", "properties": properties}
    return {**described, "required": required} if required else described


def nullable(schema: Schema) -> Schema:
    """Return the schema with null as a further value."""
    return {**schema, "nullable": True}


TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}

# --- Parameters -------------------------------------------------------------------------------------------------------


def _parameter(place: str, name: str, text: str, schema: Schema = TEXT) -> Schema:
    return {"in": place, "name": name, "required": place == "path", "description": text, "schema": schema}


def header(name: str, text: str) -> Schema:
    """Describe an optional header field of requests."""
    return _parameter("header", name, text)


def query(name: str, text: str, schema: Schema) -> Schema:
    """Describe a query parameter: an array is comma-separated, an object is JSON."""
    described = _parameter("query", name, text, schema)
    if "$ref" in schema:
        return {**{key: value for key, value in described.items() if key != "schema"}, "content": content(schema)}
    return {**described, "style": "form", "explode": False}


IF_NONE_MATCH = header(
    "If-None-Match", "ETags that the client has cached. If the current ETag is among them, the response is 304."
)
IF_MATCH = header("If-Match", "ETags, one of which must be the current one. Otherwise the response is 412.")
PREFER = header("Prefer", "return=representation: return the changed document (RFC 7240).")
PATH: dict[str, Schema] = {
    name: _parameter("path", name, text, {**TEXT, "minLength": 1})
    for name, text in {
        "collection_id": "The collection's id.",
        "item_id": "The item's id.",
        "period_name": "A year, month, day or shorter period in ISO 8601: 2024, 2024-06, 2024-06-15, 2024-06-15T12.",
        "asset_id": "The asset's key with percent-encoded slashes; for a directory, followed by / and a path in it.",
        "name": "The file's name.",
    }.items()
}

# --- Bodies and responses ---------------------------------------------------------------------------------------------


def content(schema: Schema | str, *media_types: str) -> Schema:
    """Describe a body by a schema, or the name of a component, with these media types."""
    described = ref(schema) if isinstance(schema, str) else schema
    return {media_type: {"schema": described} for media_type in media_types or ("application/json",)}


def response_object(description: str, schema: Schema | str | None = None, *media_types: str, **headers: str) -> Schema:
    """Describe a response, with the descriptions of its header fields by name."""
    described: Schema = {"description": description}
    if schema is not None:
        described["content"] = content(schema, *media_types)
    if headers:
        described["headers"] = {
            name.replace("_", "-"): {"schema": TEXT, "description": text} for name, text in headers.items()
        }
    return described


ETAG = "The ETag of the current state."
NOT_MODIFIED = response_object("Not modified: the client has the current state.")
REASONS = {
    400: "A parameter or the body is invalid. The description names it.",
    401: "Credentials are missing or invalid.",
    403: "Access denied. If you can accept conditions first, a link leads to them.",
    404: "The resource does not exist, or you may not see it.",
    409: "The resource already exists, or is still in use.",
    412: "The current state is not the one in If-Match.",
    413: "The body is too large.",
    415: "The media type of the body is not supported.",
    416: "The range is outside of the file.",
    428: "This deployment requires If-Match.",
    429: "A quota is exhausted. Retry after the time in Retry-After.",
    500: "Internal server error.",
    501: "The bytes must pass this server, but its store only redirects, or they are too large to prepare.",
    503: "A service is unavailable or overloaded. Retry after the time in Retry-After.",
}


_LINK = {"Link": "Where you can change the outcome, with a relation: license for a licence to accept, else help."}
HEADERS = {
    401: {"WWW_Authenticate": "The accepted authentication schemes.", **_LINK},
    403: _LINK,
    416: {"Content_Range": "The size of the file in bytes."},
    429: {"Retry_After": "Seconds.", **_LINK},
    503: {"Retry_After": "Seconds."},
}


def failures(*statuses: int) -> dict[str, Schema]:
    """Describe the error responses of an operation: these, and those of every operation."""
    return {
        str(status): response_object(REASONS[status], "Exception", **HEADERS.get(status, {}))
        for status in sorted({400, 401, 500, 503, *statuses})
    }
