"""Loads: forms of input, existing records, refused documents, interrupted and concurrent loads, exports."""

import gzip
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from stacflask.catalog.bulk import input_files
from stacflask.catalog.bulk.export import export
from stacflask.catalog.bulk.load import LoadResult, Plan, load
from stacflask.catalog.database.engine import Database
from stacflask.catalog.documents.documents import Managed, original
from stacflask.catalog.documents.stored_hrefs import Addresses
from stacflask.catalog.reader import Catalog
from stacflask.catalog.writer import Writer
from stacflask.errors import NotFound, SettingError, StacflaskError, Unavailable
from stacflask.model.decision import UNRESTRICTED
from stacflask.model.json_types import Document
from stacflask.settings import Settings
from stacflask.testing import a_collection, an_item
from tests.waiting import waiting_for

ROOT = Path(__file__).parents[3]


class Loader:
    """Loads into the test database, and keeps the reported problems."""

    def __init__(self, database: Database, url: str, folder: Path) -> None:
        self.database = database
        self.url = url
        self.folder = folder
        self.problems: list[str] = []

    def file(self, content: bytes | Iterable[Document], name: str = "input.ndjson") -> str:
        """Write a file and return its path."""
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else ndjson(content))
        return str(path)

    def __call__(self, *inputs: bytes | Iterable[Document], **plan: Any) -> LoadResult:
        """Load inputs in this order, each from a separate file."""
        files = [self.file(content, f"{number}.input") for number, content in enumerate(inputs)]
        self.problems.clear()
        everything = {"database_url": Settings.from_environ({"DATABASE_URL": self.url}).database_url} | plan
        return load(files, Plan(managed=Managed(), **everything), self._tell)

    def _tell(self, message: str) -> None:
        self.problems.append(message.removeprefix(f"{self.folder}/"))

    def rows(self, columns: str = "collection, id", table: str = "items") -> list[tuple[Any, ...]]:
        """Return these columns of all rows, in order."""
        statement = sa.text(f"SELECT {columns} FROM {table} ORDER BY 1, 2")
        return [tuple(row) for row in self.database.read(lambda connection: connection.execute(statement).all())]

    def count(self) -> int:
        """Count the items."""
        return len(self.rows())

    def item(self, item: str = "item", collection: str = "collection") -> Document:
        """Return an item as it was loaded."""
        return original(Catalog(self.database).item(collection, item, UNRESTRICTED).body)

    def collection(self, collection: str = "collection") -> Document:
        """Return a collection as it was loaded."""
        return original(Catalog(self.database).collection(collection, UNRESTRICTED).body)


@pytest.fixture
def loader(database: Database, database_url: str, tmp_path: Path) -> Loader:
    return Loader(database, database_url, tmp_path)


def ndjson(documents: Iterable[Document]) -> bytes:
    return b"".join(orjson.dumps(document) + b"\n" for document in documents)


def many(count: int, **members: Any) -> list[Document]:
    return [an_item(f"item-{number:05}", **members) for number in range(count)]


def bulky(count: int) -> list[Document]:
    """Return items of which a few dozen fill a block."""
    draw = random.Random(1)
    note = {"note": draw.randbytes(100_000).hex()}
    return many(count, properties={"datetime": "2024-06-01T12:00:00Z", **note})


# --- Forms of input ---------------------------------------------------------------------------------------------------

PAIR = [an_item("a"), an_item("b")]
FORMS: dict[str, bytes] = {
    "lines": ndjson([a_collection(), *PAIR]),
    "lines without an end": ndjson([a_collection(), *PAIR]).rstrip(),
    "lines of Windows": ndjson([a_collection(), *PAIR]).replace(b"\n", b"\r\n\r\n"),
    "text sequence": b"".join(b"\x1e" + orjson.dumps(part) + b"\n" for part in [a_collection(), *PAIR]),
    "byte order mark": b"\xef\xbb\xbf" + ndjson([a_collection(), *PAIR]),
    "array": orjson.dumps([a_collection(), *PAIR]),
    "pretty array": json.dumps([a_collection(), *PAIR], indent=2).encode(),
    "gzip": gzip.compress(ndjson([a_collection(), *PAIR])),
    "gzip array": gzip.compress(orjson.dumps([a_collection(), *PAIR])),
}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("form", FORMS)
def test_all_forms_of_input_have_the_same_result(loader: Loader, form: str, workers: int) -> None:
    """The same documents in any form, with or without workers, lead to the same catalogue."""
    result = loader(FORMS[form], workers=workers)
    assert (result.collections, result.new, loader.problems) == (1, 2, [])
    assert [loader.item("a"), loader.item("b")] == PAIR
    assert loader.collection() == a_collection()


