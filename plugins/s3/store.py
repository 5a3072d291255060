"""One S3 store: signing addresses, asking for objects, reading them; and its errors in the house's words."""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, timedelta
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, NoReturn, Self
from urllib.parse import urlsplit
from xml.etree.ElementTree import ParseError

import urllib3
from minio import Minio
from minio.credentials.credentials import Credentials
from minio.credentials.providers import IamAwsProvider, Provider
from minio.error import MinioException, S3Error
from urllib3.exceptions import HTTPError, TimeoutError  # noqa: A004 - urllib3's own, not Python's

from plugins.s3.presign import Bucket, Pen, encoded
from plugins.s3.settings import SHORTEST, VARIABLE, WAITS
from stacflask import Bulkhead, Missing, Offline, Order, Redirect, SettingError, Stream, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from minio.datatypes import Object
    from urllib3.response import BaseHTTPResponse

    from plugins.s3.settings import Keys, StoreSettings

CHUNK = 512 * 1024  # bytes
CONNECTIONS = 32  # kept open per store and process; more are made when needed, and closed after use
REMEMBERED = 4096  # objects
GRANT = "x-stacflask-grant"  # stores ignore parameters that begin with x-, and log them
ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Storage classes whose objects must be brought back first; of GLACIER_IR they need not."""
RESTORE = (
    '<RestoreRequest xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Days>{0.days}</Days>'
    "<GlacierJobParameters><Tier>{0.tier}</Tier></GlacierJobParameters></RestoreRequest>"
)
QUERY = re.compile(r"\?[^\s'\")]+")

log = logging.getLogger(__name__)


class Store:
    """A store with its clients. Safe to be used by many threads."""

    def __init__(self, settings: StoreSettings) -> None:
        self.settings = settings
        quick = urllib3.Timeout(total=settings.timeout)
        steady = urllib3.Timeout(connect=settings.timeout, read=settings.stall_timeout)
        self._credentials = _credentials(settings, quick)
        away = "The store of this asset cannot be reached at the moment."
        self._questions = Bulkhead(f"store {settings.name}", slow=settings.timeout / 2, description=away)
        self._keys = Bulkhead(f"credentials of store {settings.name}", description=away)
        self._asker = self._client("endpoint", quick)
        self._reader = self._client("endpoint", steady)
        self._signer = self._client("public_endpoint", quick)
        self._payer = {"x-amz-request-payer": "requester"} if settings.requester_pays else {}
        self._added = encoded({**self._payer, GRANT: ""})
        self._http = _pool(quick, settings.ca_file)
        self._seen = Recent(settings.verify_ttl)
        self.record_metric: Callable[[str, float], None] = lambda _name, _value: None
        self._places: dict[str, Bucket] = {}
        self._last_pen: tuple[int, Pen] | None = None

    def redirect(self, bucket: str, key: str, fields: str, grant_id: str) -> Redirect:
        """Sign an address for GET with these fields, already ``encoded``, that names its grant to the store's log.

        They sort before those that the store adds. Raises Missing, Unavailable.
        """
        size = self._seen.get((bucket, key)) if self.settings.verify else None
        if self.settings.verify and size is None:
            size = self._stat(bucket, key).size
        return self.presign(bucket, key, fields, grant_id, size)

    def presign(self, bucket: str, key: str, fields: str, grant_id: str, size: int | None = None) -> Redirect:
        """Do the same as ``redirect`` without asking whether the object is there. Raises Unavailable."""
        place = self._places.get(bucket) or self._place(bucket)
        pen = self._pen()
        # In the order of their names, as they are signed; that of a grant is plain.
        return Redirect(pen.signed(place, key, f"{fields}&{self._added}{grant_id}"), pen.lifetime, size)

    def _place(self, bucket: str) -> Bucket:
        """Say where a bucket is, as the library has it, which knows each kind of endpoint. Raises Unavailable."""
        with self._told():
            url = urlsplit(self._signer.presigned_get_object(bucket, "x"))
        self._places[bucket] = place = Bucket(url.scheme, url.netloc, url.path[:-1])
        return place

    def _pen(self) -> Pen:
        """Give what signs now: that of this second, or a new one. Raises Unavailable."""
        second = int(time.time())
        if self._last_pen is None or self._last_pen[0] != second:
            with self._keys, self._told():
                credentials = self._credentials.retrieve()
                lifetime = self._lifetime(credentials, second)
                self._last_pen = second, Pen.of(credentials, self.settings.region, second, lifetime)
        return self._last_pen[1]

    def stream(self, bucket: str, key: str) -> Stream:
        """Find an object, ready to be read. Raises Missing, Unavailable."""
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
        """Make a client of one of the two endpoints. Nothing is sent."""
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
        """How long an address may live: a signature dies with the credentials that made it."""
        if credentials.expiration is None:
            return self.settings.lifetime
        rest = int(credentials.expiration.replace(tzinfo=UTC).timestamp()) - second
        if rest < SHORTEST:
            raise ValueError("the credentials have ended, or are about to")
        return min(self.settings.lifetime, timedelta(seconds=rest))

    def _stat(self, bucket: str, key: str) -> Object:
        with self._questions, self._told(), self._timed():
            found = self._asker.stat_object(bucket, key, extra_headers=dict(self._payer))
            # The library would take a length that is not told for zero.
            if "Content-Length" not in (found.metadata or {}):
                raise ValueError("the answer does not tell the object's length")
        self._look(found.metadata or {})
        self._seen.add((bucket, key), found.size or 0)
        return found

    def _look(self, headers: Mapping[str, str]) -> None:
        """See whether an object can be read. Raises Offline."""
        restore = headers.get("x-amz-restore", "")
        if 'ongoing-request="true"' in restore:
            raise Offline(order=self._shipping())
        if headers.get("x-amz-storage-class") in ARCHIVES and not restore:
            raise Offline(order=Order("orderable", self._shipping().retry_after))

    def restore(self, bucket: str, key: str) -> Order | None:
        """Have an archived object brought back, unless that goes on already; None: not by us. Raises Unavailable."""
        if self.settings.restore is None:
            return None
        body = RESTORE.format(self.settings.restore).encode()
        with self._questions, self._told(), self._timed():
            # The library has no call of its own for this one, but signs it.
            query: dict[str, Any] = {"restore": "", **self._payer}
            url = self._asker.get_presigned_url("POST", bucket, key, timedelta(minutes=1), extra_query_params=query)
            md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
            headers = {"Content-Type": "application/xml", "Content-MD5": md5}
            answer = self._http.request("POST", url, body=body, headers=headers)
            # Where it goes on already, others asked a moment before.
            if answer.status not in (200, 202) and b"RestoreAlreadyInProgress" not in answer.data:
                raise ValueError(f"restore: {answer.status} {answer.data[:500]!r}")
        return self._shipping()

    def _shipping(self) -> Order:
        tier = self.settings.restore.tier if self.settings.restore else "Standard"
        return Order("shipping", WAITS[tier])

    def _open(self, bucket: str, key: str, etag: str | None, first: int, length: int) -> Iterator[bytes]:
        """Ask for a part of the very object that was found. What is wrong from the start is told at once."""
        if not length:
            return iter(())
        headers: dict[str, Any] = {**self._payer, **({"If-Match": etag} if etag else {})}
        with self._questions, self._told(), self._timed():
            answer = self._reader.get_object(bucket, key, first, length, request_headers=headers)
        expected = (206, str(length), etag)
        if (answer.status, answer.headers.get("Content-Length"), _etag(answer.headers)) != expected:
            answer.close()
            raise self._unavailable(ValueError("the answer is not the part that was asked for"))
        return Body(answer, length, f"store {self.settings.name}, {bucket}/{key}")

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """Tell how long the store took to answer."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.record_metric("store_seconds", time.perf_counter() - began)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn the store's errors into the house's: in full for the log, without detail for the client."""
        try:
            yield
        except S3Error as error:
            if error.code in ("NoSuchKey", "NoSuchBucket"):
                raise Missing("The store does not have this object.") from error
            if error.code == "InvalidObjectState":
                raise Unavailable(
                    "The object has just gone back into its archive. Ask again.", retry_after=1
                ) from error
            if error.code == "PreconditionFailed":
                raise Unavailable("The object has just been replaced. Ask again.", retry_after=1) from error
            raise self._unavailable(error) from error
        except (MinioException, HTTPError, OSError, ValueError, ParseError) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> Unavailable:
        # Addresses in messages may carry tokens of a machine's role.
        problem = QUERY.sub("?...", str(error))
        log.error("store %s: %s: %.500s", self.settings.name, type(error).__name__, problem)
        return Unavailable("The store of this asset cannot be reached at the moment.")


