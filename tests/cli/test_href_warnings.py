"""Hrefs that no plugin resolves: loads and ``check`` warn about them, with counts by scheme."""

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from stacflask import Location, Missing, hookimpl
from stacflask.catalog.database.engine import Database
from stacflask.cli import run
from stacflask.testing import a_collection, an_item

Run = Callable[..., tuple[int, str]]
PLUGIN = "a_plugin.with_a_store"
HREFS = {
    "known": "s3://known/a.tif",
    "known too": "s3://known/b/c.tif",
    "unknown": "s3://unknown/b/c.tif",
    "google": "gs://bucket/a.tif",
    "gdal": "/vsigs/bucket/a.tif",
    "missing": "disk:2024/gone.tif",
    "web": "https://example.org/a.tif",
    "ftp": "ftp://ftp.example.org/a.tif",
    "ftp with a password": "ftp://jane:secret@ftp.example.org/a.tif",
    "relative": "./a.tif",
    "absolute": "/data/a.tif",
}
WARNINGS = [
    "2 hrefs with the scheme /vsigs: no plugin resolves them, such as /vsigs/bucket/a.tif.",
    "2 hrefs with the scheme ftp: no plugin resolves them, such as ftp://jane:***@ftp.example.org/a.tif.",
    "2 hrefs with the scheme gs: no plugin resolves them, such as gs://bucket/a.tif.",
    "2 hrefs with the scheme s3: no plugin resolves them, such as s3://unknown/b/c.tif.",
    "4 hrefs without a scheme, such as ./a.tif.",
]


@pytest.fixture
def stacflask(
    database: Database,
    database_url: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Return a function that runs a command with a plugin for a store, and returns exit code and warnings."""
    module = types.ModuleType(PLUGIN)

    @hookimpl
    def resolve(asset: Any) -> Location | None:
        if asset.href.startswith("disk:"):
            raise Missing("It is not there.")
        return Location("test", asset.href) if asset.href.startswith("s3://known/") else None

    module.resolve = resolve  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, PLUGIN, module)
    monkeypatch.setitem(sys.modules, "a_plugin", types.ModuleType("a_plugin"))

    def stacflask(*arguments: str, **environ: str) -> tuple[int, str]:
        capfd.readouterr()
        code = run(arguments, {"DATABASE_URL": database_url, "STACFLASK_PLUGINS": PLUGIN, **environ})
        return code, capfd.readouterr().err

    return stacflask


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Write a collection and an item with the same assets."""
    assets = {key: {"href": href} for key, href in HREFS.items()}
    path = tmp_path / "catalogue.ndjson"
    path.write_bytes(orjson.dumps(a_collection(assets=assets)) + b"\n" + orjson.dumps(an_item(assets=assets)))
    return str(path)


@pytest.mark.parametrize("workers", ["0", "2"])
def test_load_warns_about_unresolved_hrefs(stacflask: Run, file: str, workers: str) -> None:
    """Unresolved hrefs of a load are counted by scheme, with an example. Resolved and public ones are not counted."""
    code, warnings = stacflask("load", file, "--quiet", "--workers", workers)
    assert code == 0
    assert [line.removeprefix("warning: ").partition(". ")[0] + "." for line in warnings.splitlines()] == WARNINGS


@pytest.mark.parametrize("options", [(), ("--every-item",)])
def test_check_warns_about_unresolved_hrefs(stacflask: Run, file: str, options: tuple[str, ...]) -> None:
    """Unresolved hrefs in the catalogue are counted by scheme, with an example."""
    stacflask("load", file, "--quiet")
    code, warnings = stacflask("check", *options)
    assert code == 0
    assert [line.removeprefix("warning: ").partition(". ")[0] + "." for line in warnings.splitlines()] == WARNINGS


def test_public_hrefs_need_no_plugin(stacflask: Run, file: str) -> None:
    """Hrefs in STACFLASK_PUBLIC_HREFS cause no warning."""
    _, warnings = stacflask("load", file, "--quiet", STACFLASK_PUBLIC_HREFS="ftp://,gs://,s3://unknown/,/vsigs/")
    assert [line for line in warnings.splitlines() if "scheme " in line and "without" not in line] == []


def test_a_load_succeeds_with_a_plugin_that_cannot_be_loaded(stacflask: Run, file: str) -> None:
    """The documents are loaded, and a warning says that the hrefs were not checked and plugins not called."""
    code, warnings = stacflask("load", file, "--quiet", STACFLASK_PLUGINS="nosuch.plugin")
    assert code == 0
    assert "warning: hrefs are not checked: STACFLASK_PLUGINS: " in warnings
    assert "warning: plugins do not get the changes: STACFLASK_PLUGINS: " in warnings
