"""The published schemas, without a network."""

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
    """One checker for all."""
    return SchemaChecker()


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may open a connection."""

    def refuse(*_: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_good_documents_pass(checker: SchemaChecker, item: Any, collection: Any) -> None:
    """STAC 1.0 and 1.1, items and collections, without the links that are added when they are served."""
    for version in ("1.0.0", "1.1.0"):
        checker.check(item.but("stac_version", be=version))
        checker.check(collection.but("stac_version", be=version))
    checker.check(item.without("links"))


@pytest.mark.parametrize(
    ("path", "value", "told"),
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
def test_the_most_telling_error_is_told(
    checker: SchemaChecker, item: Any, path: Any, value: Any, told: tuple[str, str]
) -> None:
    """The pointer leads to the value that is wrong, not to the alternative forms a schema allows."""
    with pytest.raises(BadDocument) as caught:
        checker.check(item.but(*path, be=value))
    assert caught.value.pointer == told[0]
    assert told[1] in caught.value.problem


def test_a_required_bbox_is_asked_for(checker: SchemaChecker, item: Any) -> None:
    """Where two forms are equally close, both ways out are told."""
    with pytest.raises(BadDocument, match='"bbox" is a required property or /geometry: it is not of type "null"'):
        checker.check(item.without("bbox"))


def test_collections_are_checked_too(checker: SchemaChecker, collection: Any) -> None:
    """An extent with a bad box is found by the schema as well."""
    with pytest.raises(BadDocument) as caught:
        checker.check(collection.but("extent", "spatial", "bbox", be=[[1]]))
    assert caught.value.pointer == "/extent/spatial/bbox/0"


def test_a_message_is_never_the_document(checker: SchemaChecker, item: Any) -> None:
    """However large the value, the message stays short."""
    with pytest.raises(BadDocument) as caught:
        checker.check(item.but("properties", "instruments", be={str(n): "x" * 100 for n in range(1000)}))
    assert len(caught.value.description) < 1000


@pytest.mark.parametrize("address", ["https://example.com/own/v1.0.0/schema.json", f"{EXTENSIONS}/eo/v9/schema.json"])
def test_what_is_not_bundled_is_not_valid(checker: SchemaChecker, item: Any, address: str) -> None:
    """A claim that cannot be checked is refused by its place, and nothing is fetched."""
    with pytest.raises(BadDocument, match="schema not bundled") as caught:
        checker.check(item.but("stac_extensions", be=[f"{EXTENSIONS}/eo/v1.1.0/schema.json", address]))
    assert caught.value.pointer == "/stac_extensions/1"


def test_a_version_without_schemas_is_not_valid(checker: SchemaChecker, item: Any) -> None:
    """Of STAC itself, the released versions are bundled."""
    with pytest.raises(BadDocument, match="schema not bundled") as caught:
        checker.check(item.but("stac_version", be="1.0.0-rc.1"))
    assert caught.value.pointer == "/stac_version"


def test_every_bundled_extension_can_be_checked(checker: SchemaChecker, item: Any) -> None:
    """Each schema compiles with all it refers to, none of it from the network; a verdict comes for every one."""
    extensions = [address for address in checker.addresses if address.endswith("/schema.json")]
    assert len(extensions) > 50
    for address in extensions:
        try:
            checker.check(item.but("stac_extensions", be=[address]))
        except BadDocument as problem:
            assert address in problem.problem  # noqa: PT017
            assert "not bundled" not in problem.problem  # noqa: PT017


def test_projections_with_projjson_are_checked(checker: SchemaChecker, item: Any) -> None:
    """What one schema refers to in another is followed and enforced."""
    item.but("stac_extensions", be=[f"{EXTENSIONS}/projection/v2.0.0/schema.json"])
    checker.check(item.but("properties", "proj:projjson", be=None))
    with pytest.raises(BadDocument, match=r"projection/v2\.0\.0") as caught:
        checker.check(item.but("properties", "proj:projjson", be={"type": "GeographicCRS"}))
    assert caught.value.pointer.startswith("/properties/proj:projjson")


def test_many_threads_share_one_checker(item: Any) -> None:
    """A fresh checker asked by many at once answers each."""
    fresh = SchemaChecker()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: fresh.check(item.document), range(64))) == [None] * 64


def test_the_bundle_is_whole() -> None:
    """Every file of the index is there and is JSON, every licence has its text, and no file is beside the index."""
    folder = files("stacflask") / "schemas"
    index = orjson.loads((folder / "index.json").read_bytes())
    for entry in index.values():
        assert orjson.loads((folder / entry["file"]).read_bytes())
        assert entry["licence"] in ("Apache-2.0", "MIT")
    for text in ("LICENSE-Apache-2.0.txt", "geojson.org/LICENSE-MIT.md", "proj.org/LICENSE-MIT.txt"):
        assert (folder / text).read_text()
