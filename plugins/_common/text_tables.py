"""Tables for a terminal. Control characters in cells are escaped, because they could control the terminal."""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import click


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, numbers: Sequence[str] = ()) -> None:
    """Print a table; the columns in ``numbers`` are aligned right."""
    for line in table_lines(columns, rows, numbers=numbers):
        click.echo(line)


def table_lines(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, numbers: Sequence[str] = ()) -> Iterator[str]:
    """Return the lines of a table, the header first."""
    cells = [[_escaped(str(cell)) for cell in row] for row in (columns, *rows)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    right = [column in numbers for column in columns]
    for row in cells:
        yield "  ".join(map(_padded, row, widths, right)).rstrip()


def _escaped(text: str) -> str:
    """Return a text with escapes for control characters and for characters that change the text direction."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def _padded(cell: str, width: int, right: bool) -> str:
    space = " " * (width - _width(cell))
    return space + cell if right else cell + space


def _width(text: str) -> int:
    """Return how many columns of a terminal a text occupies."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(map(bool, map(unicodedata.combining, text)))
