"""A reference evaluator of CQL2 JSON for one item. It shares no code with the compiler, which is compared with it.

Values are str, bool, fractions, aware datetimes, and the small classes below. None is unknown.
"""

import math
import operator
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any

import shapely
import shapely.geometry

SYMBOLS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
LARGEST = 10**100
TICK = timedelta(microseconds=1)
NEVER, FOREVER = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
MARKS = (
    range(0x300, 0x370),
    range(0x1AB0, 0x1B00),
    range(0x1DC0, 0x1E00),
    range(0x20D0, 0x2100),
    range(0xFE20, 0xFE30),
)


class RoundingDependent(Exception):
    """The result depends on rounding, which can differ in the database."""


@dataclass(frozen=True)
class Stored:
    """A value of the item's properties, of any JSON type."""

    value: Any


@dataclass(frozen=True)
class Number:
    """A number. ``exact`` is whether it has a short decimal form."""

    value: Fraction
    exact: bool = True


@dataclass(frozen=True)
class Day:
    """A literal DATE."""

    first: datetime

    @property
    def last(self) -> datetime:
        return self.first + timedelta(days=1) - TICK


@dataclass(frozen=True)
class Interval:
    start: Any
    end: Any


def evaluate(node: Any, item: dict[str, Any]) -> Any:
    """Return the value of an expression for an item: True, False or None for a condition."""
    if isinstance(node, bool | str):
        return node
    if isinstance(node, int | float):
        return Number(Fraction(str(node)))
    if isinstance(node, list):
        return [evaluate(member, item) for member in node]
    if "op" in node:
        return operation(node["op"], node["args"], item)
    if "property" in node:
        return lookup(node["property"], item)
    if "interval" in node:
        return Interval(end_of(node["interval"][0], NEVER, item), end_of(node["interval"][1], FOREVER, item))
    if "date" in node:
        return Day(instant(node["date"]))
    if "timestamp" in node:
        return instant(node["timestamp"])
    return literal_shape(node)


def operation(name: str, args: list[Any], item: dict[str, Any]) -> Any:
    if name == "isNull":
        return is_null(args[0], item)
    values = [evaluate(arg, item) for arg in args]
    if name in SYMBOLS:
        return compare(name, *values)
    if name in ARITHMETIC:
        return compute(name, *map(operand, values))
    if name.startswith("s_"):
        return related(name, *values)
    if name.startswith("t_"):
        return in_time(name, *map(as_interval, values))
    if name.startswith("a_"):
        return as_sets(name, *map(array, args, values))
    return OTHERS[name](*values)


def lookup(name: str, item: dict[str, Any]) -> Any:
    if name in ("id", "collection"):
        return item[name]
    if name == "geometry":
        return shapely.geometry.shape(item["geometry"]) if item["geometry"] else None
    properties = item["properties"]
    name = name.removeprefix("properties.")
    if name in ("datetime", "start_datetime", "end_datetime"):
        return own_time(properties.get(name))
    return Stored(next(members(properties, name), None))


def members(document: Any, name: str) -> Iterator[Any]:
    """Find the members that a name can stand for: by the whole name, then by keys between its dots, longest first."""
    if not isinstance(document, dict):
        return
    if name in document:
        yield document[name]
    for dot in reversed([index for index, letter in enumerate(name) if letter == "."]):
        yield from members(document.get(name[:dot]), name[dot + 1 :])


def own_time(value: Any) -> datetime | None:
    """Return a time of STAC's common metadata: the value of the property, or null if it is null or missing.

    STAC allows a null datetime with a range. None of the three times is derived from the others, and in CQL2 a property
    that an item does not have is null.
    """
    return None if value is None else instant(value)


# --- Logic ------------------------------------------------------------------------------------------------------------


def negation(value: Any) -> bool | None:
    value = truth(value)
    return None if value is None else not value


def conjunction(*values: Any) -> bool | None:
    truths = [truth(value) for value in values]
    return False if False in truths else None if None in truths else True


