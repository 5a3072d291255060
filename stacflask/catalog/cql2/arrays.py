"""The four relations of arrays. They are sets here: neither order nor repetition counts.

Elements are compared as JSON: a DATE or TIMESTAMP is the string that it is written with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from stacflask.catalog.cql2.coercion import NAMES, unlike
from stacflask.catalog.cql2.problems import Problem
from stacflask.catalog.cql2.values import Array, Number, Stored, Text, Truth, Value
from stacflask.stac.numbers import exact_value, is_number

if TYPE_CHECKING:
    from stacflask.catalog.cql2.sql import Sql
    from stacflask.values import Json

_ARGUMENTS = 100
"""PostgreSQL's functions take no more."""


def contains(first: Value, second: Value) -> Truth:
    """Whether the first has all that the second has."""
    return Truth(_covers(_read(first, 0), _read(second, 1), flat=_is_flat(first) or _is_flat(second)))


def contained_by(first: Value, second: Value) -> Truth:
    """Whether the second has all that the first has."""
    return Truth(_covers(_read(second, 1), _read(first, 0), flat=_is_flat(first) or _is_flat(second)))


def equals(first: Value, second: Value) -> Truth:
    """Whether each has all that the other has."""
    return Truth(sa.and_(contains(first, second).sql, contained_by(first, second).sql))


def overlaps(first: Value, second: Value) -> Truth:
    """Whether they have something in common."""
    one, other = _read(first, 0), _read(second, 1)
    element, like = _elements(one, "element"), _elements(other, "other")
    common = sa.exists().select_from(element, like).where(element.c.value == like.c.value)
    return Truth(_if_known(one, other, common))


def _covers(whole: Sql, part: Sql, *, flat: bool) -> Sql:
    """JSON containment is what we need, but for arrays within arrays, which it compares as loosely."""
    if flat:
        return whole.op("@>", return_type=sa.Boolean(), is_comparison=True)(part)
    element, like = _elements(part, "element"), _elements(whole, "other")
    found = sa.exists().select_from(like).where(like.c.value == element.c.value).correlate(element)
    return _if_known(whole, part, ~sa.exists().select_from(element).where(~found))


def _elements(array: Sql, name: str) -> sa.TableValuedAlias:
    return sa.func.jsonb_array_elements(array).table_valued(sa.column("value", JSONB()), name=name)


def _if_known(one: Sql, other: Sql, sql: Sql) -> Sql:
    return sa.case((sa.and_(one.is_not(None), other.is_not(None)), sql))


# --- Arrays as JSON ---------------------------------------------------------------------------------------------------


def _is_flat(value: Value) -> bool:
    return isinstance(value, Array) and not any(isinstance(_bare(node), list | dict) for node in value.document)


def _read(value: Value, argument: int) -> Sql:
    if isinstance(value, Stored):
        return value.array
    if not isinstance(value, Array):
        raise unlike(Array, value, argument)
    if _is_flat(value):
        return _literal([_bare(node) for node in value.document])
    if len(value.members) > _ARGUMENTS:
        raise Problem(f"expected at most {_ARGUMENTS} elements, or only literal ones", argument)
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
    raise Problem(f"{NAMES[type(value)]} cannot be an element of an array unless it is literal")


def _bare(node: Json) -> Any:
    """Write a date or time as stored JSON has it: as a string; and a number with all its digits."""
    if isinstance(node, dict):
        return node.get("date") or node.get("timestamp") or node
    if is_number(node):
        return exact_value(node)
    return node


_encode = msgspec.json.Encoder(decimal_format="number").encode


def _literal(document: Any) -> Sql:
    # As text: the database driver knows no JSON with decimal numbers.
    return sa.cast(sa.literal(_encode(document).decode(), sa.Text()), JSONB)
