"""Items with all combinations of value types, and random expressions about them."""

import random
from typing import Any

from hypothesis import strategies as st

from stacflask.catalog.cql2 import FUNCTIONS
from stacflask.catalog.cql2.compiler.compile import OPERATORS
from tests.catalog.cql2.reference import instant

NAMES = ("n", "m", "s", "t", "flag", "when", "then", "tags", "other", "mixed", "deep.er", "eo:cloud_cover", "nothing")
NUMBERS = (0, 1, -1, 2, 3, 7, 10, -4, 0.1, 0.5, 2.5, -0.25, 100, 1e15, 12345.678)
STRINGS = (
    "",
    "a",
    "A",
    "ab",
    "b",
    "Straße",
    "STRASSE",
    "strasse",
    "ΣΊΣΥΦΟΣ",
    "σίσυφος",
    "é",
    "e\u0301",
    "E",
    "ı",
    "I",
    "İ",
    "が",
    "か",
    "a%b",
    "a_b",
    "a\\b",
    "axb",
    "10",
    "9",
    "true",
    "\U0001f6f0",
    "\uffee",
    "O'Neill",
)
PATTERNS = (
    "%",
    "",
    "a%",
    "%b",
    "a_b",
    "_",
    "__",
    "a\\%b",
    "a\\_b",
    "a\\\\b",
    "%s%",
    "Str%",
    "Stra_e",
    "σ%",
    "é",
    "e%",
    "%%_",
)
TIMES = (
    "2020-02-28T23:59:59Z",
    "2020-02-29T00:00:00Z",
    "2020-02-29T00:00:00.5Z",
    "2020-02-29T12:00:00+02:00",
    "2020-02-29T23:59:59.999999Z",
    "2020-03-01T00:00:00Z",
    "2021-01-01T00:00:00-11:30",
)
DATES = ("2020-02-28", "2020-02-29", "2020-03-01", "2021-01-01")
NO_TIMES = (
    "2021-02-29",
    "2021-02-29T00:00:00Z",
    "2020-13-01",
    "2020-02-29T24:00:00Z",
    "2020-02-29 00:00:00Z",
    "0000-01-01",
)
ELEMENTS: tuple[Any, ...] = ("a", "b", "", 1, 2, 1.0, 0.5, True, False, "2020-02-29", [1], [1, 2], [])

POINTS = [[x, y] for x in range(4) for y in range(4)]
SQUARES = [
    [[x, y], [x + size, y], [x + size, y + size], [x, y + size], [x, y]]
    for size in (1, 2)
    for x in range(3)
    for y in range(2)
]


def shapes(choose: random.Random) -> dict[str, Any]:
    """Draw a geometry on a small grid, so that geometries often touch, cross or are equal."""
    point, line, square = choose.choice(POINTS), choose.sample(POINTS, 2), choose.choice(SQUARES)
    far = [[[x + 10, y] for x, y in square]]
    return choose.choice(
        (
            {"type": "Point", "coordinates": point},
            {"type": "LineString", "coordinates": line},
            {"type": "Polygon", "coordinates": [square]},
            {"type": "MultiPoint", "coordinates": choose.sample(POINTS, 3)},
            {"type": "MultiLineString", "coordinates": [line, [[10, 10], [11, 11]]]},
            {"type": "MultiPolygon", "coordinates": [[square], far]},
            {
                "type": "Polygon",
                "coordinates": [[[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]], [[1, 1], [2, 1], [2, 2], [1, 2], [1, 1]]],
            },
        )
    )


def items(count: int = 80, seed: int = 1) -> list[dict[str, Any]]:
    """Draw items; the same ``seed`` returns the same items."""
    choose = random.Random(seed)
    return [item(choose, f"item-{number}") for number in range(count)]


