"""Where data are, and how they are delivered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from stacflask.model.json_types import _nothing, _protect
from stacflask.model.readonly import ReadOnlyDict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Location:
    """Where an asset's bytes are. ``store`` names the resolver's world (``s3``, ``file``)."""

    store: str
    path: str
    options: Mapping[str, Any] = field(default_factory=_nothing)

    def __post_init__(self) -> None:
        """Make the options read-only."""
        if type(self.options) is not ReadOnlyDict:
            _protect(self, "options")


@dataclass(frozen=True, slots=True)
class Redirect:
    """A temporary address that needs no credentials, good for GET during ``lifetime``.

    ``size`` is the object's size in bytes, if the store has told it; it is charged instead of ``file:size``.
    """

    url: str
    lifetime: timedelta
    size: int | None = None


@dataclass(frozen=True, slots=True)
class SignedQueries:
    """What makes download addresses work without headers: a query for each (``name=value``), good for ``lifetime``."""

    queries: Sequence[str]
    lifetime: timedelta


@dataclass(frozen=True, slots=True)
class Stream:
    """Bytes to be sent through this server.

    ``open(first, length)`` yields ``length`` bytes from offset ``first``; it is called once, and only when bytes are to
    leave. ``length`` is the whole object's size in bytes, ``etag`` a strong validator with its quotes. Ranges,
    conditions, status and headers are the core's business.

    ``content_encoding`` and ``content_language`` are the values of the header fields that describe the stored bytes
    (RFC 9110, 8.4 and 8.5). ``content_type`` is the media type that the store has; an asset's own ``type`` precedes it.
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
    """The part of an asset that is about to leave: ``length`` bytes from ``first``; None: unknown, as in a redirect.

    ``size`` is that of the whole object in bytes; None: unknown.
    """

    first: int = 0
    length: int | None = None
    size: int | None = None

    @property
    def opening(self) -> bool:
        """Whether it begins at the first byte: a download, and not a further part of one."""
        return self.first == 0


@dataclass(frozen=True, slots=True)
class Order:
    """How it stands with data that are not online, in the words of STAC's order extension.

    ``orderable``: nobody has asked for them yet. ``ordered`` and ``shipping``: they are coming. ``succeeded``: they are
    there. ``retry_after``: seconds after which it is worth to ask again.
    """

    status: Literal["orderable", "ordered", "shipping", "succeeded", "failed"]
    retry_after: int = 300
