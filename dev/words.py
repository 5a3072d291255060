"""Find words that this project's prose does not use: ``python -m dev.words [path ...]``.

It reads comments, docstrings and other text of Python files, and Markdown outside of code. The reasons are in
CONTRIBUTING.md: standard terms, short sentences, no metaphors for parts of the program.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
RULED_OUT = (
    # No metaphors and no personification of parts of the program.
    *(
        "house",
        "houses",
        "room",
        "rooms",
        "floors",
        "door",
        "doors",
        "guest",
        "guests",
        "crew",
        "farewell",
        "patience",
    ),
    *("tells", "told", "tell", "hears", "heard", "minds", "speaks", "knows", "vouch", "vouches", "vouched"),
    *("lend", "lends", "lent", "loan", "errand", "riddle", "weigh", "weighs", "weighed"),
    # A subject is a noun: "a client that", "users who".
    *("whoever", "whom", "nobody's", "somebody's", "for who", "to who", "of who", "by who", "with who", "who asks"),
    # Standard words: again, requests, reads.
    *("anew", "asks", "asked", "looks at", "looked at", "hangs up", "goes on", "how it stands"),
    # Plain conjunctions and verbs: except, only, from which, correct, permanently.
    *("but that", "nothing but", "whence", "lest", "mend", "mends", "mended", "at hand", "for good", "in its place"),
)
FIRST_WORDS = (
    *("Give", "Gives", "Tell", "Tells", "Say", "Says", "Look", "Looks", "Hear", "Mind", "Know", "See that", "Ask"),
    *("Asks", "Who", "Whose", "Whoever", "What", "Where", "How"),
)
"""A docstring of a function begins with a verb: Return, Record, Check, Read, Raise. Others begin with a noun."""
FOLDERS = ("stacflask", "plugins", "tests", "dev", "bench", "docs")
FILES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md", "wsgi.py", "gunicorn.conf.py", "Makefile")

_ANY_WORD = "|".join(word.replace(" ", r"\s+") for word in RULED_OUT)
_WORDS = re.compile(rf"(?<![\w`/.-])({_ANY_WORD})(?![\w`(=.]\w|[\w`(=/-])", re.IGNORECASE)

_TEXT_TOKENS = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_EXPRESSION = re.compile(r"\{[^{}\n]*\}")
"""An expression in an f-string, which contains names of variables."""


def main() -> None:
    """Print each place with a word that is ruled out; fail if there is any."""
    found = [f"{path}:{line}: {word}" for path in _paths(sys.argv[1:]) for line, word in sorted(set(_in_file(path)))]
    print("\n".join(found))
    if found:
        sys.exit(f"{len(found)} places have words that CONTRIBUTING.md rules out")


def _paths(named: list[str]) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", *(named or [*FOLDERS, *FILES])], cwd=ROOT, capture_output=True, text=True, check=True
    )
    mine = Path(__file__).resolve().relative_to(ROOT)
    return [
        path
        for path in map(Path, listed.stdout.split())
        if path.suffix in (".py", ".md", ".sh", "") and path != mine and path.parts[:2] != ("stacflask", "schemas")
    ]


def _in_file(path: Path) -> Iterator[tuple[int, str]]:
    text = (ROOT / path).read_text()
    if path.suffix == ".py":
        yield from _in_python(text)
    else:
        yield from _in_text(_CODE.sub(_blanks, text))


def _in_python(source: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        # A string without a space is a name, a path or a key.
        if token.type in _TEXT_TOKENS and " " in token.string:
            yield from _in_text(_EXPRESSION.sub(_blanks, token.string), token.start[0])
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and (words := ast.get_docstring(node)):
            first = next((word for word in FIRST_WORDS if words.startswith(f"{word} ")), None)
            if first:
                yield node.body[0].lineno, f"docstring begins with {first}"


def _blanks(found: re.Match[str]) -> str:
    """Return as many blanks as the match has characters. Line ends are kept for the line numbers."""
    return re.sub(r"[^\n]", " ", found[0])


def _in_text(text: str, start: int = 1) -> Iterator[tuple[int, str]]:
    for found in _WORDS.finditer(text):
        yield start + text.count("\n", 0, found.start()), " ".join(found[0].lower().split())


if __name__ == "__main__":
    main()