def disjunction(*values: Any) -> bool | None:
    return negation(conjunction(*map(negation, values)))


def is_null(node: Any, item: dict[str, Any]) -> bool:
    value = evaluate(node, item)
    if isinstance(value, Interval):
        return moment(value.start) is None or moment(value.end) is None
    return (value.value if isinstance(value, Stored) else value) is None


# --- Types ------------------------------------------------------------------------------------------------------------


def plain(value: Any, kind: type | tuple[type, ...]) -> Any:
    """Return a value as this type, or None if it is a stored value of another type."""
    inner = value.value if isinstance(value, Stored) else value
    return inner if isinstance(inner, kind) else None


def text(value: Any) -> str | None:
    found: str | None = plain(value, str)
    return found


def truth(value: Any) -> bool | None:
    found: bool | None = plain(value, bool)
    return found


def number(value: Any) -> Number | None:
    if isinstance(value, Number) or value is None:
        return value
    inner = plain(value, (int, float))
    if inner is None or isinstance(inner, bool):
        return None
    return Number(Fraction(str(inner)))


def moment(value: Any) -> datetime | Day | None:
    if isinstance(value, datetime | Day) or value is None:
        return value
    inner = text(value)
    return instant(inner) if inner is not None else None


def instant(spelled: str) -> datetime | None:
    """Parse RFC 3339 strictly. A date is its first instant."""
    pattern = r"(\d{4})-(\d\d)-(\d\d)(?:[Tt](\d\d):(\d\d):(\d\d)(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d))?"
    match = re.fullmatch(pattern, spelled, re.ASCII)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    zone = match[8] or "Z"
    offset = timedelta() if zone in "Zz" else timedelta(hours=int(zone[:3]), minutes=int(zone[0] + zone[4:]))
    if abs(offset) >= timedelta(hours=16):
        return None
    fraction = timedelta(microseconds=int(Fraction(match[7] or "0") * 10**6))
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC) + fraction - offset
    except (ValueError, OverflowError):
        return None


def end_of(node: Any, infinite: datetime, item: dict[str, Any]) -> Any:
    if node == "..":
        return infinite
    if isinstance(node, str):
        return (
            instant(node) if "T" in node else Day(datetime.combine(date.fromisoformat(node), datetime.min.time(), UTC))
        )
    return evaluate(node, item)


# --- Comparisons ------------------------------------------------------------------------------------------------------


def compare(symbol: str, left: Any, right: Any) -> bool | None:
    if isinstance(left, datetime | Day) or isinstance(right, datetime | Day):
        return compare_moments(symbol, moment(left), moment(right))
    if isinstance(left, Stored) and isinstance(right, Stored):
        times = moment(left), moment(right)
        if None not in times:
            return compare_moments(symbol, *times)
    if number(left) is not None and number(right) is not None:
        return compare_numbers(symbol, number(left), number(right))
    for read in (text, truth):
        if read(left) is not None and read(right) is not None:
            return SYMBOLS[symbol](read(left), read(right))
    return None


def compare_numbers(symbol: str, left: Any, right: Any) -> bool:
    near = abs(left.value - right.value) <= Fraction(1, 10**9) * max(
        abs(left.value), abs(right.value), Fraction(1, 10**9)
    )
    if near and not (left.exact and right.exact):
        raise RoundingDependent
    return SYMBOLS[symbol](left.value, right.value)


def compare_moments(symbol: str, left: Any, right: Any) -> bool | None:
    """Compare instants, or days if one of them is a day."""
    if left is None or right is None:
        return None
    if isinstance(left, Day) or isinstance(right, Day):
        return SYMBOLS[symbol](*(side.first.date() if isinstance(side, Day) else side.date() for side in (left, right)))
    return SYMBOLS[symbol](left, right)


def between(value: Any, low: Any, high: Any = None) -> bool | None:
    if isinstance(low, list):
        low, high = low
    return conjunction(compare(">=", value, low), compare("<=", value, high))


