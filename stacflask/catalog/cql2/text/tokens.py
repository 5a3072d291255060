"""The words of cql2-text (OGC 21-065r2, BNF)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from stacflask.catalog.cql2.values.limits import MAXIMUM_DIGITS
from stacflask.catalog.cql2.values.problems import Place
from stacflask.stac.numbers import read_decimal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stacflask.errors import BadQuery

_START = (
    ":_A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02ff\u0370-\u037d\u037f-\u1ffe\u200c-\u200d\u2070-\u218f"
    "\u2c00-\u2fef\u3001-\ud7ff\uf900-\ufdcf\ufdf0-\ufffd\U00010000-\U000effff"
)
_PART = _START + ".0-9\u0300-\u036f\u203f-\u2040"
_CHARACTERS = r"(?:[^'\\]|''|\\'|\\)*"
"""What stands in a string literal. By the standard's grammar \\' is a quote, and any other backslash is a backslash."""
_AFTER_STRING = r"\s*(?:\Z|[-+*/%^=<>(),]|(?i:AND|OR|NOT|LIKE|BETWEEN|IN|IS|DIV)\b)"
"""What can follow a literal. It decides between \\' as a quote, and a backslash in front of the quote that ends it."""


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
"""Words that no property can have for its name, unless it is quoted."""

_QUOTES = re.compile(r"(\\?)('+)")
_SHOWN = 30


class Token(NamedTuple):
    """One word: what it is, as it stands, and where. Symbols and keywords have themselves as ``kind``, in capitals."""

    kind: str
    text: str
    position: int

    @property
    def shown(self) -> str:
        """It, for a message."""
        return "the end" if self.kind == "end" else repr(self.text[:_SHOWN])


def split(text: str, *, escapes: bool = True) -> Iterator[Token]:
    """Take a text apart. The last token is its end, or ``other``: a character that makes no sense, and then the end.

    ``escapes``: whether a backslash in front of a quote can make it part of a string.
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
    """The words of a text, and how far it has been read."""

    def __init__(self, text: str, parameter: str, *, escapes: bool = True) -> None:
        self._parameter = parameter
        self._words = split(text, escapes=escapes)
        self._ahead: Token | None = None
        self.next = next(self._words)
        """The word that comes next."""

    def follows(self, kind: str) -> bool:
        """Whether the word after the next one is of this kind."""
        if self._ahead is None:
            self._ahead = next(self._words, self.next)
        return self._ahead.kind == kind

    def read(self) -> Token:
        """Give the next word, and go past it."""
        token = self.next
        self.next = self._ahead or next(self._words, token)
        self._ahead = None
        return token

    def accept(self, kind: str) -> bool:
        """Go past the next word if it is of this kind."""
        return self.next.kind == kind and bool(self.read())

    def take(self, kind: str, expected: str) -> Token:
        """Give the next word, which must be of this kind. Raises BadQuery."""
        if self.next.kind != kind:
            raise self.unlike(expected)
        return self.read()

    def listed(self, read: Callable[[], T], separator: str = "',' or ')'") -> list[T]:
        """Read one thing or more, with commas between, up to the closing bracket."""
        things = [read()]
        while self.accept(","):
            things.append(read())
        self.take(")", separator)
        return things

    def unlike(self, expected: str, token: Token | None = None) -> BadQuery:
        """Give the error that the next word, or this one, is not what was expected."""
        token = token or self.next
        if token.kind == "other" and token.text in "'\"":
            return self.refuse("expected a closing quote for the one that begins here", token)
        return self.refuse(f"expected {expected}, got {token.shown}", token)

    def refuse(self, message: str, token: Token | None = None) -> BadQuery:
        """Give an error at the next word, or at this one."""
        return Place(self._parameter, position=(token or self.next).position).refuse(message)


def number(digits: str) -> float:
    """Return a number with its exact value; whole numbers without point and exponent are integers."""
    if digits.isdecimal() and len(digits) <= MAXIMUM_DIGITS:
        return int(digits)
    return read_decimal(digits)


def string(quoted: str) -> str:
    r"""Return the value of a string literal: ``''`` and ``\'`` are a quote, any other backslash is a backslash."""
    return _QUOTES.sub(_unescaped, quoted[1:-1])


def _unescaped(run: re.Match[str]) -> str:
    """Return the quotes that a run of them stands for. If it is even, a backslash in front of it escapes none."""
    backslash, quotes = run.groups()
    halves, odd = divmod(len(quotes), 2)
    return "'" * (halves + 1) if odd else backslash + "'" * halves


def identifier(quoted: str) -> str:
    """Read a name in double quotes."""
    return quoted[1:-1].replace('""', '"')
