"""OpenAPI schemas of the documents that this API reads and returns.

For incoming documents they state the rules of ``stac/checks.py``, as far as OpenAPI can express them.
"""

from stacflask.api.http.openapi import NUMBER, TEXT, Schema, array, nullable, obj, ref

LINE: Schema = {"type": "string", "minLength": 1, "pattern": r"^[^\x00-\x1f\x7f-\x9f]+$"}
NAME: Schema = {**TEXT, "minLength": 1, "maxLength": 512, "pattern": r"^(?!\.{1,2}$)[^/\x00-\x1f\x7f-\x9f]+$"}
VERSION: Schema = {**TEXT, "pattern": r"^(0\.[89]|1\.[0-9]+)(\.[0-9]+)?(-[0-9A-Za-z.-]+)?$"}
INSTANT: Schema = {**TEXT, "format": "date-time"}
COUNT: Schema = {"type": "integer", "minimum": 0}
OBJECT: Schema = {"type": "object"}
TYPES = array({**TEXT, "enum": ["string", "number", "integer", "datetime", "geometry", "boolean"]})
SCALAR: Schema = {"anyOf": [TEXT, NUMBER, {"type": "boolean"}], "nullable": True}
ORDERED: Schema = {"anyOf": [TEXT, NUMBER]}
POSITION = array(NUMBER, minItems=2, maxItems=3)
RING = array(POSITION, minItems=4)
BBOX: Schema = {
    "type": "array",
    "oneOf": [{"minItems": 4, "maxItems": 4}, {"minItems": 6, "maxItems": 6}],
    "items": NUMBER,
    "description": "West, south, (lowest,) east, north (, highest). If the box crosses the antimeridian, "
    "west is greater than east.",
    "example": [5, 44, 12, 48],
}


def _constant(value: str) -> Schema:
    return {**TEXT, "enum": [value]}


def _geometry(kind: str, coordinates: Schema) -> Schema:
    return obj(["type", "coordinates"], type=_constant(kind), coordinates=coordinates)


_LINES = array(POSITION, minItems=2)
_RINGS = array(RING, minItems=1)
_PLANE = {
    "Point": POSITION,
    "MultiPoint": array(POSITION, minItems=1),
    "LineString": _LINES,
    "MultiLineString": array(_LINES, minItems=1),
    "Polygon": _RINGS,
    "MultiPolygon": array(_RINGS, minItems=1),
}
GEOMETRIES: dict[str, Schema] = {kind: _geometry(kind, coordinates) for kind, coordinates in _PLANE.items()} | {
    "GeometryCollection": obj(
        ["type", "geometries"], type=_constant("GeometryCollection"), geometries=array(ref("Geometry"), minItems=1)
    ),
}

_ITEM = {
    "type": _constant("Feature"),
    "stac_version": VERSION,
    "stac_extensions": array(LINE),
    "id": NAME,
    "collection": NAME,
    "geometry": {"allOf": [ref("Geometry")], "nullable": True},
    "bbox": BBOX,
    "properties": obj(
        ["datetime"], datetime=nullable(INSTANT), start_datetime=nullable(INSTANT), end_datetime=nullable(INSTANT)
    ),
    "links": array(ref("Link")),
    "assets": ref("Assets"),
}
_COLLECTION = {
    "type": _constant("Collection"),
    "stac_version": VERSION,
    "stac_extensions": array(LINE),
    "id": NAME,
    "title": nullable(TEXT),
    "description": TEXT,
    "keywords": nullable(array(TEXT)),
    "license": TEXT,
    "providers": nullable(array(obj(["name"], name=TEXT, roles=nullable(array(TEXT))))),
    "extent": ref("Extent"),
    "summaries": nullable(OBJECT),
    "links": array(ref("Link")),
    "assets": ref("Assets"),
    "item_assets": nullable(OBJECT),
    "itemType": {**TEXT, "default": "feature"},
}
_FEATURES = _constant("FeatureCollection")

REFUSAL_LINKS = array(ref("Link"), description="For a refusal: where you can change the outcome, by relation.")

