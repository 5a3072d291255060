"""Settings are documented, and errors name them."""

import re
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import pytest

from dev.reference import settings as settings_page
from stacflask.errors import SettingError
from stacflask.pluginmanager.loading import settings_of
from stacflask.settings import Settings

ROOT = Path(__file__).parent.parent
DOCS = (ROOT / "docs" / "settings.md").read_text()
URL = {"DATABASE_URL": "postgres://user:secret@host/name"}


@pytest.mark.parametrize("field", fields(Settings), ids=lambda field: field.name)
def test_each_setting_is_documented_with_its_default(field: Field[Any]) -> None:
    """docs/settings.md has the help text and the default of each setting; `make reference` writes them."""
    data = field.metadata
    assert settings_page.entry(data["name"], data["help"], field.default, required=data["required"]) in DOCS


@pytest.mark.parametrize("plugin", settings_page.PLUGINS)
def test_each_setting_of_a_plugin_is_documented_with_its_default(plugin: str) -> None:
    """Each variable that a plugin's code reads is among its settings, and each of those is in docs/settings.md."""
    ((_, settings),) = settings_of([plugin])
    path = ROOT / "plugins" / plugin
    files = sorted(path.glob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    source = "".join(file.read_text() for file in files)
    assert set(re.findall(r'"(STACFLASK_[A-Z0-9_]+)"', source)) <= {setting.name for setting in settings}
    _, _, section = DOCS.partition(f"### {plugin}\n")
    for setting in settings:
        assert settings_page.entry(setting.name, setting.help, setting.default, required=setting.required) in section


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
def test_a_wrong_value_is_reported_with_its_name(name: str, value: str) -> None:
    """A wrong value stops the program with one line: the name of the variable, and the expected value."""
    with pytest.raises(SettingError, match=f"^{name}: expected"):
        Settings.from_environ({**URL, name: value})


def test_a_missing_value_is_reported_with_its_name() -> None:
    """A missing value stops the program in the same way."""
    with pytest.raises(SettingError, match=r"^DATABASE_URL: missing"):
        Settings.from_environ({})


def test_errors_show_no_password() -> None:
    """The error for a database URL does not repeat it, because it can have a password."""
    with pytest.raises(SettingError) as error:
        Settings.from_environ({"DATABASE_URL": "mysql://user:secret@host/db"})
    assert "secret" not in str(error.value)


def test_postgres_urls_are_accepted() -> None:
    """``postgres://``, as platforms write it, is accepted."""
    assert Settings.from_environ(URL).database_url == "postgresql+psycopg://user:secret@host/name"