class Body(Iterator[bytes]):
    """The bytes of an answer, in pieces. Closed early, it hangs up; a body that ends early is an error."""

    def __init__(self, answer: BaseHTTPResponse, length: int, name: str) -> None:
        self._answer = answer
        self._left = length
        self._name = name

    def __next__(self) -> bytes:
        if not self._left:
            raise StopIteration
        try:
            # What has come is passed on at once: a client that has left is noticed, however slow the store is.
            piece = self._answer.read1(min(CHUNK, self._left), decode_content=False)
        except (HTTPError, OSError) as error:
            self._break_off(error)
        self._left -= len(piece)
        return piece

    def close(self) -> None:
        """Let go of the connection: kept for the next if all was read, else closed, so that the store stops sending."""
        if self._left:
            self._answer.close()
        self._answer.release_conn()

    def _break_off(self, error: Exception) -> NoReturn:
        """Raise in the middle of the body: the transfer is cut, so that nobody takes a part for the whole."""
        log.warning("%s: broke off with %s bytes to come: %s", self._name, self._left, error)
        self.close()
        raise Unavailable("The store broke off.") from error


class Recent:
    """Sizes of objects seen lately, ``REMEMBERED`` at most, each for ``lifetime`` seconds; the oldest goes first."""

    def __init__(self, lifetime: float) -> None:
        self._lifetime = lifetime
        self._seen: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()
        self._lock = Lock()

    def get(self, place: tuple[str, str]) -> int | None:
        """Return the size of an object that was seen a moment ago."""
        end, size = self._seen.get(place, (0.0, 0))
        return size if time.monotonic() < end else None

    def add(self, place: tuple[str, str], size: int) -> None:
        """Remember one from now on."""
        with self._lock:
            self._seen[place] = time.monotonic() + self._lifetime, size
            self._seen.move_to_end(place)
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)


