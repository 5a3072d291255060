"""Who may import whom: every arrow runs down, and third parties keep to their rooms."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FACE = {"stacflask"}
GROUND = {"values", "errors", "settings", "disposition", "bulkhead", "turns"}
CATALOG_MAY = GROUND | {"stac", "catalog"}

# A room (a module or package below stacflask), and the rooms it may import.
ROOMS: dict[str, set[str]] = {
    "readonly": set(),
    "values": {"readonly"},
    "errors": {"values"},
    "settings": {"errors"},
    "disposition": {"values"},
    "bulkhead": {"errors"},
    "turns": set(),
    "hookspecs": {"values"},
    "stac": GROUND | {"stac"},
    "gate": {"values", "errors"},
    "catalog": CATALOG_MAY,
    "validation": {"errors", "readonly", "values"},
    "answers": {"errors", "validation", "values"},
    "loader": {"answers", "bulkhead", "errors", "hookspecs", "validation", "values"},
    "current": {"gate", "catalog", "settings", "values"},
    "api": GROUND | {"api", "current", "stac", "catalog", "gate"},
    "logformat": set(),
    "logs": {"settings", "logformat"},
    "cli": GROUND | {"catalog", "gate", "stac", "loader", "hookspecs", "__main__", "logs"},
    "__main__": {"cli"},
    "app": GROUND | {"api", "catalog", "current", "gate", "loader", "logs"},
    "server": {"logformat"},
    "testing": GROUND | {"app", "catalog", "current", "loader", "logs"},
}

# A third party, and the rooms it may stand in.
GUESTS = {
    "flask": {"api", "current", "app", "logs", "testing"},
    "flask_smorest": {"api", "app"},
    "werkzeug": {"api", "app"},
    "marshmallow": {"api"},
    "sqlalchemy": {"catalog", "testing"},
    "geoalchemy2": {"catalog"},
    "psycopg": {"catalog"},
    "pluggy": {"hookspecs", "answers", "loader", "gate", "app"},
    "shapely": {"stac", "catalog"},
    "click": {"cli", "hookspecs", "answers"},
    "gunicorn": {"server"},
    "minio": set[str](),
}


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


def room_of(path: str) -> str:
    return path.removeprefix("stacflask/").split("/")[0].removesuffix(".py")


HOUSE = [(path, tree) for path, tree in modules("stacflask") if path != "stacflask/__init__.py"]


@pytest.mark.parametrize(("path", "tree"), HOUSE, ids=[path for path, _ in HOUSE])
def test_every_import_runs_down(path: str, tree: ast.Module) -> None:
    """A module imports only rooms on floors below its own, as the table says."""
    room = room_of(path)
    used = {name.split(".")[1] for name in imported(tree) if name.startswith("stacflask.")}
    known = {
        name for name in used if (ROOT / "stacflask" / name).is_dir() or (ROOT / "stacflask" / f"{name}.py").exists()
    }
    assert known - ROOMS[room] - {room} == set()


@pytest.mark.parametrize(("path", "tree"), HOUSE, ids=[path for path, _ in HOUSE])
def test_third_parties_keep_to_their_rooms(path: str, tree: ast.Module) -> None:
    """A library stands only in the rooms that are its own: no SQL in the API, no HTTP in the catalogue."""
    guests = {name.split(".")[0] for name in imported(tree)} & GUESTS.keys()
    assert {guest for guest in guests if room_of(path) not in GUESTS[guest]} == set()


def test_face_imports_no_framework() -> None:
    """``import stacflask`` brings neither Flask nor SQLAlchemy: a plugin's author needs neither."""
    tree = ast.parse((ROOT / "stacflask/__init__.py").read_text())
    rooms = {name.split(".")[1] for name in imported(tree)}
    assert rooms <= {"bulkhead", "errors", "values", "hookspecs", "disposition"}


@pytest.mark.parametrize("path", [path for path, _ in modules("plugins")])
def test_plugins_import_only_the_face(path: str) -> None:
    """A shipped plugin lives by an outside one's rules: of the house, it imports the face and nothing behind it."""
    tree = ast.parse((ROOT / path).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            assert node.module == "stacflask" or not node.module.startswith("stacflask.")
        if isinstance(node, ast.Import):
            assert not any(alias.name.startswith("stacflask.") for alias in node.names)
