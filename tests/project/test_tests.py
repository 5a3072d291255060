"""The tests themselves: each says in a sentence what it shows."""

import ast
from pathlib import Path

import pytest

TESTS = sorted(Path(__file__).parents[1].rglob("test_*.py"))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.relative_to(TESTS[0].parent.parent).as_posix())
def test_each_test_has_its_sentence(path: Path) -> None:
    """A test without a docstring cannot be told from one that shows nothing."""
    tree = ast.parse(path.read_text())
    tests = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    assert [test.name for test in tests if not ast.get_docstring(test)] == []
