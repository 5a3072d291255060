"""Settings: documented, and complained about by name."""

from dataclasses import fields
from pathlib import Path

import pytest

from stacflask.errors import SettingError
from stacflask.settings import Settings

DOCS = (Path(__file__).parent.parent / "docs" / "settings.md").read_text()
URL = {"DATABASE_URL": "postgres://user:secret@host/name"}


@pytest.mark.parametrize("name", [f.metadata["name"] for f in fields(Settings)])
def test_each_variable_is_documented(name: str) -> None:
    """Every variable stands in docs/settings.md, in the table's form."""
    assert f"| `{name}` |" in DOCS


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
        ("STACFLASK_LOG_FORMAT", "xml"),
        ("STACFLASK_ID", "a/b"),
    ],
)
def test_wrong_value_is_told_by_name(name: str, value: str) -> None:
    """A wrong value stops the program with one line that begins with the variable's name."""
    with pytest.raises(SettingError, match=f"^{name}: "):
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