@pytest.mark.parametrize("indent", [None, 1])
def test_single_documents_and_lists_are_loaded(loader: Loader, indent: int | None) -> None:
    """A file can be an item, a list of collections or an item collection, compact or indented."""
    documents = [
        an_item("single"),
        {"collections": [a_collection(), a_collection("other")], "links": []},
        {"type": "FeatureCollection", "features": PAIR},
    ]
    result = loader(*(json.dumps(document, indent=indent).encode() for document in documents))
    assert (result.collections, result.new, loader.problems) == (2, 3, [])


def test_an_item_collection_with_one_feature_per_line_is_one_document(loader: Loader) -> None:
    """GDAL writes item collections in this form."""
    for features in ([an_item("a")], [*PAIR, an_item("c")]):
        text = b'{"type":"FeatureCollection","features":[\n' + b",\n".join(map(orjson.dumps, features)) + b"\n]}\n"
        result = loader(ndjson([a_collection()]), text, method="upsert")
        assert (result.items, loader.problems) == (len(features), [])


def test_empty_files_are_accepted(loader: Loader) -> None:
    """An empty file and a file with blank lines are not errors."""
    result = loader(b"", b"\n \n", ndjson([a_collection()]), b'{"type":"FeatureCollection","features":[]}')
    assert (result.collections, result.items, loader.problems) == (1, 0, [])


def test_collections_are_loaded_before_items(loader: Loader) -> None:
    """A file with items can come before the file with their collection."""
    result = loader(ndjson(PAIR), ndjson([a_collection()]))
    assert (result.collections, result.new, loader.problems) == (1, 2, [])


def test_standard_input_is_loaded(loader: Loader) -> None:
    """Standard input can be compressed. Collections must come before their items."""
    for text, method in ((ndjson([a_collection(), *PAIR]), "insert"), (gzip.compress(ndjson(PAIR)), "ignore")):
        done = command(loader, "load", "-", "--method", method, input=text)
        assert (done.returncode, done.stderr) == (0, b"")
    assert loader.count() == 2


def test_spaces_between_tokens_are_not_stored(loader: Loader) -> None:
    """Spaces are removed, but numbers keep their digits."""
    loader(ndjson([a_collection()]), orjson.dumps(an_item("a")).replace(b"11.0", b" 11.00 ").replace(b":", b" : ", 1))
    (text,) = [text for text in export(loader.database) if b'"Feature"' in text]
    assert b'"coordinates":[11.00,48.0]' in text


# --- Existing records -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [0, None])
def test_insert_refuses_existing_items(loader: Loader, most: int | None) -> None:
    """An existing item is a problem of its line. The others are written, unless the load stops at the first problem."""
    loader(ndjson([a_collection(), an_item("b", properties={"datetime": "2020-01-01T00:00:00Z"})]))
    result = loader(ndjson([*PAIR, an_item("c")]), max_problems=most)
    assert loader.problems == ["0.input:2: /id: item 'b' exists already in collection 'collection'"]
    assert (result.new, result.refused, result.stopped) == ((2, 1, False) if most is None else (0, 1, True))
    assert loader.count() == (3 if most is None else 1)
    assert loader.item("b")["properties"]["datetime"] == "2020-01-01T00:00:00Z"


def test_upsert_replaces_existing_items(loader: Loader) -> None:
    """Upsert writes new items and replaces all columns of changed ones. It does not write unchanged items."""
    loader(ndjson([a_collection(), *PAIR]))
    before = dict(loader.rows("id, xmin::text"))
    moved = an_item("b", bbox=[1, 2, 1, 2], geometry={"type": "Point", "coordinates": [1, 2]})
    result = loader(ndjson([an_item("a"), moved, an_item("c")]), method="upsert")
    assert (result.new, result.replaced, result.left) == (1, 1, 1)
    assert loader.item("b") == moved
    assert loader.rows("id, ST_AsText(geometry)")[1] == ("b", "POINT(1 2)")
    assert dict(loader.rows("id, xmin::text"))["a"] == before["a"]


