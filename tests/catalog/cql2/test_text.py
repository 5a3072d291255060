"""The parser of cql2-text: the JSON of valid texts, the messages for invalid ones."""

import json
import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stacflask.api.parameters import filters
from stacflask.catalog.cql2 import parse
from stacflask.errors import BadQuery
from stacflask.stac.numbers import ExactFloat, read_decimal
from tests.catalog.cql2 import samples
from tests.catalog.cql2.notation import NotRepresentable, write

P = {name: {"property": name} for name in ("a", "b", "c", "d", "eo:cloud_cover", "deep.er", "date")}
A, B, C, D = (P[name] for name in "abcd")
op = samples.op


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1", op("=", A, 1)),
        ("a <> 'it''s'", op("<>", A, "it's")),
        (r"a = 'it\'s'", op("=", A, "it's")),
        (r"a = '\a\b\t\n\v\f\r\\x'", op("=", A, r"\a\b\t\n\v\f\r\\x")),
        ("a = 'a\\'", op("=", A, "a\\")),
        ("a = 'a\\\\'", op("=", A, "a\\\\")),
        ("a = 'a\\' AND b = 'c'", op("and", op("=", A, "a\\"), op("=", B, "c"))),
        ("a IN ('\\', 'c\\', '\\'\\'')", op("in", A, ["\\", "c\\", "''"])),
        ("a = '\\' OR a'", op("=", A, "' OR a")),
        ("a = 'x\\''y'", op("=", A, "x\\'y")),
        ("a = 'x\\''''", op("=", A, "x''")),
        ("a = 9007199254740993", op("=", A, 9007199254740993)),
        ("a = -123456789012345678901234567890", op("=", A, -123456789012345678901234567890)),
        ("a = -0.12345678901234567890", op("=", A, ExactFloat(Decimal("-0.12345678901234567890")))),
        (r"a LIKE 'a\%\_b%'", op("like", A, r"a\%\_b%")),
        (r"a = 'C:\data'", op("=", A, r"C:\data")),
        ("a = '日本 ''ü'''", op("=", A, "日本 'ü'")),
        ("eo:cloud_cover < .5", op("<", P["eo:cloud_cover"], 0.5)),
        ("deep.er >= 1.5e3", op(">=", P["deep.er"], 1500.0)),
        ("a <= 1. OR a = 2E-2", op("or", op("<=", A, 1.0), op("=", A, 0.02))),
        ('"date" = TRUE', op("=", P["date"], True)),
        ("date = DATE('2020-01-01')", op("=", P["date"], {"date": "2020-01-01"})),
        ('"a ""b""" = 1', op("=", {"property": 'a "b"'}, 1)),
        ("größe = 1", op("=", {"property": "größe"}, 1)),
        ("a = 1 AND b = 2 AND c = 3", op("and", op("=", A, 1), op("=", B, 2), op("=", C, 3))),
        ("a OR b AND NOT c", op("or", A, op("and", B, op("not", C)))),
        ("(a OR b) AND c", op("and", op("or", A, B), C)),
        ("a AND (b AND c)", op("and", A, op("and", B, C))),
        ("NOT a = b", op("not", op("=", A, B))),
        ("not not a", op("not", op("not", A))),
        ("a IS NULL", op("isNull", A)),
        ("a is not null", op("not", op("isNull", A))),
        ("(a = b) IS NULL", op("isNull", op("=", A, B))),
        ("a BETWEEN 1 AND 2 AND b", op("and", op("between", A, 1, 2), B)),
        ("a NOT BETWEEN b - 1 AND b + 1", op("not", op("between", A, op("-", B, 1), op("+", B, 1)))),
        ("a IN (1, 'x', DATE('2020-01-01'))", op("in", A, [1, "x", {"date": "2020-01-01"}])),
        ("a NOT IN (b)", op("not", op("in", A, [B]))),
        ("a NOT LIKE 'x'", op("not", op("like", A, "x"))),
        ("CASEI(a) LIKE casei('x%')", op("like", op("casei", A), op("casei", "x%"))),
        ("accenti(CaseI(a)) = 'x'", op("=", op("accenti", op("casei", A)), "x")),
        ("a = 1 + 2 * 3 ^ 2", op("=", A, op("+", 1, op("*", 2, op("^", 3, 2))))),
        ("a = 10 - 2 - 3", op("=", A, op("-", op("-", 10, 2), 3))),
        ("a = 10 / 2 % 3 DIV 4", op("=", A, op("div", op("%", op("/", 10, 2), 3), 4))),
        ("a = (1 + 2) * 3", op("=", A, op("*", op("+", 1, 2), 3))),
        ("a = -2 ^ 2", op("=", A, op("^", -2, 2))),
        ("a = -b", op("=", A, op("*", -1, B))),
        ("a = -(b)", op("=", A, op("*", -1, B))),
        ("a = +1 - -1", op("=", A, op("-", 1, -1))),
        ("a<-1", op("<", A, -1)),
        ("a_equals(a, ())", op("a_equals", A, [])),
        ("A_CONTAINS(a, ('x'))", op("a_contains", A, ["x"])),
        ("a_containedby((1, 2), a)", op("a_containedBy", [1, 2], A)),
        ("a_overlaps(a, (1, (2, 3), ()))", op("a_overlaps", A, [1, [2, 3], []])),
        ("t_finishedby(a, INTERVAL('..', b))", op("t_finishedBy", A, {"interval": ["..", B]})),
        ("T_MetBy(a, TIMESTAMP('x'))", op("t_metBy", A, {"timestamp": "x"})),
        ("S_INTERSECTS(a, BBOX(1,-2.5,3,4))", op("s_intersects", A, {"bbox": [1, -2.5, 3, 4]})),
        ("S_WITHIN(a, BBOX(0,0,-1,1,1,1))", op("s_within", A, {"bbox": [0, 0, -1, 1, 1, 1]})),
        ("area(a) > 1", op(">", op("area", A), 1)),
        ("now() > a", op(">", op("now"), A)),
        ("true", True),
        ("(((FALSE)))", False),
    ],
)
def test_text_is_parsed_to_json(text: str, expected: Any) -> None:
    """The case of keywords does not matter, and operators have the precedence of the standard's grammar."""
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "kind", "coordinates"),
    [
        ("POINT(7.02 49.92)", "Point", [7.02, 49.92]),
        ("POINT Z(1 2 3)", "Point", [1, 2, 3]),
        ("pointz (1 2 3)", "Point", [1, 2, 3]),
        ("POINT(1 2 3)", "Point", [1, 2, 3]),
        ("LINESTRING(-180 -45, +0 -4.5e1)", "LineString", [[-180, -45], [0, -45]]),
        (
            "POLYGON((0 0, 1 0, 1 1, 0 0),(2 2,3 2,3 3,2 2))",
            "Polygon",
            [[[0, 0], [1, 0], [1, 1], [0, 0]], [[2, 2], [3, 2], [3, 3], [2, 2]]],
        ),
        ("MULTIPOINT((1 2), (3 4))", "MultiPoint", [[1, 2], [3, 4]]),
        ("MULTIPOINT(1 2, 3 4)", "MultiPoint", [[1, 2], [3, 4]]),
        ("MULTILINESTRING((0 0, 1 1), (2 2, 3 3))", "MultiLineString", [[[0, 0], [1, 1]], [[2, 2], [3, 3]]]),
        (
            "MULTIPOLYGON Z (((0 0 5, 1 0 5, 1 1 5, 0 0 5)))",
            "MultiPolygon",
            [[[[0, 0, 5], [1, 0, 5], [1, 1, 5], [0, 0, 5]]]],
        ),
    ],
)
def test_well_known_text_is_parsed_to_geojson(text: str, kind: str, coordinates: Any) -> None:
    """All geometry types are parsed, with or without heights, with or without Z."""
    shape = {"type": kind, "coordinates": coordinates}
    assert parse(f"s_intersects(a, {text})") == op("s_intersects", A, shape)
    both = {"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": [0, 0]}, shape]}
    assert parse(f"s_intersects(GEOMETRYCOLLECTION(POINT(0 0), {text}), a)") == op("s_intersects", both, A)


