"""Locations of data, deliveries and orders."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from stacflask.model.json_types import _empty_mapping, _protect
from stacflask.model.readonly import ReadOnlyDict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Location:
    """The location of the bytes of an asset in a store.

    Attributes:
        store: Kind of store (``s3``, ``file``), by which ``deliver`` recognizes its own locations.
        path: Path in the store.
        options: Further values that ``resolve`` passes to ``deliver`` and ``presign``.
    """

    store: str
    path: str
    options: Mapping[str, Any] = field(default_factory=_empty_mapping)

    def __post_init__(self) -> None:
        """Make the options read-only."""
        if type(self.options) is not ReadOnlyDict:
            _protect(self, "options")


@dataclass(frozen=True, slots=True)
class Redirect:
    """A temporary URL from which the client downloads an asset.

    Attributes:
        url: URL that is valid for GET without credentials.
        lifetime: Time for which the URL is valid.
        size: Size of the object in bytes, if the store reported it. It is charged instead of ``file:size``.
    """

    url: str
    lifetime: timedelta
    size: int | None = None


@dataclass(frozen=True, slots=True)
class SignedQueries:
    """Queries that make download URLs of this server work without headers.

    Attributes:
        queries: One query (``name=value``) for each asset, in the order of the assets.
        lifetime: Time for which the queries are valid.
    """

    queries: Sequence[str]
    lifetime: timedelta


@dataclass(frozen=True, slots=True)
class Stream:
    """An object to be sent through this server. stacflask handles ranges, conditions, status and headers.

    Attributes:
        open: Function ``open(first, length)`` that yields ``length`` bytes from offset ``first``. It is called once,
            and only if bytes are sent.
        length: Size of the whole object in bytes.
        etag: Strong validator with its quotes (RFC 9110, 8.8.3).
        last_modified: When the object was last modified.
        content_type: Media type from the store. The asset's ``type`` takes precedence.
        content_encoding: Value of Content-Encoding for the stored bytes (RFC 9110, 8.4).
        content_language: Value of Content-Language for the stored bytes (RFC 9110, 8.5).
    """

    open: Callable[[int, int], Iterator[bytes]]
    length: int
    etag: str | None = None
    last_modified: datetime | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    content_language: str | None = None


Delivery: TypeAlias = Redirect | Stream


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The part of an asset that is about to be sent.

    Attributes:
        first: Offset of the first byte.
        length: Number of bytes; None if it is not known, as in a redirect.
        size: Size of the whole object in bytes; None if it is not known.
    """

    first: int = 0
    length: int | None = None
    size: int | None = None

    @property
    def opening(self) -> bool:
        """True if the range begins at the first byte, so that it is a download and not a further part of one."""
        return self.first == 0


@dataclass(frozen=True, slots=True)
class Order:
    """The state of an order for data that are not online, as in the STAC order extension.

    Attributes:
        status: ``orderable`` (not ordered yet), ``ordered``, ``shipping`` (in progress), ``succeeded`` (online) or
            ``failed``.
        retry_after: Seconds after which a client should request the state again.
    """

    status: Literal["orderable", "ordered", "shipping", "succeeded", "failed"]
    retry_after: int = 300