def test_ignore_leaves_existing_items_unchanged(loader: Loader) -> None:
    """Ignore writes new items only."""
    loader(ndjson([a_collection(), *PAIR]))
    result = loader(ndjson([an_item("b", bbox=[11, 48, 12, 49]), an_item("c")]), method="ignore")
    assert (result.new, result.replaced, result.left) == (1, 0, 1)
    assert loader.item("b") == an_item("b")


@pytest.mark.parametrize("method", ["insert", "upsert", "ignore"])
def test_the_last_of_equal_keys_is_written(loader: Loader, method: str) -> None:
    """If a batch has two items with the same key, the last one is written."""
    last = an_item("a", properties={"datetime": "2030-01-01T00:00:00Z"})
    loader(ndjson([a_collection(), an_item("a"), an_item("b"), last]), method=method)
    assert (loader.item("a"), loader.count()) == (last, 2)


def test_an_id_can_exist_in_two_collections(loader: Loader) -> None:
    """Items with the same id in two collections are two items."""
    loader(ndjson([a_collection(), a_collection("other"), an_item(), an_item(collection="other")]))
    assert loader.rows() == [("collection", "item"), ("other", "item")]


@pytest.mark.parametrize(("method", "title"), [("insert", None), ("upsert", "New"), ("ignore", None)])
def test_an_existing_collection_is_refused_replaced_or_left(loader: Loader, method: str, title: str | None) -> None:
    """It keeps its items with every method."""
    loader(ndjson([a_collection(), *PAIR]))
    result = loader(ndjson([a_collection(title="New")]), method=method)
    assert loader.problems == (["0.input: /id: collection 'collection' exists already"] if method == "insert" else [])
    assert (result.collections, loader.collection().get("title")) == (int(method == "upsert"), title)
    assert loader.count() == 2


# --- Refused documents ------------------------------------------------------------------------------------------------


def test_problems_are_reported_with_line_and_pointer(loader: Loader) -> None:
    """Each refused line is reported with file, line and JSON Pointer. The others are loaded."""
    bad_time = an_item("late", properties={"datetime": "soon"})
    text = ndjson([a_collection(), an_item("a"), an_item("a/b")]) + b"{broken\n" + ndjson([bad_time, an_item("z")])
    result = loader(text, max_problems=None)
    assert [message.split(": ")[:2] for message in loader.problems] == [
        ["0.input:3", "/id"],
        ["0.input:4", "document"],
        ["0.input:5", "/properties/datetime"],
    ]
    assert all(message.split(": ")[2].startswith(("expected", "not JSON")) for message in loader.problems)
    assert (result.new, result.refused, loader.count()) == (2, 3, 2)


def test_control_characters_in_problems_are_escaped(loader: Loader) -> None:
    """A problem is one line, and does not control the terminal."""
    strange = an_item("a", assets={"\x1b[2J\nok: ": {"href": "s3://bucket/a"}, "..": {"href": "s3://bucket/b"}})
    loader(ndjson([a_collection(), strange]), max_problems=None)
    assert loader.problems[0].startswith(r"0.input:2: /assets/\x1b[2J\x0aok: : expected a string without control char")


def test_the_first_line_can_be_invalid(loader: Loader) -> None:
    """An input is newline-delimited JSON even if its first line is invalid."""
    loader(b'{"type":"Feature"\n' + ndjson([a_collection(), *PAIR]), max_problems=None)
    assert [message.split(": ")[:2] for message in loader.problems] == [["0.input:1", "document"]]
    assert loader.count() == 2


def test_problems_in_one_document_are_reported_with_the_full_pointer(loader: Loader) -> None:
    """In one JSON document, a location is the JSON Pointer from its root."""
    document = {"type": "FeatureCollection", "features": [an_item("a"), an_item("b", links=[{"rel": "license"}])]}
    loader(
        ndjson([a_collection()]),
        json.dumps(document, indent=1).encode(),
        orjson.dumps(an_item("/")),
        max_problems=None,
    )
    assert loader.problems[0] == "1.input: /features/1/links/0/href: is missing"
    assert loader.problems[1].startswith("2.input: /id: ")


