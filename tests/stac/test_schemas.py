"""Validation against the published schemas, without network access."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import Any

import orjson
import pytest

from stacflask.errors import BadDocument
from stacflask.stac.schemas import SchemaChecker

EXTENSIONS = "https://stac-extensions.github.io"


@pytest.fixture(scope="module")
def checker() -> SchemaChecker:
    """One checker for all tests."""
    return SchemaChecker()


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that opens a connection."""

    def refuse(*_: Any) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_valid_documents_pass(checker: SchemaChecker, item: Any, collection: Any) -> None:
    """Items and collections of STAC 1.0 and 1.1 are valid without the links that responses add."""
    for version in ("1.0.0", "1.1.0"):
        checker.check(item.changed("stac_version", to=version))
        checker.check(collection.changed("stac_version", to=version))
    checker.check(item.without("links"))


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("id",), "", ("/id", "shorter than 1")),
        (("properties", "datetime"), "yesterday", ("/properties/datetime", "got 'yesterday'")),
        (("properties", "created"), "2024-02-30T00:00:00Z", ("/properties/created", "date-time")),
        (("properties", "instruments"), "x", ("/properties/instruments", "array")),
        (("properties", "providers"), [{}], ("/properties/providers/0", '"name" is a required property')),
        (("properties", "eo:cloud_cover"), "12", ("/properties/eo:cloud_cover", "eo/v1.1.0")),
        (("properties", "eo:cloud_cover"), 101, ("/properties/eo:cloud_cover", "100")),
        (("geometry", "coordinates", 0), [[1, 2]], ("/geometry/coordinates/0", "less than 4")),
        (("assets", "metadata"), {"title": "x"}, ("/assets/metadata", '"href" is a required property')),
        (("assets", "metadata", "roles"), "x", ("/assets/metadata/roles", "array")),
        (("links", 0), {"rel": "x"}, ("/links/0", '"href" is a required property')),
    ],
)
def test_the_most_specific_error_is_reported(
    checker: SchemaChecker, item: Any, path: Any, value: Any, expected: tuple[str, str]
) -> None:
    """The pointer leads to the invalid value, not to the alternative forms that a schema allows."""
    with pytest.raises(BadDocument) as caught:
        checker.check(item.changed(*path, to=value))
    assert caught.value.pointer == expected[0]
    assert expected[1] in caught.value.problem


def test_a_missing_bbox_is_reported_with_its_alternative(checker: SchemaChecker, item: Any) -> None:
    """If two forms are equally close, the message contains both."""
    with pytest.raises(BadDocument, match='"bbox" is a required property or /geometry: it is not of type "null"'):
        checker.check(item.without("bbox"))


def test_collections_are_validated(checker: SchemaChecker, collection: Any) -> None:
    """An invalid box in an extent breaks the schema."""
    with pytest.raises(BadDocument) as caught:
        checker.check(collection.changed("extent", "spatial", "bbox", to=[[1]]))
    assert caught.value.pointer == "/extent/spatial/bbox/0"


def test_a_message_is_short_for_large_values(checker: SchemaChecker, item: Any) -> None:
    """The message does not contain the value."""
    with pytest.raises(BadDocument) as caught:
        checker.check(item.changed("properties", "instruments", to={str(n): "x" * 100 for n in range(1000)}))
    assert len(caught.value.description) < 1000


@pytest.mark.parametrize("address", ["https://example.com/own/v1.0.0/schema.json", f"{EXTENSIONS}/eo/v9/schema.json"])
def test_a_document_with_an_unknown_extension_is_refused(checker: SchemaChecker, item: Any, address: str) -> None:
    """The pointer leads to the unknown extension, and nothing is fetched."""
    with pytest.raises(BadDocument, match="schema not bundled") as caught:
        checker.check(item.changed("stac_extensions", to=[f"{EXTENSIONS}/eo/v1.1.0/schema.json", address]))
    assert caught.value.pointer == "/stac_extensions/1"


def test_a_version_without_schemas_is_refused(checker: SchemaChecker, item: Any) -> None:
    """The schemas of released STAC versions are bundled."""
    with pytest.raises(BadDocument, match="schema not bundled") as caught:
        checker.check(item.changed("stac_version", to="1.0.0-rc.1"))
    assert caught.value.pointer == "/stac_version"


def test_every_bundled_extension_can_be_validated(checker: SchemaChecker, item: Any) -> None:
    """Each schema compiles with all schemas that it refers to, without network access."""
    extensions = [address for address in checker.addresses if address.endswith("/schema.json")]
    assert len(extensions) > 50
    for address in extensions:
        try:
            checker.check(item.changed("stac_extensions", to=[address]))
        except BadDocument as problem:
            assert address in problem.problem  # noqa: PT017
            assert "not bundled" not in problem.problem  # noqa: PT017


def test_references_between_schemas_are_followed(checker: SchemaChecker, item: Any) -> None:
    """The projection extension refers to the PROJJSON schema."""
    item.changed("stac_extensions", to=[f"{EXTENSIONS}/projection/v2.0.0/schema.json"])
    checker.check(item.changed("properties", "proj:projjson", to=None))
    with pytest.raises(BadDocument, match=r"projection/v2\.0\.0") as caught:
        checker.check(item.changed("properties", "proj:projjson", to={"type": "GeographicCRS"}))
    assert caught.value.pointer.startswith("/properties/proj:projjson")


def test_many_threads_share_one_checker(item: Any) -> None:
    """A new checker validates documents in several threads."""
    fresh = SchemaChecker()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: fresh.check(item.document), range(64))) == [None] * 64


def test_the_bundle_is_complete() -> None:
    """Every file of the index exists and is JSON, and every licence has its text."""
    folder = files("stacflask") / "schemas"
    index = orjson.loads((folder / "index.json").read_bytes())
    for entry in index.values():
        assert orjson.loads((folder / entry["file"]).read_bytes())
        assert entry["licence"] in ("Apache-2.0", "MIT")
    for text in ("LICENSE-Apache-2.0.txt", "geojson.org/LICENSE-MIT.md", "proj.org/LICENSE-MIT.txt"):
        assert (folder / text).read_text()
