"""Validate documents against the JSON Schemas of STAC and its extensions, and against further schemas of the operator.

The published schemas are in ``stacflask/schemas``. No schema is fetched from the network.
"""

from collections.abc import Iterable
from importlib.resources import files
from itertools import takewhile
from pathlib import Path
from threading import Lock
from typing import Any

import jsonschema_rs
import orjson
from jsonschema_rs import ValidationError, ValidationErrorKind

from stacflask.errors import BadDocument, SettingError
from stacflask.model.json_types import Document
from stacflask.stac.json_checks import describe, step

_CORE = {
    "Feature": "https://schemas.stacspec.org/v{}/item-spec/json-schema/item.json",
    "Collection": "https://schemas.stacspec.org/v{}/collection-spec/json-schema/collection.json",
}
# Keys in a bucket can have spaces. Responses have a valid URL in place of such an href.
_FORMATS = {"iri-reference": lambda _: True}
_IT = "it"
"""Stands for the value in messages, because the value can be large."""
_MAX_MESSAGE_LENGTH = 500
VARIABLE = "STACFLASK_SCHEMAS"
MAX_UNKNOWN_SCHEMAS = 1000
"""URLs of unknown schemas that are collected."""


class SchemaChecker:
    """Validates documents against the schemas that they name. Each schema is compiled once, when it is first used.

    Args:
        folder: A folder with further schemas: files ``*.json``, each with its URL as ``$id``.
        warn: Whether documents can name schemas that are not available. Their URLs are collected in ``unknown``.

    Raises:
        SettingError: The folder cannot be read, or one of its files is not a JSON Schema.
    """

    def __init__(self, folder: str | None = None, *, warn: bool = False) -> None:
        self._folder = files("stacflask") / "schemas"
        index = orjson.loads((self._folder / "index.json").read_bytes())
        self._files: dict[str, str] = {address: entry["file"] for address, entry in index.items()}
        self._own_schemas = _read_folder(folder) if folder else {}
        self._warn = warn
        self.unknown: set[str] = set()
        self._validators: dict[str, jsonschema_rs.Validator] = {}
        self._lock = Lock()
        for address in self._own_schemas:
            self._compile(address)

    @property
    def addresses(self) -> frozenset[str]:
        """The URLs of all schemas in ``stacflask/schemas``."""
        return frozenset(self._files)

    def check(self, document: Document) -> None:
        """Validate an item or collection in the form of a response. Call ``checks.py`` before.

        Raises:
            BadDocument: The document is not valid, or names a schema that is not available.
        """
        served = _as_served(document)
        version = document["stac_version"]
        self._check_against(_CORE[document["type"]].format(version), served, "/stac_version")
        for index, address in enumerate(document.get("stac_extensions", ())):
            self._check_against(address, served, f"/stac_extensions/{index}")

    def _check_against(self, address: str, document: Document, claim: str) -> None:
        address = address.removesuffix("#")
        if address not in self._files and address not in self._own_schemas:
            if not self._warn:
                raise BadDocument(claim, f"schema not bundled: {address}. Put it into the folder of {VARIABLE}.")
            if len(self.unknown) < MAX_UNKNOWN_SCHEMAS:
                self.unknown.add(address)
            return
        validator = self._validator(address)
        if not validator.is_valid(document):
            raise _most_specific_error(validator.iter_errors(document), address)

    def _compile(self, address: str) -> None:
        """Compile a schema of the operator at startup, to find errors in it. Raises SettingError."""
        try:
            self._validator(address)
        except (ValueError, KeyError) as error:
            raise SettingError(VARIABLE, f"{address}: {error}"[:_MAX_MESSAGE_LENGTH]) from error

    def _validator(self, address: str) -> jsonschema_rs.Validator:
        with self._lock:
            if address not in self._validators:
                self._validators[address] = jsonschema_rs.validator_for(
                    self._read(address),
                    base_uri=address,
                    retriever=self._read,
                    validate_formats=True,
                    formats=_FORMATS,
                    mask=_IT,
                )
            return self._validators[address]

    def _read(self, address: str) -> Any:
        if address in self._own_schemas:
            return self._own_schemas[address]
        return orjson.loads((self._folder / self._files[address]).read_bytes())


def _read_folder(folder: str) -> dict[str, Any]:
    """Return the schemas of a folder by their URLs. Raises SettingError."""
    if not Path(folder).is_dir():
        raise SettingError(VARIABLE, f"{folder!r} is not a readable folder")
    found: dict[str, Any] = {}
    for path in sorted(Path(folder).glob("**/*.json")):
        try:
            schema = orjson.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise SettingError(VARIABLE, f"{path}: {error}") from error
        address = schema.get("$id", schema.get("id")) if isinstance(schema, dict) else None
        if not isinstance(address, str):
            raise SettingError(VARIABLE, f"{path}: expected a JSON Schema with its URL as $id")
        found[address.removesuffix("#")] = schema
    return found


def _as_served(document: Document) -> Document:
    """Return the document with the links that responses add and that the schemas require."""
    own = [{"rel": "collection", "href": "collection"}] if "collection" in document else []
    return {**document, "links": [*document.get("links", ()), *own]}


# --- Choice of the error in the response ------------------------------------------------------------------------------


def _most_specific_error(errors: Iterable[ValidationError], address: str) -> BadDocument:
    """Return the deepest error. If it has alternatives, return all of them at their common pointer."""
    chosen = max(map(_closest, errors), key=lambda found: min(map(_depth, found)))
    path = _common([error.instance_path for error in chosen])
    messages = dict.fromkeys(_message(error, below=len(path)) for error in chosen)
    return BadDocument(_pointer(path), f"{' or '.join(messages)}"[:_MAX_MESSAGE_LENGTH] + f" ({address})")


def _closest(error: ValidationError) -> list[ValidationError]:
    """If the schema allows several forms, return the errors of the closest form, or of all that are equally close."""
    if not isinstance(error.kind, ValidationErrorKind.AnyOf | ValidationErrorKind.OneOfNotValid):
        return [error]
    forms = sorted(error.kind.context, key=_distance)
    closest = [form for form in forms if _distance(form) == _distance(forms[0])]
    deepest = [max(form, key=_depth) for form in closest]
    return _closest(deepest[0]) if len(deepest) == 1 else deepest


def _distance(form: list[ValidationError]) -> tuple[bool, int]:
    """Return the sort key of a form: forms for another type are last; otherwise the number of errors counts."""
    return any(error.instance_path[-1:] == ["type"] for error in form), len(form)


def _depth(error: ValidationError) -> int:
    return len(error.instance_path)


def _common(paths: list[list[str | int]]) -> list[str | int]:
    return [steps[0] for steps in takewhile(lambda steps: len(set(steps)) == 1, zip(*paths, strict=False))]


def _message(error: ValidationError, below: int) -> str:
    pointer = _pointer(error.instance_path[below:])
    found = f", got {describe(error.instance)}" if error.message.startswith(_IT) else ""
    return f"{pointer}: {error.message}{found}" if pointer else error.message + found


def _pointer(path: Iterable[str | int]) -> str:
    return "".join(map(step, path))
