"""Page tokens: a position in an order, bound to its query and order.

The binding is a digest of everything that decides which records are found and in which order. Limit, fields and policy
are not part of it, because they may change between pages. The digest is not a secret and uses none: a forged token is
only another position, and the restriction of the principal is applied to every page.

Tokens are short for all sort values. In place of long values a token has bounds and a digest. The values are then read
again from the record at which the page ended, and the digest shows whether they have changed.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from functools import cached_property
from typing import Any

from stacflask.catalog.search import paging
from stacflask.catalog.search.ordering import OrderKey, SortOrder
from stacflask.catalog.search.paging import Position
from stacflask.errors import BadQuery
from stacflask.model.json_types import Json
from stacflask.model.query import CollectionQuery, ItemQuery, QueryInterval
from stacflask.stac.numbers import ExactFloat
from stacflask.stac.times import format_instant

FindRow = Callable[[str, str], Any]

BINDING_LENGTH = 12
MAX_TEXT_BYTES = 64
"""Largest string in a token, in UTF-8."""
MAX_NUMBER_DIGITS = 40
"""Most digits of a number in a token."""
DIGEST_MARK = "#"
"""First character of the digest of values that a token does not contain."""
LAST_CODE_POINT = "\U0010ffff"
"""The last code point. A prefix followed by it sorts after all strings with that prefix."""


@dataclass(frozen=True)
class PageTokens:
    """The tokens of one query."""

    query: ItemQuery | CollectionQuery
    order: SortOrder

    def write(self, position: Position | None) -> str | None:
        """Return the token of a position."""
        return None if position is None else self._binding + paging.encode(self._shortened(position))

    def read(self, find: FindRow) -> str | None:
        """Return the position of the query's token in the form that ``SortOrder.position`` parses.

        ``find`` returns the row of a collection and an id if the query still finds it, or None.
        Raises BadQuery if the token is invalid or belongs to another query.
        """
        token = self.query.token
        if token is None:
            return None
        if token[:BINDING_LENGTH] != self._binding:
            raise BadQuery(
                "token",
                "does not belong to this query and order. Follow the links of a page, or leave the token out to begin "
                "with the first page.",
            )
        return self._completed(token[BINDING_LENGTH:], find)

    @cached_property
    def _binding(self) -> str:
        """Return the digest of everything that decides which records are found, and their order. Raises BadQuery."""
        query = self.query
        found: list[Json] = [
            [[key.name, key.expressions[0].descending] for key in self.order.keys],
            None if query.bbox is None else list(query.bbox),
            _interval(query.interval),
            query.filter,
            query.text,
        ]
        if isinstance(query, ItemQuery):
            found += [_names(query.collections), _names(query.ids), query.intersects]
        try:
            text = json.dumps(_canonical(found), sort_keys=True)
        except RecursionError:
            raise BadQuery("filter", "is nested too deep") from None
        return _digest(text, 9)

    def _shortened(self, position: Position) -> Position:
        """Replace long values by bounds. No record after the position lies before a bound."""
        pairs = list(zip(self.order.keys, position.values, strict=True))
        short = tuple(_bound(key, value, backward=position.backward) for key, value in pairs)
        if short == position.values:
            return position
        return replace(position, values=(*short, _digest_of(position.values)))

    def _completed(self, token: str, find: FindRow) -> str:
        """Restore the long values of a position, unless they have changed."""
        position = paging.decode(token)
        *bounds, digest = position.values or ("",)
        if len(bounds) != len(self.order.keys) or not str(digest).startswith(DIGEST_MARK):
            return token
        sort_values = dict(zip((key.name for key in self.order.keys), bounds, strict=True))
        collection, identifier = sort_values.get("collection", ""), sort_values.get("id")
        row = find(collection, identifier) if isinstance(collection, str) and isinstance(identifier, str) else None
        values = () if row is None else self.order.values(row)
        same = _digest_of(values) == digest
        return paging.encode(replace(position, values=values if same else tuple(bounds)))


def _bound(key: OrderKey, value: Any, *, backward: bool) -> Any:
    """Return a short value that lies before a long one in the direction of the page, so that no record is skipped."""
    upward = any(expression.descending == backward for expression in key.expressions)
    if key.name not in ("collection", "id") and isinstance(value, str) and len(value) > MAX_TEXT_BYTES // 4:
        text = value.encode()
        if len(text) > MAX_TEXT_BYTES:
            return text[:MAX_TEXT_BYTES].decode(errors="ignore") + ("" if upward else LAST_CODE_POINT)
    if isinstance(value, Decimal) and len(value.as_tuple().digits) > MAX_NUMBER_DIGITS:
        rounding = ROUND_FLOOR if upward else ROUND_CEILING
        return Context(prec=MAX_NUMBER_DIGITS, rounding=rounding).plus(value)
    return value


def _digest_of(values: Sequence[Any]) -> str:
    return DIGEST_MARK + _digest(json.dumps(values, default=str), 9)


def _digest(text: str, size: int) -> str:
    return base64.urlsafe_b64encode(hashlib.blake2b(text.encode(), digest_size=size).digest()).decode()


# --- One spelling for queries that mean the same ---------------------------------------------------------------------


def _names(names: Iterable[str] | None) -> Json:
    return None if names is None else sorted(set(names))


def _interval(interval: QueryInterval | None) -> Json:
    if interval is None:
        return None
    return [None if end is None else format_instant(end) for end in (interval.start, interval.end)]


def _canonical(value: Any) -> Json:
    """Return one form for all spellings of a number, and for all orders of the operands of AND and OR."""
    if isinstance(value, dict):
        members = {name: _canonical(member) for name, member in value.items()}
        if members.get("op") in ("and", "or") and isinstance(members.get("args"), list):
            members["args"] = sorted(members["args"], key=lambda part: json.dumps(part, sort_keys=True))
        return members
    if isinstance(value, list | tuple):
        return [_canonical(part) for part in value]
    return _number(value) if isinstance(value, int | float | Decimal) and not isinstance(value, bool) else value


def _number(value: float | Decimal) -> Json:
    """Return a number as the equal float, or if there is none, as text with all digits."""
    value = value.exact if isinstance(value, ExactFloat) else value
    try:
        nearest = float(value)
    except OverflowError:
        return hex(value) if isinstance(value, int) else str(value)
    if isinstance(value, float):
        return nearest
    if isinstance(value, int):
        return nearest if nearest == value else hex(value)
    if Decimal(repr(nearest)) == value:
        return nearest
    whole = value.is_finite() and value.adjusted() < MAX_INTEGER_EXPONENT and value == value.to_integral_value()
    return hex(int(value)) if whole else str(value.normalize())


MAX_INTEGER_EXPONENT = 400
"""Largest power of ten in a number that is compared as an integer."""
