"""``q``: words to be found in the texts of items and collections.

Commas stand between alternatives, each of which is plain text, spaces included. Without any, words are alternatives by
themselves; they can be joined by AND and OR, set in brackets, quoted to be one, and begin with + (must be there) or
- (must not). An alternative between commas that has any of these is read so, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from stacflask.api.parameters.parse import expected

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stacflask.model.query import FreeText

LONGEST = 2_000
"""Characters."""
MOST = 100
"""Words and quoted texts."""
DEEPEST = 20
"""Brackets within each other."""

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
_JOINTS = frozenset({"AND", "OR"})
_ENDS = frozenset({"end", "close", "comma"})


def texts(value: Any) -> FreeText | None:
    """Read one text as GET has it, or an array of plain ones, each of which may be found. Nothing asks for nothing."""
    if isinstance(value, str):
        return text(value)
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise expected("a text or an array of texts")
    return _any_of([one for one in map(_plain, value) if one])


def text(value: str) -> FreeText | None:
    """Read a text with commas or operators between its words."""
    if len(value) > LONGEST:
        raise expected(f"at most {LONGEST} characters")
    reader = _Reader(list(_tokens(value)))
    return reader.whole() if value.strip() else None


def _any_of(found: Sequence[FreeText]) -> FreeText | None:
    if len(found) > MOST:
        raise expected(f"at most {MOST} texts")
    if len(found) < 2:  # noqa: PLR2004 - of one, there is no alternative
        return found[0] if found else None
    return ("or", *found)


def _plain(value: str) -> str:
    """Take any white space between words as one space."""
    if "\0" in value or len(value) > LONGEST:
        raise expected(f"texts of at most {LONGEST} characters, without NUL")
    return " ".join(value.split())


class _Token(NamedTuple):
    kind: str
    text: str
    position: int


def _tokens(value: str) -> Iterator[_Token]:
    for match in _TOKEN.finditer(value):
        kind = match.lastgroup or "end"
        word, position = match[kind], match.start(kind) + 1
        yield _Token(word if kind == "word" and word in _JOINTS else kind, _plain(word), position)
        if kind == "end":
            return


@dataclass(slots=True)
class _Group:
    """What stands side by side: what must be there, what must not, and of what else any will do."""

    required: list[FreeText] = field(default_factory=list)
    excluded: list[FreeText] = field(default_factory=list)
    others: list[FreeText] = field(default_factory=list)

    def whole(self) -> FreeText:
        """Give it as one: what may be there decides nothing where something must be."""
        wanted = self.required or ([("or", *self.others)] if len(self.others) > 1 else self.others)
        every = [*wanted, *(("not", one) for one in self.excluded)]
        return every[0] if len(every) == 1 else ("and", *every)


class _Reader:
    """Reads tokens from left to right; only brackets lead deeper."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        if sum(token.kind in ("word", "quoted") for token in tokens) > MOST:
            raise expected(f"at most {MOST} words")

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _read(self) -> _Token:
        token = self._next
        self._at += token.kind != "end"
        return token

    def whole(self) -> FreeText | None:
        """Read all there is."""
        lists = any(token.kind == "comma" for token in self._tokens)
        found = []
        while self._next.kind != "end":
            if self._next.kind == "comma":
                self._read()
                continue
            found.append((self._words() if lists else None) or self._group())
            if self._next.kind == "close":
                raise self._unlike("an opening bracket before this one")
        return _any_of(found)

    def _words(self) -> FreeText | None:
        """Read words up to a comma as plain text; None if there is anything else among them."""
        end = self._at
        while self._tokens[end].kind == "word":
            end += 1
        if self._tokens[end].kind not in ("comma", "end"):
            return None
        plain = " ".join(token.text for token in self._tokens[self._at : end])
        self._at = end
        return plain

    def _group(self) -> FreeText:
        """Read what stands side by side up to the end, a comma or a closing bracket."""
        group = _Group()
        while True:
            sign = self._read().text if self._next.kind == "sign" else ""
            found = self._joined(sign)
            {"+": group.required, "-": group.excluded}.get(sign, group.others).append(found)
            if self._next.kind == "OR" or (self._next.kind == "comma" and self._depth):
                self._read()
            elif self._next.kind in _ENDS:
                return group.whole()

    def _joined(self, sign: str) -> FreeText:
        """Read one thing, or several with AND between. A sign is that of the first alone."""
        every = [self._one()]
        while self._next.kind == "AND":
            self._read()
            inner = self._read().text if self._next.kind == "sign" else ""
            every.append(("not", self._one()) if inner == "-" else self._one())
        if len(every) > 1 and sign:
            raise self._unlike("no + or - before words that are joined by AND; use brackets")
        return every[0] if len(every) == 1 else ("and", *every)

    def _one(self) -> FreeText:
        token = self._read()
        if token.kind == "word" or (token.kind == "quoted" and token.text):
            return token.text
        if token.kind != "open":
            raise self._unlike("a closing quote" if token.kind == "stray" else "a word", token)
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._unlike(f"at most {DEEPEST} brackets within each other", token)
        inner = self._group()
        self._depth -= 1
        if self._read().kind != "close":
            raise self._unlike("a closing bracket for the one that opens here", token)
        return inner

    def _unlike(self, what: str, token: _Token | None = None) -> ValueError:
        return ValueError(f"at character {(token or self._next).position}: expected {what}")