@pytest.mark.parametrize(
    ("text", "position", "expected"),
    [
        ("", 1, "expected a value, got the end"),
        ("a =", 4, "expected a value, got the end"),
        ("a == 1", 4, "expected a value, got '='"),
        ("a != 1", 3, "expected an operator or the end, got '!'"),
        ("a = 1 b = 2", 7, "expected an operator or the end, got 'b'"),
        ("a = b = c", 7, "expected an operator or the end, got '='"),
        ("NOT a = b = c", 11, "expected an operator or the end, got '='"),
        ("2 ^ 3 ^ 4 = 1", 7, "expected an operator or the end, got '^'"),
        ("a = 1 AND", 10, "expected a value, got the end"),
        ("a = - - 1", 5, "expected a value, got '-'"),
        ("a = 'x", 5, "expected a closing quote for the one that begins here"),
        ('a = "x', 5, "expected a closing quote for the one that begins here"),
        ("a = #", 5, "expected a value, got '#'"),
        ("(a = 1", 7, "expected an operator, ',' or ')', got the end"),
        ("a = 1)", 6, "expected an operator or the end, got ')'"),
        ("foo(1 2)", 7, "expected an operator, ',' or ')', got '2'"),
        ("a BETWEEN 1 2", 13, "expected AND and an upper bound, got '2'"),
        ("a NOT = 1", 7, "expected LIKE, BETWEEN or IN, got '='"),
        ("a IN 1", 6, "expected a list in brackets, got '1'"),
        ("a IN ()", 7, "expected a value, got ')'"),
        ("a IS 1", 6, "expected NULL or NOT NULL, got '1'"),
        ("a IS NOT 1", 10, "expected NULL, got '1'"),
        ("DATE(a)", 6, "expected a string in single quotes, got 'a'"),
        ("INTERVAL('a')", 13, "expected ',' and the end of the interval, got ')'"),
        ("INTERVAL(1, 2)", 10, "expected a date or time in single quotes, '..' or a property, got '1'"),
        ("POINT(1)", 8, "expected a number, got ')'"),
        ("POINT(1, 2)", 8, "expected a number, got ','"),
        ("POINT(1 2 3 4)", 13, "expected a number or ')', got '4'"),
        ("POLYGON(0 0, 1 1)", 9, "expected '(', got '0'"),
        ("LINESTRING(0 0; 1 1)", 15, "expected a number, ',' or ')', got ';'"),
        (
            "GEOMETRYCOLLECTION(BBOX(0,0,1,1))",
            20,
            "expected a point, a line, a polygon or several of one type, got 'BBOX'",
        ),
        ("BBOX(1 2)", 8, "expected ',' or ')', got '2'"),
    ],
)
def test_a_message_contains_the_character_and_the_expected_token(text: str, position: int, expected: str) -> None:
    """The character is the first one that is not valid."""
    with pytest.raises(BadQuery) as error:
        parse(text)
    assert error.value.description == f"filter: at character {position}: {expected}"


