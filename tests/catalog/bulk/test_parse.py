"""The fast checks accept only items that the full checks accept, and have the same result."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from stacflask.catalog.bulk.parse import DocumentProblem, ItemParser, Prepared
from stacflask.catalog.documents.documents import Managed, original
from stacflask.errors import BadDocument
from stacflask.model.json_types import Document
from stacflask.stac.checks import check_item
from stacflask.stac.geometry import to_wkb
from stacflask.stac.schemas import SchemaChecker
from stacflask.testing import an_item

SQUARE = [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]
Edit = Callable[[Document], Any]


def take(*documents: Document | bytes, collection: str | None = None) -> tuple[list[Prepared], list[DocumentProblem]]:
    lines = [document if isinstance(document, bytes) else compact(document) for document in documents]
    return ItemParser(collection, Managed()).parse(b"\n".join(lines))


def compact(document: Document) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def changed(path: str, value: Any) -> Document:
    """Return an item with the member at ``path`` (names joined by dots) replaced, or removed for ``...``."""
    document = an_item()
    *parents, last = path.split(".")
    holder: Any = document
    for name in parents:
        holder = holder[name]
    if value is ...:
        del holder[last]
    else:
        holder[last] = value
    return document


CHANGES: list[tuple[str, Any]] = [
    ("type", "feature"),
    ("type", ...),
    ("stac_version", "2.0"),
    ("stac_version", "1.0.0"),
    ("stac_version", ...),
    ("stac_extensions", "https://example.org/schema.json"),
    ("stac_extensions", ["https://example.org/schema.json"]),
    ("stac_extensions", [""]),
    ("id", ""),
    ("id", "a/b"),
    ("id", ".."),
    ("id", "a\nb"),
    ("id", "a\x85b"),
    ("id", "a\x7fb"),
    ("id", "x" * 512),
    ("id", "x" * 513),
    ("id", "100 % 'ü \U0001f6f0' \"\\"),
    ("id", 5),
    ("id", ...),
    ("collection", "a/b"),
    ("collection", 5),
    ("collection", None),
    ("collection", ...),
    ("bbox", None),
    ("bbox", [1, 2, 3]),
    ("bbox", [1, 2, 3, "4"]),
    ("bbox", [5, 0, 1, 1]),
    ("bbox", [0, 5, 1, 1]),
    ("bbox", [0, 0, 500, 1]),
    ("bbox", [11, 48, 5, 11, 48, 1]),
    ("bbox", [11, 48, 1, 11, 48, 5]),
    ("bbox", ...),
    ("geometry", None),
    ("geometry", ...),
    ("geometry", {"type": "Point", "coordinates": [500, 0]}),
    ("geometry", {"type": "Point", "coordinates": []}),
    ("geometry", {"type": "Box", "coordinates": SQUARE}),
    ("geometry", {"type": "Polygon", "coordinates": SQUARE}),
    ("geometry", {"type": "Polygon", "coordinates": [SQUARE[0][:-1]]}),
    ("geometry", {"type": "GeometryCollection", "geometries": []}),
    ("properties", None),
    ("properties", []),
    ("properties", ...),
    ("properties.datetime", None),
    ("properties.datetime", ...),
    ("properties.datetime", 5),
    ("properties.datetime", "2024-06-01"),
    ("properties.datetime", "2024-02-30T00:00:00Z"),
    ("properties.datetime", "2024-06-01T12:00:00.123456789+01:00"),
    ("properties.start_datetime", "yesterday"),
    ("properties.end_datetime", "2024-06-01T12:00:00Z"),
    ("properties.end_datetime", 5),
    ("properties.title", "a\0b"),
    ("properties.title", "line\nline"),
    ("assets", ...),
    ("assets", []),
    ("assets", {}),
    ("assets", {"": {"href": "s3://b/k"}}),
    ("assets", {"a\tb": {"href": "s3://b/k"}}),
    ("assets", {"..": {"href": "s3://b/k"}}),
    ("assets", {".": {"href": "https://host/k"}}),
    ("assets", {"...": {"href": "."}}),
    ("assets.data", []),
    ("assets.data.href", ...),
    ("assets.data.href", ""),
    ("assets.data.href", None),
    ("assets.data.href", "s3://b/\x80"),
    ("assets.data.title", 5),
    ("assets.data.title", None),
    ("assets.data.type", ""),
    ("assets.data.type", ["image/tiff"]),
    ("assets.data.roles", "data"),
    ("assets.data.roles", ["data"]),
    ("assets.data.roles", [5]),
    ("assets.data.file:size", -1),
    ("assets.data.file:size", "5"),
    ("assets.data.file:size", 2**63),
    ("assets.data.file:size", 5),
    ("assets.data.file:size", 12.0),
    ("assets.data.file:size", 12.5),
    ("assets.data.file:size", -1.0),
    ("assets.data.file:size", 2.0**63),
    ("links", None),
    ("links", ...),
    ("links", [{"rel": "license"}]),
    ("links", [{"rel": "", "href": "x"}]),
    ("links", [{"rel": "license", "href": "x", "type": ""}]),
    ("links", [{"rel": "license", "href": "x", "title": 5}]),
    ("links", [{"rel": "license", "href": "x", "title": None}]),
    ("links", ["x"]),
]


@pytest.mark.parametrize(("path", "value"), CHANGES)
def test_fast_and_full_checks_agree(path: str, value: Any) -> None:
    """An invalid item is refused as the first one, and after others with the same common members."""
    document = changed(path, value)
    try:
        check_item(document)
        expected = ""
    except BadDocument as error:
        expected = error.pointer or "document"
    for lines in ([document], [an_item("first"), document]):
        prepared, problems = take(*lines)
        pointers = "".join(problem.pointer or "document" for problem in problems)
        assert (pointers, len(prepared)) == (expected, len(lines) - bool(expected))


def test_problems_have_the_number_of_their_line() -> None:
    """The number of a line counts from 0."""
    _, problems = take(an_item("a"), changed("id", "a/b"), an_item("c"))
    assert [(problem.line, problem.pointer) for problem in problems] == [(1, "/id")]


@pytest.mark.parametrize("line", [b"{", b"5", b"[]", b'{"type":"Feature"', b"\xff", b'{"id": 1e400}', b'"\\ud800"'])
def test_a_line_without_an_item_is_refused(line: bytes) -> None:
    """A line that is not JSON, or not an object, is a problem and not an exception."""
    prepared, problems = take(line)
    assert (len(prepared), len(problems)) == (0, 1)


def test_numbers_out_of_range_are_refused() -> None:
    """A number beyond a double is refused, also after an item with the same common members."""
    broken = compact(changed("properties.x", 5)).replace(b'"x":5', b'"x":1e400')
    assert [problem.line for problem in take(an_item(), broken)[1]] == [1]


def test_blank_lines_and_collections_are_skipped() -> None:
    """They are neither items nor problems."""
    assert take(b"", b"  \r", b'\x1e{"type":"Collection"}') == ([], [])


@pytest.mark.parametrize(
    "geometry", [{"type": "Point", "coordinates": [11, 48]}, {"type": "Polygon", "coordinates": SQUARE}]
)
@pytest.mark.parametrize(
    "twist", [lambda line: line, lambda line: line.replace(b'":', b'": '), lambda line: b" " + line + b"\r"]
)
def test_fast_and_full_checks_have_the_same_result(geometry: Document, twist: Callable[[bytes], bytes]) -> None:
    """With fast or full checks, with spaces or without, the search geometry, times and document are the same."""
    document = {**an_item(), "geometry": geometry}
    schemas = ItemParser(None, Managed(), SchemaChecker())  # schemas disable the fast checks
    ((careful,), _) = schemas.parse(compact(document))
    ((glanced,), _) = take(twist(compact(document)))
    assert glanced == careful
    assert glanced.wkb == to_wkb(geometry)
    assert original(glanced.body) == document


def test_items_are_validated_against_schemas() -> None:
    """The problem has the pointer of the invalid value."""
    intake = ItemParser(None, Managed(), SchemaChecker())
    _, problems = intake.parse(compact(changed("properties.gsd", "ten metres")))
    assert [(problem.line, problem.pointer) for problem in problems] == [(0, "/properties/gsd")]


def test_an_item_without_a_collection_gets_the_default() -> None:
    """The collection of an item takes precedence over the default."""
    prepared, _ = take(changed("collection", ...), an_item(collection="own"), collection="given")
    assert [row.collection for row in prepared] == ["given", "own"]
    assert original(prepared[0].body)["collection"] == "given"
