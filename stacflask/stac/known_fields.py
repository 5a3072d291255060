"""Fields that STAC's common metadata and its published extensions define: type, title and bounds of each.

They are read from the schemas in ``stacflask/schemas``. The newest version of an extension takes precedence.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import orjson

from stacflask.model.json_types import Document

_EXTENSIONS = "https://stac-extensions.github.io/"
_COMMON = "https://schemas.stacspec.org/v1.1.0/item-spec/json-schema/"
_KEYWORDS = ("title", "description", "type", "format", "enum", "minimum", "maximum")
_MAX_REFERENCES = 5


@cache
def fields() -> Mapping[str, Document]:
    """Return the JSON Schema of each field by its name. Each schema has a type."""
    folder = files("stacflask") / "schemas"
    index = orjson.loads((folder / "index.json").read_bytes())
    known: dict[str, Document] = {}
    for address in sorted(address for address in index if address.startswith((_EXTENSIONS, _COMMON))):
        schema = orjson.loads((folder / index[address]["file"]).read_bytes())
        for name, found in _defined(schema, prefixed=address.startswith(_EXTENSIONS)):
            described = _described(found, schema)
            if described:
                known[name] = described
    return MappingProxyType(known)


def _defined(schema: Document, *, prefixed: bool) -> Iterator[tuple[str, Any]]:
    """Return the fields that a schema defines: those with the prefix of an extension, or those of an item itself."""
    objects = schema.get("definitions", {}).values() if prefixed else [schema]
    for definition in objects:
        for name, found in definition.get("properties", {}).items() if isinstance(definition, dict) else ():
            if not prefixed or ":" in name:
                yield name, found


def _described(found: Any, schema: Document) -> Document:
    for _ in range(_MAX_REFERENCES):
        if not isinstance(found, dict) or not str(found.get("$ref", "")).startswith("#/"):
            break
        found = _at(schema, found["$ref"])
    if not isinstance(found, dict):
        return {}
    description = {name: found[name] for name in _KEYWORDS if name in found}
    types = [kind for kind in _listed(description.get("type")) if kind != "null"]
    if len(types) != 1:
        return {}
    description["type"] = types[0]
    items = _described(found.get("items"), schema) if types == ["array"] else {}
    return {**description, "items": items} if items else description


def _at(schema: Document, reference: str) -> Any:
    found: Any = schema
    for step in reference.removeprefix("#/").split("/"):
        found = found.get(step, {}) if isinstance(found, dict) else {}
    return found


def _listed(types: Any) -> list[str]:
    return types if isinstance(types, list) else [types] if types else []
