"""Strings without case and accents. Literals and stored strings are folded by the same functions."""

import re
import unicodedata

import sqlalchemy as sa

from stacflask.catalog.cql2.values import coercion
from stacflask.catalog.cql2.values.sql import CODE_POINTS, UNICODE, Sql, constant
from stacflask.catalog.cql2.values.types import Text, Value

_FINAL_SIGMA, _SIGMA = "\N{GREEK SMALL LETTER FINAL SIGMA}", "\N{GREEK SMALL LETTER SIGMA}"
_DOTLESS, _PLACEHOLDER = "\N{LATIN SMALL LETTER DOTLESS I}", "\ufdd0"
"""The upper case of the dotless i is I, but it does not fold to i. A noncharacter replaces it during folding."""
_MARKS = "[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
"""Accents, as combining characters. Other marks, such as the Japanese dakuten, distinguish letters."""
_COMPOSED: Sql = sa.literal_column("NFC")
_DECOMPOSED: Sql = sa.literal_column("NFD")


def casei(value: Value) -> Text:
    """Fold case by Unicode's full case folding: ß is ss, and a final sigma is a sigma."""
    masked = sa.func.translate(coercion.text(value), constant(_DOTLESS), constant(_PLACEHOLDER), type_=sa.Text())
    # Upper case joins the same letters as case folding, except letters that only lower case joins: so lower them first.
    folded = sa.func.lower(sa.func.upper(sa.func.lower(masked.collate(UNICODE))))
    restored = sa.func.translate(
        folded, constant(_FINAL_SIGMA + _PLACEHOLDER), constant(_SIGMA + _DOTLESS), type_=sa.Text()
    )
    return Text(restored.collate(CODE_POINTS), pattern=_pattern(value))


def accenti(value: Value) -> Text:
    """Remove accents."""
    decomposed = _normalized(coercion.text(value), _DECOMPOSED)
    bare = sa.func.regexp_replace(decomposed, constant(_MARKS), constant(""), constant("g"))
    pattern = _pattern(value)
    if pattern is not None:
        pattern = re.sub(_MARKS, "", unicodedata.normalize("NFD", pattern))
    return Text(_normalized(bare, _COMPOSED).collate(CODE_POINTS), pattern=pattern)


def _normalized(sql: Sql, form: Sql) -> Sql:
    return sa.func.normalize(sql, form, type_=sa.Text())


def _pattern(value: Value) -> str | None:
    return value.pattern if isinstance(value, Text) else None
