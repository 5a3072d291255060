"""The schemas of the OpenAPI document: what every request and reply looks like, written once."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """Refer to one of the schemas here."""
    return {"$ref": f"#/components/schemas/{name}"}


def array(of: Schema, **more: Any) -> Schema:
    """Describe an array."""
    return {"type": "array", "items": of, **more}


def obj(required: list[str], **properties: Schema) -> Schema:
    """Describe an object that may hold more than what is named."""
    return {"type": "object", "required": required, "properties": properties}


TEXT: Schema = {"type": "string"}
MAYBE_TEXT: Schema = {"type": "string", "nullable": True}
INSTANT: Schema = {"type": "string", "format": "date-time"}
MAYBE_INSTANT: Schema = {**INSTANT, "nullable": True}
ADDRESS: Schema = {"type": "string", "format": "uri-reference", "minLength": 1}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
POSITION = array(NUMBER, minItems=2, maxItems=3)
RING = array(POSITION, minItems=4)
BBOX: Schema = {
    "oneOf": [array(NUMBER, minItems=4, maxItems=4), array(NUMBER, minItems=6, maxItems=6)],
    "description": "West, south, (lowest,) east, north (, highest). West is greater than east over the antimeridian.",
}
NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 512, "pattern": r"^[^/\\]+$"}


def _geometry(kind: str, coordinates: Schema) -> Schema:
    return obj(["type", "coordinates"], type={"type": "string", "enum": [kind]}, coordinates=coordinates)


SCHEMAS: dict[str, Schema] = {
    "Exception": obj(
        ["code", "description"],
        code={**TEXT, "description": "A stable word for programs."},
        description={**TEXT, "description": "What was wrong, for people; it names the parameter or the place."},
    ),
    "Link": obj(
        ["rel", "href"],
        rel=TEXT,
        href=ADDRESS,
        type=TEXT,
        title=TEXT,
        method={"type": "string", "enum": ["GET", "POST", "PUT", "PATCH", "DELETE"]},
        headers={"type": "object"},
        body={"type": "object", "description": "What to send with POST, merged into the body sent before."},
        merge={"type": "boolean"},
    ),
    "Asset": obj(["href"], href=ADDRESS, title=TEXT, description=TEXT, type=TEXT, roles=array(TEXT)),
    "Assets": {"type": "object", "additionalProperties": ref("Asset")},
    "Point": _geometry("Point", POSITION),
    "MultiPoint": _geometry("MultiPoint", array(POSITION)),
    "LineString": _geometry("LineString", array(POSITION, minItems=2)),
    "MultiLineString": _geometry("MultiLineString", array(array(POSITION, minItems=2))),
    "Polygon": _geometry("Polygon", array(RING)),
    "MultiPolygon": _geometry("MultiPolygon", array(array(RING))),
    "GeometryCollection": obj(
        ["type", "geometries"],
        type={"type": "string", "enum": ["GeometryCollection"]},
        geometries=array(ref("Geometry")),
    ),
    "Geometry": {
        "oneOf": [
            ref("Point"),
            ref("MultiPoint"),
            ref("LineString"),
            ref("MultiLineString"),
            ref("Polygon"),
            ref("MultiPolygon"),
            ref("GeometryCollection"),
        ]
    },
    "Item": obj(
        ["type", "stac_version", "id", "collection", "geometry", "properties", "links", "assets"],
        type={"type": "string", "enum": ["Feature"]},
        stac_version=TEXT,
        stac_extensions=array(TEXT),
        id=NAME,
        collection=NAME,
        geometry={"allOf": [ref("Geometry")], "nullable": True},
        bbox=BBOX,
        properties=obj(["datetime"], datetime=MAYBE_INSTANT, start_datetime=INSTANT, end_datetime=INSTANT),
        links=array(ref("Link")),
        assets=ref("Assets"),
    ),
    "ItemCollection": obj(
        ["type", "features", "links"],
        type={"type": "string", "enum": ["FeatureCollection"]},
        features=array(ref("Item")),
        links=array(ref("Link")),
        numberReturned=COUNT,
    ),
    "Extent": obj(
        ["spatial", "temporal"],
        spatial=obj(["bbox"], bbox=array(BBOX, minItems=1)),
        temporal=obj(["interval"], interval=array(array(MAYBE_INSTANT, minItems=2, maxItems=2), minItems=1)),
    ),
    "Collection": obj(
        ["type", "stac_version", "id", "description", "license", "extent", "links"],
        type={"type": "string", "enum": ["Collection"]},
        stac_version=TEXT,
        stac_extensions=array(TEXT),
        id=NAME,
        title=TEXT,
        description=TEXT,
        keywords=array(TEXT),
        license=TEXT,
        extent=ref("Extent"),
        summaries={"type": "object"},
        links=array(ref("Link")),
        assets=ref("Assets"),
    ),
    "Collections": obj(
        ["collections", "links"],
        collections=array(ref("Collection")),
        links=array(ref("Link")),
        numberReturned=COUNT,
    ),
    "LandingPage": obj(
        ["type", "stac_version", "id", "description", "conformsTo", "links"],
        type={"type": "string", "enum": ["Catalog"]},
        stac_version=TEXT,
        id=TEXT,
        title=TEXT,
        description=TEXT,
        conformsTo=array(TEXT),
        links=array(ref("Link")),
    ),
    "Conformance": obj(["conformsTo"], conformsTo=array(TEXT)),
    "Health": obj(["status"], status={"type": "string", "enum": ["ok"]}),
    "JsonPatch": array(
        obj(
            ["op", "path"],
            op={"type": "string", "enum": ["add", "remove", "replace", "move", "copy", "test"]},
            path=TEXT,
            value={"description": "Any JSON."},
        )
    ),
    "MergePatch": {"type": "object", "description": "Members to set; null removes one (RFC 7396)."},
}
# What may come in is what goes out, less what the server knows or adds itself.
SCHEMAS["NewItem"] = {**SCHEMAS["Item"], "required": ["type", "stac_version", "id", "geometry", "properties", "assets"]}
SCHEMAS["NewItems"] = obj(
    ["type", "features"],
    type={"type": "string", "enum": ["FeatureCollection"]},
    features=array(ref("NewItem")),
)
SCHEMAS["NewCollection"] = {
    **SCHEMAS["Collection"],
    "required": ["type", "stac_version", "id", "description", "license", "extent"],
}


# --- Parameters -------------------------------------------------------------------------------------------------------


def _parameter(place: str, name: str, text: str, schema: Schema = TEXT) -> Schema:
    return {"in": place, "name": name, "required": place == "path", "description": text, "schema": schema}


def header(name: str, text: str) -> Schema:
    """Describe a header field that a request may have."""
    return _parameter("header", name, text)


def query(name: str, text: str, schema: Schema) -> Schema:
    """Describe a parameter of the query."""
    return _parameter("query", name, text, schema)


IF_NONE_MATCH = header("If-None-Match", "ETags that the client has; answered 304 where the present one is among them.")
IF_MATCH = header("If-Match", "ETags, one of which must be the present one; else 412.")
PREFER = header("Prefer", "return=representation: answer with what has become of it (RFC 7240).")
PATH: dict[str, Schema] = {
    name: _parameter("path", name, text, {**TEXT, "minLength": 1})
    for name, text in {
        "collection_id": "The collection's id.",
        "item_id": "The item's id.",
        "asset_id": "The asset's key; its slashes percent-encoded.",
        "name": "The file's name.",
    }.items()
}

# --- Bodies and answers -----------------------------------------------------------------------------------------------


def content(schema: Schema | str, *media_types: str) -> Schema:
    """Describe a body: a schema, or the name of one here, under these media types."""
    described = ref(schema) if isinstance(schema, str) else schema
    return {media_type: {"schema": described} for media_type in media_types or ("application/json",)}


def answer(description: str, schema: Schema | str | None = None, *media_types: str, **headers: str) -> Schema:
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
KNOWN = answer("The client has it already.")
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
        str(status): answer(REASONS[status], "Exception", **FIELDS.get(status, {}))
        for status in sorted({400, 401, 500, 503, *statuses})
    }
