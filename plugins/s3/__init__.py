"""Assets in S3 stores: by an address signed for a short time, or streamed through this server. See docs/stores.md."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from plugins.s3.presign import encoded
from plugins.s3.settings import OWN_FOLDER, VARIABLE, Part, read_stores
from plugins.s3.store import GRANT, Store
from stacflask import Location, Missing, Setting, SettingError, content_disposition, filename_of, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from urllib.parse import SplitResult

    from plugins.s3.settings import StoreSettings
    from stacflask import Asset, Order, Redirect, Services, Stream

NAME = "s3"

SETTINGS = (
    Setting(
        VARIABLE, "The stores, as JSON or a file: endpoint, region, credentials, buckets.", required=True, secret=True
    ),
)
LONGEST_KEY = 1024  # bytes, by S3's own rule
MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+( *; *[\w.+-]+=(\"[\w .+/:-]*\"|[\w.+-]+))*", re.ASCII)
SIGNATURES = frozenset({"x-amz-signature", "x-amz-credential", "signature", "awsaccesskeyid", "x-goog-signature"})
"""Parameters of signed addresses, of versions 4 and 2, and of Google's own form."""
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
PORTS = {"http": 80, "https": 443}

UNOWNED = (
    "/{0}/collections: missing. Documents can be changed here, so an author of any collection could publish every "
    'object of this store. List the collections whose assets are here, end the prefixes with "{{collection}}/", or '
    'write "*" if every author may publish every object.'
)
log = logging.getLogger(__name__)


class Address(NamedTuple):
    """An endpoint as it stands in web addresses."""

    scheme: str
    host: str
    port: int


