"""The layers: docs/architecture.md lists which package may import which, and where a library is used."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
LARGEST_FOLDER = 15
"""Number of modules in a folder, at most."""


def table(heading: str) -> Iterator[list[str]]:
    """Yield the cells of each row of the first table below a heading."""
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
    """Yield every dotted name that a module imports, also inside functions."""
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
def test_a_module_imports_only_the_packages_of_its_row(path: str, tree: ast.Module) -> None:
    """A module imports only the packages in the row of its package in the table."""
    own = package_of(name_of(path))
    assert own is not None
    used = {package_of(name.removeprefix("stacflask.")) for name in imported(tree) if name.startswith("stacflask.")}
    allowed = PACKAGES[own] | {own, None}
    if "catalog.cql2" in allowed:  # The only package whose parts others import, too.
        allowed |= {package for package in PACKAGES if package.startswith("catalog.cql2.")}
    assert used - allowed == set()


def test_no_two_packages_import_each_other() -> None:
    """The table has no circle. Each package can be read with only those that it imports."""
    imports = {package: set(names) for package, names in PACKAGES.items()}
    while independent := [package for package, names in imports.items() if not names]:
        for package in independent:
            del imports[package]
        for names in imports.values():
            names.difference_update(independent)
    assert imports == {}


@pytest.mark.parametrize(("path", "tree"), SOURCES, ids=IDS)
def test_a_library_is_imported_only_in_its_packages(path: str, tree: ast.Module) -> None:
    """A library is imported only in the packages of its row: no SQL in the API, no HTTP in the catalogue."""
    package = name_of(path).split(".")[0]
    used = {name.split(".")[0] for name in imported(tree)} & LIBRARIES.keys()
    assert {library for library in used if package not in LIBRARIES[library]} == set()


def test_public_api_imports_no_framework() -> None:
    """``import stacflask`` imports neither Flask nor SQLAlchemy. Authors of plugins need neither."""
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
def test_a_folder_has_at_most_fifteen_modules(folder: str) -> None:
    """A folder fits on one screen: it has at most 15 modules."""
    counts = {path: len(list(path.glob("*.py"))) for path in [ROOT / folder, *(ROOT / folder).rglob("*/")]}
    assert {path.name: n for path, n in counts.items() if n > LARGEST_FOLDER} == {}


def test_every_package_has_a_docstring_with_a_starting_point() -> None:
    """The docstring of each package says what it is for, what it imports, and where to start reading."""
    for folder in [path.parent for path in (ROOT / "stacflask").rglob("__init__.py")][1:]:
        docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
        assert "Start with" in docstring, folder
