"""Parse geometries in cql2-text: well-known text, with or without Z. Positions have 2 or 3 numbers in both forms."""

from stacflask.catalog.cql2.text.tokens import Token, Tokens, number
from stacflask.catalog.cql2.values.problems import Node
from stacflask.model.json_types import Json

_COLLECTION = "GEOMETRYCOLLECTION"
_SHAPES = {
    "POINT": ("Point", 0),
    "LINESTRING": ("LineString", 1),
    "MULTIPOINT": ("MultiPoint", 1),
    "POLYGON": ("Polygon", 2),
    "MULTILINESTRING": ("MultiLineString", 2),
    "MULTIPOLYGON": ("MultiPolygon", 3),
}
"""The name in GeoJSON, and how deep the lists of positions are nested."""


def begins(tokens: Tokens, name: Token) -> bool:
    """Whether a geometry begins with ``name``, the token read last. Advance past a separate Z."""
    if name.text.upper().removesuffix("Z") not in (*_SHAPES, _COLLECTION):
        return False
    if tokens.next.text in ("Z", "z") and tokens.follows("("):
        tokens.read()
    return tokens.next.kind == "("


def geometry(tokens: Tokens, name: Token) -> Node:
    """Parse the rest of a geometry."""
    word = name.text.upper().removesuffix("Z")
    if word != _COLLECTION:
        return _shape(tokens, name, word)
    tokens.read()
    return Node({"type": "GeometryCollection", "geometries": tokens.listed(lambda: _part(tokens))}, name.position)


def bbox(tokens: Tokens, name: Token) -> Node:
    """Parse the rest of a box, after its opening bracket."""
    return Node({"bbox": tokens.listed(lambda: _ordinate(tokens))}, name.position)


def _part(tokens: Tokens) -> Node:
    name = tokens.read()
    if not begins(tokens, name) or name.text.upper().startswith(_COLLECTION):
        raise tokens.unexpected("a point, a line, a polygon or several of one type", name)
    return _shape(tokens, name, name.text.upper().removesuffix("Z"))


def _shape(tokens: Tokens, name: Token, word: str) -> Node:
    kind, nesting = _SHAPES[word]
    if word == "POINT":
        tokens.take("(", "'('")
        coordinates = _position(tokens)
        tokens.take(")", "a number or ')'")
    else:
        coordinates = _positions(tokens, nesting, loose=word == "MULTIPOINT")
    return Node({"type": kind, "coordinates": coordinates}, name.position)


def _positions(tokens: Tokens, nesting: int, *, loose: bool) -> list[Json]:
    """Parse nested lists of positions. If ``loose``, each position can have its own brackets."""
    tokens.take("(", "'('")
    if nesting > 1:
        return tokens.listed(lambda: _positions(tokens, nesting - 1, loose=loose))
    return tokens.listed(lambda: _position(tokens, loose=loose), "a number, ',' or ')'")


def _position(tokens: Tokens, *, loose: bool = False) -> list[Json]:
    if loose and tokens.accept("("):
        position = _position(tokens)
        tokens.take(")", "a number or ')'")
        return position
    position = [_ordinate(tokens), _ordinate(tokens)]
    return [*position, _ordinate(tokens)] if tokens.next.kind in ("number", "-", "+") else position


def _ordinate(tokens: Tokens) -> float:
    sign = -1 if tokens.accept("-") else 1
    if sign == 1:
        tokens.accept("+")
    return sign * number(tokens.take("number", "a number").text)
