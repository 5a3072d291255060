"""The distribution: a wheel and a source archive are built, and the wheel works in an environment outside the clone."""

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import minio
import pytest
import requests

import stacflask
from dev.ports import free_port
from dev.run import environ_for
from dev.stack import Stack
from stacflask.testing import a_collection, an_item
from tests.conftest import ROOT
from tests.databases import drop
from tests.walk.conftest import Server, administer, wait_until_ready


@dataclass(frozen=True)
class Built:
    """A wheel and a source archive."""

    wheel: Path
    source: Path


def build(folder: Path, target: Path, *kinds: str) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(target), *(f"-t{kind}" for kind in kinds)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def names_in(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build both from the clone."""
    target = tmp_path_factory.mktemp("dist")
    build(ROOT, target, "wheel", "sdist")
    (wheel,), (source,) = target.glob("*.whl"), target.glob("*.tar.gz")
    return Built(wheel, source)


@dataclass(frozen=True)
class Installed:
    """A virtual environment outside the clone with the wheel, and the environment variables of its server."""

    folder: Path
    environ: dict[str, str] = field(repr=False)

    @property
    def program(self) -> str:
        """Path of the command."""
        return str(self.folder / "bin" / "stacflask")

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run the command in a folder outside the clone."""
        environ = {**self.environ, **more}
        command = [self.program, *arguments]
        return subprocess.run(command, cwd=self.folder, env=environ, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def installed(built: Built, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """Install the wheel. The packages that it needs are those of the environment that runs the tests."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    # Python does not read the .pth files of a folder that is added in this way, so that the clone is not importable.
    paths = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
    (Path(paths["purelib"]) / "needed.pth").write_text(sysconfig.get_path("purelib"))
    install = ["install", "-q", "--no-index", "--no-deps", str(built.wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", python, *install], check=True, capture_output=True)
    base, _, _ = stack.database_url.rpartition("/")
    administer(stack, "CREATE DATABASE installed")
    stores = environ_for(stack, 0)["STACFLASK_S3_STORES"]
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("STACFLASK_", "PYTHON"))}
    settings = {
        "DATABASE_URL": f"{base}/installed",
        "STACFLASK_PLUGINS": "open_access,s3",
        "STACFLASK_S3_STORES": stores,
    }
    yield Installed(folder, {**environ, **settings})
    drop(stack.database_url, "installed")


def test_the_wheel_has_only_the_names_of_the_project(built: Built) -> None:
    """A wheel installs no top-level module such as ``plugins``, ``alembic`` or ``tests``."""
    assert built.wheel.name == f"stacflask-{stacflask.__version__}-py3-none-any.whl"
    top = {name.split("/")[0] for name in names_in(built.wheel)}
    assert {name for name in top if not name.endswith(".dist-info")} == {"stacflask", "stacflask_plugins"}


def test_the_source_archive_is_complete(built: Built, tmp_path: Path) -> None:
    """The archive has what `make test` needs, and the wheel that it builds has the same files."""
    with tarfile.open(built.source) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    needed = {path.name for path in ROOT.iterdir() if path.is_file() or (path / "__init__.py").exists()}
    needed = {name for name in needed if not name.startswith(".")} | {".ci", "alembic", "docs", "tests"}
    assert needed - {path.name for path in folder.iterdir()} == set()
    assert (folder / "tests" / "conftest.py").exists()
    build(folder, tmp_path / "second", "wheel")
    (second,) = (tmp_path / "second").iterdir()
    assert names_in(second) == names_in(built.wheel)


def test_every_shipped_plugin_is_installed(installed: Installed) -> None:
    """Each plugin of the clone can be imported by its name from the wheel."""
    names = ",".join(sorted(path.stem for path in (ROOT / "plugins").glob("[!_]*")))
    done = installed.run("settings", STACFLASK_PLUGINS=names)
    assert done.returncode == 0, done.stderr
    assert "STACFLASK_QUOTA_CACHE" in done.stdout


def test_an_installed_server_delivers_an_asset(
    installed: Installed, stack: Stack, s3: minio.Minio, tmp_path: Path
) -> None:
    """From the wheel, ``migrate``, ``load``, ``check`` and ``serve`` work, and an asset of a store is downloaded."""
    key = "collection/data.txt"
    path = tmp_path / "data.txt"
    path.write_text("bytes")
    s3.fput_object(stack.bucket, key, str(path))
    item = an_item(assets={"data": {"href": f"s3://{stack.bucket}/{key}"}})
    (tmp_path / "items.ndjson").write_text("\n".join(map(json.dumps, (a_collection(), item))))
    for command in (["migrate"], ["load", str(tmp_path / "items.ndjson")], ["check"]):
        done = installed.run(*command)
        assert (done.returncode, "warning" in done.stderr) == (0, False), done.stdout + done.stderr
    url = f"http://127.0.0.1:{free_port()}"
    with (tmp_path / "log").open("wb") as log:
        command = [installed.program, "serve", f"--bind={url.removeprefix('http://')}"]
        process = subprocess.Popen(command, cwd=tmp_path, env=installed.environ, stdout=log, stderr=log)
    try:
        wait_until_ready(Server(url, installed.environ, process, tmp_path / "log"))
        data = requests.get(f"{url}/collections/collection/items/item/download/data", timeout=30)
        page = requests.get(f"{url}/api.html", timeout=30)
    finally:
        process.terminate()
        process.wait(40)
    assert (data.text, data.history[0].is_redirect, page.status_code) == ("bytes", True, 200)
