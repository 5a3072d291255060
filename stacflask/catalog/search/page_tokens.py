"""Page tokens: a position in an order, bound to the query and the order that it was made for.

The binding is a digest of all that decides which records are found and in which order. Limit, fields and the policy are
not part of it: they may change from page to page. The digest is not a secret and needs none, because a forged token is
nothing but another position; what a principal may see is decided anew on every page.

A token stays short, whatever a list is sorted by: of long sort values it has a bound, and a digest by which the values
are read again from the record at which the page ended.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

from stacflask.catalog.search import paging
from stacflask.errors import BadQuery
from stacflask.model.query import ItemQuery
from stacflask.stac.numbers import ExactFloat
from stacflask.stac.times import format_instant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from stacflask.catalog.search.ordering import Key, SortOrder
    from stacflask.catalog.search.paging import Position
    from stacflask.model.json_types import Json
    from stacflask.model.query import CollectionQuery, Interval

    FindRow = Callable[[str, str], Any]

BINDING_LENGTH = 12
LONGEST_TEXT = 64
"""Bytes of a string in a token."""
LONGEST_NUMBER = 40
"""Digits of a number in a token."""
DIGEST = "#"
"""The first character of a digest of values that are not in the token."""
LAST = "\U0010ffff"
"""The last code point: a prefix with it behind comes after all strings that begin so."""


@dataclass(frozen=True)
class PageTokens:
    """The tokens of one query."""

    query: ItemQuery | CollectionQuery
    order: SortOrder

    def write(self, position: Position | None) -> str | None:
        """Return the token of a position."""
        return None if position is None else self._binding + paging.encode(self._shortened(position))

    def read(self, find: FindRow) -> str | None:
        """Return what the query's token says of the position, as ``Order.position`` reads it.

        ``find`` returns the row of a collection and an id, if the query still finds it.
        Raises BadQuery: it is no token, or belongs to another query.
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
        """Return the digest of all that decides what is found, and in which order. Raises BadQuery."""
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
        """Put bounds in the place of long values: none that follow the position lie before them."""
        pairs = list(zip(self.order.keys, position.values, strict=True))
        short = tuple(_bound(key, value, backward=position.backward) for key, value in pairs)
        if short == position.values:
            return position
        return replace(position, values=(*short, _digest_of(position.values)))

    def _completed(self, token: str, find: FindRow) -> str:
        """Put the values that were too long back into a position, if they are what they were."""
        position = paging.decode(token)
        *bounds, digest = position.values or ("",)
        if len(bounds) != len(self.order.keys) or not str(digest).startswith(DIGEST):
            return token
        place = dict(zip((key.name for key in self.order.keys), bounds, strict=True))
        collection, identifier = place.get("collection", ""), place.get("id")
        row = find(collection, identifier) if isinstance(collection, str) and isinstance(identifier, str) else None
        values = () if row is None else self.order.values(row)
        same = _digest_of(values) == digest
        return paging.encode(replace(position, values=values if same else tuple(bounds)))


def _bound(key: Key, value: Any, *, backward: bool) -> Any:
    """Return a short value that lies before a long one in the direction of the page, so that nothing is left out."""
    upward = any(form.descending == backward for form in key.expressions)
    if key.name not in ("collection", "id") and isinstance(value, str) and len(value) > LONGEST_TEXT // 4:
        text = value.encode()
        if len(text) > LONGEST_TEXT:
            return text[:LONGEST_TEXT].decode(errors="ignore") + ("" if upward else LAST)
    if isinstance(value, Decimal) and len(value.as_tuple().digits) > LONGEST_NUMBER:
        rounding = ROUND_FLOOR if upward else ROUND_CEILING
        return Context(prec=LONGEST_NUMBER, rounding=rounding).plus(value)
    return value


def _digest_of(values: Sequence[Any]) -> str:
    return DIGEST + _digest(json.dumps(values, default=str), 9)


def _digest(text: str, size: int) -> str:
    return base64.urlsafe_b64encode(hashlib.blake2b(text.encode(), digest_size=size).digest()).decode()


# --- One spelling for queries that mean the same ---------------------------------------------------------------------


def _names(names: Iterable[str] | None) -> Json:
    return None if names is None else sorted(set(names))


def _interval(interval: Interval | None) -> Json:
    if interval is None:
        return None
    return [None if end is None else format_instant(end) for end in (interval.start, interval.end)]


def _canonical(value: Any) -> Json:
    """Return one form for all spellings of a value: of numbers, and of the order within AND and OR."""
    if isinstance(value, dict):
        members = {name: _canonical(member) for name, member in value.items()}
        if members.get("op") in ("and", "or") and isinstance(members.get("args"), list):
            members["args"] = sorted(members["args"], key=lambda part: json.dumps(part, sort_keys=True))
        return members
    if isinstance(value, list | tuple):
        return [_canonical(part) for part in value]
    return _number(value) if isinstance(value, int | float | Decimal) and not isinstance(value, bool) else value


def _number(value: float | Decimal) -> Json:
    """Return a number as the float that is equal to it, or else all of its digits."""
    value = value.exact if isinstance(value, ExactFloat) else value
    try:
        near = float(value)
    except OverflowError:
        return hex(value) if isinstance(value, int) else str(value)
    if isinstance(value, float):
        return near
    if isinstance(value, int):
        return near if near == value else hex(value)
    if Decimal(repr(near)) == value:
        return near
    whole = value.is_finite() and value.adjusted() < LARGEST_POWER and value == value.to_integral_value()
    return hex(int(value)) if whole else str(value.normalize())


LARGEST_POWER = 400
"""Of ten, in a whole number that is compared as one."""
