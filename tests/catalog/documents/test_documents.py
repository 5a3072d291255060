"""Stored documents equal the parsed documents, for any form of their JSON text."""

import json
from copy import deepcopy
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stacflask.catalog.bulk.parse import ItemParser
from stacflask.catalog.documents import documents
from stacflask.catalog.documents.documents import HERE, Managed, original, original_text
from stacflask.model.json_types import Document
from stacflask.testing import an_item

URL = "https://api.example.org/collections/collection/items/item/download/"
SPACES = st.sampled_from(["", "", "", " ", "\t", "  "])
# Names and strings that contain byte patterns of the structure of an item.
NAMES = st.sampled_from(
    ["href", "links", "assets", "alternate", "properties", 'a"b', "a\\b", "{", "}", "ä", "\ufdd0", "x"]
)
HREFS = st.sampled_from(
    ["s3://bucket/key.tif", "https://example.org/x", '"href":"', '","href":"x', "s3://b/ä \\ \u2028"]
)
NUMBERS = st.sampled_from(["0", "-0", "1.10", "1e2", "5E-3", "10.0", "9007199254740993", "0.1000000000000000055"])


class Raw(str):
    """The text of a number."""

    __slots__ = ()


VALUES = st.recursive(
    HREFS | NAMES | NUMBERS.map(Raw) | st.sampled_from([None, True]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def items(draw: st.DrawFn) -> Document:
    """Draw a valid item with such names and strings in all its parts."""
    more = st.dictionaries(NAMES, VALUES, max_size=2)
    asset = st.builds(lambda extra, href: {**extra, "alternate": None, "href": href}, more, HREFS)
    with_alternate = st.builds(
        lambda asset, others: {**asset, "alternate": {name: {"href": href} for name, href in others.items()}},
        asset,
        st.dictionaries(NAMES, HREFS, max_size=2),
    )
    link = st.builds(lambda extra, href: {**extra, "rel": "about", "href": href}, more, HREFS)
    document = an_item()
    reserved = {"links", "assets", "properties", "stac_extensions"}
    document |= {name: value for name, value in draw(more).items() if name not in reserved}
    document["properties"] |= draw(more)
    document["assets"] = draw(st.dictionaries(NAMES, asset | with_alternate, max_size=3))
    document["links"] = draw(st.lists(link, max_size=2))
    return dict(draw(st.permutations(list(document.items()))))


@st.composite
def written(draw: st.DrawFn, document: Document) -> str:
    """Draw a JSON text of a document, with spaces, escapes and repeated names anywhere."""
    spaced, escaped, repeated = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())

    def space() -> str:
        return draw(SPACES) if spaced else ""

    def string(text: str) -> str:
        if not escaped or not draw(st.booleans()):
            return json.dumps(text, ensure_ascii=draw(st.booleans()))
        letter = draw(st.integers(0, max(len(text) - 1, 0)))
        return f'"{"".join(_letter(one, at == letter) for at, one in enumerate(text))}"'

    def value(of: Any) -> str:
        if isinstance(of, Raw):
            return str(of)
        if isinstance(of, str):
            return string(of)
        if isinstance(of, list):
            return f"[{space()}{f'{space()},{space()}'.join(map(value, of))}{space()}]"
        if isinstance(of, dict):
            pairs = [f"{string(name)}{space()}:{space()}{value(one)}" for name, one in of.items()]
            if repeated and of and draw(st.integers(0, 4)) == 0:
                # Of several members with one name, parsers read the last.
                name = draw(st.sampled_from(sorted(of)))
                pairs.insert(0, f"{string(name)}:{value(draw(VALUES))}")
            return f"{{{space()}{f'{space()},{space()}'.join(pairs)}{space()}}}"
        return json.dumps(of)

    return value(document)


def _letter(letter: str, escape: bool) -> str:
    return f"\\u{ord(letter):04x}" if escape else json.dumps(letter, ensure_ascii=False)[1:-1]


@given(st.data())
def test_a_stored_document_equals_the_parsed_document(data: st.DataObject) -> None:
    """Stored, public and exported documents equal the parsed one. Storage addresses are not in the public one."""
    text = data.draw(written(data.draw(items())))
    lines = [orjson.dumps(an_item("first")), text.encode()]
    prepared, problems = ItemParser(None, Managed()).parse(b"\n".join(lines))
    assert problems == []
    check(prepared[1].body, json.loads(text))
    assert json.loads(prepared[1].properties) == json.loads(text)["properties"]


def check(body: bytes, expected: Document) -> None:
    """Compare the stored, public and exported document with the parsed one."""
    given_links, managed = expected["links"], Managed()
    ordered = [*(one for one in given_links if not managed(one["href"]))]
    ordered += [one for one in given_links if managed(one["href"])]
    exported = json.loads(original_text(body))
    assert exported == {**expected, "links": ordered}
    assert original(body) == exported
    shown = json.loads(documents.closed(documents.public(body)).replace(HERE, URL.encode()))
    assert shown == public_form(expected)


def public_form(document: Document) -> Document:
    """Return the public form of a parsed document."""
    shown, managed = deepcopy(document), Managed()
    shown["links"] = [one for one in document["links"] if not managed(one["href"])]
    for key, asset in shown["assets"].items():
        if managed(asset["href"]):
            asset["href"] = URL + quote(key, safe="")
        alternate = asset["alternate"] or {}
        left = {name: one for name, one in alternate.items() if not managed(one["href"])}
        if left != alternate:
            asset["alternate"] = left
            if not left:
                del asset["alternate"]
    return shown


def compact(document: Document) -> str:
    return json.dumps(document, separators=(",", ":"))


def ambiguous_lines() -> dict[str, str]:
    """Return items whose text was once parsed to other documents."""
    asset = '{"data":{"href": "s3://bucket/secret.tif"}}'
    plain = {**an_item(), "assets": {}, "title_of_256_bytes": "x" * 256}
    first = {**plain, "properties": {**plain["properties"], "href": "xxxxx"}}
    last = {**plain, "zz": {"href": "s3://bucket/secret.tif"}}
    return {
        "a space before an href": compact(first).replace('"assets":{}', f'"assets":{asset}'),
        "a space before an href, another behind": compact(last).replace('"assets":{}', f'"assets":{asset}'),
        "an escaped name": compact(last).replace('"assets":{}', '"assets":{"data":{"\\u0068ref":"s3://bucket/x"}}'),
        "links twice": compact({**plain, "links": []}).replace('"links":[]', '"links":[],"links": []'),
        "assets twice": compact({**plain}).replace('"assets":{}', f'"assets":{{"a":{{"href":"x"}}}},"assets":{asset}'),
    }


@pytest.mark.parametrize(("name", "line"), ambiguous_lines().items(), ids=ambiguous_lines())
def test_ambiguous_lines_are_stored_unchanged(name: str, line: str) -> None:
    """An item whose text contains byte patterns of other parts is stored unchanged."""
    ((prepared,), problems) = ItemParser(None, Managed()).parse(line.encode())
    assert problems == [], name
    expected = json.loads(line)
    for asset in expected["assets"].values():
        asset.setdefault("alternate", None)
    body = prepared.body
    kept = json.loads(original_text(body))
    assert kept == json.loads(line)
    assert b"secret" not in documents.public(body).replace(b'"zz":{"href":"s3://bucket/secret.tif"}', b"")


@pytest.mark.parametrize(
    "member",
    ['"x":1e400', '"x":{"y":[1e400]}', f'"x":{"[" * 300}{"]" * 300}', f'"x":{"[" * 2000}{"]" * 2000}'],
    ids=["a number", "a number inside", "deep", "very deep"],
)
@pytest.mark.parametrize("part", ["item", "asset", "geometry", "link"])
def test_values_that_cannot_be_written_are_refused(member: str, part: str) -> None:
    """Numbers beyond a double and deep nesting are refused, also after a valid item with the same common members."""
    document: Any = an_item("second")
    document["links"] = [{"rel": "about", "href": "https://example.org"}]
    holder = {
        "item": document,
        "asset": document["assets"]["data"],
        "geometry": document["geometry"],
        "link": document["links"][0],
    }[part]
    holder["x"] = "HERE"
    line = compact(document).replace('"x":"HERE"', member)
    _, problems = ItemParser(None, Managed()).parse(f"{compact(an_item('first'))}\n{line}".encode())
    assert [problem.line for problem in problems] == [1]


def test_an_escaped_dot_is_refused_as_a_key() -> None:
    """The key ``.`` is refused in any form, because no client can send it in a path."""
    line = compact({**an_item(), "assets": {"DOT": {"href": "s3://b/k"}}}).replace("DOT", "\\u002e")
    _, problems = ItemParser(None, Managed()).parse(f"{compact(an_item('first'))}\n{line}".encode())
    assert [problem.line for problem in problems] == [1]


def test_storing_a_document_does_not_change_it() -> None:
    """The caller can use the document afterwards."""
    alternate = {"here": {"href": "s3://bucket/other.tif"}, "there": {"href": "https://example.org/other.tif"}}
    assets = {"data": {"href": "s3://bucket/key.tif", "alternate": alternate}}
    document = an_item(assets=assets, links=[{"rel": "about", "href": "s3://bucket/about"}])
    before = deepcopy(document)

    documents.body_of(document, Managed())
    documents.split_item(document, Managed())

    assert document == before