def test_an_invalid_collection_is_refused_with_its_items(loader: Loader) -> None:
    """The collection is reported with a pointer, and its items without a collection."""
    loader(ndjson([a_collection(extent={}), an_item()]), max_problems=None)
    assert loader.problems[0] == "0.input:1: /extent/spatial: is missing"
    assert loader.problems[1] == "0.input:2: /collection: there is no collection 'collection'"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"type":"FeatureCollection",\n"features":[{},]}', "0.input: not JSON: "),
        (b"<html>", "0.input: not JSON: "),
        (gzip.compress(ndjson([a_collection(), *PAIR]), mtime=0)[:-20], "0.input: cannot be read further: "),
        (
            b'{"type":"Catalog","stac_version":"1.1.0","id":"root","links":[]}',
            "0.input: /type: expected 'Feature' or 'Collection', got 'Catalog'",
        ),
    ],
)
def test_unreadable_inputs_are_reported(loader: Loader, text: bytes, expected: str) -> None:
    """An input that cannot be read is one problem. The following inputs are loaded."""
    result = loader(text, ndjson([a_collection("after")]), max_problems=None)
    assert (len(loader.problems), result.refused) == (1, 1)
    assert loader.problems[0].startswith(expected)
    assert "after" in [name for name, _ in loader.rows("id, 1", "collections")]


@pytest.mark.parametrize("workers", [0, 2])
def test_strict_load_stops_at_the_first_problem(loader: Loader, workers: int) -> None:
    """The block with the first problem and the following blocks are not written."""
    text = ndjson([a_collection(), an_item("a"), an_item("a/b")])
    result = loader(text, ndjson(bulky(60)), ndjson([an_item("last")]), workers=workers)
    assert (result.refused, result.stopped) == (1, True)
    assert ("collection", "a") not in loader.rows()
    assert ("collection", "last") not in loader.rows()


def test_too_many_problems_stop_the_load(loader: Loader) -> None:
    """The load stops after the block with the last allowed problem."""
    bad = [an_item(f"{number}/") for number in range(3)]
    assert not loader(ndjson([a_collection(), *bad]), max_problems=3).stopped
    assert loader(ndjson([a_collection(), *bad]), ndjson(bulky(60)), max_problems=2, method="ignore").stopped


def test_items_that_the_database_cannot_store_are_refused(loader: Loader) -> None:
    """Items that PostgreSQL refuses are problems of their lines. The others are written."""
    draw = random.Random(1)
    long = "".join(
        chr(draw.randrange(0x20000, 0x2A000)) for _ in range(512)
    )  # too long for an index if both names have it
    loader(ndjson([a_collection(), a_collection(long)]))
    items = [
        an_item("a"),
        an_item(long, collection=long),
        an_item("b"),
        an_item(long[:-1], collection=long),
        an_item("c"),
    ]
    result = loader(ndjson(items), max_problems=None)
    assert [message.partition(": document: the database cannot store it")[0] for message in loader.problems] == [
        "0.input:2",
        "0.input:4",
    ]
    assert (result.new, [name for _, name in loader.rows()]) == (3, ["a", "b", "c"])


def test_documents_are_validated_on_request(loader: Loader) -> None:
    """Without ``validate``, documents that can be stored are accepted."""
    item = an_item(properties={"datetime": "2024-06-01T12:00:00Z", "gsd": "ten"})
    assert loader(ndjson([a_collection(), item]), validate=True, max_problems=None).refused == 1
    assert loader.problems[0].startswith("0.input:2: /properties/gsd: ")
    assert loader(ndjson([item])).new == 1


EXTENSION = "https://example.org/mine/v1.0.0/schema.json"
SCHEMA = {"$id": EXTENSION, "properties": {"properties": {"required": ["mine:x"]}}}


def test_documents_are_validated_against_further_schemas(loader: Loader, tmp_path: Path) -> None:
    """A schema in the folder is used like the bundled ones."""
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "mine.json").write_text(json.dumps(SCHEMA))
    item = an_item(stac_extensions=[EXTENSION])
    right = an_item("b", stac_extensions=[EXTENSION], properties={"datetime": "2024-06-01T12:00:00Z", "mine:x": 1})
    plan = {"validate": True, "max_problems": None, "schemas": str(tmp_path / "schemas")}
    result = loader(ndjson([a_collection(), item, right]), **plan)
    assert (result.new, result.refused) == (1, 1)
    assert "mine:x" in loader.problems[0]


