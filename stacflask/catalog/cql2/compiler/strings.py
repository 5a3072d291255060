"""Strings without regard to case and accents. Literals and stored strings are folded by the same functions."""

from __future__ import annotations

import re
import unicodedata

import sqlalchemy as sa

from stacflask.catalog.cql2.values import coercion
from stacflask.catalog.cql2.values.sql import CODE_POINTS, UNICODE, Sql, constant
from stacflask.catalog.cql2.values.types import Text, Value

_FINAL_SIGMA, _SIGMA = "\N{GREEK SMALL LETTER FINAL SIGMA}", "\N{GREEK SMALL LETTER SIGMA}"
_DOTLESS, _HELD = "\N{LATIN SMALL LETTER DOTLESS I}", "\ufdd0"
"""Its upper case is I, but it does not fold to i: a code point that is no character holds its place meanwhile."""
_MARKS = "[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
"""Accents, as combining characters. Others, such as the Japanese dakuten, tell letters apart."""
_COMPOSED: Sql = sa.literal_column("NFC")
_DECOMPOSED: Sql = sa.literal_column("NFD")


def casei(value: Value) -> Text:
    """Fold case as Unicode does in full: ß is ss, and a final sigma is a sigma."""
    held = sa.func.translate(coercion.text(value), constant(_DOTLESS), constant(_HELD), type_=sa.Text())
    # Upper case unites what folding does, but for letters that have only lower case partners: they are lowered before.
    folded = sa.func.lower(sa.func.upper(sa.func.lower(held.collate(UNICODE))))
    whole = sa.func.translate(folded, constant(_FINAL_SIGMA + _HELD), constant(_SIGMA + _DOTLESS), type_=sa.Text())
    return Text(whole.collate(CODE_POINTS), pattern=_pattern(value))


def accenti(value: Value) -> Text:
    """Take accents off."""
    apart = _normalized(coercion.text(value), _DECOMPOSED)
    bare = sa.func.regexp_replace(apart, constant(_MARKS), constant(""), constant("g"))
    pattern = _pattern(value)
    if pattern is not None:
        pattern = re.sub(_MARKS, "", unicodedata.normalize("NFD", pattern))
    return Text(_normalized(bare, _COMPOSED).collate(CODE_POINTS), pattern=pattern)


def _normalized(sql: Sql, form: Sql) -> Sql:
    return sa.func.normalize(sql, form, type_=sa.Text())


def _pattern(value: Value) -> str | None:
    return value.pattern if isinstance(value, Text) else None
