"""The reference pages are complete."""

import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import ModuleType

import pytest

import stacflask
import stacflask.testing

DOCS = Path(__file__).parents[2] / "docs"
VALUES = {name: kind for name, kind in vars(stacflask).items() if isinstance(kind, type) and is_dataclass(kind)}


@pytest.mark.parametrize("name", VALUES)
def test_each_value_is_documented_with_its_fields(name: str) -> None:
    """docs/values.md has a heading for each value of the plugin API, with its fields in their order."""
    parameters = ", ".join(field.name for field in fields(VALUES[name]))
    assert f"### `{name}({parameters})`" in (DOCS / "values.md").read_text()


@pytest.mark.parametrize("module", [stacflask, stacflask.testing], ids=["stacflask", "stacflask.testing"])
def test_each_public_name_is_listed(module: ModuleType) -> None:
    """docs/public-api.md lists exactly the names that a public module exports."""
    section = (DOCS / "public-api.md").read_text().partition(f"## Names in `{module.__name__}`\n")[2]
    listed = re.findall(r"`(\w+)`", section.partition("\n[")[0])
    assert sorted(listed) == sorted(module.__all__)


PATH = re.compile(r"`((?:stacflask|plugins|tests|alembic|docs)/[\w./]*)`")


@pytest.mark.parametrize("document", ["architecture.md", "security.md", "tracing.md", "runbook.md"])
def test_each_path_in_a_document_exists(document: str) -> None:
    """Modules that the explanations name exist."""
    paths = PATH.findall((DOCS / document).read_text())
    assert [path for path in paths if not (DOCS.parent / path).exists()] == []
