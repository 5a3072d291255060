"""The generated pages of the reference."""

from pathlib import Path

import pytest

from dev.reference import ROOT
from dev.reference.error_codes import MEANINGS, codes
from dev.reference.pages import PAGES


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_is_as_generated(path: Path) -> None:
    """The committed page is the one that `make reference` writes."""
    assert path.read_text("utf-8") == PAGES[path](), f"{path.relative_to(ROOT)} differs; run `make reference`"


def test_each_described_code_exists() -> None:
    """No error code is described that the code does not have."""
    assert MEANINGS.keys() - codes().keys() == set()
