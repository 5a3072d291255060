"""Free text: plain texts that must stand, or not, in what people read of an item or a collection. Case does not count.

Everything is LIKE with one text between two ``%``: nothing that is asked can make it slow but the number of rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import Grouping

from stacflask.catalog.cql2.compiler import strings
from stacflask.catalog.cql2.values.sql import Sql, constant, once
from stacflask.catalog.cql2.values.types import Text
from stacflask.catalog.database.tables import collections, items

if TYPE_CHECKING:
    from collections.abc import Callable

    from stacflask.model.query import FreeText

ITEM_MEMBERS = ("title", "description", "keywords", "constellation", "platform", "instruments", "mission")
"""Properties in which free text is looked for, beside the id."""
MOST_APART = 3
"""Texts for each of which an item's words are made anew."""


def in_items(text: FreeText) -> sa.ColumnElement[bool]:
    """Give the condition that an item has these texts.

    An index serves texts that all must be there, one by one. Each costs making the item's words anew: of many, the
    first few are looked for like this, and then all of them in words that are made once.
    """
    if count(text) <= MOST_APART:
        return _condition(text, lambda term: _in(item_words(), term))
    required = [term for term in text[1:] if isinstance(term, str)] if text[0] == "and" else []
    first = (_in(item_words(), term) for term in required[:MOST_APART])
    return sa.and_(*first, once(lambda words: _condition(text, lambda term: _in(words, term)), item_words()))


def _in(words: Sql, term: str) -> sa.ColumnElement[bool]:
    return words.like(strings.casei(Text(literal=_pattern(term))).sql)


def count(text: FreeText) -> int:
    """Count the texts in it."""
    return 1 if isinstance(text, str) else sum(map(count, text[1:]))


def item_words(table: Any = items) -> Sql:
    """Give an item's texts as one, in one case. An index on trigrams of just this expression serves the search."""
    texts = [sa.func.coalesce(table.c.properties[constant(name)].astext, constant("")) for name in ITEM_MEMBERS]
    whole: Sql = table.c.id
    for text in texts:
        whole = whole.op("||", return_type=sa.Text())(constant("\n")).op("||", return_type=sa.Text())(text)
    return strings.casei(Text(Grouping(whole))).sql


def in_collections(text: FreeText) -> sa.ColumnElement[bool]:
    """Give the condition that a collection has these texts."""
    return _condition(text, lambda term: collections.c.words.like(sa.literal(_pattern(term.casefold()))))


def _condition(text: FreeText, has: Callable[[str], Sql]) -> sa.ColumnElement[bool]:
    if isinstance(text, str):
        return has(text)
    joint, *inner = text
    conditions = [_condition(one, has) for one in inner]
    if joint == "not":
        return sa.not_(conditions[0])
    return sa.and_(*conditions) if joint == "and" else sa.or_(*conditions)


def _pattern(term: str) -> str:
    escaped = term.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
