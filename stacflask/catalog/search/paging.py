"""Pages by position: after (or before) which sort values a page lies. ``tokens.py`` binds that to a query."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from stacflask.errors import BadQuery

if TYPE_CHECKING:
    from collections.abc import Sequence

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Position:
    """A place in an order: between the row with these sort values and the next, looking forward or backward."""

    values: tuple[Any, ...]
    backward: bool = False


def encode(position: Position) -> str:
    """Give the token of a position. Numbers stand in it digit by digit: none is rounded."""
    mark = "<" if position.backward else ">"
    text = f"[{','.join(map(_written, (mark, *position.values)))}]"
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _written(value: Any) -> str:
    return str(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)


def decode(token: str) -> Position:
    """Read a token. Raises BadQuery."""
    try:
        mark, *values = _read(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, TypeError, RecursionError):
        mark, values = None, []
    if mark not in ("<", ">") or not all(map(_is_plain, values)):
        raise BadQuery("token", "not a token of this list; follow the links instead of making one")
    return Position(tuple(values), backward=mark == "<")


def _read(text: bytes) -> Any:
    return json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | bool | Decimal)


@dataclass(frozen=True, slots=True)
class Slice(Generic[Row]):
    """The rows of one page in their order, and the positions beside it, where there is something."""

    rows: Sequence[Row]
    next: Position | None
    prev: Position | None


def cut(rows: Sequence[Row], limit: int, position: Position | None, key: Any) -> Slice[Row]:
    """Make a page of up to ``limit`` rows out of up to ``limit + 1`` that were read in the position's direction.

    ``key(row)`` gives a row's sort values. Coming from a page, there is one to go back to.
    """
    backward = position is not None and position.backward
    more = len(rows) > limit
    kept = rows[:limit]
    if backward:
        kept = kept[::-1]
    if not kept:
        return Slice([], None, None)
    has_next = more if not backward else True
    has_prev = more if backward else position is not None
    return Slice(
        kept,
        Position(key(kept[-1])) if has_next else None,
        Position(key(kept[0]), backward=True) if has_prev else None,
    )
