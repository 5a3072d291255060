"""`python -m dev.reference`: write the reference pages of the documentation from the code."""

from __future__ import annotations

import ast
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
GENERATED = "`make reference` writes this page from the code."


def wrapped(text: str, indent: str = "") -> str:
    """Return a paragraph or list item in lines of at most 120 characters, with the indent in further lines."""
    return textwrap.fill(
        " ".join(text.split()), 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def item(text: str) -> str:
    """Return a list item, with its line break."""
    return wrapped(f"- {text}", "  ") + "\n"


def sources() -> Iterator[tuple[Path, ast.Module]]:
    """Return the path and the syntax tree of each module of the application and the included plugins."""
    for folder in ("stacflask", "plugins"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT), ast.parse(path.read_text("utf-8"))