def item(choose: random.Random, name: str) -> dict[str, Any]:
    geometry = shapes(choose) if choose.random() < 0.9 else None
    properties: dict[str, Any] = {
        "datetime": choose.choice(TIMES),
        "n": choose.choice(NUMBERS),
        "m": choose.choice(NUMBERS),
        "s": choose.choice(STRINGS),
        "t": choose.choice(STRINGS),
        "flag": choose.random() < 0.5,
        "when": choose.choice(TIMES + DATES + NO_TIMES),
        "then": choose.choice(TIMES + DATES),
        "tags": choose.choices(ELEMENTS, k=choose.randrange(4)),
        "other": choose.choices(ELEMENTS, k=choose.randrange(4)),
        "mixed": choose.choice((*NUMBERS[:5], *STRINGS[:5], True, False, None, [1], {"a": 1}, *TIMES[:3], *DATES)),
        "deep": choose.choice(({"er": choose.choice(NUMBERS)}, {"er": choose.choice(STRINGS)}, {}, 5, None)),
        "eo:cloud_cover": choose.choice((0, 10, 50.5, 100, None, "none")),
    }
    if choose.random() < 0.3:
        properties["deep.er"] = choose.choice((*NUMBERS, *STRINGS, None))
    if choose.random() < 0.3:
        properties |= {"start_datetime": "2020-02-29T00:00:00Z", "end_datetime": choose.choice(TIMES[4:])}
        properties["datetime"] = choose.choice((None, "2020-02-29T12:00:00Z", "2021-06-01T00:00:00Z"))
    elif choose.random() < 0.3:
        properties |= {choose.choice(("start_datetime", "end_datetime")): choose.choice((None, *TIMES))}
    kept = {key: value for key, value in properties.items() if "datetime" in key or choose.random() < 0.85}
    return {"id": name, "collection": "samples", "geometry": geometry, "properties": kept}


# --- Expressions ------------------------------------------------------------------------------------------------------


def op(name: str, *args: Any) -> dict[str, Any]:
    return {"op": name, "args": list(args)}