def test_unknown_schemas_are_refused_or_reported(loader: Loader) -> None:
    """A document with an unknown schema is refused, or validated against its other schemas."""
    item = an_item(stac_extensions=[EXTENSION])
    wrong = an_item("b", stac_extensions=[EXTENSION], properties={"datetime": "2024-06-01T12:00:00Z", "gsd": "ten"})
    refused = loader(ndjson([a_collection(), item]), validate=True, max_problems=None)
    assert (refused.new, loader.problems[0].startswith("0.input:2: /stac_extensions/0: ")) == (0, True)
    warned = loader(ndjson([item, wrong]), validate=True, max_problems=None, unknown_schemas="warn")
    assert (warned.new, warned.refused, warned.unknown) == (1, 1, {EXTENSION})


@pytest.mark.parametrize("content", ["[]", "{", "{}", '{"$id": 5}', '{"$id": "https://x.example/y", "type": 5}'])
def test_an_invalid_schema_stops_the_load(loader: Loader, tmp_path: Path, content: str) -> None:
    """The error contains the setting."""
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "wrong.json").write_text(content)
    with pytest.raises(SettingError, match="STACFLASK_SCHEMAS"):
        loader(ndjson([a_collection()]), validate=True, schemas=str(tmp_path / "schemas"))


def test_repairs_are_listed(loader: Loader) -> None:
    """With ``repair``, times with a space are repaired, and each change is listed. Other errors stay errors."""
    times = {"datetime": None, "start_datetime": "2024-01-01 00:00:00", "end_datetime": "2024-01-02 00:00:00.5+0100"}
    extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [["2020-01-01 00:00:00Z", None]]}}
    documents = [a_collection(extent=extent), an_item(properties=times), an_item("b", properties={"datetime": "soon"})]
    assert loader(ndjson(documents), max_problems=None).refused == 3
    result = loader(ndjson(documents), max_problems=None, repair=True)
    assert (result.new, result.refused, result.repaired) == (1, 1, 3)
    assert loader.item()["properties"] == {
        "datetime": None,
        "start_datetime": "2024-01-01T00:00:00Z",
        "end_datetime": "2024-01-02T00:00:00.5+01:00",
    }
    listed = "0.input:2: /properties/start_datetime: repaired '2024-01-01 00:00:00' to '2024-01-01T00:00:00Z'"
    assert listed in loader.problems


def test_items_without_a_collection_get_the_default(loader: Loader) -> None:
    """``collection`` is the collection of items that do not have one."""
    item = an_item()
    del item["collection"]
    assert loader(ndjson([a_collection(), item]), max_problems=None).refused == 1
    loader(ndjson([item]), collection="collection")
    assert loader.rows() == [("collection", "item")]


# --- Written rows -----------------------------------------------------------------------------------------------------

