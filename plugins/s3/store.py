"""One S3 store: presigned URLs, requests, streams, and the mapping of its errors."""

import base64
import hashlib
import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, timedelta
from functools import partial
from threading import Lock
from typing import Any, NoReturn, Self
from urllib.parse import urlsplit
from xml.etree.ElementTree import ParseError

import urllib3
from cachetools import TTLCache
from minio import Minio
from minio.credentials.credentials import Credentials
from minio.credentials.providers import IamAwsProvider, Provider
from minio.datatypes import Object
from minio.error import MinioException, S3Error
from urllib3.exceptions import HTTPError, TimeoutError  # noqa: A004 - urllib3's own, not Python's
from urllib3.response import BaseHTTPResponse

from stacflask import Bulkhead, Missing, Offline, Order, RecordMetric, Redirect, SettingError, Stream, Unavailable

from .presign import Bucket, Presigner, encoded
from .settings import MIN_LIFETIME_SECONDS, RETRY_AFTER_SECONDS, VARIABLE, StaticCredentials, StoreSettings

CHUNK_BYTES = 512 * 1024
POOLED_CONNECTIONS = 32  # per store and process; further ones are closed after use
CACHED_OBJECTS = 4096
GRANT = "x-stacflask-grant"  # stores ignore parameters that begin with x-, and log them
ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Storage classes whose objects must be restored first. GLACIER_IR needs no restore."""
UNAVAILABLE = "The store of this asset cannot be reached at the moment. Try again later."
RESTORE = (
    '<RestoreRequest xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Days>{0.days}</Days>'
    "<GlacierJobParameters><Tier>{0.tier}</Tier></GlacierJobParameters></RestoreRequest>"
)
QUERY = re.compile(r"\?[^\s'\")]+")

log = logging.getLogger(__name__)


class Store:
    """A store with its clients, for use by many threads."""

    def __init__(self, settings: StoreSettings) -> None:
        self.settings = settings
        quick = urllib3.Timeout(total=settings.timeout)
        steady = urllib3.Timeout(connect=settings.timeout, read=settings.stall_timeout)
        self._credentials = _credentials(settings, quick)
        self._bulkhead = Bulkhead(f"store {settings.name}", slow=settings.timeout / 2, description=UNAVAILABLE)
        self._credentials_bulkhead = Bulkhead(f"credentials of store {settings.name}", description=UNAVAILABLE)
        self._head_client = self._client("endpoint", quick)
        self._get_client = self._client("endpoint", steady)
        self._signer = self._client("public_endpoint", quick)
        self._payer = {"x-amz-request-payer": "requester"} if settings.requester_pays else {}
        self._added = encoded({**self._payer, GRANT: ""})
        self._http = _pool(quick, settings.ca_file)
        self._sizes: TTLCache[tuple[str, str], int] = TTLCache(CACHED_OBJECTS, settings.verify_ttl)
        self._sizes_lock = Lock()
        self.record_metric: RecordMetric = lambda *_: None
        self._bucket_urls: dict[str, Bucket] = {}
        self._last_presigner: tuple[int, Presigner] | None = None

    def redirect(self, bucket: str, key: str, fields: str, grant_id: str) -> Redirect:
        """Return a presigned URL for GET with these ``encoded`` query fields and the id of the grant.

        The fields must sort before those that this method adds. Raises Missing, Unavailable.
        """
        size = self._size(bucket, key) if self.settings.verify else None
        return self.presign(bucket, key, fields, grant_id, size)

    def _size(self, bucket: str, key: str) -> int | None:
        with self._sizes_lock:
            size = self._sizes.get((bucket, key))
        return self._stat(bucket, key).size if size is None else size

    def presign(self, bucket: str, key: str, fields: str, grant_id: str, size: int | None = None) -> Redirect:
        """Return the same as ``redirect`` without checking that the object exists. Raises Unavailable."""
        bucket_url = self._bucket_urls.get(bucket) or self._bucket_url(bucket)
        presigner = self._presigner()
        # Sorted by name, as the signature needs it; the id of a grant needs no encoding.
        url = presigner.signed(bucket_url, key, f"{fields}&{self._added}{grant_id}")
        return Redirect(url, presigner.lifetime, size)

    def _bucket_url(self, bucket: str) -> Bucket:
        """Return the URL of a bucket from the library, which supports each kind of endpoint. Raises Unavailable."""
        with self._mapped_errors():
            url = urlsplit(self._signer.presigned_get_object(bucket, "x"))
        self._bucket_urls[bucket] = bucket_url = Bucket(url.scheme, url.netloc, url.path[:-1])
        return bucket_url

    def _presigner(self) -> Presigner:
        """Return the presigner of the current second. Raises Unavailable."""
        second = int(time.time())
        if self._last_presigner is None or self._last_presigner[0] != second:
            with self._credentials_bulkhead, self._mapped_errors():
                credentials = self._credentials.retrieve()
                lifetime = self._lifetime(credentials, second)
                self._last_presigner = second, Presigner.of(credentials, self.settings.region, second, lifetime)
        return self._last_presigner[1]

    def stream(self, bucket: str, key: str) -> Stream:
        """Return a stream of an object. Raises Missing, Unavailable."""
        found = self._stat(bucket, key)
        headers = found.metadata or {}
        etag = _etag(headers)
        return Stream(
            partial(self._open, bucket, key, etag),
            found.size or 0,
            etag,
            found.last_modified,
            headers.get("Content-Type"),
            _encoding(headers),
            headers.get("Content-Language"),
        )

    def _client(self, endpoint: str, timeout: urllib3.Timeout) -> Minio:
        """Return a client for one of the two endpoints, without a request."""
        address = urlsplit(getattr(self.settings, endpoint))
        try:
            client = Minio(
                address.netloc,
                secure=address.scheme == "https",
                region=self.settings.region,
                credentials=self._credentials,
                http_client=_pool(timeout, self.settings.ca_file),
            )
        except ValueError as error:
            raise SettingError(VARIABLE, f"/{self.settings.name}/{endpoint}: {error}") from error
        if self.settings.virtual is not None:
            style = "enable" if self.settings.virtual else "disable"
            getattr(client, f"{style}_virtual_style_endpoint")()
        return client

    def _lifetime(self, credentials: Credentials, second: int) -> timedelta:
        """Return the lifetime of a presigned URL, which ends with the credentials that sign it. Raises ValueError."""
        if credentials.expiration is None:
            return self.settings.lifetime
        rest = int(credentials.expiration.replace(tzinfo=UTC).timestamp()) - second
        if rest < MIN_LIFETIME_SECONDS:
            raise ValueError("the credentials have expired, or are about to expire")
        return min(self.settings.lifetime, timedelta(seconds=rest))

    def _stat(self, bucket: str, key: str) -> Object:
        with self._bulkhead, self._mapped_errors(), self._timed():
            found = self._head_client.stat_object(bucket, key, extra_headers=dict(self._payer))
            # The library would return 0 for a missing length.
            if "Content-Length" not in (found.metadata or {}):
                raise ValueError("the response has no Content-Length")
        self._check_online(found.metadata or {})
        with self._sizes_lock:
            self._sizes[bucket, key] = found.size or 0
        return found

    def _check_online(self, headers: Mapping[str, str]) -> None:
        """Raise Offline for an object that is archived or being restored."""
        restore = headers.get("x-amz-restore", "")
        if 'ongoing-request="true"' in restore:
            raise Offline(order=self._shipping())
        if headers.get("x-amz-storage-class") in ARCHIVES and not restore:
            raise Offline(order=Order("orderable", self._shipping().retry_after))

    def restore(self, bucket: str, key: str) -> Order | None:
        """Request the restore of an archived object. Return None if it is not configured. Raises Unavailable."""
        if self.settings.restore is None:
            return None
        body = RESTORE.format(self.settings.restore).encode()
        with self._bulkhead, self._mapped_errors(), self._timed():
            # The library has no method for this request, but can presign it.
            query: dict[str, Any] = {"restore": "", **self._payer}
            url = self._head_client.get_presigned_url(
                "POST", bucket, key, timedelta(minutes=1), extra_query_params=query
            )
            md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
            headers = {"Content-Type": "application/xml", "Content-MD5": md5}
            response = self._http.request("POST", url, body=body, headers=headers)
            # Another client may have requested it a moment ago.
            if response.status not in (200, 202) and b"RestoreAlreadyInProgress" not in response.data:
                raise ValueError(f"restore: {response.status} {response.data[:500]!r}")
        return self._shipping()

    def _shipping(self) -> Order:
        tier = self.settings.restore.tier if self.settings.restore else "Standard"
        return Order("shipping", RETRY_AFTER_SECONDS[tier])

    def _open(self, bucket: str, key: str, etag: str | None, first: int, length: int) -> Iterator[bytes]:
        """Request a range of the object with this entity tag, and return its chunks. Raises Missing, Unavailable."""
        if not length:
            return iter(())
        headers: dict[str, Any] = {**self._payer, **({"If-Match": etag} if etag else {})}
        with self._bulkhead, self._mapped_errors(), self._timed():
            response = self._get_client.get_object(bucket, key, first, length, request_headers=headers)
        expected = (206, str(length), etag)
        if (response.status, response.headers.get("Content-Length"), _etag(response.headers)) != expected:
            response.close()
            raise self._unavailable(ValueError("the response is not the requested range"))
        return Body(response, length, self.settings.name, f"{bucket}/{key}")

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """Record how long the store took to respond."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.record_metric("store_seconds", time.perf_counter() - began, {"store": self.settings.name})

    @contextmanager
    def _mapped_errors(self) -> Iterator[None]:
        """Raise stacflask's errors for those of the store. The log gets the details, the client does not."""
        try:
            yield
        except S3Error as error:
            if error.code in ("NoSuchKey", "NoSuchBucket"):
                raise Missing("The store does not have this object.") from error
            if error.code == "InvalidObjectState":
                raise Unavailable("The object has just been archived again. Try again.", retry_after=1) from error
            if error.code == "PreconditionFailed":
                raise Unavailable("The object has just been replaced. Try again.", retry_after=1) from error
            raise self._unavailable(error) from error
        except (MinioException, HTTPError, OSError, ValueError, ParseError) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> Unavailable:
        # URLs in messages can have tokens of the machine's role.
        problem = QUERY.sub("?...", str(error))[:500]
        fields = {"store": self.settings.name, "error": type(error).__name__, "problem": problem}
        log.error("store request failed", extra=fields)
        return Unavailable(UNAVAILABLE)


