"""A setting that is JSON, or the path of a file that holds it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


def distinct(text: str) -> Any:
    """Decode JSON in which no object names a member twice: of two, one would hold without a word. Raises ValueError."""
    return json.loads(text, object_pairs_hook=_distinct)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"given twice: {', '.join(sorted({name for name in names if names.count(name) > 1}))}")
    return members
