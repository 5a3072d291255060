"""Messages for invalid expressions in JSON: location and expected value."""

from collections.abc import Callable
from typing import Any

import pytest

from stacflask.catalog.cql2 import COLLECTION_FIELDS, ITEM_FIELDS, condition, parse
from stacflask.errors import BadQuery
from tests.catalog.cql2 import samples
from tests.catalog.cql2.conftest import Item, TruthsOf

op = samples.op
A, ID, PLACE, TIME = ({"property": name} for name in ("a", "id", "geometry", "datetime"))
RING = [[0, 0], [1, 1], [0, 1], [1, 0], [0, 0]]


def problem(expression: Any) -> str:
    with pytest.raises(BadQuery) as error:
        condition(expression, ITEM_FIELDS)
    assert error.value.parameter == "filter"
    return error.value.description.removeprefix("filter: ")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (None, "the expression: expected a value, got null"),
        (5, "the expression: expected a boolean, got a number"),
        ([], "the expression: expected a boolean, got an array"),
        ({}, "the expression: expected an object with op"),
        (op("casei", A), "the expression: expected a boolean, got a string"),
        (op("and", True, op("=", 1, op("or", 1))), "at /args/1/args/1/args/0: expected a boolean, got a number"),
        (op("and"), "the expression: expected 1 or more operands of and, got 0"),
        (op("=", A), "the expression: expected 2 operands of =, got 1"),
        ({"op": "=", "args": {"a": 1}}, "the expression: expected the name of an operator"),
        ({"op": 5, "args": []}, "the expression: expected the name of an operator"),
        (op("soundex", A), "the expression: there is no function 'soundex'; available are abs, ago, area"),
        ({"property": 5}, "the expression: expected the name of a property"),
        (op("=", {"property": "a\0"}, 1), "at /args/0: expected a string without U+0000"),
        (op("=", A, "\ud800"), "at /args/1: expected a string without U+0000 and without halves"),
        (op("=", A, None), "at /args/1: expected a value, got null"),
        (op("=", ID, 5), "at /args/1: expected a string, got a number"),
        (op("=", 5, ID), "at /args/1: expected a number, got a string"),
        (op("=", PLACE, 5), "the expression: a geometry cannot be compared with this operator"),
        (op("<", A, {"interval": ["..", ".."]}), "the expression: an interval cannot be compared with this operator"),
        (op("=", TIME, "yesterday"), "the expression: expected an RFC 3339 date and time such as"),
        (op("=", A, {"date": "2021-02-29"}), "at /args/1: expected a date such as 2020-01-31, got '2021-02-29'"),
        (op("=", A, {"timestamp": "2021-02-28"}), "at /args/1: expected an RFC 3339 date and time"),
        (op("=", A, {"timestamp": 5}), "at /args/1: expected a string with a date or a time"),
        (op("=", A, 1e101), "at /args/1: expected 0 or a number between"),
        (op("=", A, 10**101), "at /args/1: expected 0 or a number between"),
        (op("=", A, -(10**400)), "at /args/1: expected 0 or a number between"),
        (op("=", A, 1e-101), "at /args/1: expected 0 or a number between"),
        (op("=", A, float("nan")), "at /args/1: expected 0 or a number between"),
        (op("+", A, "x"), "at /args/1: expected a number, got a string"),
        (op("in", A, 5), "at /args/1: expected an array, got a number"),
        (op("in", ID, ["a", 5]), "at /args/1: expected a string, got a number"),
        (op("between", A, 1), "the expression: between expects a number, a string or a time, and its lower"),
        (op("between", A, [1, 2, 3]), "the expression: between expects a number, a string or a time, and its lower"),
        (op("like", A, A), "at /args/1: expected a pattern: a literal string"),
        (op("like", A, "x\\"), "at /args/1: expected a character after the last backslash"),
        (op("like", A, op("accenti", "x\\\u0301")), "at /args/1: expected a character after the last backslash"),
        (op("like", 5, "x"), "at /args/0: expected a string, got a number"),
        (op("s_within", PLACE, 5), "at /args/1: expected a geometry, got a number"),
        (op("s_within", PLACE, {"bbox": [1, 2, 3]}), "at /args/1: expected a bounding box of 4 or 6 numbers"),
        (op("s_within", PLACE, {"bbox": [0, 2, 1, 1]}), "at /args/1: expected south <= north, got 2 and 1"),
        (
            op("s_within", PLACE, {"type": "Point", "coordinates": [0, 91]}),
            "at /args/1: /coordinates/1: expected a latitude",
        ),
        (
            op("s_within", PLACE, {"type": "Circle"}),
            "at /args/1: /type: expected one of GeoJSON's seven geometry types",
        ),
        (
            op("s_within", PLACE, {"type": "Polygon", "coordinates": [RING]}),
            "at /args/1: the geometry is not valid: Self-inter",
        ),
        (op("t_after", TIME, {"interval": ["2021"]}), "at /args/1: expected an interval of two ends"),
        (
            op("t_after", TIME, {"interval": ["2021-01-02", "2021-01-01"]}),
            "at /args/1: expected an end that is not before",
        ),
        (
            op("t_during", TIME, {"interval": ["..", ".."]}),
            "at /args/0: t_during compares two intervals; with an instant",
        ),
        (op("t_after", TIME, 5), "at /args/1: expected a date or time, got a number"),
        (op("a_contains", A, "x"), "at /args/1: expected an array, got a string"),
        (op("area", ID), "at /args/0: expected a geometry, got a string"),
        (op("ago", A), "at /args/0: expected a literal number of days"),
        (op("size", [1]), "at /args/0: expected a property that holds an array"),
    ],
)
def test_a_message_contains_the_location_and_the_expected_value(expression: Any, expected: str) -> None:
    """The location is a JSON Pointer. The message contains the expected and the actual value."""
    assert problem(expression).startswith(expected)


