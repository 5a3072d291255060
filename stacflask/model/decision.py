"""Decisions on downloads and changes, and restrictions of what is visible."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from stacflask.model.asset import Asset
from stacflask.model.json_types import NOTHING, Cql2, _empty_mapping, _protect
from stacflask.model.principal import Principal
from stacflask.model.readonly import ReadOnlyDict


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision of one plugin on a download or a change. Use ``allow``, ``abstain`` and ``deny`` to make one.

    Attributes:
        allowed: True to consent, False to deny, None to abstain. An abstention adds to the decisions of other plugins.
        reason: The reason, for the log.
        detail: The reason, for the client.
        kind: Status of a denial: ``forbidden`` (403) or ``exhausted`` (429).
        code: Error code in the response.
        link: URL path of this API where the client can change the outcome, such as a licence to accept.
        rel: Relation of ``link`` (RFC 8288): a registered name, such as ``license`` or ``payment``, or a URI.
        retry_after: Seconds until the client should retry.
        headers: Header fields of the response, for consents and denials.
        extra: Further members of the error's body.
        counted: True if the response must not be cached, because each download is counted.
        scope: The scope that the credential lacks (RFC 6750, 3.1).
        by: Name of the plugin. Set by stacflask; empty if the decision is stacflask's own.
        max_bytes: Size in bytes of the largest object that a consent or an abstention covers, as its store reports it.
        stream: True if the bytes must pass this server, so that no URL of the store is sent to the client.
    """

    allowed: bool | None
    reason: str
    detail: str | None = None
    kind: Literal["forbidden", "exhausted"] = "forbidden"
    code: str | None = None
    link: str | None = None
    retry_after: int | None = None
    headers: Mapping[str, str] = field(default_factory=_empty_mapping)
    extra: Mapping[str, Any] = field(default_factory=_empty_mapping)
    counted: bool = False
    scope: str | None = None
    by: str = ""
    max_bytes: int | None = None
    rel: str = "help"
    stream: bool = False

    def __post_init__(self) -> None:
        """Make headers and extra members read-only."""
        if type(self.headers) is not ReadOnlyDict:
            _protect(self, "headers")
        if type(self.extra) is not ReadOnlyDict:
            _protect(self, "extra")

    @classmethod
    def allow(
        cls,
        reason: str,
        *,
        headers: Mapping[str, str] = NOTHING,
        counted: bool = False,
        max_bytes: int | None = None,
        stream: bool = False,
    ) -> Decision:
        """Return a consent.

        Args:
            reason: The reason, for the log.
            headers: Header fields of the response.
            counted: True if the response must not be cached, because each download is counted.
            max_bytes: Size in bytes of the largest object that the consent covers.
            stream: True if the bytes must pass this server; see ``transform``.
        """
        return cls(allowed=True, reason=reason, headers=headers, counted=counted, max_bytes=max_bytes, stream=stream)

    @classmethod
    def abstain(
        cls,
        reason: str,
        *,
        headers: Mapping[str, str] = NOTHING,
        counted: bool = False,
        max_bytes: int | None = None,
        stream: bool = False,
    ) -> Decision:
        """Return an abstention. It grants nothing, but adds to the consents of other plugins.

        Args:
            reason: The reason, for the log.
            headers: Header fields of the response.
            counted: True if the response must not be cached, because each download is counted.
            max_bytes: Size in bytes of the largest object that can be granted.
            stream: True if the bytes must pass this server, if another plugin consents; see ``transform``.
        """
        return cls(allowed=None, reason=reason, headers=headers, counted=counted, max_bytes=max_bytes, stream=stream)

    @classmethod
    def deny(
        cls,
        reason: str,
        *,
        detail: str | None = None,
        kind: Literal["forbidden", "exhausted"] = "forbidden",
        code: str | None = None,
        link: str | None = None,
        rel: str = "help",
        retry_after: int | None = None,
        headers: Mapping[str, str] = NOTHING,
        extra: Mapping[str, Any] = NOTHING,
        scope: str | None = None,
    ) -> Decision:
        """Return a denial.

        Args:
            reason: The reason, for the log.
            detail: The reason, for the client.
            kind: ``forbidden`` (403) or ``exhausted`` (429).
            code: Error code in the response.
            link: URL path of this API where the client can change the outcome.
            rel: Relation of ``link`` (RFC 8288): a registered name, such as ``license``, or a URI.
            retry_after: Seconds until the client should retry.
            headers: Header fields of the response.
            extra: Further members of the error's body.
            scope: The scope that the credential lacks (RFC 6750, 3.1).
        """
        return cls(False, reason, detail, kind, code, link, retry_after, headers, extra, scope=scope, rel=rel)


@dataclass(frozen=True, slots=True)
class Grant:
    """The permission to download one asset. Only the gate creates grants, after it has called all plugins.

    ``id`` is unique and not secret. It can be part of a temporary URL, to match a store's log with our records.
    """

    principal: Principal
    asset: Asset
    decision: Decision
    id: str


@dataclass(frozen=True, slots=True, init=False)
class Only:
    """The collections that a principal can see, by their ids. ``~Only(names)`` is all others.

    A plugin can return the same value for many requests. Then the ids are neither checked nor sent to the database
    again.

    Attributes:
        names: The ids.
        excluded: Whether the principal can see all collections except these.
    """

    names: frozenset[str]
    excluded: bool

    def __init__(self, names: Iterable[str], *, excluded: bool = False) -> None:
        """Check the ids. Raises TypeError or ValueError if they are not text that can be stored."""
        ids = frozenset(names)
        if isinstance(names, str) or not all(type(name) is str for name in ids):
            raise TypeError("Only: expected an iterable of strings")
        text = "".join(ids)
        if "\0" in text or (not text.isascii() and not text.encode()):
            raise ValueError("Only: expected ids without NUL")
        object.__setattr__(self, "names", ids)
        object.__setattr__(self, "excluded", excluded)

    def __contains__(self, name: str) -> bool:
        """Return whether the principal can see a collection."""
        return (name in self.names) != self.excluded

    def __invert__(self) -> Only:
        """Return all other collections."""
        return Only(self.names, excluded=not self.excluded)

    def __and__(self, other: Only) -> Only:
        """Return the collections that are in both."""
        if self.excluded and other.excluded:
            return Only(self.names | other.names, excluded=True)
        if self.excluded:
            return Only(other.names - self.names)
        return Only(self.names - other.names if other.excluded else self.names & other.names)


@dataclass(frozen=True, slots=True)
class Restriction:
    """Limits of a principal's view: conditions on items and collections, and collections by their ids.

    None is no restriction.
    """

    items: Cql2 | None = None
    collections: Cql2 | None = None
    only: Only | None = None


UNRESTRICTED = Restriction()