class Body(Iterator[bytes]):
    """The chunks of a response. ``close`` before the end closes the connection; a truncated body is an error."""

    def __init__(self, response: BaseHTTPResponse, length: int, store: str, path: str) -> None:
        self._response = response
        self._left = length
        self._log_fields = {"store": store, "path": path}

    def __next__(self) -> bytes:
        if not self._left:
            raise StopIteration
        try:
            # Received bytes are returned at once, so that a closed client is noticed even if the store is slow.
            chunk = self._response.read1(min(CHUNK_BYTES, self._left), decode_content=False)
        except (HTTPError, OSError) as error:
            self._fail(error)
        self._left -= len(chunk)
        return chunk

    def close(self) -> None:
        """Release the connection: to the pool if all was read, else closed, so that the store stops sending."""
        if self._left:
            self._response.close()
        self._response.release_conn()

    def _fail(self, error: Exception) -> NoReturn:
        """Raise Unavailable within the body, so that no client takes a part as complete."""
        log.warning("store response truncated", extra={**self._log_fields, "left": self._left, "error": str(error)})
        self.close()
        raise Unavailable("The store closed the connection before the end of the object.") from error


class StaticProvider(Provider):
    """Provides the credentials in the settings."""

    def __init__(self, keys: StaticCredentials) -> None:
        self._credentials = Credentials(keys.access_key, keys.secret_key, keys.session_token, keys.expires)

    def retrieve(self) -> Credentials:
        """Return the credentials, expired or not."""
        return self._credentials