@pytest.mark.parametrize(
    ("text", "position", "expected"),
    [
        ("a = 1 AND id > 7", 14, "expected a string, got a number"),
        ("a = 1 AND S_INTERSECTS(geometry, POINT(0 95))", 34, "/coordinates/1: expected a latitude"),
        ("a = 1 OR foo(a) = 2", 10, "there is no function 'foo'"),
        ("a = DATE('2021-13-01')", 5, "expected a date such as 2020-01-31"),
    ],
)
def test_a_message_for_text_contains_the_character(text: str, position: int, expected: str) -> None:
    """Errors in the types of an expression in text contain its character, too."""
    assert problem(parse(text)).startswith(f"at character {position}: {expected}")


def test_a_message_contains_the_parameter_of_the_caller() -> None:
    """A caller that builds a condition from another parameter passes its name."""
    with pytest.raises(BadQuery) as error:
        condition(op("=", ID, 5), ITEM_FIELDS, parameter="query")
    assert error.value.parameter == "query"


def test_names_can_be_limited_to_a_list() -> None:
    """If only listed properties are allowed, another name is an error, and the message suggests a similar one."""
    fields = ITEM_FIELDS.only(["eo:cloud_cover"])
    for name in ("eo:cloud_cover", "properties.eo:cloud_cover", "id", "datetime"):
        condition(op("isNull", {"property": name}), fields)
    with pytest.raises(BadQuery, match=r"there is no property 'eo:cloudcover'; did you mean 'eo:cloud_cover'\?"):
        condition(op("=", {"property": "eo:cloudcover"}, 1), fields)


def test_conditions_on_collections_use_their_documents() -> None:
    """The members of a collection are its properties, and its geometry is the geometry of its extent."""
    condition(parse("id = 'a' AND title LIKE 'b%' AND a_contains(keywords, ('c'))"), COLLECTION_FIELDS)
    condition(parse("S_INTERSECTS(geometry, POINT(0 0))"), COLLECTION_FIELDS)


def test_too_many_positions_are_refused() -> None:
    """The number of positions in all geometries is limited."""
    line = {"type": "LineString", "coordinates": [[number / 100, 0] for number in range(10_001)]}
    expected = "at /args/1: expected at most 10000 positions in all geometries"
    assert problem(op("s_crosses", PLACE, line)) == expected


@pytest.mark.parametrize(("name", "most"), [("a", 1000), ("a.b", 500), ("a.b.c.d", 125), ("a.b.c.d.e.f.g", 62)])
def test_too_many_names_are_refused(name: str, most: int) -> None:
    """The number of names is limited, to limit the size of the statement. A name with dots counts several times."""
    condition(op("in", 1, [{"property": name}] * most), ITEM_FIELDS)
    assert problem(op("in", 1, [{"property": name}] * (most + 1))).startswith(
        "the expression: expected at most 1000 property names"
    )


NESTS: dict[str, Callable[[Any], Any]] = {
    "not": lambda inner: op("not", inner),
    "or": lambda inner: op("or", op("and", inner, True), True),
    "=": lambda inner: op("=", inner, True),
    "isNull": lambda inner: op("isNull", inner),
    "in": lambda inner: op("in", inner, [True, False]),
    "list": lambda inner: op("in", True, [inner]),
}
COMPUTING: dict[str, Callable[[Any], Any]] = {
    "/": lambda inner: op("/", 1, inner),
    "%": lambda inner: op("%", op("-", inner, 1), 3),
    "^": lambda inner: op("^", inner, 2),
    "casei": lambda inner: op("casei", op("accenti", op("to_string", op("to_number", inner)))),
    "to_datetime": lambda inner: op("year", op("to_datetime", op("to_string", inner))),
    "upper": lambda inner: op("upper", op("lower", inner)),
}


def nested(make: Callable[[Any], Any], inner: Any, times: int) -> Any:
    for _ in range(times):
        inner = make(inner)
    return inner


@pytest.fixture(scope="module")
def truths_of(store_items: Callable[[list[Item]], TruthsOf]) -> TruthsOf:
    return store_items(samples.items(30))


@pytest.mark.parametrize("name", NESTS)
@pytest.mark.parametrize("times", range(4, 40, 5))
def test_nested_conditions_are_evaluated_or_refused(truths_of: TruthsOf, name: str, times: int) -> None:
    """At any depth, a nested condition has a result or raises BadQuery."""
    answered_or_refused(truths_of, nested(NESTS[name], op("=", A, 1), times))


@pytest.mark.parametrize("name", COMPUTING)
@pytest.mark.parametrize("times", range(1, 14, 2))
def test_nested_computations_are_evaluated_or_refused(truths_of: TruthsOf, name: str, times: int) -> None:
    """At any depth, a nested computation has a result or raises BadQuery."""
    answered_or_refused(truths_of, op("=", nested(COMPUTING[name], A, times), "1" if name in ("casei", "upper") else 1))


def answered_or_refused(truths_of: TruthsOf, expression: Any) -> None:
    try:
        truths_of(expression)
    except BadQuery as error:
        assert "expected at most 60 levels of nesting" in error.description
