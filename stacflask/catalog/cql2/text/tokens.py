"""Split cql2-text into tokens (OGC 21-065r2, BNF)."""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from stacflask.catalog.cql2.values.limits import MAXIMUM_DIGITS
from stacflask.catalog.cql2.values.problems import NodeLocation
from stacflask.errors import BadQuery
from stacflask.stac.numbers import read_decimal

_START = (
    ":_A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02ff\u0370-\u037d\u037f-\u1ffe\u200c-\u200d\u2070-\u218f"
    "\u2c00-\u2fef\u3001-\ud7ff\uf900-\ufdcf\ufdf0-\ufffd\U00010000-\U000effff"
)
_PART = _START + ".0-9\u0300-\u036f\u203f-\u2040"
_CHARACTERS = r"(?:[^'\\]|''|\\'|\\)*"
"""The characters of a string literal. In the grammar, \\' is a quote, and any other backslash is a backslash."""
_AFTER_STRING = r"\s*(?:\Z|[-+*/%^=<>(),]|(?i:AND|OR|NOT|LIKE|BETWEEN|IN|IS|DIV)\b)"
"""Tokens that can follow a literal. They show whether \\' is a quote, or a backslash and the end of the literal."""


def _pattern(string: str) -> re.Pattern[str]:
    return re.compile(
        rf"""\s*(?:
        (?P<name>[{_START}][{_PART}]*)
      | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
      | (?P<symbol><=|>=|<>|[-+*/%^=<>(),])
      | (?P<string>{string})
      | (?P<quoted>"(?:[^"]|"")+")
      | (?P<end>\Z)
      | (?P<other>.)
    )""",
        re.VERBOSE | re.DOTALL,
    )


_TOKEN = _pattern(rf"'{_CHARACTERS}'(?={_AFTER_STRING})|'{_CHARACTERS}'")
_TOKEN_WITHOUT_ESCAPES = _pattern("'(?:[^']|'')*'")
T = TypeVar("T")
KEYWORDS = frozenset({"AND", "OR", "NOT", "LIKE", "BETWEEN", "IN", "IS", "NULL", "DIV", "TRUE", "FALSE"})
"""Words that are property names only in double quotes."""

_QUOTES = re.compile(r"(\\?)('+)")
_MAX_QUOTED_LENGTH = 30


class Token(NamedTuple):
    """A token: its kind, text and position. The ``kind`` of a symbol or keyword is its text in capitals."""

    kind: str
    text: str
    position: int

    @property
    def description(self) -> str:
        """The token in messages."""
        return "the end" if self.kind == "end" else repr(self.text[:_MAX_QUOTED_LENGTH])


def split(text: str, *, escapes: bool = True) -> Iterator[Token]:
    """Split a text into tokens. The last token is the end. If a character is not valid, ``other`` and the end follow.

    ``escapes``: whether a backslash can escape a quote in a string.
    """
    for match in (_TOKEN if escapes else _TOKEN_WITHOUT_ESCAPES).finditer(text):
        kind = match.lastgroup or "end"
        word = match[kind]
        capitals = word.upper()
        if kind == "symbol" or (kind == "name" and capitals in KEYWORDS):
            kind = capitals
        yield Token(kind, word, match.start(match.lastgroup or "end"))
        if kind == "other":
            yield Token("end", "", len(text))
            return


class Tokens:
    """The tokens of a text and the current position."""

    def __init__(self, text: str, parameter: str, *, escapes: bool = True) -> None:
        self._parameter = parameter
        self._tokens = split(text, escapes=escapes)
        self._ahead: Token | None = None
        self.next = next(self._tokens)
        """The next token."""

    def follows(self, kind: str) -> bool:
        """Whether the token after the next one is of this kind."""
        if self._ahead is None:
            self._ahead = next(self._tokens, self.next)
        return self._ahead.kind == kind

    def read(self) -> Token:
        """Return the next token and advance."""
        token = self.next
        self.next = self._ahead or next(self._tokens, token)
        self._ahead = None
        return token

    def accept(self, kind: str) -> bool:
        """Advance if the next token is of this kind; return whether it is."""
        return self.next.kind == kind and bool(self.read())

    def take(self, kind: str, expected: str) -> Token:
        """Return the next token and advance. Raises BadQuery if it is not of this kind."""
        if self.next.kind != kind:
            raise self.unexpected(expected)
        return self.read()

    def listed(self, read: Callable[[], T], separator: str = "',' or ')'") -> list[T]:
        """Parse one or more elements, separated by commas, up to the closing bracket."""
        elements = [read()]
        while self.accept(","):
            elements.append(read())
        self.take(")", separator)
        return elements

    def unexpected(self, expected: str, token: Token | None = None) -> BadQuery:
        """Return the error for the next token, or for ``token``, if another one was expected."""
        token = token or self.next
        if token.kind == "other" and token.text in "'\"":
            return self.error("expected a closing quote for the one that begins here", token)
        return self.error(f"expected {expected}, got {token.description}", token)

    def error(self, message: str, token: Token | None = None) -> BadQuery:
        """Return an error at the next token, or at ``token``."""
        return NodeLocation(self._parameter, position=(token or self.next).position).error(message)


def number(digits: str) -> float:
    """Return a number with its exact value. A number without a point and an exponent is an integer."""
    if digits.isdecimal() and len(digits) <= MAXIMUM_DIGITS:
        return int(digits)
    return read_decimal(digits)


def string(quoted: str) -> str:
    r"""Return the value of a string literal: ``''`` and ``\'`` are a quote, any other backslash is a backslash."""
    return _QUOTES.sub(_unescaped, quoted[1:-1])


def _unescaped(match: re.Match[str]) -> str:
    """Return the value of consecutive quotes. If their number is even, a backslash in front of them escapes none."""
    backslash, quotes = match.groups()
    halves, odd = divmod(len(quotes), 2)
    return "'" * (halves + 1) if odd else backslash + "'" * halves


def identifier(quoted: str) -> str:
    """Return the value of a name in double quotes."""
    return quoted[1:-1].replace('""', '"')
