"""Every kind of value that a filter can compare with, through HTTP: in text and JSON, for items and collections.

A statement is compiled at its first request and used again after it, so each filter is sent more than once.
"""

import contextlib
import json
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa

from stacflask import hookimpl
from stacflask.catalog.cql2.compiler import compile as compiler
from stacflask.catalog.cql2.compiler.compile import Operator
from stacflask.catalog.cql2.compiler.spatial import RELATIONS
from stacflask.catalog.cql2.compiler.temporal import RELATIONS as INTERVALS
from stacflask.catalog.cql2.values import types
from stacflask.catalog.database.engine import Database
from stacflask.testing import Plug, a_collection, an_item
from tests.catalog.cql2.notation import NotRepresentable, write
from tests.catalog.cql2.samples import op

Publish = Callable[..., None]
Client = Any

V = {"property": "v"}
STRINGS = [
    *(
        "plain",
        "",
        "it's",
        '"quoted"',
        "a,b",
        "{a}",
        "{",
        "}",
        "(",
        "\\",
        "a\\b",
        "\\'",
        "tab\tnew\nline",
        "NULL",
        "null",
    ),
    *(
        "'",
        "''",
        "%",
        "%s",
        "%(v)s",
        ":v",
        "$1",
        " ",
        "grün \U0001f6f0",
        "\x07",
        "[1]",
        "{}",
        "[]",
        "true",
        "1",
        "a\\",
        "\\\\",
    ),
]
NUMBERS = [
    *("0", "1", "-1", "0.1", "9007199254740993", "-9007199254740993", "1234567890123456789", "18446744073709551617"),
    *("123456789012345678901234567890", "0.12345678901234567890123", "-0.1000000000000000000001", "9007199254740993.5"),
    *("1e22", "1.5e-7", "12345678901234567890e-30", "1" + "0" * 99, "0." + "0" * 98 + "1"),
]


class Number(float):
    """A number that is written with these digits."""

    digits: str

    def __new__(cls, digits: str) -> Self:
        number = super().__new__(cls, digits)
        number.digits = digits
        return number

    def __repr__(self) -> str:
        return self.digits


def dumped(document: Any) -> str:
    """Return JSON in which each Number has all of its digits."""
    if isinstance(document, dict):
        return f"{{{','.join(f'{json.dumps(name)}:{dumped(value)}' for name, value in document.items())}}}"
    if isinstance(document, list):
        return f"[{','.join(map(dumped, document))}]"
    return document.digits if isinstance(document, Number) else json.dumps(document)


def responses_in_all_forms(client: Client, path: str, filter_: Any) -> list[Any]:
    """Send a filter as JSON, by POST twice if possible, and as text if it can be written."""
    document, form = dumped(filter_), {"content_type": "application/json"}
    if path == "/search":
        responses = [client.post(path, data=f'{{"limit": 100, "filter": {document}}}', **form) for _ in range(2)]
    else:
        parameters = {"limit": 100, "filter-lang": "cql2-json", "filter": document}
        responses = [client.get(f"{path}?{urlencode(parameters)}")]
    with contextlib.suppress(NotRepresentable):
        responses.append(client.get(f"{path}?{urlencode({'limit': 100, 'filter': write(filter_)})}"))
    return responses


def found(client: Client, filter_: Any) -> set[str]:
    """Return the ids that a filter finds; check that all forms, items and collections, and repeated requests agree."""
    results = []
    for path, member in (("/search", "features"), ("/collections", "collections")):
        for response in responses_in_all_forms(client, path, filter_):
            assert response.status_code == 200, (response.request.url, response.text)
            results.append({one["id"] for one in response.json[member]} - {"collection"})
    assert all(one == results[0] for one in results), (filter_, results)
    return results[0]


@pytest.fixture
def stored(publish: Publish) -> Callable[[dict[str, Any]], None]:
    """Return a function that stores values, each as property ``v`` of an item and member ``v`` of a collection."""

    def store(values: dict[str, Any]) -> None:
        publish(a_collection("collection"))
        for name, value in values.items():
            publish(an_item(name, properties={"datetime": "2024-06-01T12:00:00Z", "v": value}))
            publish(a_collection(name, v=value))

    return store


@pytest.fixture
def stored_exactly(stored: Callable[..., None], database: Database) -> Callable[[dict[str, str]], None]:
    """Return a function that stores JSON texts as ``v``, because Python would round their numbers."""

    def store(texts: dict[str, str]) -> None:
        stored(dict.fromkeys(texts))
        with database.write() as connection:
            for name, text in texts.items():
                for table, column in (("items", "properties"), ("collections", "document")):
                    update = (
                        f"UPDATE {table} SET {column} = jsonb_set({column}, '{{v}}', CAST(:v AS jsonb)) WHERE id = :id"
                    )
                    connection.execute(sa.text(update), {"v": text, "id": name})

    return store