def is_in(value: Any, members: list[Any]) -> bool | None:
    return disjunction(False, *(compare("=", value, member) for member in members))


def like(value: Any, pattern: str) -> bool | None:
    """Match by backtracking: one character of the pattern after another."""
    string = text(value)
    return None if string is None else matches(string, pattern)


def matches(string: str, pattern: str) -> bool:
    if not pattern:
        return not string
    if pattern[0] == "%":
        return any(matches(string[skip:], pattern[1:]) for skip in range(len(string) + 1))
    wanted, rest = (pattern[1], pattern[2:]) if pattern[0] == "\\" else (pattern[0], pattern[1:])
    if not string or (wanted != string[0] and pattern[0] != "_"):
        return False
    return matches(string[1:], rest)


def casei(value: Any) -> str | None:
    string = text(value)
    return None if string is None else string.casefold()


def accenti(value: Any) -> str | None:
    string = text(value)
    if string is None:
        return None
    apart = unicodedata.normalize("NFD", string)
    bare = "".join(letter for letter in apart if not any(ord(letter) in marks for marks in MARKS))
    return unicodedata.normalize("NFC", bare)


# --- Arithmetic -------------------------------------------------------------------------------------------------------


def compute(symbol: str, left: Number | None, right: Number | None) -> Number | None:
    if left is None or right is None:
        return None
    result, exact = ARITHMETIC[symbol](left, right)
    return None if result is None else Number(result, exact and left.exact and right.exact)


def operand(value: Any) -> Number | None:
    """Return a value as a number; None if it is stored and too large."""
    read = number(value)
    return None if isinstance(value, Stored) and read is not None and abs(read.value) >= LARGEST else read


def quotient(left: Number, right: Number) -> tuple[Fraction | None, bool]:
    if right.value == 0:
        return None, True
    if not right.exact and abs(right.value) < Fraction(1, 10**9):
        raise RoundingDependent
    result = left.value / right.value
    return result, 10**9 % result.denominator == 0


def whole(left: Number, right: Number) -> tuple[Fraction | None, bool]:
    if right.value == 0:
        return None, True
    if not (left.exact and right.exact):
        raise RoundingDependent
    return Fraction(math.trunc(left.value / right.value)), True


def remainder(left: Number, right: Number) -> tuple[Fraction | None, bool]:
    times, _ = whole(left, right)
    return None if times is None else left.value - times * right.value, True


def power(left: Number, right: Number) -> tuple[Fraction | None, bool]:
    base, exponent = left.value, right.value
    if not (left.exact and right.exact):
        raise RoundingDependent
    if base == 0:
        return (Fraction(int(exponent == 0)), True) if exponent >= 0 else (None, True)
    if base < 0 and exponent.denominator != 1:
        return None, True
    size = abs(float(exponent) * math.log(abs(base)))
    if abs(size - 230) < 1:
        raise RoundingDependent
    if size > 230:
        return None, True
    if exponent.denominator == 1 and exponent >= 0 and base.denominator == 1:
        return base**exponent, True
    return Fraction(float(base) ** float(exponent)), False


ARITHMETIC: dict[str, Callable[[Number, Number], tuple[Fraction | None, bool]]] = {
    "+": lambda left, right: (left.value + right.value, True),
    "-": lambda left, right: (left.value - right.value, True),
    "*": lambda left, right: (left.value * right.value, True),
    "/": quotient,
    "div": whole,
    "%": remainder,
    "^": power,
}

# --- Geometries -------------------------------------------------------------------------------------------------------