@dataclass
class S3:
    """Finds and delivers what lies under the configured buckets and prefixes, and touches nothing else.

    ``parts`` are those of each bucket, the longest prefix first. ``addresses`` are endpoints with their stores.
    ``filename`` gives the name to save an asset under.
    """

    parts: Mapping[str, Sequence[tuple[Part, Store]]]
    addresses: Mapping[Address, Sequence[Store]]
    filename: Callable[[Asset], str] = filename_of

    @hookimpl
    def startup(self, services: Services) -> None:
        """Let the stores tell how long they take. Raises SettingError for a store that every author could publish."""
        self.filename = services.filename or filename_of
        for store in self._stores():
            store.record_metric = services.record_metric
            if services.changes_possible and store.settings.unowned:
                raise SettingError(VARIABLE, UNOWNED.format(store.settings.name))

    @hookimpl
    def resolve(self, asset: Asset) -> Location | None:
        """Know ``s3://bucket/key`` and the web addresses of configured buckets. Raises Missing for others' objects."""
        bucket, key = self._place(asset)
        found = self._part(bucket, key)
        if found is None:
            return None
        part, store = found
        _check_owner(part, store, asset, key)
        if asset.path:
            self._check_directory(part, asset)
        return Location(NAME, f"{bucket}/{key}")

    @hookimpl
    def deliver(self, asset: Asset, location: Location, streamed: bool, grant_id: str) -> Redirect | Stream | None:
        """Hand over an object of a configured store."""
        bucket, _, key = location.path.partition("/")
        store = self._store(bucket, key) if location.store == NAME else None
        if store is None:
            return None
        if streamed or store.settings.stream:
            return store.stream(bucket, key)
        return store.redirect(bucket, key, _fields(asset, self.filename(asset)), grant_id)

    @hookimpl
    def presign(self, asset: Asset, location: Location, grant_id: str) -> Redirect | None:
        """Sign an address without a look at the object; not where the store is only streamed from."""
        bucket, _, key = location.path.partition("/")
        store = self._store(bucket, key) if location.store == NAME else None
        if store is None or store.settings.stream:
            return None
        return store.presign(bucket, key, _fields(asset, self.filename(asset)), grant_id)

    @hookimpl
    def order(self, asset: Asset) -> Order | None:
        """Have an archived object of a configured store brought back."""
        bucket, key = self._place(asset)
        store = self._store(bucket, key)
        return store.restore(bucket, key) if store else None

    @hookimpl
    def storage_href(self, href: str) -> str | None:
        """Return ``s3://bucket/key`` for a web address of a configured bucket, if it is signed or has no query.

        What this server signed, or anybody with its credentials, is recognised under any host.
        """
        if not href.lower().startswith(("https://", "http://")) or CONTROL.search(href):
            return None
        try:
            parts = urlsplit(href)
            query = {name.lower(): value for name, value in parse_qsl(parts.query, keep_blank_values=True)}
            path = _usual_path(parts.path)
        except ValueError:
            return None
        signed = not SIGNATURES.isdisjoint(query)
        if parts.query and not signed:
            return None
        bucket, key = self._parse_address(
            parts._replace(netloc=_usual_host(parts), path=path, query="", fragment="").geturl()
        )
        if not bucket and signed and self._is_own(query):
            bucket, key = self._place_anywhere(parts.hostname or "", unquote(path))
        return f"s3://{bucket}/{key}" if bucket and key else None

    def _is_own(self, query: Mapping[str, str]) -> bool:
        """Whether the query of a signed address shows that it was signed here, or with the credentials of a store."""
        signer = query.get("x-amz-credential", "").partition("/")[0] or query.get("awsaccesskeyid")
        return GRANT in query or any(
            store.settings.keys and store.settings.keys.access_key == signer for store in self._stores()
        )

    def _place_anywhere(self, host: str, path: str) -> tuple[str, str]:
        """Return the bucket and the key of an address whose host is not that of a configured endpoint."""
        path = path.lstrip("/")
        bucket = next((bucket for bucket in self.parts if host.startswith(f"{bucket}.")), None)
        return (bucket, path) if bucket else _split("", path, "")

    @hookimpl
    def check_setup(self) -> Sequence[str]:
        """Report the stores whose objects authors of several collections can publish."""
        return [note for store in self._stores() for note in _notes(store.settings)]

    def _place(self, asset: Asset) -> tuple[str, str]:
        """Give bucket and key of an asset, or of a file in one; both are empty if it is of another kind."""
        bucket, key = self._parse(asset.href)
        if asset.path:
            key = f"{key.rstrip('/')}/{asset.path}" if key else asset.path
        return bucket, key

    def _store(self, bucket: str, key: str) -> Store | None:
        found = self._part(bucket, key)
        return found[1] if found else None

    def _part(self, bucket: str, key: str) -> tuple[Part, Store] | None:
        if _is_key(key):
            for part, store in self.parts.get(bucket, ()):
                if key.startswith(part.prefix):
                    return part, store
        return None

    def _stores(self) -> Sequence[Store]:
        return list(dict.fromkeys(store for found in self.parts.values() for _, store in found))

    def _check_directory(self, part: Part, asset: Asset) -> None:
        """Refuse a directory that is everything the store has there. Raises Missing."""
        _, key = self._parse(asset.href)
        if len(key.rstrip("/")) <= len(part.prefix.rstrip("/")):
            log.warning("directory asset is the root of a store", extra={"collection": asset.collection})
            raise Missing("The root of a store is no directory asset.")

    def _parse(self, href: str) -> tuple[str, str]:
        """Take an href apart into bucket and key; both are empty if it is of another kind."""
        if href.startswith("s3://"):
            bucket, _, key = href.removeprefix("s3://").partition("/")
            return bucket, key
        if href.startswith(("https://", "http://")) and not CONTROL.search(href):
            return self._parse_address(href)
        return "", ""

    def _parse_address(self, href: str) -> tuple[str, str]:
        """Take a web address apart: the bucket stands first in its path, or first in the host's name."""
        try:
            parts = urlsplit(href)
            host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
            path = unquote(parts.path, errors="strict").removeprefix("/")
        except ValueError:
            return "", ""
        if "@" in parts.netloc or parts.query or parts.fragment:
            return "", ""
        for address, stores in self.addresses.items():
            bucket, key = _split(host, path, address.host)
            if (parts.scheme, port) == (address.scheme, address.port) and self._store(bucket, key) in stores:
                return bucket, key
        return "", ""


def _check_owner(part: Part, store: Store, asset: Asset, key: str) -> None:
    """Refuse what the author of an href may not hand out, since it is another collection's. Raises Missing."""
    owners = store.settings.collections
    owned = owners is None or asset.collection in owners
    if not owned or (part.own_folders and not key.startswith(f"{part.prefix}{asset.collection}/")):
        log.warning("%s leads into store %s, which is not for its collection", asset.collection, store.settings.name)
        raise Missing("There is no such object for this collection.")


def _notes(settings: StoreSettings) -> Iterator[str]:
    place = f"{VARIABLE}: /{settings.name}/collections"
    if settings.shared or settings.unowned:
        yield f"{place}: an author of any collection can publish every object of this store"
    elif settings.collections and len(settings.collections) > 1:
        names = ", ".join(sorted(settings.collections))
        yield f"{place}: an author of any of {names} can publish every object of this store"


