"""Check items and collections of requests: what must be right so that they can be stored, found and downloaded.

The published schemas (``schemas.py``) require more. In some places this module requires more than they do: ids must fit
into a URL, strings into the database, media types into a header.
"""

import re
from datetime import datetime
from typing import Any

from stacflask.errors import BadDocument
from stacflask.model.json_types import Json
from stacflask.stac.bbox import check_bbox
from stacflask.stac.geometry import check_geometry
from stacflask.stac.json_checks import (
    Check,
    array_of,
    constant,
    describe,
    line,
    members,
    number_of_bytes,
    object_of,
    or_null,
    step,
    text,
    unexpected,
)
from stacflask.stac.storable import check_storable
from stacflask.stac.times import parse_instant

MAX_ID_LENGTH = 512
DOT_SEGMENTS = (".", "..")
"""Path segments that clients remove from URLs (RFC 3986, section 5.2.4), however they are encoded."""
_VERSION = re.compile(r"(?:0\.[89]|1\.\d+)(?:\.\d+)?(?:-[0-9A-Za-z.-]+)?").fullmatch


def check_item(document: Json, *, collection: str | None = None, id: str | None = None) -> None:  # noqa: A002
    """Check an item that was parsed from JSON.

    Args:
        document: The item.
        collection: The collection of the request URL. If it is given, the item can omit its ``collection``.
        id: The item id of the request URL.

    Raises:
        BadDocument: Describes the first error.
    """
    check_storable(document)
    _item(document)
    _check_named(document, {"id": id, "collection": collection})
    if collection is None and "collection" not in document:
        raise BadDocument("/collection", "is missing")
    if document["geometry"] is None and "bbox" in document:
        raise BadDocument("/bbox", "expected no bbox, because the geometry is null")


def check_collection(document: Json, *, id: str | None = None) -> None:  # noqa: A002
    """Check a collection that was parsed from JSON. ``id`` is the id of the request URL.

    Raises:
        BadDocument: Describes the first error.
    """
    check_storable(document)
    _collection(document)
    _check_named(document, {"id": id})


def check_id(value: Json) -> None:
    """Check the id of an item or collection: it must fit into one path segment of a URL.

    A backslash, spaces and all letters are accepted; in URLs they are percent-encoded.
    """
    line(value)
    if len(value) > MAX_ID_LENGTH:
        raise BadDocument("", f"expected at most {MAX_ID_LENGTH} characters, got {len(value)}")
    if "/" in value or value in DOT_SEGMENTS:
        raise unexpected("an id without slashes that is not . or ..", value)


def _key(value: Json) -> None:
    """Check the key of an asset. It can have slashes, which are percent-encoded in URLs; clients remove . and .. ."""
    line(value)
    if value in DOT_SEGMENTS:
        raise unexpected("a key that is not . or ..", value)


def _check_named(document: Any, expected: dict[str, str | None]) -> None:
    for name, value in expected.items():
        if value is not None and document.get(name, value) != value:
            raise BadDocument(step(name), f"expected {value!r} as in the URL, got {describe(document[name])}")


# --- Times ------------------------------------------------------------------------------------------------------------


def _instant(value: Any) -> None:
    _parsed(value)


def _parsed(value: Any) -> datetime:
    text(value)
    try:
        return parse_instant(value)
    except ValueError as error:
        raise BadDocument("", str(error)) from None


def _check_order(start: str | None, end: str | None, pointer: str) -> None:
    if start and end and _parsed(end) < _parsed(start):
        raise BadDocument(pointer, f"expected an end that is not before the start, {start}")


def _times(properties: Any) -> None:
    """Check that an item has an instant or a range."""
    _properties(properties)
    if properties["datetime"] is None:
        _range(properties)
    start, end = map(properties.get, _ENDS)
    _check_order(start, end, "/end_datetime")


def _interval(value: Any) -> None:
    _two_ends(value)
    if len(value) != 2:  # noqa: PLR2004
        raise unexpected("a start and an end", value)
    _check_order(value[0], value[1], "/1")


_ENDS = ("start_datetime", "end_datetime")
_properties = members({"datetime": or_null(_instant)}, dict.fromkeys(_ENDS, or_null(_instant)))
_range = members(dict.fromkeys(_ENDS, _instant), {})
_two_ends = array_of(or_null(_instant), minimum=2)

# --- Members of items and collections ---------------------------------------------------------------------------------


def _version(value: Any) -> None:
    text(value)
    if not _VERSION(value):
        raise unexpected("a STAC version of at least 0.8", value)


_link = members({"rel": line, "href": line}, {"type": or_null(line), "title": or_null(text)})
_described: dict[str, Check] = {
    "title": or_null(text),
    "description": or_null(text),
    "type": or_null(line),
    "roles": or_null(array_of(text)),
    "file:size": number_of_bytes,
}
_shared_optional: dict[str, Check] = {"stac_extensions": array_of(line), "links": array_of(_link)}
_alternate = or_null(object_of(members({"href": text}, {})))
_assets = object_of(members({"href": line}, _described | {"alternate": _alternate}), key=_key)


def _required(kind: str) -> dict[str, Check]:
    return {"type": constant(kind), "stac_version": _version, "id": check_id}


# --- Items and collections --------------------------------------------------------------------------------------------

_item = members(
    _required("Feature") | {"geometry": or_null(check_geometry), "properties": _times, "assets": _assets},
    _shared_optional | {"bbox": check_bbox, "collection": check_id},
)

_extent = members(
    {
        "spatial": members({"bbox": array_of(check_bbox, minimum=1)}, {}),
        "temporal": members({"interval": array_of(_interval, minimum=1)}, {}),
    },
    {},
)
_collection = members(
    _required("Collection") | {"description": text, "license": text, "extent": _extent},
    _shared_optional
    | {
        "title": or_null(text),
        "keywords": or_null(array_of(text)),
        "providers": or_null(array_of(members({"name": text}, {"roles": or_null(array_of(text))}))),
        "summaries": or_null(object_of(lambda _: None)),
        "assets": _assets,
        "item_assets": or_null(object_of(members({}, _described), key=line)),
    },
)