def numbered(values: list[Any]) -> dict[str, Any]:
    return {f"i{number}": value for number, value in enumerate(values)}


def test_strings(client: Client, stored: Callable[..., None]) -> None:
    """A string of any characters is equal only to itself, alone and in a list."""
    strings = numbered(STRINGS)
    stored(strings)
    for name, string in strings.items():
        assert found(client, op("=", V, string)) == {name}, string
        assert found(client, op("in", V, [string, "absent"])) == {name}, string
        pattern = string.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        assert found(client, op("like", V, pattern)) == {name}, string


def test_strings_in_arrays(client: Client, stored: Callable[..., None]) -> None:
    """The array functions accept strings of any characters."""
    arrays = numbered([[string, "x"] for string in STRINGS])
    stored(arrays)
    for name, array in arrays.items():
        first = array[0]
        assert found(client, op("a_overlaps", V, [first, "absent"])) == {name}, first
        assert found(client, op("a_equals", V, ["x", first])) == {name}, first
        assert found(client, op("a_containedBy", V, ["x", "y", first])) == {name}, first


def test_numbers(client: Client, stored_exactly: Callable[..., None]) -> None:
    """A number of any size and number of digits is equal only to itself."""
    numbers = {name: Number(digits) for name, digits in numbered(NUMBERS).items()}
    stored_exactly(numbered(NUMBERS))
    for name, number in numbers.items():
        others = numbers.keys() - {name}
        assert found(client, op("=", V, number)) == {name}
        assert found(client, op("<>", V, number)) == others
        assert found(client, op("in", V, [number, 5])) == {name}
        assert found(client, op("between", V, number, number)) == {name}
        assert found(client, op("=", op("+", V, 1), op("+", 1, number))) == {name}
        assert found(client, op("or", op("<", V, number), op(">", V, number))) == others
        assert found(client, op("a_equals", [V], [number])) == {name}


ARRAYS: dict[str, Any] = {
    "empty": [],
    "strings": ["a", "b"],
    "numbers": [1, 2.5],
    "truths": [True, False],
    "mixed": ["a", 1, True, "2024-06-01"],
    "nested": [["a", "b"], [1]],
    "deep": [[["a"]], []],
}


def test_arrays(client: Client, stored: Callable[..., None]) -> None:
    """Empty, mixed and nested arrays are equal only to themselves, and contain their elements."""
    stored(ARRAYS)
    for name, array in ARRAYS.items():
        assert name in found(client, op("a_contains", V, array))
        assert name in found(client, op("a_containedBy", V, array))
        if len(array) != 1:
            assert found(client, op("a_equals", V, array)) == {name}
    assert found(client, op("a_contains", V, [])) == ARRAYS.keys()
    assert found(client, op("a_containedBy", V, [])) == {"empty"}
    assert found(client, op("a_overlaps", V, [])) == set()
    assert found(client, op("a_overlaps", V, ["a", "x"])) == {"strings", "mixed"}
    assert found(client, op("a_contains", V, [{"date": "2024-06-01"}, True])) == {"mixed"}
    assert found(client, op("a_contains", V, [["b", "a"], []])) == set()
    assert found(client, op("a_overlaps", V, [1, {"property": "nothing"}])) == {"numbers", "mixed"}


SCALARS: dict[str, Any] = {
    "yes": True,
    "no": False,
    "noon": "2024-06-01T12:00:00Z",
    "later": "2024-06-01T14:00:00.5+01:00",
    "day": "2024-06-02",
    "null": None,
}
NOON = {"timestamp": "2024-06-01T12:00:00Z"}
COMPARED: list[tuple[Any, set[str]]] = [
    (op("=", V, True), {"yes"}),
    (op("in", V, [False]), {"no"}),
    (op("in", V, [False, True, NOON]), {"yes", "no", "noon"}),
    (op("=", V, NOON), {"noon"}),
    (op(">", V, NOON), {"later", "day"}),
    (op("=", V, {"date": "2024-06-01"}), {"noon", "later"}),
    (op("in", V, [{"date": "2024-06-02"}, "2024-06-01T12:00:00Z"]), {"day", "noon"}),
    (op("between", V, NOON, {"date": "2024-06-01"}), {"noon", "later"}),
    (op("t_intersects", V, {"interval": ["2024-06-01T13:00:00Z", ".."]}), {"later", "day"}),
    (op("t_before", V, {"date": "2024-06-02"}), {"noon", "later"}),
    (op("isNull", V), {"null"}),
    (op("in", V, ["absent", 5, {"property": "v"}]), SCALARS.keys() - {"null"}),
]


