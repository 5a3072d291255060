"""STAC authentication extension: documents describe how to authenticate for downloads.

The schemes are the challenges of the plugins. Assets that a client without credentials may not download refer to them.
When a client sends a changed document back, they are removed, because the publisher did not write them.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import msgspec
import orjson
from msgspec import Raw

from stacflask import current
from stacflask.api.http import public_url
from stacflask.catalog.documents.documents import HERE, STAND_IN
from stacflask.errors import Unavailable
from stacflask.gate import Gate
from stacflask.model.asset import Asset
from stacflask.model.decision import Grant
from stacflask.model.json_types import Document
from stacflask.model.page import Record
from stacflask.model.principal import ANONYMOUS

EXTENSION = "https://stac-extensions.github.io/authentication/v1.1.0/schema.json"
SCHEMES, REFS = "auth:schemes", "auth:refs"

_members = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Authentication:
    """The schemes of a deployment, and the keys of refused assets by collection and item."""

    schemes: Mapping[str, Any]
    refused: Mapping[tuple[str, str | None], Collection[str]] = field(default_factory=dict)

    def in_item(self, text: bytes, record: Record) -> bytes:
        """Add schemes to an item that has refused assets, and references to these assets."""
        keys = self.refused.get((record.collection, record.id), ())
        if not keys or HERE not in text:
            return text
        return self._merged(text, keys, inside="properties")

    def in_collection(self, text: bytes, record: Record) -> bytes:
        """Add schemes to a collection, and references to its refused assets."""
        return self._merged(text, self.refused.get((record.id, None), ()), inside=None)

    def in_catalog(self, document: Document) -> Document:
        """Add schemes to the landing page."""
        return {**document, "stac_extensions": [EXTENSION], SCHEMES: self.schemes}

    def _merged(self, text: bytes, keys: Collection[str], inside: str | None) -> bytes:
        """Parse a document, and merge schemes and references with the publisher's; other members keep their text."""
        members: dict[str, Any] = dict(_members(text.replace(HERE, STAND_IN)))
        extensions = _list(members.get("stac_extensions"))
        members["stac_extensions"] = extensions if EXTENSION in extensions else [*extensions, EXTENSION]
        place: dict[str, Any] = dict(_members(members[inside])) if inside else members
        publishers = msgspec.json.decode(place.get(SCHEMES, b"{}"))
        place[SCHEMES] = {**(publishers if isinstance(publishers, dict) else {}), **self.schemes}
        if inside:
            members[inside] = place
        if bytes(members.get("assets", b"null")) != b"null":
            assets = _members(members["assets"])
            members["assets"] = {key: self._with_refs(asset) if key in keys else asset for key, asset in assets.items()}
        return _encode(members).replace(STAND_IN, HERE)

    def _with_refs(self, asset: Raw) -> Any:
        members: dict[str, Any] = dict(_members(asset))
        if not bytes(members["href"]).startswith(b'"' + STAND_IN):
            return asset
        refs = _list(members.get(REFS))
        members[REFS] = [*refs, *(name for name in self.schemes if name not in refs)]
        return members

    def remove_from(self, document: Document, stored: Document) -> None:
        """Remove schemes and references from a changed document, except those that the publisher had stored."""
        inside = "properties" if document.get("type") == "Feature" else None
        before = stored.get(inside, {}) if inside else stored
        _remove(document.get(inside) if inside else document, before, SCHEMES, self.schemes)
        assets = document.get("assets")
        for key, asset in assets.items() if isinstance(assets, dict) else ():
            _remove(asset, (stored.get("assets") or {}).get(key, {}), REFS, self.schemes)


def _list(raw: Raw | None) -> list[Any]:
    value = None if raw is None else msgspec.json.decode(raw)
    return value if isinstance(value, list) else []


def _remove(holder: Any, stored_holder: Document, member: str, names: Collection[str]) -> None:
    """Remove names from a member unless the stored member has them; if none are left, restore the stored member.

    The stored member can have any form. In responses, forms that the extension does not have are replaced.
    """
    value = holder.get(member) if isinstance(holder, dict) else None
    if not isinstance(value, list | dict):
        return
    stored = stored_holder.get(member)
    publishers = stored if type(stored) is type(value) else ()
    added = [name for name in value if isinstance(name, str) and name in names and name not in publishers]
    if isinstance(value, list):
        value[:] = [name for name in value if name not in added]
    else:
        for name in added:
            del value[name]
    if value or not added:
        return
    if member in stored_holder and not publishers:
        holder[member] = stored
    else:
        del holder[member]


def deployment_schemes() -> Authentication | None:
    """Return the schemes of this deployment; None if there are none or a setting hides them."""
    if not current.settings().show_authentication:
        return None
    return _schemes(current.gate(), public_url.base_url())


@lru_cache(maxsize=64)
def _schemes(gate: Gate, base_url: str) -> Authentication | None:
    schemes = {
        challenge.name: dict(challenge.scheme if challenge.stac is None else challenge.stac)
        for challenge in gate.challenges()
    }
    schemes = {name: scheme for name, scheme in schemes.items() if scheme}
    if not schemes:
        return None
    text = orjson.dumps(schemes).replace(b"{base_url}", base_url.encode())
    return Authentication(orjson.loads(text))


def for_assets(assets: Callable[[], Sequence[Asset]]) -> Authentication | None:
    """Return the schemes of this deployment, with the refused ones of these assets."""
    schemes = deployment_schemes()
    return None if schemes is None else replace(schemes, refused=_refused(assets()))


def _refused(assets: Sequence[Asset]) -> dict[tuple[str, str | None], set[str]]:
    """Return the keys of those assets that a client without credentials may not download, by collection and item.

    If a plugin cannot decide, all assets are refused, so that documents can still be read.
    """
    gate = current.gate()
    try:
        results: Sequence[Any] = gate.authorize_each(gate.with_groups(ANONYMOUS), assets)
    except Unavailable:
        results = [None] * len(assets)
    found: dict[tuple[str, str | None], set[str]] = {}
    for asset, result in zip(assets, results, strict=True):
        if not isinstance(result, Grant):
            found.setdefault((asset.collection, asset.item), set()).add(asset.key)
    return found
