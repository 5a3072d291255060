"""The STAC authentication extension: documents tell how their downloads want to be asked for.

What they tell are the plugins' own challenges. It is put into an item's text where that is as items usually are, and
what is not is taken apart; on the way back, in a change, it is taken out again, for it is not the publisher's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
from msgspec import Raw

from stacflask import current
from stacflask.api import address
from stacflask.catalog import documents
from stacflask.catalog.documents import HERE, STAND_IN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stacflask.gate import Gate
    from stacflask.values import Document

EXTENSION = "https://stac-extensions.github.io/authentication/v1.1.0/schema.json"
SCHEMES, REFS = "auth:schemes", "auth:refs"

_MANAGED = b'"href":"' + HERE
_members = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Authentication:
    """The schemes of a deployment, by name, and what of them is put into texts."""

    schemes: Mapping[str, Any]
    schemes_text: bytes
    refs_text: bytes

    @property
    def _schemes_member(self) -> bytes:
        return b'"auth:schemes":%b,' % self.schemes_text

    def in_item(self, text: bytes) -> bytes:
        """Tell it in an item whose assets are managed, which their marks show."""
        return text if HERE not in text else self._spliced(text) or self._apart(text, inside="properties")

    def in_collection(self, text: bytes) -> bytes:
        """Tell it in a collection."""
        return self._apart(text, inside=None)

    def in_catalog(self, document: Document) -> Document:
        """Tell it in the landing page."""
        return {**document, "stac_extensions": [EXTENSION], SCHEMES: self.schemes}

    def _spliced(self, text: bytes) -> bytes | None:
        """Put it into a usual item's text; None if parts of it have to be parsed for that."""
        # An escape may hide a name.
        if b'"auth:' in text or b"\\u" in text:
            return None
        places = documents.places(text)
        extensions, properties = places.get("stac_extensions"), places.get("properties")
        if extensions is None or properties is None or text[extensions : extensions + 1] != b"[":
            return None
        extension = b'"%b"%b' % (EXTENSION.encode(), b"" if text.startswith(b"[]", extensions) else b",")
        told = text
        for place, told_there in sorted(((extensions, extension), (properties, self._schemes_member)), reverse=True):
            told = told[: place + 1] + told_there + told[place + 1 :]
        # Only the href of an asset begins with the mark, and no text in a document holds its raw control character.
        return told.replace(_MANAGED, b'"auth:refs":%b,%b' % (self.refs_text, _MANAGED))

    def _apart(self, text: bytes, inside: str | None) -> bytes:
        """Take a document apart and put it in, beside what its publisher tells; the rest stays, to the digit."""
        members: dict[str, Any] = dict(_members(text.replace(HERE, STAND_IN)))
        extensions = _list(members.get("stac_extensions"))
        members["stac_extensions"] = extensions if EXTENSION in extensions else [*extensions, EXTENSION]
        place: dict[str, Any] = dict(_members(members[inside])) if inside else members
        theirs = msgspec.json.decode(place.get(SCHEMES, b"{}"))
        place[SCHEMES] = {**(theirs if isinstance(theirs, dict) else {}), **self.schemes}
        if inside:
            members[inside] = place
        if bytes(members.get("assets", b"null")) != b"null":
            assets = _members(members["assets"])
            members["assets"] = {key: self._asset(asset) for key, asset in assets.items()}
        return _encode(members).replace(STAND_IN, HERE)

    def _asset(self, asset: Raw) -> Any:
        members: dict[str, Any] = dict(_members(asset))
        if not bytes(members["href"]).startswith(b'"' + STAND_IN):
            return asset
        refs = _list(members.get(REFS))
        members[REFS] = [*refs, *(name for name in self.schemes if name not in refs)]
        return members

    def out_of(self, document: Document, kept: Document) -> None:
        """Take out of a changed document what only we told in it, so that it is not kept as the publisher's."""
        inside = "properties" if document.get("type") == "Feature" else None
        theirs = (kept.get(inside, {}) if inside else kept).get(SCHEMES) or {}
        _leave(document.get(inside) if inside else document, SCHEMES, lambda name: name in self.schemes.keys() - theirs)
        assets = document.get("assets")
        for key, asset in assets.items() if isinstance(assets, dict) else ():
            said = (kept.get("assets") or {}).get(key, {}).get(REFS) or []
            _leave(asset, REFS, lambda name, said=said: name in self.schemes and name not in said)


def _list(raw: Raw | None) -> list[Any]:
    value = None if raw is None else msgspec.json.decode(raw)
    return value if isinstance(value, list) else []


def _leave(holder: Any, member: str, unwanted: Any) -> None:
    """Take what is unwanted out of a member, and the member out of its holder if nothing else was in it."""
    value = holder.get(member) if isinstance(holder, dict) else None
    if isinstance(value, list):
        value[:] = [one for one in value if not unwanted(one)]
    elif isinstance(value, dict):
        for name in [name for name in value if unwanted(name)]:
            del value[name]
    if isinstance(value, list | dict) and not value:
        del holder[member]


def told() -> Authentication | None:
    """Give what this deployment tells; None if it tells nothing, or nobody is ever asked."""
    if not current.settings().show_authentication:
        return None
    return _told(current.gate(), address.base_url())


@lru_cache(maxsize=64)
def _told(gate: Gate, base_url: str) -> Authentication | None:
    schemes = {one.name: dict(one.scheme if one.stac is None else one.stac) for one in gate.challenges()}
    schemes = {name: scheme for name, scheme in schemes.items() if scheme}
    if not schemes:
        return None
    text = orjson.dumps(schemes).replace(b"{base_url}", base_url.encode())
    return Authentication(orjson.loads(text), text, orjson.dumps(list(schemes)))