class Given(Provider):
    """Credentials from the settings, with their end."""

    def __init__(self, keys: Keys) -> None:
        self._credentials = Credentials(keys.access_key, keys.secret_key, keys.session_token, keys.expires)

    def retrieve(self) -> Credentials:
        """Give them, ended or not."""
        return self._credentials


class OnceMore(urllib3.Retry):
    """A second try where a kept connection had gone stale; none where there was no way, or no answer in time."""

    def increment(self, method: str | None = None, url: str | None = None, *args: Any, **kwargs: Any) -> Self:
        """Count a try, or raise what ended it."""
        error = kwargs.get("error")
        if isinstance(error, TimeoutError):
            raise error
        return super().increment(method, url, *args, **kwargs)


def _etag(headers: Mapping[str, str]) -> str | None:
    """Give the strong validator that an answer carries, with the quotes that some stores forget."""
    value = headers.get("ETag", "")
    if not value or value.startswith("W/"):
        return None
    return '"' + value.strip('"') + '"'


def _encoding(headers: Mapping[str, str]) -> str | None:
    """Return the content coding of the stored bytes.

    ``aws-chunked`` is that of an upload. Some stores keep it, though the bytes are no longer coded so; ``identity`` is
    no coding at all.
    """
    codings = [coding.strip() for coding in headers.get("Content-Encoding", "").split(",")]
    return ", ".join(coding for coding in codings if coding.lower() not in ("", "aws-chunked", "identity")) or None


def _credentials(settings: StoreSettings, timeout: urllib3.Timeout) -> Provider:
    if settings.keys is None:
        return IamAwsProvider(http_client=_pool(timeout, None))
    return Given(settings.keys)


def _pool(timeout: urllib3.Timeout, ca_file: str | None) -> urllib3.PoolManager:
    # A store's own "wait a minute" must not hold a thread, nor its redirects lead to other hosts.
    retries = OnceMore(total=1, redirect=False, respect_retry_after_header=False)
    return urllib3.PoolManager(
        maxsize=CONNECTIONS, timeout=timeout, retries=retries, cert_reqs="CERT_REQUIRED", ca_certs=ca_file
    )