SCHEMAS: dict[str, Schema] = {
    "Exception": obj(
        ["code", "description"],
        code={**TEXT, "description": "A stable error code for programs."},
        description={
            **TEXT,
            "description": "What is wrong, for users, with the parameter or the place in the document.",
        },
        links=REFUSAL_LINKS,
    ),
    "Link": obj(
        ["rel", "href"],
        rel=LINE,
        href=LINE,
        type=nullable(LINE),
        title=nullable(TEXT),
        method={"description": "The HTTP method; GET by default."},
        body={"description": "The body to send with POST."},
        merge={"description": "true: merge the body into the body of the previous request."},
    ),
    "Asset": obj(
        ["href"],
        href=LINE,
        title=nullable(TEXT),
        description=nullable(TEXT),
        type=nullable(LINE),
        **{"roles": nullable(array(TEXT)), "file:size": COUNT},
    ),
    "Assets": {"type": "object", "additionalProperties": ref("Asset")},
    **GEOMETRIES,
    "Geometry": {"oneOf": [ref(kind) for kind in GEOMETRIES]},
    "Item": obj(["type", "stac_version", "id", "collection", "geometry", "properties", "links", "assets"], **_ITEM),
    "PartOfItem": {
        **obj(
            ["type", "id", "collection", "links"],
            **{name: _ITEM[name] for name in ("type", "id", "collection", "links")},
        ),
        "description": "An item with only the members that fields selects.",
    },
    # Incoming documents may omit the members that the server adds.
    "NewItem": obj(["type", "stac_version", "id", "geometry", "properties", "assets"], **_ITEM),
    "ItemCollection": obj(
        ["type", "features", "links"],
        type=_FEATURES,
        features=array({"anyOf": [ref("Item"), ref("PartOfItem")]}),
        links=array(ref("Link")),
        numberReturned=COUNT,
        numberMatched={**COUNT, "description": "The exact number of items on all pages."},
        numberMatchedEstimate={**COUNT, "description": "An estimate, if there are too many items to count."},
    ),
    "NewItems": obj(["type", "features"], type=_FEATURES, features=array(ref("NewItem"))),
    "Extent": obj(
        ["spatial", "temporal"],
        spatial=obj(["bbox"], bbox=array(BBOX, minItems=1)),
        temporal=obj(["interval"], interval=array(array(nullable(INSTANT), minItems=2, maxItems=2), minItems=1)),
    ),
    "Collection": obj(["type", "stac_version", "id", "description", "license", "extent", "links"], **_COLLECTION),
    "PartOfCollection": {
        **obj(["type", "id", "links"], **{name: _COLLECTION[name] for name in ("type", "id", "links")}),
        "description": "A collection with only the members that fields selects.",
    },
    "NewCollection": obj(["type", "stac_version", "id", "description", "license", "extent"], **_COLLECTION),
    "Collections": obj(
        ["collections", "links"],
        collections=array({"anyOf": [ref("Collection"), ref("PartOfCollection")]}),
        links=array(ref("Link")),
        numberReturned=COUNT,
    ),
    "LandingPage": obj(
        ["type", "stac_version", "id", "description", "conformsTo", "links"],
        type=_constant("Catalog"),
        stac_version=TEXT,
        id=TEXT,
        title=TEXT,
        description=TEXT,
        conformsTo=array(TEXT),
        links=array(ref("Link")),
    ),
    "Names": obj(
        ["$schema", "$id", "type", "properties", "additionalProperties"],
        **{"$schema": TEXT, "$id": TEXT},
        type=_constant("object"),
        title=TEXT,
        properties={"type": "object", "additionalProperties": OBJECT},
        additionalProperties={"type": "boolean", "description": "false: other names are errors."},
    ),
    "Children": obj(["children", "links"], children=array(ref("Collection")), links=array(ref("Link"))),
    "Ranges": {
        "type": "object",
        "additionalProperties": {
            "oneOf": [
                {**NUMBER, "minimum": 0, "exclusiveMinimum": True},
                array(NUMBER, minItems=1, maxItems=1000),
            ]
        },
        "example": {"eo:cloud_cover": [10, 50, 90]},
    },
    "Aggregations": obj(
        ["aggregations", "links"],
        aggregations=array(
            obj(["name", "data_type"], name=TEXT, data_type=TEXT, frequency_distribution_data_type=TEXT)
        ),
        links=array(ref("Link")),
    ),
    "AggregationCollection": obj(
        ["type", "aggregations", "links"],
        type=_constant("AggregationCollection"),
        aggregations=array(
            obj(
                ["name", "data_type"],
                name=TEXT,
                data_type=TEXT,
                frequency_distribution_data_type=TEXT,
                value={"description": "A number or a time; null if there is no value."},
                interval=TEXT,
                overflow={**COUNT, "description": "Items that are in no bucket."},
                buckets=array(ref("Bucket")),
            )
        ),
        links=array(ref("Link")),
    ),
    "Bucket": obj(
        ["key", "data_type", "frequency"],
        key=TEXT,
        data_type=TEXT,
        frequency=COUNT,
        **{"from": {**NUMBER, "description": "Included."}, "to": {**NUMBER, "description": "Not included."}},
    ),
    "Catalog": obj(
        ["type", "stac_version", "id", "description", "links"],
        type=_constant("Catalog"),
        stac_version=TEXT,
        id=TEXT,
        title=TEXT,
        description=TEXT,
        links=array(ref("Link")),
    ),
    "Conformance": obj(["conformsTo"], conformsTo=array(TEXT)),
    "Cql2": {
        "anyOf": [{"type": "boolean"}, ref("Cql2Operation")],
        "description": "A condition in CQL2 JSON (OGC 21-065r2).",
        "example": {"op": "<", "args": [{"property": "eo:cloud_cover"}, 10]},
    },
    "Cql2Operation": obj(
        ["op", "args"],
        op={**TEXT, "description": "An operator of CQL2, or a function listed at /functions."},
        args=array(ref("Cql2Operand")),
    ),
    "Cql2Operand": {
        "anyOf": [
            ref("Cql2Operation"),
            TEXT,
            NUMBER,
            {"type": "boolean"},
            array(ref("Cql2Operand")),
            obj(["property"], property=TEXT),
            obj(["date"], date={**TEXT, "format": "date"}),
            obj(["timestamp"], timestamp=INSTANT),
            obj(["interval"], interval=array(ref("Cql2IntervalEnd"), minItems=2, maxItems=2)),
            obj(["bbox"], bbox=BBOX),
            ref("Geometry"),
        ]
    },
    "Cql2IntervalEnd": {
        "anyOf": [TEXT, obj(["property"], property=TEXT), ref("Cql2Operation")],
        "description": "A date or a time as text, .. for an open end, a property, or a function.",
    },
    "Query": {
        "type": "object",
        "additionalProperties": {
            "anyOf": [TEXT, NUMBER, {"type": "boolean"}, ref("Comparisons")],
            "nullable": True,
        },
        "description": "For each property, a value that it must be equal to, or operators with operands. null: the "
        "property is absent.",
        "example": {"eo:cloud_cover": {"gte": 0, "lt": 10}, "platform": {"startsWith": "fenlark"}},
    },
    "Comparisons": {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": False,
        "properties": {
            "eq": {
                **SCALAR,
                "description": "Equal; strings are compared case-insensitively. null: the property is absent.",
            },
            "neq": {**SCALAR, "description": "Present and not equal. null: the property is present."},
            "lt": ORDERED,
            "lte": ORDERED,
            "gt": ORDERED,
            "gte": ORDERED,
            "startsWith": {**TEXT, "description": "Case-insensitive."},
            "endsWith": {**TEXT, "description": "Case-insensitive."},
            "contains": {**TEXT, "description": "Case-insensitive."},
            "in": array({"anyOf": [TEXT, NUMBER, {"type": "boolean"}]}),
        },
    },
    "SortBy": array(
        obj(["field"], field={**TEXT, "minLength": 1}, direction={**TEXT, "enum": ["asc", "desc"], "default": "asc"}),
        minItems=1,
        example=[{"field": "properties.eo:cloud_cover", "direction": "asc"}],
    ),
    "Fields": {
        **obj([], include=nullable(array(TEXT)), exclude=nullable(array(TEXT))),
        "additionalProperties": False,
        "description": "Paths of members to include and to exclude. The longer path takes precedence; of equal paths, "
        "include does.",
        "example": {"include": ["id", "properties.eo:cloud_cover"], "exclude": ["geometry"]},
    },
    "Functions": obj(["functions"], functions=array(ref("Function"))),
    "Function": obj(
        ["name", "returns"],
        name=TEXT,
        description=TEXT,
        args=array(obj(["type"], title=TEXT, type=TYPES)),
        returns=TYPES,
    ),
    "Health": obj(["status"], status=_constant("ok")),
    "Description": obj(["openapi", "info", "paths"], openapi=TEXT, info=OBJECT, paths=OBJECT),
    "JsonPatch": array(
        obj(
            ["op", "path"],
            op={**TEXT, "enum": ["add", "remove", "replace", "move", "copy", "test"]},
            path=TEXT,
            value={"description": "Any JSON value."},
            **{"from": TEXT},
        )
    ),
    "MergePatch": {"type": "object", "description": "Members to set; null removes a member (RFC 7396)."},
}