def calls(names: tuple[str, ...], *args: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw an operator with one of these names and with these operands."""
    return st.builds(op, st.sampled_from(names), *args)


def in_order(ends: tuple[Any, Any]) -> bool:
    """Return whether these ends are a valid interval: a literal end is not before a literal start."""
    start, end = (instant(end) if isinstance(end, str) and end != ".." else None for end in ends)
    return start is None or end is None or start <= end


properties = st.sampled_from(NAMES).map(lambda name: {"property": name})
moments = st.sampled_from(TIMES).map(lambda time: {"timestamp": time}) | st.sampled_from(DATES).map(
    lambda day: {"date": day}
)
instants = st.sampled_from(TIMES + DATES)
columns = st.sampled_from(("datetime", "start_datetime", "properties.end_datetime")).map(
    lambda name: {"property": name}
)
times = moments | columns | properties
bounds = instants | properties | columns | st.just("..")
numbers = st.recursive(
    st.sampled_from(NUMBERS) | properties,
    lambda inner: calls(("+", "-", "*", "/", "%", "div", "^"), inner, inner),
    max_leaves=5,
)
strings = st.recursive(
    st.sampled_from(STRINGS) | properties | st.sampled_from(({"property": "id"}, {"property": "collection"})),
    lambda inner: calls(("casei", "accenti"), inner),
    max_leaves=3,
)
patterns = st.recursive(st.sampled_from(PATTERNS), lambda inner: calls(("casei", "accenti"), inner), max_leaves=3)
truths = st.booleans() | properties
intervals = st.tuples(bounds, bounds).filter(in_order).map(lambda ends: {"interval": list(ends)})
arrays = (
    st.lists(st.sampled_from(ELEMENTS) | st.sampled_from(DATES).map(lambda day: {"date": day}), max_size=3) | properties
)
boxes = st.tuples(*[st.integers(0, 4)] * 4).map(
    lambda four: {"bbox": [min(four[::2]), min(four[1::2]), max(four[::2]), max(four[1::2])]}
)
geometries = (
    st.just({"property": "geometry"}) | boxes | st.integers(0, 10**6).map(lambda seed: shapes(random.Random(seed)))
)

SYMBOLS = ("=", "<>", "<", "<=", ">", ">=")
OF_TIMES = ("t_after", "t_before", "t_disjoint", "t_equals", "t_intersects")
OF_INTERVALS = (
    *("t_contains", "t_during", "t_finishedBy", "t_finishes", "t_meets", "t_metBy"),
    *("t_overlappedBy", "t_overlaps", "t_startedBy", "t_starts"),
)
OF_SHAPES = ("s_contains", "s_crosses", "s_disjoint", "s_equals", "s_intersects", "s_overlaps", "s_touches", "s_within")
OF_ARRAYS = ("a_contains", "a_containedBy", "a_equals", "a_overlaps")

predicates = st.one_of(
    *(calls(SYMBOLS, kind, kind) for kind in (numbers, strings, times, truths, properties)),
    calls(("between",), numbers, numbers, numbers),
    calls(("between",), times, moments, moments),
    *(calls(("in",), kind, st.lists(kind, min_size=1, max_size=4)) for kind in (numbers, strings, times)),
    calls(
        ("in",),
        properties,
        st.lists(st.sampled_from(NUMBERS + STRINGS + (True, False)) | moments | properties, max_size=4),
    ),
    calls(("like",), strings, patterns),
    calls(("isNull",), numbers | strings | times | intervals),
    calls(OF_SHAPES, geometries, geometries),
    calls(OF_TIMES, times | intervals, times | intervals),
    calls(OF_INTERVALS, intervals, intervals),
    calls(OF_ARRAYS, arrays, arrays),
    st.booleans(),
)
conditions = st.recursive(
    predicates,
    lambda inner: (
        calls(("and", "or"), inner, inner) | calls(("not", "isNull"), inner) | calls(("and", "or"), inner, inner, inner)
    ),
    max_leaves=6,
)


# --- Any valid expression ---------------------------------------------------------------------------------------------


def nests(leaves: st.SearchStrategy[Any], names: tuple[str, ...]) -> st.SearchStrategy[Any]:
    """Draw nested calls with these leaves."""
    return st.recursive(
        leaves, lambda inner: st.sampled_from(names).flatmap(lambda name: called(name, inner)), max_leaves=6
    )


def called(name: str, inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    count = len(FUNCTIONS[name].args) if name in FUNCTIONS else OPERATORS[name].min_operands
    return st.lists(inner, min_size=count, max_size=count).map(lambda args: op(name, *args))


extremes = st.sampled_from((1e100, -1e100, 1e-100, 1e99, 300, 0.5, 0, -1))
whole_earth = st.sampled_from(
    ({"bbox": [-180, -90, 180, 90]}, {"bbox": [170, -10, -170, 10]}, {"bbox": [0, 90, 0, 90]})
)
computed_numbers = nests(
    extremes | properties,
    ("+", "-", "*", "/", "%", "div", "^", "abs", "floor", "ceiling", "round", "to_number", "size"),
)
computed_shapes = nests(geometries | whole_earth, ("intersection", "centroid"))
computed_strings = nests(
    strings | computed_numbers.map(lambda number: op("to_string", number)), ("lower", "upper", "casei", "accenti")
)
computed_times = times | computed_strings.map(lambda string: op("to_datetime", string))
measures = calls(("area",), computed_shapes) | calls(("distance",), computed_shapes, computed_shapes)
parts_of_times = calls(("year", "month", "day", "dayofyear", "hour"), computed_times)
anything = st.one_of(
    calls(SYMBOLS, computed_numbers | measures | parts_of_times, computed_numbers | measures | parts_of_times),
    calls(SYMBOLS, computed_strings, computed_strings),
    calls(SYMBOLS, computed_times, computed_times),
    calls(OF_SHAPES, computed_shapes, computed_shapes),
    calls(("like",), computed_strings, patterns),
    nests(extremes | strings | times | geometries | intervals | arrays | st.booleans(), (*OPERATORS, *FUNCTIONS)),
)