def create_plugin(environ: Mapping[str, str]) -> S3:
    """Make the plugin from ``STACFLASK_S3_STORES``. Nothing is sent to any store. Raises SettingError."""
    stores = [Store(settings) for settings in read_stores(environ)]
    return S3(_parts(stores), _addresses(stores))


def _parts(stores: Sequence[Store]) -> Mapping[str, Sequence[tuple[Part, Store]]]:
    """Return the configured parts of each bucket with their stores, the longest prefix first."""
    found: dict[str, dict[str, tuple[Part, Store]]] = {}
    for store in stores:
        for part in store.settings.buckets:
            same, other = found.setdefault(part.bucket, {}).setdefault(part.prefix, (part, store))
            if other is store and same != part:
                text = f"{part.bucket}/{part.prefix} is given with and without {OWN_FOLDER}"
                raise SettingError(VARIABLE, f"/{store.settings.name}/buckets: {text}")
            if other is not store:
                names = f"{other.settings.name} and {store.settings.name}"
                raise SettingError(VARIABLE, f"{part.bucket}/{part.prefix} belongs to two stores, {names}")
    return {bucket: sorted(of.values(), key=lambda pair: -len(pair[0].prefix)) for bucket, of in found.items()}


def _addresses(stores: Sequence[Store]) -> Mapping[Address, Sequence[Store]]:
    """Give the endpoints by which the stores' objects may be named in the catalogue."""
    found: dict[Address, list[Store]] = {}
    for store in stores:
        for endpoint in _endpoints(store.settings):
            parts = urlsplit(endpoint)
            address = Address(parts.scheme, parts.hostname or "", parts.port or PORTS[parts.scheme])
            found.setdefault(address, []).append(store)
    return found


def _endpoints(settings: StoreSettings) -> set[str]:
    endpoints = {settings.endpoint, settings.public_endpoint}
    # Amazon's buckets also answer to the address without a region, and catalogues are full of it.
    if settings.endpoint.endswith(".amazonaws.com"):
        endpoints.add("https://s3.amazonaws.com")
    return endpoints


def _split(host: str, path: str, endpoint: str) -> tuple[str, str]:
    if host == endpoint:
        bucket, _, key = path.partition("/")
        return bucket, key
    return (host.removesuffix(f".{endpoint}"), path) if host.endswith(f".{endpoint}") else ("", "")


def _usual_host(parts: SplitResult) -> str:
    """Return host and port without what does not change where an address leads. Raises ValueError."""
    host = (parts.hostname or "").rstrip(".")
    port = "" if parts.port is None else f":{parts.port}"
    return f"[{host}]{port}" if ":" in host else f"{host}{port}"


def _usual_path(path: str) -> str:
    """Return a path as clients send it: steps with dots are followed, and it begins with one slash."""
    kept: list[str] = []
    for segment in path.lstrip("/").split("/"):
        step = segment.replace("%2e", ".").replace("%2E", ".")
        if step == "..":
            kept = kept[:-1]
        elif step != ".":
            kept.append(segment)
    return "/" + "/".join(kept)


def _is_key(key: str) -> bool:
    """Whether this can be an object's key, and is one that no client or store rewrites on the way."""
    if not key or key.isspace():
        return False
    # Few keys have a step that begins with a dot; only those are taken apart.
    if (key[0] == "." or "/." in key) and {".", ".."}.intersection(key.split("/")):
        return False
    if key.isascii() and key.isprintable():
        return len(key) <= LONGEST_KEY
    try:
        return len(key.encode()) <= LONGEST_KEY and not CONTROL.search(key)
    except UnicodeEncodeError:
        return False


def _fields(asset: Asset, filename: str) -> str:
    """Give what of the address tells the store to answer with other header fields than its own."""
    # A usual name stands in it as it is: it need not be encoded, and almost each asset has its own.
    named = filename.join(AROUND) if USUAL.fullmatch(filename) else _named(filename)
    return named + _typed(asset.media_type)


def _named(filename: str) -> str:
    return encoded({"response-content-disposition": content_disposition(filename)})


@lru_cache(maxsize=1024)
def _typed(media_type: str | None) -> str:
    if not media_type or not MEDIA_TYPE.fullmatch(media_type):
        return ""
    return "&" + encoded({"response-content-type": media_type})


USUAL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
AROUND = _named("NAME").split("NAME")
"""What stands around a usual name, both times that it is said."""
