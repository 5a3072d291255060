"""The published JSON Schemas of STAC and its extensions, bundled in ``stacflask/schemas``, and an operator's own.

Nothing is ever fetched.
"""

from __future__ import annotations

from importlib.resources import files
from itertools import takewhile
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import orjson
from jsonschema_rs import ValidationError, ValidationErrorKind

from stacflask.errors import BadDocument, SettingError
from stacflask.stac.grammar import kind, step

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stacflask.model.json_types import Document

_CORE = {
    "Feature": "https://schemas.stacspec.org/v{}/item-spec/json-schema/item.json",
    "Collection": "https://schemas.stacspec.org/v{}/collection-spec/json-schema/collection.json",
}
# Keys in a bucket have spaces; what is served in place of such an href is an address in good form.
_FORMATS = {"iri-reference": lambda _: True}
_IT = "it"
"""What a message calls the value, which may be large."""
_LONGEST = 500
VARIABLE = "STACFLASK_SCHEMAS"
MOST_UNKNOWN = 1000
"""Addresses of unknown schemas that are collected."""


class SchemaChecker:
    """Checks documents against the schemas they claim. Each schema is compiled once, when first asked for.

    ``folder`` has further schemas: files ``*.json``, each with its address as ``$id``. With ``warn``, a document may
    name others; their addresses are collected in ``unknown``. Raises SettingError: the folder has something else.
    """

    def __init__(self, folder: str | None = None, *, warn: bool = False) -> None:
        self._folder = files("stacflask") / "schemas"
        index = orjson.loads((self._folder / "index.json").read_bytes())
        self._files: dict[str, str] = {address: entry["file"] for address, entry in index.items()}
        self._further = _further(folder) if folder else {}
        self._warn = warn
        self.unknown: set[str] = set()
        self._validators: dict[str, jsonschema_rs.Validator] = {}
        self._lock = Lock()
        for address in self._further:
            self._compiled(address)

    @property
    def addresses(self) -> frozenset[str]:
        """The addresses of all schemas that are bundled."""
        return frozenset(self._files)

    def check(self, document: Document) -> None:
        """Check an item or collection, which ``checks.py`` has found fit to be kept, as it will be served.

        Raises BadDocument: it breaks a schema, or claims one that is not known: what cannot be checked is not valid.
        """
        served = _as_served(document)
        version = document["stac_version"]
        self._check_against(_CORE[document["type"]].format(version), served, "/stac_version")
        for index, address in enumerate(document.get("stac_extensions", ())):
            self._check_against(address, served, f"/stac_extensions/{index}")

    def _check_against(self, address: str, document: Document, claim: str) -> None:
        address = address.removesuffix("#")
        if address not in self._files and address not in self._further:
            if not self._warn:
                raise BadDocument(claim, f"schema not bundled: {address}. {VARIABLE} names a folder of further ones")
            if len(self.unknown) < MOST_UNKNOWN:
                self.unknown.add(address)
            return
        validator = self._validator(address)
        if not validator.is_valid(document):
            raise _told(validator.iter_errors(document), address)

    def _compiled(self, address: str) -> None:
        """Compile a further schema, so that one that is wrong is found at once. Raises SettingError."""
        try:
            self._validator(address)
        except (ValueError, KeyError) as error:
            raise SettingError(VARIABLE, f"{address}: {error}"[:_LONGEST]) from error

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
        if address in self._further:
            return self._further[address]
        return orjson.loads((self._folder / self._files[address]).read_bytes())


def _further(folder: str) -> dict[str, Any]:
    """Read the schemas of a folder, by their addresses. Raises SettingError."""
    if not Path(folder).is_dir():
        raise SettingError(VARIABLE, f"{folder!r} is not a folder that can be read")
    found: dict[str, Any] = {}
    for path in sorted(Path(folder).glob("**/*.json")):
        try:
            schema = orjson.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise SettingError(VARIABLE, f"{path}: {error}") from error
        address = schema.get("$id", schema.get("id")) if isinstance(schema, dict) else None
        if not isinstance(address, str):
            raise SettingError(VARIABLE, f"{path}: expected a JSON schema with its address as $id")
        found[address.removesuffix("#")] = schema
    return found


def _as_served(document: Document) -> Document:
    """Give the document with the links that are added when it is served, and that the schemas ask for."""
    own = [{"rel": "collection", "href": "collection"}] if "collection" in document else []
    return {**document, "links": [*document.get("links", ()), *own]}


# --- Which error to tell ----------------------------------------------------------------------------------------------


def _told(errors: Iterable[ValidationError], address: str) -> BadDocument:
    """Tell of the error that lies deepest; where it comes in alternatives, of all at the place they have in common."""
    chosen = max(map(_closest, errors), key=lambda found: min(map(_depth, found)))
    place = _common([error.instance_path for error in chosen])
    words = dict.fromkeys(_words(error, below=len(place)) for error in chosen)
    return BadDocument(_pointer(place), f"{' or '.join(words)}"[:_LONGEST] + f" ({address})")


def _closest(error: ValidationError) -> list[ValidationError]:
    """Where one of several forms was allowed, look into the form that comes closest, or the forms that do."""
    if not isinstance(error.kind, ValidationErrorKind.AnyOf | ValidationErrorKind.OneOfNotValid):
        return [error]
    forms = sorted(error.kind.context, key=_distance)
    closest = [form for form in forms if _distance(form) == _distance(forms[0])]
    deepest = [max(form, key=_depth) for form in closest]
    return _closest(deepest[0]) if len(deepest) == 1 else deepest


def _distance(form: list[ValidationError]) -> tuple[bool, int]:
    """Rank a form: one for another type of thing is furthest, then it counts how much is wrong."""
    return any(error.instance_path[-1:] == ["type"] for error in form), len(form)


def _depth(error: ValidationError) -> int:
    return len(error.instance_path)


def _common(paths: list[list[str | int]]) -> list[str | int]:
    return [steps[0] for steps in takewhile(lambda steps: len(set(steps)) == 1, zip(*paths, strict=False))]


def _words(error: ValidationError, below: int) -> str:
    place = _pointer(error.instance_path[below:])
    found = f", got {kind(error.instance)}" if error.message.startswith(_IT) else ""
    return f"{place}: {error.message}{found}" if place else error.message + found


def _pointer(path: Iterable[str | int]) -> str:
    return "".join(map(step, path))
