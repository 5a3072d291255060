"""The four relations of arrays. Arrays are compared as sets: order and repetition do not matter.

Elements are compared as JSON: a DATE or TIMESTAMP is its string.
"""

from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from stacflask.catalog.cql2.values.coercion import NAMES, wrong_type
from stacflask.catalog.cql2.values.problems import Problem
from stacflask.catalog.cql2.values.sql import Sql
from stacflask.catalog.cql2.values.types import Array, BooleanValue, Number, Stored, Text, Value
from stacflask.model.json_types import Json
from stacflask.stac.numbers import exact_value, is_number

_MAX_ARGUMENTS = 100
"""The limit of PostgreSQL for the arguments of a function."""
_MAX_LINEAR_ELEMENTS = 16
"""Up to this number, comparing elements one by one is faster than a hash table."""


def contains(first: Value, second: Value) -> BooleanValue:
    """Whether the first array has all elements of the second."""
    return BooleanValue(_holds_all(first, second, 0, 1))


def contained_by(first: Value, second: Value) -> BooleanValue:
    """Whether the second array has all elements of the first."""
    return BooleanValue(_holds_all(second, first, 1, 0))


def equals(first: Value, second: Value) -> BooleanValue:
    """Whether both arrays have the same elements."""
    return BooleanValue(sa.and_(contains(first, second).sql, contained_by(first, second).sql))


def overlaps(first: Value, second: Value) -> BooleanValue:
    """Whether the arrays have a common element."""
    for stored, literal in ((first, second), (second, first)):
        if isinstance(stored, Stored) and _is_flat(literal):
            if _is_few_texts(literal):
                return BooleanValue(
                    stored.array.op("?|", return_type=sa.Boolean(), is_comparison=True)(_texts(literal))
                )
            element = _elements(stored.array, "element")
            return BooleanValue(
                _if_known(stored.array, sa.exists().select_from(element).where(_is_among(element, literal)))
            )
    one, other = _read(first, 0), _read(second, 1)
    element, like = _elements(one, "element"), _elements(other, "other")
    common = sa.exists().select_from(element, like).where(element.c.value == like.c.value)
    return BooleanValue(_if_known(one, other, common))


def _holds_all(whole: Value, part: Value, *arguments: int) -> Sql:
    """Return whether one array has all elements of another. ``arguments`` are their indexes, for messages."""
    if isinstance(part, Stored) and _is_flat(whole) and len(_nodes(whole)) > _MAX_LINEAR_ELEMENTS:
        element = _elements(part.array, "element")
        return _if_known(part.array, ~sa.exists().select_from(element).where(~_is_among(element, whole)))
    one, other = (_read(value, argument) for value, argument in zip((whole, part), arguments, strict=True))
    return _covers(one, other, flat=_is_flat(whole) or _is_flat(part))


def _is_among(element: sa.TableValuedAlias, literal: Value) -> Sql:
    """Return whether a flat array has an element.

    PostgreSQL uses a hash table. JSON containment would compare the element with each of thousands, for each row.
    """
    texts = [_encode(node).decode() for node in _nodes(literal)]
    return element.c.value == sa.any_(sa.cast(sa.literal(texts, ARRAY(sa.Text())), ARRAY(JSONB())))


def _covers(whole: Sql, part: Sql, *, flat: bool) -> Sql:
    """Return whether an array has all elements of another.

    JSON containment does this for flat arrays. It does not compare nested arrays for equality.
    """
    if flat:
        return whole.op("@>", return_type=sa.Boolean(), is_comparison=True)(part)
    element, like = _elements(part, "element"), _elements(whole, "other")
    found = sa.exists().select_from(like).where(like.c.value == element.c.value).correlate(element)
    return _if_known(whole, part, ~sa.exists().select_from(element).where(~found))


def _elements(array: Sql, name: str) -> sa.TableValuedAlias:
    return sa.func.jsonb_array_elements(array).table_valued(sa.column("value", JSONB()), name=name)


def _if_known(*operands_and_condition: Sql) -> Sql:
    *operands, condition = operands_and_condition
    return sa.case((sa.and_(*(operand.is_not(None) for operand in operands)), condition))


# --- Arrays as JSON ---------------------------------------------------------------------------------------------------


def _is_flat(value: Value) -> bool:
    return isinstance(value, Array) and not any(isinstance(_bare(node), list | dict) for node in value.document)


def _is_few_texts(value: Value) -> bool:
    nodes = _nodes(value)
    return len(nodes) <= _MAX_LINEAR_ELEMENTS and all(isinstance(node, str) for node in nodes)


def _texts(value: Value) -> Sql:
    return sa.cast(sa.literal(_nodes(value), ARRAY(sa.Text())), ARRAY(sa.Text()))


def _nodes(value: Value) -> list[Any]:
    """Return the distinct elements of a flat array."""
    document = value.document if isinstance(value, Array) else []
    return list({_encode(node): node for node in map(_bare, document)}.values())


def _read(value: Value, argument: int) -> Sql:
    if isinstance(value, Stored):
        return value.array
    if not isinstance(value, Array):
        raise wrong_type(Array, value, argument)
    if _is_flat(value):
        return _literal(_nodes(value))
    if len(value.members) > _MAX_ARGUMENTS:
        raise Problem(f"expected at most {_MAX_ARGUMENTS} elements if one of them is not a literal", argument)
    return _built(value)


def _built(array: Array) -> Sql:
    elements = map(_element, array.members, array.document)
    return sa.func.jsonb_build_array(*elements, type_=JSONB())


def _element(value: Value, node: Json) -> Sql:
    if isinstance(value, Stored):
        return value.json
    if isinstance(value, Array):
        return _built(value)
    if not isinstance(node, dict) or not {"property", "op", "interval"} & node.keys():
        return _literal(_bare(node))
    if isinstance(value, Text | Number):
        return sa.func.to_jsonb(value.sql)
    raise Problem(f"{NAMES[type(value)]} cannot be an element of an array, unless it is a literal")


def _bare(node: Json) -> Any:
    """Return a date or time as a string, as in stored JSON, and a number with all its digits."""
    if isinstance(node, dict):
        return node.get("date") or node.get("timestamp") or node
    if is_number(node):
        return exact_value(node)
    return node


_encode = msgspec.json.Encoder(decimal_format="number").encode


def _literal(document: Any) -> Sql:
    # As text, because the database driver does not support JSON with decimal numbers.
    return sa.cast(sa.literal(_encode(document).decode(), sa.Text()), JSONB)
