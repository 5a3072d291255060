"""Restore stored hrefs in documents that clients send: URLs of this server or of a store become stored hrefs again.

Responses have download URLs, presigned URLs and download links in place of stored hrefs. A client that sends such a
document back means the stored hrefs.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, NamedTuple
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from stacflask.catalog.documents.documents import EXPIRES
from stacflask.errors import BadDocument
from stacflask.model.json_types import Document
from stacflask.stac.json_checks import step

_WEB = ("http", "https")
_ITSELF = "localhost"
_STREAMED = "delivery=stream"
_DOWNLOAD = re.compile(r"/collections/[^/]+(?:/items/[^/]+)?/download/.").search
_NO_ASSET = (
    "is a URL of this server, but of no asset of this document. Send the storage address, or the download URL of an "
    "asset of this document"
)


class _Host(NamedTuple):
    """A normalized host. ``port`` is None for the default port of its scheme."""

    name: str
    port: int | None


@dataclass(frozen=True, slots=True)
class Addresses:
    """Recognizes URLs of this server and of its stores.

    ``bases`` are the base URLs of this server, without a slash at the end. ``storage_href`` returns the storage address
    for a temporary URL of a store, or None.
    """

    bases: tuple[str, ...] = ()
    storage_href: Callable[[str], str | None] = lambda _: None
    _hosts: frozenset[tuple[_Host, str]] = field(init=False)

    def __post_init__(self) -> None:
        """Normalize the base URLs."""
        split = [urlsplit(base) for base in self.bases]
        hosts = frozenset((_host(parts), unquote(parts.path).rstrip("/")) for parts in split)
        object.__setattr__(self, "_hosts", hosts)

    def download_path(self, parts: SplitResult) -> str | None:
        """Return the path of a download URL of this server, without a token; None for other URLs."""
        host = _host(parts)
        for prefix in (prefix for own, prefix in self._hosts if own == host):
            for path in _paths(parts.path):
                found = _DOWNLOAD(path, len(prefix)) if path.startswith(f"{prefix}/") else None
                if found is not None:
                    return prefix + path[found.start() :]
        return None


@dataclass(frozen=True, slots=True)
class StoredHrefs:
    """Finds the stored hrefs of one document.

    ``path`` is the path of the document below the base URL, not percent-encoded. ``stored`` is the stored document.
    """

    addresses: Addresses
    path: str
    stored: Document

    def href(self, key: str, href: str) -> tuple[str, str | None]:
        """Return the href to store for an asset, and the key of the stored asset with this href, if any.

        Raises:
            BadDocument: The href is a download URL of this server, but of no stored asset of this document.
        """
        assets = self.stored.get("assets") or {}
        if key in assets and assets[key]["href"] == href:
            return href, key
        parts = self._split(href)
        if parts is None:
            return href, None
        for origin in self._keys(parts.path):
            if origin in assets:
                return assets[origin]["href"], origin
        if self.addresses.download_path(parts) is not None:
            raise BadDocument("", _NO_ASSET)
        found = self._storage(parts)
        return self._of_store(key, found) if found is not None else (href, None)

    def is_relevant(self, href: str) -> bool:
        """Whether an href can stand for a stored one, or must be refused. The stored document is not used."""
        parts = self._split(href)
        if parts is None:
            return False
        own = any(self._keys(parts.path)) or self.addresses.download_path(parts) is not None
        return own or self._storage(parts) is not None

    def _storage(self, parts: SplitResult) -> str | None:
        """Return the storage address for a temporary URL, in any form."""
        return self.addresses.storage_href(parts.geturl()) if parts.query or parts.fragment else None

    def _split(self, href: str) -> SplitResult | None:
        """Split a web URL; None for other URLs. A relative one is resolved against the URL of the document.

        Browsers read a backslash as a slash, and GDAL has its own prefix before a web URL.
        """
        base = self.addresses.bases[0] if self.addresses.bases else "http://_"
        written = href.strip().replace("\\", "/").removeprefix("/vsicurl/")
        try:
            parts = urlsplit(urljoin(base + quote(self.path), written))
            _host(parts)
        except ValueError:
            return None
        return parts if parts.scheme in _WEB else None

    def _keys(self, path: str) -> Iterator[str]:
        """Return the asset keys that a path can stand for below the download URL. A directory can end with a slash."""
        for form in _paths(path):
            key = form.partition(f"{self.path}/download/")[2]
            if key:
                yield from (key, key.removesuffix("/"))

    def _of_store(self, key: str, storage: str) -> tuple[str, str | None]:
        """Return the stored href of an object, in the form of this document."""
        assets = self.stored.get("assets") or {}
        for origin in (key, *assets):
            href = assets[origin]["href"] if origin in assets else ""
            if storage in (href, href.startswith("http") and self.addresses.storage_href(href)):
                return href, origin
        return storage, None

    def document(self, document: Any) -> dict[str, str]:
        """Restore the hrefs of assets, alternates and links in a document that was not checked.

        Return the keys of the stored assets, by the keys of the assets of the document. Raises BadDocument.
        """
        origins: dict[str, str] = {}
        for key, asset in _objects(document.get("assets")):
            sent = asset.get("href")
            if isinstance(sent, str):
                asset["href"], origin = self._at(f"/assets{step(key)}/href", key, sent)
                if origin is not None:
                    origins[key] = origin
                elif sent != asset["href"]:
                    asset.pop(EXPIRES, None)
            self._alternates(key, asset)
        self._links(document.get("links"))
        return origins

    def _at(self, pointer: str, key: str, href: str) -> tuple[str, str | None]:
        try:
            return self.href(key, href)
        except BadDocument as error:
            raise error.below(pointer) from None

    def _alternates(self, key: str, asset: Document) -> None:
        stored = ((self.stored.get("assets") or {}).get(key) or {}).get("alternate") or {}
        for name, entry in _objects(asset.get("alternate")):
            href = entry.get("href")
            if isinstance(href, str) and href != stored.get(name, {}).get("href"):
                pointer = f"/assets{step(key)}/alternate{step(name)}/href"
                entry["href"], _ = self._at(pointer, key, href)

    def _links(self, links: Any) -> None:
        """Replace temporary URLs in links, because they work without authorization."""
        for link in links if isinstance(links, list) else ():
            href = link.get("href") if isinstance(link, dict) else None
            parts = self._split(href) if isinstance(href, str) else None
            if parts is not None:
                link["href"] = self._link(parts) or href

    def _link(self, parts: SplitResult) -> str | None:
        """Return the href to store for a temporary URL of a link; None for other URLs."""
        path = self.addresses.download_path(parts)
        if path is None:
            return self._storage(parts)
        if not parts.query and path == unquote(parts.path):
            return None
        return parts._replace(path=quote(path), query=_STREAMED if parts.query == _STREAMED else "").geturl()


def may_contain_server_hrefs(text: bytes) -> bool:
    """Whether a document, written by orjson, can have hrefs of a server. Most documents have none, so this is cheap."""
    return b"download/" in text or b"?" in text or b"%" in text or b"#" in text


def possible_server_hrefs(document: Document) -> list[str]:
    """Return the hrefs of a checked document that can be URLs of a server."""
    assets = (document.get("assets") or {}).values()
    hrefs = [asset["href"] for asset in assets]
    hrefs += [link["href"] for link in document.get("links") or ()]
    hrefs += [one["href"] for asset in assets for one in (asset.get("alternate") or {}).values()]
    return [href for href in hrefs if not href.startswith("s3://") and _MADE(href) is not None]


_MADE = re.compile(r"[?#%]|download/").search


def _objects(value: Any) -> list[tuple[str, Document]]:
    return [(name, one) for name, one in value.items() if isinstance(one, dict)] if isinstance(value, dict) else []


def _paths(path: str) -> list[str]:
    """Return the readings of a path: percent-decoded, with dot segments removed or kept as part of a key."""
    return list(dict.fromkeys((unquote(path), unquote(_without_dots(path)), _without_dots(unquote(path)))))


def _without_dots(path: str) -> str:
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            kept[1:] = kept[1:-1]
        elif segment != ".":
            kept.append(segment)
    return "/".join(kept)


def _host(parts: SplitResult) -> _Host:
    """Return the normalized host of a URL. Raises ValueError."""
    name = (parts.hostname or "").rstrip(".")
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    return _Host(_plain(name), None if parts.port in (None, usual) else parts.port)


def _plain(name: str) -> str:
    """Return the normalized name of a host. All names of the local machine become one."""
    try:
        address = ip_address(name)
        address = getattr(address, "ipv4_mapped", None) or address
        return _ITSELF if address.is_loopback else str(address)
    except ValueError:
        pass
    try:
        return name.encode("idna").decode()
    except UnicodeError:
        return name