RANGE = {"start_datetime": "2024-01-01T00:00:00Z", "end_datetime": "2024-02-01T00:00:00.25+01:00"}
ALTERNATE = {"web": {"href": "https://a"}, "s": {"href": "s3://c/k"}}
VARIED: list[Document] = [
    an_item("point"),
    an_item("range", properties={"datetime": None, **RANGE}),
    an_item("instant outside its range", properties={"datetime": "2024-03-01T00:00:00Z", **RANGE}),
    an_item("half a range", properties={"datetime": "2024-03-01T00:00:00Z", "start_datetime": "2024-01-01T00:00:00Z"}),
    {key: value for key, value in an_item("nowhere", geometry=None).items() if key != "bbox"},
    {key: value for key, value in an_item("no box").items() if key != "bbox"},
    an_item("tall", bbox=[11, 48, -5, 11, 48, 300.5]),
    an_item("high", geometry={"type": "Point", "coordinates": [11, 48, 100.5]}, bbox=[11, 48, 11, 48]),
    an_item("at 0", geometry={"type": "Point", "coordinates": [11, 48, 0]}, bbox=[11, 48, 11, 48]),
    an_item("higher", geometry={"type": "Point", "coordinates": [11, 48, 9.5]}, bbox=[11, 48, 1, 11, 48, 5]),
    an_item(
        "over the antimeridian",
        bbox=[179, 0, -179, 1],
        geometry={"type": "Polygon", "coordinates": [[[179, 0], [-179, 0], [-179, 1], [179, 1], [179, 0]]]},
    ),
    an_item("bow tie", geometry={"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}),
    an_item('% ü \U0001f6f0 \\"', assets={"a b/c%": {"href": "s3://bucket/ü.tif"}, "web": {"href": "https://a/b"}}),
    an_item(
        "alternates",
        assets={"x": {"href": "s3://b/k", "alternate": {"web": {"href": "https://a"}, "s": {"href": "s3://c/k"}}}},
    ),
    an_item("links", links=[{"rel": "license", "href": "https://a/b"}, {"rel": "source", "href": "s3://bucket/raw"}]),
    an_item(
        "nested", assets={"x": {"href": "s3://b/k", "parts": [{"href": "s3://b/part"}]}}, more={"x": [1, 2.50, 1e3]}
    ),
]


def test_load_and_api_write_the_same(loader: Loader) -> None:
    """Loaded and posted items have the same times, geometries, heights, properties and documents."""
    columns = (
        "id, datetime, start_datetime, end_datetime, has_datetime, has_start_datetime, has_end_datetime, "
        "ST_AsEWKT(geometry), min_height, max_height, properties::text, "
        "pg_column_compression(properties)"
    )
    loader(ndjson([a_collection()]))
    catalog = Catalog(loader.database)
    Writer(catalog, Managed()).create_items("collection", VARIED)
    posted = loader.rows(columns), [loader.item(document["id"]) for document in VARIED]
    with loader.database.write() as connection:
        connection.execute(sa.text("DELETE FROM items"))
    loader(ndjson([an_item("first"), *VARIED]))
    with loader.database.write() as connection:
        connection.execute(sa.text("DELETE FROM items WHERE id = 'first'"))
    assert (loader.rows(columns), [loader.item(document["id"]) for document in VARIED]) == posted
    assert posted[1] == VARIED


def test_a_dictionary_is_trained_and_used(loader: Loader) -> None:
    """The first large batch of a collection trains its dictionary, and later loads use it. Small batches train none."""
    loader(ndjson([a_collection(), *many(50)]))
    assert loader.rows("id, collection", "dictionaries") == []
    small = min(size for _, size in loader.rows("1, length(body)"))
    loader(ndjson(many(300)), method="ignore")
    ((_, owner),) = loader.rows("id, collection", "dictionaries")
    assert owner == "collection"
    loader(ndjson([an_item("later")]))
    assert len(loader.rows("id, collection", "dictionaries")) == 1
    assert loader.rows("id, length(body)")[-1][1] < small / 2
    assert loader.item("later") == an_item("later")


def test_extents_are_widened(loader: Loader) -> None:
    """A load widens the extents of its collections in the same transaction, also if it only replaces items."""
    extent = {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": {"interval": [["2024-07-01T00:00:00Z", None]]}}
    for method in ("insert", "upsert"):
        loader(ndjson([a_collection(extent=extent), an_item()]), method=method)
        given = loader.collection()["extent"]
        assert given["spatial"]["bbox"] == [[0, 0, 11, 48]]
        assert given["temporal"]["interval"] == [["2024-06-01T12:00:00Z", None]]


# --- URLs of this server and of stores --------------------------------------------------------------------------------

PUBLIC = "https://stac.example.org/api"
MADE = Addresses((PUBLIC,), lambda href: "s3://b/signed" if href.startswith("https://store.example/x?") else None)


@pytest.mark.parametrize("base", [PUBLIC, "http://localhost:8000"])
def test_documents_from_responses_keep_their_storage_addresses(loader: Loader, base: str) -> None:
    """Documents that were read over HTTP can be loaded, whichever base URL the server had."""
    item, collection = an_item(), a_collection(assets={"a": {"href": "s3://b/a"}})
    loader([collection, item])
    shown_item = an_item(assets={"data": {"href": f"{base}/collections/collection/items/item/download/d%61ta?link=x"}})
    shown = a_collection(assets={"a": {"href": f"{base}/collections/collection/download/a#x"}})
    assert loader([shown, shown_item], method="upsert", addresses=MADE).refused == 0
    assert loader.item()["assets"]["data"]["href"] == item["assets"]["data"]["href"]
    assert loader.collection()["assets"] == collection["assets"]


LONG = '123456789012345678901234567890, "y": 0.10000000000000000555, "z": 1.10'


@pytest.mark.parametrize("kind", ["collection", "restored", "repaired"])
def test_numbers_keep_their_digits_in_changed_documents(loader: Loader, kind: str) -> None:
    """Only the changed parts of a document are written again."""
    base = "https://stac.example.org"
    stored = an_item(properties={"datetime": "2024-06-01T12:00:00Z", "x": 0}, assets={"a": {"href": "s3://bucket/a"}})
    loader([a_collection(), stored])
    document = a_collection(x=0) if kind == "collection" else stored
    if kind == "restored":
        document["assets"]["a"]["href"] = f"{base}/collections/collection/items/item/download/a"
    if kind == "repaired":
        document["properties"]["datetime"] = "2024-06-01 12:00:00Z"
    text = json.dumps(document).replace('"x": 0', f'"x": {LONG}')
    loader(text.encode(), method="upsert", addresses=Addresses((base,)), repair=True)
    assert not [line for line in loader.problems if "repaired" not in line]
    (exported,) = [line for line in export(loader.database) if (b'"Collection"' in line) == (kind == "collection")]
    assert LONG.replace(", ", ",").replace(": ", ":").encode() in exported
    assert b"s3://bucket/a" in exported or kind == "collection"
    assert b"stac.example.org" not in exported


def test_download_urls_of_no_asset_are_refused(loader: Loader) -> None:
    """A download URL of this server without a stored asset is a problem with the pointer of the asset."""
    lost = {"data": {"href": f"{PUBLIC}/collections/collection/items/item/download/data"}}
    result = loader([a_collection(), an_item(assets=lost), an_item("b")], max_problems=None, addresses=MADE)
    assert (result.new, result.refused) == (1, 1)
    assert loader.problems[0].startswith("0.input:2: /assets/data/href: is a URL of this server")
    assert loader([a_collection("other", assets=lost)], addresses=MADE).refused == 1


def test_presigned_urls_become_storage_addresses(loader: Loader) -> None:
    """The storage address of a presigned URL is stored."""
    signed = {"data": {"href": "https://store.example/x?signature=1", "href:expires": "2024-01-01T00:00:00Z"}}
    foreign = {"data": {"href": "https://store.example/y?signature=1"}}
    loader([a_collection(), an_item(assets=signed), an_item("b", assets=foreign)], addresses=MADE)
    assert loader.item()["assets"] == {"data": {"href": "s3://b/signed"}}
    assert loader.item("b")["assets"] == foreign


# --- Interrupted and concurrent loads ---------------------------------------------------------------------------------


def command(loader: Loader, *arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "stacflask", *arguments], **process(loader), capture_output=True, check=False, **options
    )


def process(loader: Loader) -> dict[str, Any]:
    return {"cwd": ROOT, "env": {**os.environ, "DATABASE_URL": loader.url}}


def test_a_killed_load_can_be_run_again(loader: Loader) -> None:
    """After all processes were killed, another run completes the load, with each item once."""
    loader(ndjson([a_collection()]))
    file = loader.file(bulky(300))
    load_command = [sys.executable, "-m", "stacflask", "load", file, "--workers", "2", "--method", "ignore"]
    killed = subprocess.Popen(load_command, **process(loader), start_new_session=True, stdout=subprocess.DEVNULL)
    waiting_for(lambda: loader.count() > 0)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert 0 < loader.count() < 300
    assert command(loader, "load", file, "--workers", "2", "--method", "ignore").returncode == 0
    assert loader.count() == 300


def test_workers_end_with_their_parent(loader: Loader) -> None:
    """If only the process that reads the input is killed, the workers finish their blocks and end."""
    loader(ndjson([a_collection()]))
    load_command = [sys.executable, "-m", "stacflask", "load", loader.file(bulky(300)), "--workers", "2"]
    killed = subprocess.Popen(load_command, **process(loader), start_new_session=True, stdout=subprocess.DEVNULL)
    waiting_for(lambda: loader.count() > 0)
    killed.kill()
    killed.wait()
    waiting_for(lambda: not alive(killed.pid))
    assert loader.count() < 300


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("method", ["upsert", "ignore"])
def test_concurrent_loads_of_the_same_items_succeed(loader: Loader, method: str) -> None:
    """Two concurrent loads of the same items, in opposite orders, both succeed, with each item once."""
    loader(ndjson([a_collection()]))
    items = many(3000)
    files = [loader.file(items, "forward"), loader.file(items[::-1], "backward")]
    loads = [
        subprocess.Popen([sys.executable, "-m", "stacflask", "load", file, "--method", method], **process(loader))
        for file in files
    ]
    assert [done.wait(60) for done in loads] == [0, 0]
    assert loader.count() == 3000


def test_a_batch_is_written_after_a_deadlock(loader: Loader) -> None:
    """A batch that PostgreSQL ended because of a deadlock is repeated."""
    loader(ndjson([a_collection(), *PAIR]))
    # On a busy machine, PostgreSQL can end the other transaction instead of the load.
    assert any(_load_in_deadlock(loader, [0, 0, 1, number]) for number in range(1, 6))


def _load_in_deadlock(loader: Loader, bbox: list[int]) -> bool:
    """Load items while another transaction waits for them. Returns whether the other transaction could continue."""
    changed = ndjson([an_item(name, bbox=bbox) for name in "ab"])
    other_continued = False
    with suppress(Unavailable), loader.database.write() as other:
        other.execute(sa.text("UPDATE items SET body = body WHERE id = 'b'"))
        running = subprocess.Popen(
            [sys.executable, "-m", "stacflask", "load", loader.file(changed), "--method", "upsert"], **process(loader)
        )
        waits = sa.text(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%staged%'"
        )
        waiting_for(lambda: loader.database.read(lambda connection: connection.execute(waits).scalar_one()) == 1)
        # The load has waited longer, so PostgreSQL ends its transaction.
        other.execute(sa.text("UPDATE items SET body = body WHERE id = 'a'"))
        other_continued = True
    assert running.wait(60) == 0
    assert loader.item("a")["bbox"] == bbox
    return other_continued


def test_a_killed_worker_ends_the_load(loader: Loader) -> None:
    """If a worker is killed, the load raises an error instead of waiting."""
    loader(ndjson([a_collection()]))

    def end_one(result: LoadResult) -> None:
        children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
        os.kill(int(children[-1]), signal.SIGKILL)

    file = loader.file(bulky(300))
    plan = Plan(Settings.from_environ({"DATABASE_URL": loader.url}).database_url, Managed(), workers=2)
    with pytest.raises(StacflaskError, match="ended from outside"):
        load([file], plan, print, end_one)


def test_a_line_that_is_too_long_is_refused(loader: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines before it are loaded."""
    monkeypatch.setattr(input_files, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(input_files, "MAX_DOCUMENT_BYTES", 5000)
    text = ndjson([a_collection(), *many(10), an_item("long", note="x" * 10_000)])
    result = loader(text, max_problems=None)
    assert (result.new, len(loader.problems)) == (10, 1)
    assert loader.problems == ["0.input: line 12 is longer than 5000 bytes"]


# --- Exports ----------------------------------------------------------------------------------------------------------


def test_an_export_can_be_loaded(loader: Loader) -> None:
    """Another export after the load has the same bytes."""
    loader(ndjson([a_collection(assets={"x": {"href": "s3://b/k"}}), a_collection("other"), *VARIED, *many(250)]))
    first = list(export(loader.database))
    assert len(first) == 2 + len(VARIED) + 250
    with loader.database.write() as connection:
        connection.execute(sa.text("TRUNCATE items, collections, dictionaries"))
    loader(b"\n".join(first), workers=2)
    assert loader.problems == []
    assert list(export(loader.database)) == first
    exported = {document["id"]: document for document in map(orjson.loads, first)}
    assert [exported[document["id"]] for document in VARIED] == VARIED


def test_an_export_can_be_limited(loader: Loader) -> None:
    """An export can be limited to some collections, and to collections without items."""
    loader(ndjson([a_collection(), a_collection("other"), *PAIR, an_item("c", "other")]))
    assert [orjson.loads(text)["id"] for text in export(loader.database, ["other"])] == ["other", "c"]
    assert [orjson.loads(text)["id"] for text in export(loader.database, items_too=False)] == ["collection", "other"]
    with pytest.raises(NotFound, match="absent"):
        list(export(loader.database, ["absent"]))
