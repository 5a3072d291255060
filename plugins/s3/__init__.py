"""Assets in S3 stores, delivered by presigned URLs or streamed by this server. See docs/stores.md."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from stacflask import (
    Asset,
    Location,
    Missing,
    Order,
    Redirect,
    Services,
    Setting,
    SettingError,
    Stream,
    filename_of,
    hookimpl,
)

from .response_fields import response_fields
from .settings import VARIABLE, Part, StoreSettings, read_stores
from .store import GRANT, Store
from .urls import (
    CONTROL_CHARACTERS,
    PORTS,
    Address,
    is_key,
    normal_host,
    normal_path,
    parts_by_bucket,
    split_url,
    stores_by_address,
)

STORE_NAME = "s3"

SETTINGS = (
    Setting(
        VARIABLE,
        "The stores: JSON, or the path of a JSON file, with endpoint, region, credentials and buckets.",
        required=True,
        secret=True,
    ),
)
SIGNATURES = frozenset({"x-amz-signature", "x-amz-credential", "signature", "awsaccesskeyid", "x-goog-signature"})
"""Parameters of presigned URLs: signature versions 4 and 2, and Google's."""

UNOWNED = (
    "/{0}/collections: missing. Documents can be changed here, so an author of any collection could publish every "
    'object of this store. List the collections whose assets are here, end the prefixes with "{{collection}}/", or '
    'write "*" if every author may publish every object.'
)
log = logging.getLogger(__name__)


