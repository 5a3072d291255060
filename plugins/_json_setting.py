"""A setting that is JSON, or the path of a file that holds it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stacflask import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping


def json_text(environ: Mapping[str, str], name: str, describes: str) -> str:
    """Give the text of the JSON object that the setting ``name`` is or points to. Raises SettingError."""
    value = environ.get(name, "").strip()
    if not value:
        raise SettingError(name, f"missing. It describes {describes}, as JSON or as the path of a JSON file.")
    if value.startswith("{"):
        return value
    try:
        return Path(value).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise SettingError(name, f"neither a JSON object nor a readable file: {error}") from error
