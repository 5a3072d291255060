"""Free text: terms that must, or must not, occur in the readable texts of an item or a collection, in any case.

Each term becomes a LIKE with the term between two ``%``, so only the number of rows can make a search slow.
"""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import Grouping

from stacflask.catalog.cql2.compiler import strings
from stacflask.catalog.cql2.values.sql import Sql, constant, once
from stacflask.catalog.cql2.values.types import Text
from stacflask.catalog.database.tables import collections, items
from stacflask.model.query import FreeText

ITEM_MEMBERS = ("title", "description", "keywords", "constellation", "platform", "instruments", "mission")
"""Properties that are searched for free text, beside the id."""
MAX_SEPARATE_TERMS = 3
"""Terms that each compute an item's text again."""


def in_items(text: FreeText) -> sa.ColumnElement[bool]:
    """Return the condition that an item contains these terms.

    An index serves each required term alone, and each computes the item's text again. If there are many terms, only the
    first few required ones are tested like this. Then all terms are tested in a text that is computed once.
    """
    if count(text) <= MAX_SEPARATE_TERMS:
        return _condition(text, lambda term: _contains(item_words(), term))
    required = [term for term in text[1:] if isinstance(term, str)] if text[0] == "and" else []
    first = (_contains(item_words(), term) for term in required[:MAX_SEPARATE_TERMS])
    return sa.and_(*first, once(lambda words: _condition(text, lambda term: _contains(words, term)), item_words()))


def _contains(words: Sql, term: str) -> sa.ColumnElement[bool]:
    return words.like(strings.casei(Text(literal=_pattern(term))).sql)


def count(text: FreeText) -> int:
    """Return the number of terms."""
    return 1 if isinstance(text, str) else sum(map(count, text[1:]))


def item_words(table: Any = items) -> Sql:
    """Return an item's texts joined, in one case. An index on trigrams of exactly this expression serves the search."""
    texts = [sa.func.coalesce(table.c.properties[constant(name)].astext, constant("")) for name in ITEM_MEMBERS]
    joined: Sql = table.c.id
    for text in texts:
        joined = joined.op("||", return_type=sa.Text())(constant("\n")).op("||", return_type=sa.Text())(text)
    return strings.casei(Text(Grouping(joined))).sql


def in_collections(text: FreeText) -> sa.ColumnElement[bool]:
    """Return the condition that a collection contains these terms."""
    return _condition(text, lambda term: collections.c.search_text.like(sa.literal(_pattern(term.casefold()))))


def _condition(text: FreeText, has: Callable[[str], Sql]) -> sa.ColumnElement[bool]:
    if isinstance(text, str):
        return has(text)
    operator, *inner = text
    conditions = [_condition(one, has) for one in inner]
    if operator == "not":
        return sa.not_(conditions[0])
    return sa.and_(*conditions) if operator == "and" else sa.or_(*conditions)


def _pattern(term: str) -> str:
    escaped = term.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
