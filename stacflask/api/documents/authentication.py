"""The STAC authentication extension: documents tell how their downloads want to be asked for.

The schemes are the plugins' own challenges. Assets that a client without credentials may not download refer to them. A
change takes them out of the document again, because the publisher did not write them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec
import orjson
from msgspec import Raw

from stacflask import current
from stacflask.api.http import public_url
from stacflask.catalog.documents import documents
from stacflask.catalog.documents.documents import HERE, STAND_IN
from stacflask.errors import Unavailable
from stacflask.model.decision import Grant
from stacflask.model.principal import ANONYMOUS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from stacflask.gate import Gate
    from stacflask.model.asset import Asset
    from stacflask.model.json_types import Document
    from stacflask.model.page import Record

EXTENSION = "https://stac-extensions.github.io/authentication/v1.1.0/schema.json"
SCHEMES, REFS = "auth:schemes", "auth:refs"

_MANAGED = re.compile(b'"href":"' + HERE + rb'([^"]*)')
_members = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Authentication:
    """The schemes of a deployment, their texts, and the keys of refused assets by collection and item."""

    schemes: Mapping[str, Any]
    schemes_text: bytes
    refs_text: bytes
    refused: Mapping[tuple[str, str | None], Collection[str]] = field(default_factory=dict)

    @property
    def _schemes_member(self) -> bytes:
        return b'"auth:schemes":%b,' % self.schemes_text

    def in_item(self, text: bytes, record: Record) -> bytes:
        """Add the schemes to an item that has refused assets, and references to the schemes to these assets."""
        keys = self.refused.get((record.collection, record.id), ())
        if not keys or HERE not in text:
            return text
        return self._spliced(text, keys) or self._apart(text, keys, inside="properties")

    def in_collection(self, text: bytes, record: Record) -> bytes:
        """Add the schemes to a collection, and references to them to its refused assets."""
        return self._apart(text, self.refused.get((record.id, None), ()), inside=None)

    def in_catalog(self, document: Document) -> Document:
        """Tell it in the landing page."""
        return {**document, "stac_extensions": [EXTENSION], SCHEMES: self.schemes}

    def _spliced(self, text: bytes, keys: Collection[str]) -> bytes | None:
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
        refs = b'"auth:refs":%b,' % self.refs_text
        return _MANAGED.sub(lambda mark: refs + mark[0] if unquote(mark[1].decode()) in keys else mark[0], told)

    def _apart(self, text: bytes, keys: Collection[str], inside: str | None) -> bytes:
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
            members["assets"] = {key: self._asset(asset) if key in keys else asset for key, asset in assets.items()}
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
        before = kept.get(inside, {}) if inside else kept
        _take_back(document.get(inside) if inside else document, before, SCHEMES, self.schemes)
        assets = document.get("assets")
        for key, asset in assets.items() if isinstance(assets, dict) else ():
            _take_back(asset, (kept.get("assets") or {}).get(key, {}), REFS, self.schemes)


def _list(raw: Raw | None) -> list[Any]:
    value = None if raw is None else msgspec.json.decode(raw)
    return value if isinstance(value, list) else []


def _take_back(holder: Any, kept: Document, member: str, ours: Collection[str]) -> None:
    """Take our names out of a member, unless the publisher has them; if no others are left, it is what is stored.

    What is stored may be anything: other forms than the extension's are replaced in what is shown.
    """
    value = holder.get(member) if isinstance(holder, dict) else None
    if not isinstance(value, list | dict):
        return
    stored = kept.get(member)
    theirs = stored if type(stored) is type(value) else ()
    added = [name for name in value if isinstance(name, str) and name in ours and name not in theirs]
    if isinstance(value, list):
        value[:] = [name for name in value if name not in added]
    else:
        for name in added:
            del value[name]
    if value or not added:
        return
    if member in kept and not theirs:
        holder[member] = stored
    else:
        del holder[member]


def told() -> Authentication | None:
    """Give what this deployment tells; None if it tells nothing, or nobody is ever asked."""
    if not current.settings().show_authentication:
        return None
    return _told(current.gate(), public_url.base_url())


@lru_cache(maxsize=64)
def _told(gate: Gate, base_url: str) -> Authentication | None:
    schemes = {one.name: dict(one.scheme if one.stac is None else one.stac) for one in gate.challenges()}
    schemes = {name: scheme for name, scheme in schemes.items() if scheme}
    if not schemes:
        return None
    text = orjson.dumps(schemes).replace(b"{base_url}", base_url.encode())
    return Authentication(orjson.loads(text), text, orjson.dumps(list(schemes)))


def told_of(assets: Callable[[], Sequence[Asset]]) -> Authentication | None:
    """Return what this deployment shows, and which of these assets refer to it."""
    shown = told()
    return None if shown is None else replace(shown, refused=_refused(assets()))


def _refused(assets: Sequence[Asset]) -> dict[tuple[str, str | None], set[str]]:
    """Return the keys of those assets that a client without credentials may not download, by collection and item.

    All of them are refused while a plugin cannot decide, so that documents can be read meanwhile.
    """
    try:
        weighed: Sequence[Any] = current.gate().authorize_each(ANONYMOUS, assets)
    except Unavailable:
        weighed = [None] * len(assets)
    found: dict[tuple[str, str | None], set[str]] = {}
    for asset, one in zip(assets, weighed, strict=True):
        if not isinstance(one, Grant):
            found.setdefault((asset.collection, asset.item), set()).add(asset.key)
    return found
