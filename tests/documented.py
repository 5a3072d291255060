"""The blocks of code on the pages of the documentation."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
TUTORIALS, GUIDES = DOCS / "tutorials", DOCS / "how-to"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, *kinds: str) -> list[str]:
    """Return the blocks of a page that are of some kinds, such as ``sh``."""
    return [text for kind, text in BLOCK.findall(page.read_text()) if kind in kinds]


def write_files(page: Path, folder: Path) -> Path:
    """Write the files that a page prints, with their names in the first line, and return the folder."""
    for text in blocks(page, "toml", "python"):
        name, _, content = text.partition("\n")
        if name.startswith("# "):
            path = folder / name.removeprefix("# ")
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
    return folder