@dataclass
class S3:
    """The plugin. It resolves and delivers only objects in the configured buckets and prefixes.

    ``parts``: the parts of each bucket, the longest prefix first; ``addresses``: endpoints with their stores;
    ``filename``: returns the file name of a download.
    """

    parts: Mapping[str, Sequence[tuple[Part, Store]]]
    addresses: Mapping[Address, Sequence[Store]]
    filename: Callable[[Asset], str] = filename_of

    @hookimpl
    def startup(self, services: Services) -> None:
        """Connect the stores to the metrics. Raises SettingError for a store that all authors could publish."""
        self.filename = services.filename or filename_of
        for store in self._stores():
            store.record_metric = services.record_metric
            if services.changes_possible and store.settings.unowned:
                raise SettingError(VARIABLE, UNOWNED.format(store.settings.name))

    @hookimpl
    def resolve(self, asset: Asset) -> Location | None:
        """Return the location of an object in a configured bucket: ``s3://bucket/key`` or its URL.

        Raises Missing for an object of another collection.
        """
        bucket, key = self._bucket_and_key(asset)
        found = self._part(bucket, key)
        if found is None:
            return None
        part, store = found
        _check_owner(part, store, asset, key)
        if asset.path:
            self._check_directory(part, asset)
        return Location(STORE_NAME, f"{bucket}/{key}")

    @hookimpl
    def deliver(self, asset: Asset, location: Location, streamed: bool, grant_id: str) -> Redirect | Stream | None:
        """Return a presigned URL or a stream of an object."""
        bucket, _, key = location.path.partition("/")
        store = self._store(bucket, key) if location.store == STORE_NAME else None
        if store is None:
            return None
        if streamed or store.settings.stream:
            return store.stream(bucket, key)
        return store.redirect(bucket, key, response_fields(asset, self.filename(asset)), grant_id)

    @hookimpl
    def presign(
        self, assets: Sequence[Asset], locations: Sequence[Location], grant_ids: Sequence[str]
    ) -> Sequence[Redirect | None]:
        """Return presigned URLs without a request to the store; None for assets of a store that is only streamed."""
        return list(map(self._presign, assets, locations, grant_ids))

    def _presign(self, asset: Asset, location: Location, grant_id: str) -> Redirect | None:
        bucket, _, key = location.path.partition("/")
        store = self._store(bucket, key) if location.store == STORE_NAME else None
        if store is None or store.settings.stream:
            return None
        return store.presign(bucket, key, response_fields(asset, self.filename(asset)), grant_id)

    @hookimpl
    def order(self, asset: Asset) -> Order | None:
        """Request the restore of an archived object."""
        bucket, key = self._bucket_and_key(asset)
        store = self._store(bucket, key)
        return store.restore(bucket, key) if store else None

    @hookimpl
    def storage_href(self, href: str) -> str | None:
        """Return ``s3://bucket/key`` for a URL of a configured bucket, if it is presigned or has no query.

        A URL that was presigned with the credentials of this server is recognised with any host.
        """
        if not href.lower().startswith(("https://", "http://")) or CONTROL_CHARACTERS.search(href):
            return None
        try:
            parts = urlsplit(href)
            query = {name.lower(): value for name, value in parse_qsl(parts.query, keep_blank_values=True)}
            path = normal_path(parts.path)
        except ValueError:
            return None
        signed = not SIGNATURES.isdisjoint(query)
        if parts.query and not signed:
            return None
        bucket, key = self._parse_url(
            parts._replace(netloc=normal_host(parts), path=path, query="", fragment="").geturl()
        )
        if not bucket and signed and self._is_own(query):
            bucket, key = self._bucket_and_key_at(parts.hostname or "", unquote(path))
        return f"s3://{bucket}/{key}" if bucket and key else None

    def _is_own(self, query: Mapping[str, str]) -> bool:
        """Return whether the query of a presigned URL is from this server, or from the credentials of a store."""
        signer = query.get("x-amz-credential", "").partition("/")[0] or query.get("awsaccesskeyid")
        return GRANT in query or any(
            store.settings.keys and store.settings.keys.access_key == signer for store in self._stores()
        )

    def _bucket_and_key_at(self, host: str, path: str) -> tuple[str, str]:
        """Return bucket and key of a URL whose host is not a configured endpoint."""
        path = path.lstrip("/")
        bucket = next((bucket for bucket in self.parts if host.startswith(f"{bucket}.")), None)
        return (bucket, path) if bucket else split_url("", path, "")

    @hookimpl
    def check_setup(self) -> Sequence[str]:
        """Report the stores whose objects authors of several collections can publish."""
        return [note for store in self._stores() for note in _notes(store.settings)]

    def _bucket_and_key(self, asset: Asset) -> tuple[str, str]:
        """Return bucket and key of an asset, or of a file in a directory asset; empty for other hrefs."""
        bucket, key = self._parse(asset.href)
        if asset.path:
            key = f"{key.rstrip('/')}/{asset.path}" if key else asset.path
        return bucket, key

    def _store(self, bucket: str, key: str) -> Store | None:
        found = self._part(bucket, key)
        return found[1] if found else None

    def _part(self, bucket: str, key: str) -> tuple[Part, Store] | None:
        if is_key(key):
            for part, store in self.parts.get(bucket, ()):
                if key.startswith(part.prefix):
                    return part, store
        return None

    def _stores(self) -> Sequence[Store]:
        return list(dict.fromkeys(store for found in self.parts.values() for _, store in found))

    def _check_directory(self, part: Part, asset: Asset) -> None:
        """Raise Missing for a directory asset that is a whole part of a store."""
        _, key = self._parse(asset.href)
        if len(key.rstrip("/")) <= len(part.prefix.rstrip("/")):
            log.warning("directory asset is the root of a store", extra={"collection": asset.collection})
            raise Missing("The root of a store is no directory asset.")

    def _parse(self, href: str) -> tuple[str, str]:
        """Return bucket and key of an href; empty for other hrefs."""
        if href.startswith("s3://"):
            bucket, _, key = href.removeprefix("s3://").partition("/")
            return bucket, key
        if href.startswith(("https://", "http://")) and not CONTROL_CHARACTERS.search(href):
            return self._parse_url(href)
        return "", ""

    def _parse_url(self, href: str) -> tuple[str, str]:
        """Return bucket and key of a URL, with the bucket in its path or its host; empty for other URLs."""
        try:
            parts = urlsplit(href)
            host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
            path = unquote(parts.path, errors="strict").removeprefix("/")
        except ValueError:
            return "", ""
        if "@" in parts.netloc or parts.query or parts.fragment:
            return "", ""
        for address, stores in self.addresses.items():
            bucket, key = split_url(host, path, address.host)
            if (parts.scheme, port) == (address.scheme, address.port) and self._store(bucket, key) in stores:
                return bucket, key
        return "", ""


def _check_owner(part: Part, store: Store, asset: Asset, key: str) -> None:
    """Raise Missing for an object that belongs to another collection than the asset."""
    owners = store.settings.collections
    owned = owners is None or asset.collection in owners
    if not owned or (part.own_folders and not key.startswith(f"{part.prefix}{asset.collection}/")):
        fields = {"collection": asset.collection, "store": store.settings.name}
        log.warning("href in a store of other collections", extra=fields)
        raise Missing("There is no such object for this collection.")


def _notes(settings: StoreSettings) -> Iterator[str]:
    member = f"{VARIABLE}: /{settings.name}/collections"
    if settings.shared or settings.unowned:
        yield f"{member}: an author of any collection can publish every object of this store"
    elif settings.collections and len(settings.collections) > 1:
        names = ", ".join(sorted(settings.collections))
        yield f"{member}: an author of any of {names} can publish every object of this store"


def create_plugin(environ: Mapping[str, str]) -> S3:
    """Return the plugin. No request is sent to a store. Raises SettingError."""
    stores = [Store(settings) for settings in read_stores(environ)]
    return S3(parts_by_bucket(stores), stores_by_address(stores))
