"""Settings: documented, and complained about by name."""

import re
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import pytest

from stacflask.errors import SettingError
from stacflask.pluginmanager.loading import settings_of
from stacflask.settings import Settings

ROOT = Path(__file__).parent.parent
DOCS = (ROOT / "docs" / "settings.md").read_text()
URL = {"DATABASE_URL": "postgres://user:secret@host/name"}


def written(default: Any) -> str:
    """Write a default as a table has it."""
    text = str(default).lower() if isinstance(default, bool) else str("" if default is None else default)
    text = ",".join(default) if isinstance(default, tuple) else text
    return f" `{text}` " if text else " "


@pytest.mark.parametrize("field", fields(Settings), ids=lambda field: field.name)
def test_each_is_documented_as_it_is(field: Field[Any]) -> None:
    """The table says of each what the command line says, and the default that holds."""
    said = field.metadata
    default = " (needed) " if said["required"] else written(field.default)
    assert f"| `{said['name']}` | {said['help']} |{default}|" in DOCS


SHIPPED = sorted(f"plugins.{path.stem}" for path in (ROOT / "plugins").glob("[!_]*.py"))


@pytest.mark.parametrize("plugin", SHIPPED)
def test_what_plugins_read_is_told_and_documented(plugin: str) -> None:
    """Each variable that the code of a plugin names is among its settings, and each of those in the table."""
    ((_, told),) = settings_of([plugin])
    source = (ROOT / f"{plugin.replace('.', '/')}.py").read_text()
    assert set(re.findall(r'"(STACFLASK_[A-Z0-9_]+)"', source)) <= {setting.name for setting in told}
    for setting in told:
        default = " (needed) " if setting.required else written(setting.default)
        assert f"| `{setting.name}` | `{plugin.partition('.')[2]}` | {setting.help} |{default}|" in DOCS


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://secret@host/db"),
        ("STACFLASK_PUBLIC_URL", "stac.example.org"),
        ("STACFLASK_PUBLIC_URL", "ftp://stac.example.org"),
        ("STACFLASK_TRUSTED_PROXIES", "10.0.0.0/99"),
        ("STACFLASK_DEFAULT_LIMIT", "0"),
        ("STACFLASK_DEFAULT_LIMIT", "ten"),
        ("STACFLASK_SHOW_STORAGE", "maybe"),
        ("STACFLASK_STATEMENT_TIMEOUT", "-1"),
        ("STACFLASK_STATEMENT_TIMEOUT", "soon"),
        ("STACFLASK_COUNT_LIMIT", "-1"),
        ("STACFLASK_LOG_FORMAT", "xml"),
        ("STACFLASK_ID", "a/b"),
    ],
)
def test_wrong_value_is_told_by_name(name: str, value: str) -> None:
    """A wrong value stops the program with one line: the variable's name, and what was expected there."""
    with pytest.raises(SettingError, match=f"^{name}: expected"):
        Settings.from_environ({**URL, name: value})


def test_missing_value_is_told_by_name() -> None:
    """So does a missing one."""
    with pytest.raises(SettingError, match=r"^DATABASE_URL: missing"):
        Settings.from_environ({})


def test_complaint_shows_no_password() -> None:
    """A database address holds a password, so it is never repeated."""
    with pytest.raises(SettingError) as error:
        Settings.from_environ({"DATABASE_URL": "mysql://user:secret@host/db"})
    assert "secret" not in str(error.value)


def test_herokus_spelling_is_understood() -> None:
    """``postgres://``, as platforms write it, is taken for what it means."""
    assert Settings.from_environ(URL).database_url == "postgresql+psycopg://user:secret@host/name"
