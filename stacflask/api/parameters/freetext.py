"""``q``: search terms for the texts of items and collections.

Commas separate alternatives, each of which is a phrase with its spaces. Without commas, each word is an alternative.
Words can be joined by AND and OR, grouped by parentheses, quoted as a phrase, and begin with + (required) or
- (excluded). An alternative between commas that has any of these operators is read in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from stacflask.api.parameters.parse import expected
from stacflask.model.query import FreeText

MAX_CHARACTERS = 2_000
MAX_TERMS = 100
"""Words and phrases."""
MAX_DEPTH = 20
"""Nested parentheses."""

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<open>\()
      | (?P<close>\))
      | (?P<comma>,)
      | (?P<sign>(?<![^\s(,])[+-](?=[^\s),]))
      | "(?P<quoted>[^"]*)"
      | (?P<word>[^\s(),"]+)
      | (?P<end>\Z)
      | (?P<stray>")
    )""",
    re.VERBOSE,
)
_OPERATORS = frozenset({"AND", "OR"})
_ENDS = frozenset({"end", "close", "comma"})


def texts(value: Any) -> FreeText | None:
    """Read a string with operators, or an array of phrases, which are alternatives; None if there is no term."""
    if isinstance(value, str):
        return text(value)
    if not isinstance(value, list) or not all(isinstance(phrase, str) for phrase in value):
        raise expected("a string or an array of strings")
    return _any_of([phrase for phrase in map(_normalized, value) if phrase])


def text(value: str) -> FreeText | None:
    """Read a string with commas or operators; None if there is no term."""
    if len(value) > MAX_CHARACTERS:
        raise expected(f"at most {MAX_CHARACTERS} characters, got {len(value)}")
    parser = _Parser(list(_tokens(value)))
    return parser.parse() if value.strip() else None


def _any_of(found: Sequence[FreeText]) -> FreeText | None:
    if len(found) > MAX_TERMS:
        raise expected(f"at most {MAX_TERMS} terms, got {len(found)}")
    if len(found) < 2:  # noqa: PLR2004 - a single term has no alternative
        return found[0] if found else None
    return ("or", *found)


def _normalized(value: str) -> str:
    """Replace each run of white space by one space."""
    if "\0" in value or len(value) > MAX_CHARACTERS:
        raise expected(f"strings of at most {MAX_CHARACTERS} characters, without NUL")
    return " ".join(value.split())


class _Token(NamedTuple):
    kind: str
    text: str
    position: int


def _tokens(value: str) -> Iterator[_Token]:
    for match in _TOKEN.finditer(value):
        kind = match.lastgroup or "end"
        word, position = match[kind], match.start(kind) + 1
        yield _Token(word if kind == "word" and word in _OPERATORS else kind, _normalized(word), position)
        if kind == "end":
            return


@dataclass(slots=True)
class _Group:
    """Terms without an operator between them: required (+), excluded (-), and optional ones."""

    required: list[FreeText] = field(default_factory=list)
    excluded: list[FreeText] = field(default_factory=list)
    optional: list[FreeText] = field(default_factory=list)

    def combined(self) -> FreeText:
        """Return the terms as one expression. Optional terms have no effect if there are required ones."""
        needed = self.required or ([("or", *self.optional)] if len(self.optional) > 1 else self.optional)
        every = [*needed, *(("not", term) for term in self.excluded)]
        return every[0] if len(every) == 1 else ("and", *every)


class _Parser:
    """Parses tokens from left to right. Only parentheses recurse."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        if sum(token.kind in ("word", "quoted") for token in tokens) > MAX_TERMS:
            raise expected(f"at most {MAX_TERMS} words")

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _read(self) -> _Token:
        token = self._next
        self._at += token.kind != "end"
        return token

    def parse(self) -> FreeText | None:
        """Parse all tokens."""
        has_commas = any(token.kind == "comma" for token in self._tokens)
        found = []
        while self._next.kind != "end":
            if self._next.kind == "comma":
                self._read()
                continue
            found.append((self._phrase() if has_commas else None) or self._group())
            if self._next.kind == "close":
                raise self._error("an opening parenthesis before this one")
        return _any_of(found)

    def _phrase(self) -> FreeText | None:
        """Parse words up to a comma as a phrase; None if there are other tokens among them."""
        end = self._at
        while self._tokens[end].kind == "word":
            end += 1
        if self._tokens[end].kind not in ("comma", "end"):
            return None
        phrase = " ".join(token.text for token in self._tokens[self._at : end])
        self._at = end
        return phrase

    def _group(self) -> FreeText:
        """Parse terms up to the end, a comma or a closing parenthesis."""
        group = _Group()
        while True:
            sign = self._read().text if self._next.kind == "sign" else ""
            found = self._and_terms(sign)
            {"+": group.required, "-": group.excluded}.get(sign, group.optional).append(found)
            if self._next.kind == "OR" or (self._next.kind == "comma" and self._depth):
                self._read()
            elif self._next.kind in _ENDS:
                return group.combined()

    def _and_terms(self, sign: str) -> FreeText:
        """Parse one term, or several joined by AND. ``sign`` is the sign before the first term."""
        every = [self._term()]
        while self._next.kind == "AND":
            self._read()
            inner = self._read().text if self._next.kind == "sign" else ""
            every.append(("not", self._term()) if inner == "-" else self._term())
        if len(every) > 1 and sign:
            raise self._error("no + or - before words that are joined by AND. Put them in parentheses")
        return every[0] if len(every) == 1 else ("and", *every)

    def _term(self) -> FreeText:
        token = self._read()
        if token.kind == "word" or (token.kind == "quoted" and token.text):
            return token.text
        if token.kind != "open":
            raise self._error("a closing quote" if token.kind == "stray" else "a word", token)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(f"at most {MAX_DEPTH} nested parentheses", token)
        inner = self._group()
        self._depth -= 1
        if self._read().kind != "close":
            raise self._error("a closing parenthesis for this one", token)
        return inner

    def _error(self, expectation: str, token: _Token | None = None) -> ValueError:
        return ValueError(f"at character {(token or self._next).position}: expected {expectation}")
