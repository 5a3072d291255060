"""The checks of items and collections in requests."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stacflask.errors import BadDocument
from stacflask.stac.checks import check_collection, check_id, check_item

INSTANT = "2024-05-01T10:00:00Z"
LATER = "2024-05-02T10:00:00+02:00"


def test_a_valid_item_passes(item: Any) -> None:
    """Ids with spaces and percent signs, and asset keys with slashes, dots and colons are valid."""
    check_item(item.document)
    check_item(item.document, collection="scenes", id="scene 1 ä%2F")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("stac_version",), "1.0.0"),
        (("stac_version",), "1.0.0-rc.1"),
        (("stac_version",), "0.9.0"),
        (("id",), "S1A.~_-:@!$&'()*+,;=?#[]\\"),
        (("id",), "…"),
        (("id",), "x" * 512),
        (("bbox",), [10, 50, -5, 11, 51, 100]),
        (("properties",), {"datetime": None, "start_datetime": INSTANT, "end_datetime": INSTANT}),
        (("properties",), {"datetime": None, "start_datetime": INSTANT, "end_datetime": LATER}),
        (("properties",), {"datetime": INSTANT, "start_datetime": None}),
        (("properties", "whatever"), {"deep": [1, None, "\\u0000"]}),
        (("assets",), {}),
        (("assets", "metadata", "type"), None),
        (("assets", "metadata", "file:size"), 2**62),
        (("assets", "metadata", "file:size"), 12.0),
        (("assets", "metadata", "file:size"), 1.2e3),
        (("links",), []),
        (("stac_extensions",), []),
    ],
)
def test_variants_of_published_items_pass(item: Any, path: Any, value: Any) -> None:
    """Old STAC versions, time ranges, null members and foreign members are valid."""
    check_item(item.changed(*path, to=value))


@pytest.mark.parametrize("name", ["bbox", "links", "stac_extensions"])
def test_an_optional_member_of_an_item_can_be_omitted(item: Any, name: str) -> None:
    """Items without a bounding box, links or extensions are valid."""
    check_item(item.without(name))


def test_an_item_without_geometry_has_no_bbox(item: Any) -> None:
    """A null geometry is valid, but not together with a bounding box."""
    item.document["geometry"] = None
    with pytest.raises(BadDocument) as caught:
        check_item(item.document)
    assert caught.value.pointer == "/bbox"
    check_item(item.without("bbox"))


@pytest.mark.parametrize(
    "path",
    [
        ("type",),
        ("stac_version",),
        ("id",),
        ("geometry",),
        ("properties",),
        ("assets",),
        ("collection",),
        ("properties", "datetime"),
        ("assets", "metadata", "href"),
        ("links", 0, "rel"),
        ("links", 0, "href"),
    ],
)
def test_a_missing_member_of_an_item_is_named(item: Any, path: Any) -> None:
    """The pointer leads to the missing member."""
    with pytest.raises(BadDocument, match="is missing") as caught:
        check_item(item.without(*path))
    assert caught.value.pointer == "/" + "/".join(map(str, path))


@pytest.mark.parametrize(
    ("path", "value", "pointer"),
    [
        (("type",), "Collection", None),
        (("stac_version",), 1, None),
        (("stac_version",), "2.0.0", None),
        (("stac_version",), "0.7.0", None),
        (("stac_version",), "1.0.0\n", None),
        (("stac_extensions",), "eo", None),
        (("stac_extensions",), [1], "/stac_extensions/0"),
        (("id",), 5, None),
        (("id",), "", None),
        (("id",), "a/b", None),
        (("id",), "..", None),
        (("id",), ".", None),
        (("id",), "a\nb", None),
        (("id",), "x" * 513, None),
        (("collection",), "a/b", None),
        (("geometry",), {"type": "Point", "coordinates": [1, 99]}, "/geometry/coordinates/1"),
        (("geometry",), [], None),
        (("bbox",), [1, 2, 3], None),
        (("bbox",), None, None),
        (("properties",), None, None),
        (("properties", "datetime"), "2024-05-01", None),
        (("properties", "datetime"), 1714557600, None),
        (("properties", "start_datetime"), "yesterday", None),
        (("properties",), {"datetime": None}, "/properties/start_datetime"),
        (("properties",), {"datetime": None, "start_datetime": INSTANT}, "/properties/end_datetime"),
        (
            ("properties",),
            {"datetime": None, "start_datetime": INSTANT, "end_datetime": None},
            "/properties/end_datetime",
        ),
        (
            ("properties",),
            {"datetime": None, "start_datetime": LATER, "end_datetime": INSTANT},
            "/properties/end_datetime",
        ),
        (("assets",), [], None),
        (("assets", "metadata"), "x", None),
        (("assets", "metadata", "href"), "", None),
        (("assets", "metadata", "href"), None, None),
        (("assets", "metadata", "href"), "s3://a/b\r\nX: y", None),
        (("assets", "metadata", "type"), "text/html\r\nX: y", None),
        (("assets", "metadata", "roles"), "data", None),
        (("assets", "metadata", "roles"), [1], "/assets/metadata/roles/0"),
        (("assets", "metadata", "file:size"), -1, None),
        (("assets", "metadata", "file:size"), 1.5, None),
        (("assets", "metadata", "file:size"), 2.0**63, None),
        (("assets", "metadata", "file:size"), True, None),
        (("assets", ""), {"href": "x"}, None),
        (("assets", "a\x01b"), {"href": "x"}, None),
        (("assets", ".."), {"href": "x"}, None),
        (("assets", "."), {"href": "x"}, None),
        (("assets", "a/b~c"), {}, "/assets/a~1b~0c/href"),
        (("links",), {}, None),
        (("links", 0), "x", "/links/0"),
        (("links", 0, "rel"), 1, "/links/0/rel"),
    ],
)
def test_an_invalid_value_in_an_item_is_named(item: Any, path: Any, value: Any, pointer: Any) -> None:
    """The JSON Pointer (RFC 6901) leads to the invalid value."""
    with pytest.raises(BadDocument) as caught:
        check_item(item.changed(*path, to=value))
    assert caught.value.pointer == (pointer or "/" + "/".join(path))


def test_a_message_contains_the_expected_and_the_actual_value(item: Any) -> None:
    """The message is enough to correct the document, and does not repeat large values."""
    with pytest.raises(BadDocument) as caught:
        check_item(item.changed("assets", "metadata", "href", to={"a": "b" * 10_000}))
    assert str(caught.value) == "/assets/metadata/href: expected a non-empty string, got an object"


@pytest.mark.parametrize("document", [None, [], "x", 1, True])
def test_only_objects_are_documents(document: Any) -> None:
    """Other JSON values are refused."""
    for check in (check_item, check_collection):
        with pytest.raises(BadDocument) as caught:
            check(document)
        assert caught.value.pointer == ""


def test_ids_in_a_document_must_match_the_url(item: Any, collection: Any) -> None:
    """A document with another collection or id than the request URL is refused."""
    with pytest.raises(BadDocument, match="/id: expected 'other' as in the URL"):
        check_item(item.document, id="other")
    with pytest.raises(BadDocument, match="/collection: expected 'other' as in the URL"):
        check_item(item.document, collection="other")
    with pytest.raises(BadDocument, match="/id: expected 'other' as in the URL"):
        check_collection(collection.document, id="other")


def test_an_item_sent_to_a_collection_can_omit_its_collection(item: Any) -> None:
    """The request URL contains the collection."""
    check_item(item.without("collection"), collection="scenes")


# --- Collections ------------------------------------------------------------------------------------------------------


def test_a_valid_collection_passes(collection: Any) -> None:
    """Several boxes, an open interval, assets and summaries are valid."""
    check_collection(collection.document, id="scenes")


@pytest.mark.parametrize("name", ["links", "title", "keywords", "providers", "summaries", "assets", "item_assets"])
def test_an_optional_member_of_a_collection_can_be_omitted(collection: Any, name: str) -> None:
    """Only the members that STAC requires must be present."""
    check_collection(collection.without(name))


@pytest.mark.parametrize(
    "path",
    [
        ("type",),
        ("stac_version",),
        ("id",),
        ("description",),
        ("license",),
        ("extent",),
        ("extent", "spatial"),
        ("extent", "temporal"),
        ("extent", "spatial", "bbox"),
        ("extent", "temporal", "interval"),
        ("providers", 0, "name"),
    ],
)
def test_a_missing_member_of_a_collection_is_named(collection: Any, path: Any) -> None:
    """The pointer leads to the missing member."""
    with pytest.raises(BadDocument, match="is missing") as caught:
        check_collection(collection.without(*path))
    assert caught.value.pointer == "/" + "/".join(map(str, path))


@pytest.mark.parametrize(
    ("path", "value", "pointer"),
    [
        (("type",), "Feature", None),
        (("id",), "a/b", None),
        (("description",), None, None),
        (("license",), 1, None),
        (("keywords",), "a", None),
        (("keywords",), [None], "/keywords/0"),
        (("providers",), {}, None),
        (("providers",), [{"name": 1}], "/providers/0/name"),
        (("summaries",), [], None),
        (("assets", "thumbnail", "href"), "", None),
        (("item_assets",), {"data": 1}, "/item_assets/data"),
        (("item_assets", "data", "type"), 1, None),
        (("links",), [{"rel": "self"}], "/links/0/href"),
        (("extent",), None, None),
        (("extent", "spatial", "bbox"), [], None),
        (("extent", "spatial", "bbox"), [0, 0, 1, 1], "/extent/spatial/bbox/0"),
        (("extent", "spatial", "bbox"), [[0, 0, 1, 1], [0, 1, 1, 0]], "/extent/spatial/bbox/1"),
        (("extent", "temporal", "interval"), [], None),
        (("extent", "temporal", "interval"), [[INSTANT]], "/extent/temporal/interval/0"),
        (("extent", "temporal", "interval"), [[INSTANT, None, None]], "/extent/temporal/interval/0"),
        (("extent", "temporal", "interval"), [["2024", None]], "/extent/temporal/interval/0/0"),
        (("extent", "temporal", "interval"), [[None, None], [LATER, INSTANT]], "/extent/temporal/interval/1/1"),
    ],
)
def test_an_invalid_value_in_a_collection_is_named(collection: Any, path: Any, value: Any, pointer: Any) -> None:
    """The pointer leads to the invalid value."""
    with pytest.raises(BadDocument) as caught:
        check_collection(collection.changed(*path, to=value))
    assert caught.value.pointer == (pointer or "/" + "/".join(path))


# --- Values that can be stored and written ----------------------------------------------------------------------------

TOO_DEEP = json.loads("[" * 300 + "]" * 300)


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        ("a\0b", ""),
        ({"a": [1, {"b": "\0"}]}, "/a/1/b"),
        ({"a\0b": 1}, ""),
        ("\ud800", ""),
        ({"\udfff": 1}, ""),
        (2**64, ""),
        ([0, -(2**63) - 1], "/1"),
        (TOO_DEEP, "/0" * 248),
    ],
)
def test_values_that_cannot_be_stored_are_refused(item: Any, collection: Any, value: Any, pointer: str) -> None:
    """PostgreSQL cannot store them or orjson cannot write them. They are found in names and in values."""
    with pytest.raises(BadDocument) as caught:
        check_item(item.changed("properties", "x", to=value))
    assert caught.value.pointer == "/properties/x" + pointer
    with pytest.raises(BadDocument) as caught:
        check_collection(collection.changed("x", to=value))
    assert caught.value.pointer.startswith("/x" + pointer)


def test_an_escaped_backslash_before_u0000_is_accepted(item: Any) -> None:
    """It is not a NUL. Characters outside the basic plane are accepted, too."""
    check_item(item.changed("properties", "x", to=["\\u0000", "\\\\u0000", "𝄞", "\x01", 2**64 - 1, -(2**63)]))


def test_the_deepest_accepted_document_can_be_written_in_a_page(item: Any) -> None:
    """A page of items adds levels to the document."""
    value: Any = "x"
    for _ in range(248):
        value = [value]
    check_item(item.changed("properties", "x", to=value))
    orjson.dumps({"features": [item.document]})
    with pytest.raises(BadDocument):
        check_item(item.changed("properties", "x", to=[value]))


@given(st.text())
def test_an_accepted_id_fits_into_a_url(text: str) -> None:
    """An accepted id is one path segment of a URL and one line of a header."""
    try:
        check_id(text)
    except BadDocument:
        return
    assert "/" not in text
    assert text not in ("", ".", "..")
    assert text.isprintable() or not any(ord(letter) < 32 for letter in text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ITEM_NAMES = ["type", "id", "geometry", "bbox", "properties", "assets", "links", "stac_version", "collection"]


@given(st.sampled_from(ITEM_NAMES), json_values)
def test_any_json_value_is_accepted_or_a_bad_document(name: str, value: Any) -> None:
    """Any value of any member is accepted or raises BadDocument with a pointer into that member."""
    document = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "a",
        "collection": "c",
        "geometry": None,
        "properties": {"datetime": INSTANT},
        "assets": {},
        name: value,
    }
    try:
        check_item(document)
    except BadDocument as problem:
        assert problem.pointer == "/" + name or problem.pointer.startswith(f"/{name}/")  # noqa: PT017
