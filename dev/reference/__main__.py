"""Write all reference pages, or with ``--check`` list those that differ from the code."""

from __future__ import annotations

import sys

from dev.reference import ROOT
from dev.reference.pages import PAGES


def main() -> None:
    """Write the pages that have changed."""
    texts = {path: page() for path, page in PAGES.items()}
    changed = {path: text for path, text in texts.items() if not path.exists() or path.read_text("utf-8") != text}
    for path, text in changed.items():
        print(path.relative_to(ROOT))
        if "--check" not in sys.argv:
            path.write_text(text, "utf-8")
    if changed and "--check" in sys.argv:
        raise SystemExit("These pages differ from the code. Run `make reference`.")


if __name__ == "__main__":
    main()
