"""What the docs show runs as it stands there."""

import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

import plugins

DOCS = Path(__file__).parent.parent / "docs"


def blocks(document: str) -> dict[str, str]:
    """Give the Python blocks of a document by the file name in their first line."""
    found = re.findall(r"```python\n# (\S+\.py)\n(.*?)```", (DOCS / document).read_text(), re.DOTALL)
    return dict(found)


def test_embargo_from_the_docs_runs(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plugin written from nothing in docs/hooks.md passes its own test, and is under thirty lines."""
    shown = blocks("hooks.md")
    source = shown["plugins/embargo.py"]
    assert len(source.strip().splitlines()) < 30
    (tmp_path / "embargo.py").write_text(source)
    monkeypatch.setattr(plugins, "__path__", [*plugins.__path__, str(tmp_path)])
    test = ModuleType("test_embargo")
    exec(compile(shown["test_embargo.py"], "docs/hooks.md", "exec"), vars(test))
    run = test.test_young_data_is_refused
    run(**{name: request.getfixturevalue(name) for name in inspect.signature(run).parameters})
