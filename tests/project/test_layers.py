"""Imports run one way: docs/architecture.md lists which package may import which, and where a library is used."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
LARGEST_FOLDER = 15
"""Files."""


def table(heading: str) -> Iterator[list[str]]:
    """Give the cells of the rows of the first table below a heading."""
    _, _, text = PAGE.partition(f"## {heading}\n")
    for line in text.partition("\n## ")[0].splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def quoted(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def packages() -> Iterator[tuple[str, set[str]]]:
    """Yield each package of the page's list with the packages that it may import."""
    _, _, text = PAGE.partition("## Packages\n")
    for entry in text.partition("\n## ")[0].partition("\n\n`")[0].split("\n- ")[1:]:
        name, _, rest = entry.partition(": ")
        yield name.strip("`"), quoted(rest.partition("May import: ")[2])


PACKAGES = dict(packages())
LIBRARIES = {quoted(row[0]).pop(): quoted(row[-1]) for row in table("Libraries")}


def modules(folder: str) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((ROOT / folder).rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def imported(tree: ast.Module) -> Iterator[str]:
    """Give every dotted name that a module imports, those inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def package_of(name: str) -> str | None:
    """Return the row of a dotted name below ``stacflask``: its own, or that of the nearest package above it."""
    parts = name.split(".")
    return next((row for n in range(len(parts), 0, -1) if (row := ".".join(parts[:n])) in PACKAGES), None)


def name_of(path: str) -> str:
    return path.removeprefix("stacflask/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


SOURCES = [(path, tree) for path, tree in modules("stacflask") if path != "stacflask/__init__.py"]
IDS = [path for path, _ in SOURCES]


@pytest.mark.parametrize(("path", "tree"), SOURCES, ids=IDS)
def test_every_import_runs_down(path: str, tree: ast.Module) -> None:
    """A module imports only the packages that the table has in the row of its own package."""
    own = package_of(name_of(path))
    assert own is not None
    used = {package_of(name.removeprefix("stacflask.")) for name in imported(tree) if name.startswith("stacflask.")}
    # A package's modules may use those of packages that a row names by their parent: cql2 stands for its parts.
    allowed = PACKAGES[own] | {own} | {None}
    assert {one for one in used if one not in allowed and (one or "").rpartition(".")[0] not in PACKAGES[own]} == set()


def test_no_two_packages_import_each_other() -> None:
    """The table has no circle, so that each package can be read with those below it alone."""
    below = {package: set(may) for package, may in PACKAGES.items()}
    while ready := [package for package, may in below.items() if not may]:
        for package in ready:
            del below[package]
        for may in below.values():
            may.difference_update(ready)
    assert below == {}


@pytest.mark.parametrize(("path", "tree"), SOURCES, ids=IDS)
def test_libraries_keep_to_their_packages(path: str, tree: ast.Module) -> None:
    """A library is imported only where the table has it: no SQL in the API, no HTTP in the catalogue."""
    package = name_of(path).split(".")[0]
    used = {name.split(".")[0] for name in imported(tree)} & LIBRARIES.keys()
    assert {library for library in used if package not in LIBRARIES[library]} == set()


def test_public_api_imports_no_framework() -> None:
    """``import stacflask`` brings neither Flask nor SQLAlchemy: authors of plugins need neither."""
    tree = ast.parse((ROOT / "stacflask/__init__.py").read_text())
    assert {name.split(".")[1] for name in imported(tree)} <= {
        "bulkhead",
        "errors",
        "model",
        "hookspecs",
        "disposition",
    }


@pytest.mark.parametrize("path", [path for path, _ in modules("plugins")])
def test_plugins_import_only_the_public_api(path: str) -> None:
    """A shipped plugin imports ``stacflask`` and none of its modules, as plugins of other authors do."""
    tree = ast.parse((ROOT / path).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            assert node.module == "stacflask" or not node.module.startswith("stacflask.")
        if isinstance(node, ast.Import):
            assert not any(alias.name.startswith("stacflask.") for alias in node.names)


@pytest.mark.parametrize("folder", ["stacflask", "plugins", "tests", "bench"])
def test_folders_are_of_one_screen(folder: str) -> None:
    """A folder holds at most 15 modules."""
    counts = {path: len(list(path.glob("*.py"))) for path in [ROOT / folder, *(ROOT / folder).rglob("*/")]}
    assert {path.name: n for path, n in counts.items() if n > LARGEST_FOLDER} == {}


def test_every_package_says_what_it_is_for() -> None:
    """Each package of the application has a docstring that says what it is for, what it imports, where to start."""
    for folder in [path.parent for path in (ROOT / "stacflask").rglob("__init__.py")][1:]:
        words = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
        assert "Start with" in words, folder
