"""Write CQL2 JSON as cql2-text, with all optional brackets."""

import re
from typing import Any

from stacflask.stac.numbers import ExactFloat

INFIX = ("=", "<>", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "div", "^", "like", "and", "or")
PLAIN = re.compile(r"[A-Za-z_:][A-Za-z0-9_:.]*")
KEYWORDS = {"and", "or", "not", "like", "between", "in", "is", "null", "div", "true", "false"}


class NotRepresentable(Exception):
    """cql2-text has no empty IN, and reads a nested array of one element as brackets."""


def write(node: Any) -> str:
    if isinstance(node, int | float):
        return number(node)
    if isinstance(node, str):
        return quoted(node)
    if isinstance(node, list):
        if len(node) == 1:
            raise NotRepresentable
        return listed(node)
    if "op" in node:
        return operation(node["op"], node["args"])
    if "property" in node:
        return name(node["property"])
    if "interval" in node:
        return f"INTERVAL{listed(node['interval'])}"
    if "type" in node:
        return geometry(node)
    (tag, value), *_ = node.items()
    return f"BBOX{listed(value)}" if tag == "bbox" else f"{tag.upper()}({quoted(value)})"


def number(value: float) -> str:
    if isinstance(value, bool):
        return str(value).upper()
    return str(value.exact) if isinstance(value, ExactFloat) else repr(value)


def operation(operator: str, args: list[Any]) -> str:
    if operator.startswith("a_"):
        return f"{operator}({', '.join(listed(arg) if isinstance(arg, list) else write(arg) for arg in args)})"
    if operator == "in":
        if not args[1]:
            raise NotRepresentable
        return f"({write(args[0])} IN {listed(args[1])})"
    parts = [write(arg) for arg in args]
    if operator in INFIX:
        return f"({f' {operator.upper()} '.join(parts)})"
    if operator == "not":
        return f"(NOT {parts[0]})"
    if operator == "isNull":
        return f"({parts[0]} IS NULL)"
    if operator == "between":
        return f"({parts[0]} BETWEEN {parts[1]} AND {parts[2]})"
    return f"{operator}({', '.join(parts)})"


def listed(nodes: list[Any]) -> str:
    return f"({', '.join(map(write, nodes))})"


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def name(text: str) -> str:
    if PLAIN.fullmatch(text) and text.lower() not in KEYWORDS:
        return text
    return '"' + text.replace('"', '""') + '"'


def geometry(node: dict[str, Any]) -> str:
    if node["type"] == "GeometryCollection":
        return f"GEOMETRYCOLLECTION({', '.join(map(geometry, node['geometries']))})"
    inside = node["coordinates"] if node["type"] != "Point" else [node["coordinates"]]
    return node["type"].upper() + coordinates(inside)


def coordinates(nested: list[Any]) -> str:
    if isinstance(nested[0], list):
        return f"({', '.join(map(coordinates, nested))})"
    return " ".join(map(repr, nested))
