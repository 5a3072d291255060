"""A setting that is JSON, or the path of a file that holds it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stacflask import SettingError


def json_text(environ: Mapping[str, str], name: str, describes: str) -> str:
    """Return the JSON text of the setting ``name``, which is JSON or the path of a file. Raises SettingError."""
    value = environ.get(name, "").strip()
    if not value:
        raise SettingError(name, f"missing. It describes {describes}: a JSON object, or the path of a JSON file.")
    if value.startswith("{"):
        return value
    try:
        return Path(value).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise SettingError(name, f"expected a JSON object or the path of a readable file: {error}") from error


def decode_json(text: str) -> Any:
    """Decode JSON. Raises ValueError, also for an object that has a member twice: one of them would be ignored."""
    return json.loads(text, object_pairs_hook=_without_duplicates)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        duplicates = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"members must not be repeated: {', '.join(duplicates)}")
    return members