def literal_shape(node: dict[str, Any]) -> Any:
    if "bbox" not in node or "type" in node:
        return shapely.geometry.shape(node)
    west, south, *_, east, north = node["bbox"][:2] + node["bbox"][len(node["bbox"]) // 2 :][:2]
    spans = [(west, east)] if west <= east else [(west, 180), (-180, east)]
    return shapely.unary_union([box(*span, south, north) for span in spans])


def box(west: float, east: float, south: float, north: float) -> Any:
    if west == east or south == north:
        return (
            shapely.Point(west, south)
            if (west, south) == (east, north)
            else shapely.LineString([(west, south), (east, north)])
        )
    return shapely.box(west, south, east, north)


def related(name: str, first: Any, second: Any) -> bool | None:
    if first is None or second is None or isinstance(first, Stored) or isinstance(second, Stored):
        return None
    return bool(getattr(shapely, name.removeprefix("s_"))(first, second))


# --- Times ------------------------------------------------------------------------------------------------------------


def as_interval(value: Any) -> Interval:
    return value if isinstance(value, Interval) else Interval(value, value)


def in_time(name: str, one: Interval, other: Interval) -> bool | None:
    def holds(left: Any, symbol: str, right: Any) -> bool | None:
        return compare_moments(symbol, moment(left), moment(right))

    starts = {symbol: holds(one.start, symbol, other.start) for symbol in SYMBOLS}
    ends = {symbol: holds(one.end, symbol, other.end) for symbol in SYMBOLS}
    before, after = holds(one.end, "<", other.start), holds(one.start, ">", other.end)
    apart = disjunction(before, after)
    relations: dict[str, Callable[[], bool | None]] = {
        "t_after": lambda: after,
        "t_before": lambda: before,
        "t_disjoint": lambda: apart,
        "t_intersects": lambda: negation(apart),
        "t_equals": lambda: conjunction(starts["="], ends["="]),
        "t_contains": lambda: conjunction(starts["<"], ends[">"]),
        "t_during": lambda: conjunction(starts[">"], ends["<"]),
        "t_startedBy": lambda: conjunction(starts["="], ends[">"]),
        "t_starts": lambda: conjunction(starts["="], ends["<"]),
        "t_finishedBy": lambda: conjunction(starts["<"], ends["="]),
        "t_finishes": lambda: conjunction(starts[">"], ends["="]),
        "t_meets": lambda: holds(one.end, "=", other.start),
        "t_metBy": lambda: holds(one.start, "=", other.end),
        "t_overlaps": lambda: conjunction(starts["<"], holds(one.end, ">", other.start), ends["<"]),
        "t_overlappedBy": lambda: conjunction(starts[">"], holds(one.start, "<", other.end), ends[">"]),
    }
    return relations[name]()


# --- Arrays -----------------------------------------------------------------------------------------------------------


def array(node: Any, value: Any) -> list[Any] | None:
    """Return an array as JSON: the stored one, or the literal with its dates as strings."""
    if isinstance(value, Stored):
        return value.value if isinstance(value.value, list) else None
    return [bare(member, found) for member, found in zip(node, value, strict=True)]


def bare(node: Any, value: Any) -> Any:
    if isinstance(value, Stored):
        return value.value
    if isinstance(node, dict):
        return node.get("date") or node.get("timestamp") or node
    return [bare(member, found) for member, found in zip(node, value, strict=True)] if isinstance(node, list) else node


def as_sets(name: str, one: list[Any] | None, other: list[Any] | None) -> bool | None:
    if one is None or other is None:
        return None
    has_all = all(any(same(a, b) for a in one) for b in other)
    is_within = all(any(same(a, b) for b in other) for a in one)
    return {
        "a_contains": has_all,
        "a_containedBy": is_within,
        "a_equals": has_all and is_within,
        "a_overlaps": any(same(a, b) for a in one for b in other),
    }[name]


def same(one: Any, other: Any) -> bool:
    """Return whether two JSON values are equal; true does not equal 1."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


OTHERS: dict[str, Callable[..., Any]] = {
    "and": conjunction,
    "or": disjunction,
    "not": negation,
    "between": between,
    "in": is_in,
    "like": like,
    "casei": casei,
    "accenti": accenti,
}
