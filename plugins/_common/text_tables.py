"""Tables for a terminal: columns are as wide as their widest cell, and no cell can break a line or steer a terminal."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


def show(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, numbers: Sequence[str] = ()) -> None:
    """Print a table; the columns in ``numbers`` are aligned at the right."""
    for line in lines(columns, rows, numbers=numbers):
        click.echo(line)


def lines(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, numbers: Sequence[str] = ()) -> Iterator[str]:
    """Return the lines of a table, its head first."""
    cells = [[plain(str(cell)) for cell in row] for row in (columns, *rows)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    right = [column in numbers for column in columns]
    for row in cells:
        yield "  ".join(map(_padded, row, widths, right)).rstrip()


def plain(text: str) -> str:
    """Write control characters, and those that change a text's direction, as escapes."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def _padded(cell: str, width: int, right: bool) -> str:
    space = " " * (width - _width(cell))
    return space + cell if right else cell + space


def _width(text: str) -> int:
    """Return how many places a text takes in a terminal."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(map(bool, map(unicodedata.combining, text)))