def test_booleans_and_times(client: Client, stored: Callable[..., None]) -> None:
    """Booleans, instants, dates and intervals are compared, alone and in lists of several types."""
    stored(SCALARS)
    for filter_, expected in COMPARED:
        assert found(client, filter_) == expected, filter_


PLACES: list[dict[str, Any]] = [
    {"bbox": [10, 47, 12, 49]},
    {"type": "Point", "coordinates": [11.0, 48.0]},
    {"type": "MultiPoint", "coordinates": [[11.0, 48.0], [0.1234567890123456789, 1]]},
    {"type": "LineString", "coordinates": [[10.0, 48.0], [12.0, 48.0]]},
    {"type": "Polygon", "coordinates": [[[10.0, 47.0], [12.0, 47.0], [12.0, 49.0], [10.0, 47.0]]]},
    {"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": [11.0, 48.0]}]},
]


LONG = "11.000000000000000000001"
MULTIPOINT = f'{{"type": "MultiPoint", "coordinates": [[{LONG}, 48.0]]}}'
COLLECTION = f'{{"type": "GeometryCollection", "geometries": [{MULTIPOINT}]}}'
WITH_LONG_COORDINATES = [
    f'{{"bbox": [{LONG}, 47, 12, 49]}}',
    f'{{"intersects": {{"type": "Point", "coordinates": [{LONG}, 48]}}}}',
    f'{{"filter": {{"op": "s_intersects", "args": [{{"property": "geometry"}}, {{"bbox": [{LONG}, 47, 12, 49]}}]}}}}',
    f'{{"filter": {{"op": "s_intersects", "args": [{{"property": "geometry"}}, {COLLECTION}]}}}}',
]


@pytest.mark.parametrize("body", WITH_LONG_COORDINATES)
def test_coordinates_of_many_digits(client: Client, publish: Publish, body: str) -> None:
    """Coordinates with more digits than a float are rounded, like stored geometries."""
    publish(an_item())
    for text in (body, f'{body[:-1]}, "query": {{"coordinates": {{"neq": {LONG}}}, "datetime": {{"neq": null}}}}}}'):
        response = client.post("/search", data=text, content_type="application/json")
        assert response.status_code == 200, response.text
        assert response.json["numberReturned"] == (1 if text is body else 0)
    if "filter" in body:
        parameters = {"filter": body.removeprefix('{"filter": ').removesuffix("}"), "filter-lang": "cql2-json"}
        assert client.get("/search", query_string=parameters).json["numberReturned"] == 1


def test_geometries(client: Client, publish: Publish) -> None:
    """Each type of geometry intersects the items and collections at its place, and no others."""
    for name, shift in (("here", 0), ("there", 100)):
        middle = [11.0 + shift, 48.0]
        extent = {"spatial": {"bbox": [middle * 2]}, "temporal": {"interval": [[None, None]]}}
        publish(a_collection(name, extent=extent))
        publish(an_item(name, name, geometry={"type": "Point", "coordinates": middle}, bbox=middle * 2))
    for place in PLACES:
        assert found(client, op("s_intersects", {"property": "geometry"}, place)) == {"here"}, place
        assert found(client, op("s_disjoint", place, {"property": "geometry"})) == {"there"}, place


WRONG = [
    op("=", V, "a\0b"),
    op("a_contains", V, ["a", "\0"]),
    op("in", V, ["\0"]),
    op("like", V, "\0%"),
    op("=", V, Number("1e400")),
    op("=", V, Number("1e-400")),
    op("=", V, Number("0." + "1" * 201)),
    op("a_contains", V, [Number("1e999999999999")]),
    op("in", V, [Number("9" * 150)]),
    Number("9007199254740993.5"),
]


@pytest.mark.parametrize("filter_", WRONG, ids=lambda filter_: dumped(filter_)[:60])
def test_values_that_the_database_cannot_store_are_400(
    client: Client, stored: Callable[..., None], filter_: Any
) -> None:
    """A value that no stored value can equal is 400 in both encodings, and the description names the filter."""
    stored({"a": ["a"]})
    for path in ("/search", "/collections"):
        for response in responses_in_all_forms(client, path, filter_):
            # A raw NUL in a URL is refused before the filter is parsed.
            assert response.status_code == 400
            assert response.json["description"].startswith(("filter: ", "URL: ")), response.text


