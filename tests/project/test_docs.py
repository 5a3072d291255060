"""The code in the docs runs without changes."""

import inspect
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import ModuleType

import pytest

import plugins
import stacflask
from plugins import open_access
from stacflask.testing import Plug, Publish, an_item

DOCS = Path(__file__).parents[2] / "docs"


def blocks(document: str) -> dict[str, str]:
    """Return the Python blocks of a document by the file name in their first line."""
    found = re.findall(r"```python\n# (\S+\.py)\n(.*?)```", (DOCS / document).read_text(), re.DOTALL)
    return dict(found)


def test_embargo_from_the_docs_runs(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example plugin in docs/hooks.md passes its own test, and has less than thirty lines."""
    examples = blocks("hooks.md")
    source = examples["plugins/embargo.py"]
    assert len(source.strip().splitlines()) < 30
    (tmp_path / "embargo.py").write_text(source)
    monkeypatch.setattr(plugins, "__path__", [*plugins.__path__, str(tmp_path)])
    test = ModuleType("test_embargo")
    exec(compile(examples["test_embargo.py"], "docs/hooks.md", "exec"), vars(test))
    run = test.test_young_data_is_refused
    run(**{name: request.getfixturevalue(name) for name in inspect.signature(run).parameters})


VALUES = {name: kind for name, kind in vars(stacflask).items() if isinstance(kind, type) and is_dataclass(kind)}


@pytest.mark.parametrize("name", VALUES)
def test_each_value_is_documented_with_its_fields(name: str) -> None:
    """docs/values.md has a heading for each value of the plugin API, with its fields in their order."""
    parameters = ", ".join(field.name for field in fields(VALUES[name]))
    assert f"### `{name}({parameters})`" in (DOCS / "values.md").read_text()


def test_disk_from_the_docs_runs(plug: Plug, publish: Publish, tmp_path: Path) -> None:
    """The example store in docs/values.md delivers files and ranges, and no file outside of its root."""
    disk = ModuleType("disk")
    exec(compile(blocks("values.md")["plugins/disk.py"], "docs/values.md", "exec"), vars(disk))
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "data.txt").write_text("0123456789")
    (tmp_path / "secret.txt").write_text("secret")
    assets = {"data": {"href": "disk:data.txt"}, "out": {"href": "disk:../secret.txt"}, "none": {"href": "disk:none"}}
    publish(an_item(assets=assets))
    client = plug(open_access, disk.create_plugin({"STACFLASK_DISK_ROOT": str(tmp_path / "root")}))
    at = "/collections/collection/items/item/download"
    assert client.get(f"{at}/data").data == b"0123456789"
    assert client.get(f"{at}/data", headers={"Range": "bytes=2-4"}).data == b"234"
    assert [client.get(f"{at}/{key}").status_code for key in ("out", "none")] == [404, 404]