class RetryOnce(urllib3.Retry):
    """One retry for a stale pooled connection; none after a timeout."""

    def increment(self, method: str | None = None, url: str | None = None, *args: Any, **kwargs: Any) -> Self:
        """Count a try, or raise the error that ended it."""
        error = kwargs.get("error")
        if isinstance(error, TimeoutError):
            raise error
        return super().increment(method, url, *args, **kwargs)


def _etag(headers: Mapping[str, str]) -> str | None:
    """Return the strong entity tag of a response, with the quotes that some stores omit."""
    value = headers.get("ETag", "")
    if not value or value.startswith("W/"):
        return None
    return '"' + value.strip('"') + '"'


def _encoding(headers: Mapping[str, str]) -> str | None:
    """Return the content coding of the stored bytes.

    ``aws-chunked`` is the coding of an upload. Some stores return it, although the stored bytes do not have it;
    ``identity`` means no coding.
    """
    codings = [coding.strip() for coding in headers.get("Content-Encoding", "").split(",")]
    return ", ".join(coding for coding in codings if coding.lower() not in ("", "aws-chunked", "identity")) or None


def _credentials(settings: StoreSettings, timeout: urllib3.Timeout) -> Provider:
    if settings.keys is None:
        return IamAwsProvider(http_client=_pool(timeout, None))
    return StaticProvider(settings.keys)


def _pool(timeout: urllib3.Timeout, ca_file: str | None) -> urllib3.PoolManager:
    # Retry-After of a store must not block a thread, and its redirects must not lead to other hosts.
    retries = RetryOnce(total=1, redirect=False, respect_retry_after_header=False)
    return urllib3.PoolManager(
        maxsize=POOLED_CONNECTIONS, timeout=timeout, retries=retries, cert_reqs="CERT_REQUIRED", ca_certs=ca_file
    )