def test_conditions_that_the_database_cannot_compute_are_400(
    client: Client, stored: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If PostgreSQL cannot compute a condition, the response is 400, and the description names the filter."""
    stored({"a": 0})
    careless = Operator(lambda one, other: types.Number(one.number / other.number))
    monkeypatch.setitem(compiler._CALLABLE, "/", careless)
    for path in ("/search", "/collections", "/aggregate"):
        parameters = urlencode({"filter": "v / v > 1", "aggregations": "total_count"})
        response = client.get(f"{path}?{parameters}")
        assert (response.status_code, response.json["description"][:8]) == (400, "filter: "), response.text


class Tagged:
    """Restricts items or collections to those whose ``v`` has both strings and the number."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    @hookimpl
    def restrict(self, of: str) -> Any:
        """Return the condition for that kind."""
        return op("a_contains", V, ["it's", "{b}", 10**40 + 1]) if of == self.kind else None


@pytest.mark.parametrize(
    ("kind", "path", "member"),
    [("items", "/collections/collection/items", "features"), ("collections", "/collections", "collections")],
)
def test_a_policy_compares_with_any_value(
    plug: Plug, stored_exactly: Callable[..., None], kind: str, path: str, member: str
) -> None:
    """The values in a policy's condition reach the database unchanged, for lists and for single records."""
    stored_exactly(
        {
            "shown": f'["{{b}}", "it\'s", "c", {10**40 + 1}]',
            "hidden": f'["{{b}}", "it\'s", {10**40 + 2}]',
            "other": "[]",
        }
    )
    client = plug(Tagged(kind))
    for _ in range(2):
        assert {one["id"] for one in client.get(path).json[member]} - {"collection"} == {"shown"}
        assert client.get(f"{path}/shown").status_code == 200
        assert client.get(f"{path}/hidden").status_code == 404


def test_a_token_is_bound_to_the_exact_numbers_of_its_filter(client: Client, stored: Callable[..., None]) -> None:
    """A token is 400 with a filter whose number is another one but rounds to the same float."""
    stored(numbered([1, 2, 3]))
    form = {"content_type": "application/json"}
    body = '{"limit": 1, "filter": %s}'
    one, other = (dumped(op("<", V, Number(f"9007199254740993.{digit}"))) for digit in (1, 2))
    (link,) = [link for link in client.post("/search", data=body % one, **form).json["links"] if link["rel"] == "next"]
    token = f', "token": "{link["body"]["token"]}"}}'
    assert client.post("/search", data=(body % one)[:-1] + token, **form).status_code == 200
    assert client.post("/search", data=(body % other)[:-1] + token, **form).status_code == 400


NOSUCH, POINT = {"property": "nosuch"}, {"type": "Point", "coordinates": [11.0, 48.0]}
SPAN = {"interval": ["2024-01-01", ".."]}
UNLISTED = [
    *(op(name, NOSUCH, 1) for name in ("=", "<>", "<", "<=", ">", ">=")),
    *(op("=", op(name, NOSUCH, 1), 1) for name in ("+", "-", "*", "/", "%", "div", "^")),
    *(op(name, *pair) for name in RELATIONS for pair in ((NOSUCH, POINT), (POINT, NOSUCH), (NOSUCH, NOSUCH))),
    *(op(name, NOSUCH, SPAN) for name in (*INTERVALS, "t_disjoint")),
    *(op(name, NOSUCH, ["a"]) for name in ("a_contains", "a_containedBy", "a_equals", "a_overlaps")),
    *(op("=", op(name, NOSUCH), 1) for name in ("area", "year", "length", "size", "abs", "floor", "to_number")),
    *(op("=", op(name, NOSUCH), "a") for name in ("casei", "accenti", "lower", "upper", "to_string")),
    *(op(name, NOSUCH, *operands) for name, operands in (("like", ["%"]), ("in", [[1, "a"]]), ("between", [1, 2]))),
    op("<", op("distance", NOSUCH, POINT), 1),
    op("s_intersects", op("centroid", NOSUCH), POINT),
    op("s_intersects", op("intersection", NOSUCH, POINT), POINT),
    op("=", op("to_datetime", NOSUCH), NOON),
    NOSUCH,
]


def test_names_that_no_item_has_are_null(client: Client, stored: Callable[..., None]) -> None:
    """A name that no item has is null in every operator and function: its condition is neither true nor false."""
    stored({"a": 1})
    for condition in UNLISTED:
        assert found(client, op("isNull", condition)) == {"a"}, condition
        assert found(client, op("or", condition, op("not", condition))) == set(), condition
