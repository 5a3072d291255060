"""Pages by position: the sort values after or before which a page lies. ``page_tokens.py`` binds it to a query."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, TypeVar

from stacflask.errors import BadQuery

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Position:
    """A position in a sorted list: directly after the row with these sort values, or before it if ``backward``."""

    values: tuple[Any, ...]
    backward: bool = False


def encode(position: Position) -> str:
    """Return the token of a position. Numbers are written with all digits, so none is rounded."""
    direction = "<" if position.backward else ">"
    text = f"[{','.join(map(_encoded, (direction, *position.values)))}]"
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _encoded(value: Any) -> str:
    return str(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)


def decode(token: str) -> Position:
    """Parse a token. Raises BadQuery."""
    try:
        direction, *values = _read(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, TypeError, RecursionError):
        direction, values = None, []
    if direction not in ("<", ">") or not all(map(_is_plain, values)):
        raise BadQuery("token", "not a token of this list; follow the links instead of making one")
    return Position(tuple(values), backward=direction == "<")


def _read(text: bytes) -> Any:
    return json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=_reject_constant)


def _reject_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | bool | Decimal)


@dataclass(frozen=True, slots=True)
class PageSlice(Generic[Row]):
    """The rows of one page in their order, and the positions of the next and previous page, if they exist."""

    rows: Sequence[Row]
    next: Position | None
    prev: Position | None


def slice_page(rows: Sequence[Row], limit: int, position: Position | None, key: Any) -> PageSlice[Row]:
    """Return a page of up to ``limit`` rows from up to ``limit + 1`` rows read in the position's direction.

    ``key(row)`` returns a row's sort values. A page with a position always has a page on the side of that position.
    """
    backward = position is not None and position.backward
    has_more = len(rows) > limit
    page_rows = rows[:limit]
    if backward:
        page_rows = page_rows[::-1]
    if not page_rows:
        return PageSlice([], None, None)
    has_next = has_more if not backward else True
    has_prev = has_more if backward else position is not None
    return PageSlice(
        page_rows,
        Position(key(page_rows[-1])) if has_next else None,
        Position(key(page_rows[0]), backward=True) if has_prev else None,
    )