@given(samples.conditions)
@settings(max_examples=100, deadline=None)
def test_text_of_an_expression_is_parsed_to_the_same_expression(expression: Any) -> None:
    """Converting any expression to text and back does not change it."""
    try:
        text = write(expression)
    except NotRepresentable:
        assume(False)
    assert parse(text) == expression


words = st.sampled_from(
    [
        "a",
        "b",
        "AND",
        "OR",
        "NOT",
        "=",
        "<>",
        "<",
        "(",
        ")",
        ",",
        "+",
        "-",
        "*",
        "/",
        "^",
        "LIKE",
        "BETWEEN",
        "IN",
        "IS",
        "NULL",
        "'x'",
        "1",
        "2.5",
        "DATE(",
        "POINT(",
        "1",
        "INTERVAL(",
        "BBOX(",
        "casei(",
        "'",
        '"',
        "\\",
        "a_equals(",
        "Z",
    ]
)


@given(st.lists(words, max_size=12).map(" ".join) | st.text(max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """No text raises another exception."""
    try:
        json.dumps(parse(text))
    except BadQuery as error:
        assert "at character" in error.description


@pytest.mark.parametrize(
    "text",
    [
        "(" * 90_000,
        "(" * 45_000 + "a" + ")" * 45_000,
        "NOT " * 40_000 + "a",
        "a = " + "casei(" * 20_000,
        "a = 1" + " + 1" * 40_000,
        "a = 1" + " AND a = 1" * 9_000,
        "a IN (" + "1," * 40_000 + "1)",
        "'" * 99_999,
        "'\\" * 50_000,
        "a = " + "9" * 90_000,
        "a = 1e" + "9" * 90_000,
        "x" * 100_001,
        "s_intersects(a, " + "POLYGON(" * 1_000,
    ],
    ids=lambda text: text[:12],
)
def test_long_and_deep_texts_are_refused_in_linear_time(text: str) -> None:
    """No text exhausts the stack, and the time grows at most linearly with the length."""
    start = time.process_time()
    with pytest.raises(BadQuery):
        from stacflask.catalog.cql2 import ITEM_FIELDS, condition

        condition(parse(text), ITEM_FIELDS)
    assert time.process_time() - start < 2


digits = st.from_regex(r"\A(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?\Z")
literals = st.one_of(
    st.text(),
    st.text(alphabet="'\\ab%_ ,()={}"),
    st.integers(-(10**60), 10**60),
    digits.map(read_decimal),
    digits.map(lambda text: -read_decimal(text)),
    st.booleans(),
    samples.moments,
)


def dumped(value: Any) -> Any:
    """Return a value as JSON text, with all digits of its numbers."""
    if isinstance(value, list):
        return f"[{','.join(map(dumped, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{json.dumps(name)}:{dumped(one)}' for name, one in value.items())}}}"
    return str(value.exact) if isinstance(value, ExactFloat) else json.dumps(value)


@given(literals, literals, st.lists(literals, min_size=2, max_size=5))
@settings(max_examples=2000, deadline=None)
def test_every_literal_is_the_same_in_text_and_json(one: Any, other: Any, several: list[Any]) -> None:
    """A filter in text and in JSON is the same filter, including all digits and backslashes."""
    expression = op("and", op("=", A, one), op("in", B, several), op("a_contains", C, several), op("<", other, D))
    assert filters.expression(write(expression), filters.TEXT) == filters.expression(dumped(expression), filters.JSON)
