"""Decisions on downloads and changes, and restrictions of what is visible."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from stacflask.model.json_types import NOTHING, Cql2, _nothing, _protect
from stacflask.model.readonly import ReadOnlyDict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stacflask.model.asset import Asset
    from stacflask.model.principal import Principal


@dataclass(frozen=True, slots=True)
class Decision:
    """One plugin's answer. ``reason`` is for the log, ``detail`` for the client.

    ``kind`` says how a denial is told: ``forbidden`` (403) or ``exhausted`` (429). ``code`` is the error's code in the
    answer, ``link`` an address path of this API where the client can change the outcome (a licence to accept).
    ``headers`` go into the answer either way. ``counted`` forbids caching it: every download must come by.
    ``scope`` is what the credential itself is not meant for, whoever holds it (RFC 6750, 3.1).
    ``allowed`` is None for a remark, which adds to what others decide and decides nothing itself.
    ``max_bytes`` is the size of the largest object that a consent or a remark covers, as its store reports it.
    ``by`` is the name of the plugin that gave it; the house fills it in, and leaves it empty for answers of its own.
    """

    allowed: bool | None
    reason: str
    detail: str | None = None
    kind: Literal["forbidden", "exhausted"] = "forbidden"
    code: str | None = None
    link: str | None = None
    retry_after: int | None = None
    headers: Mapping[str, str] = field(default_factory=_nothing)
    extra: Mapping[str, Any] = field(default_factory=_nothing)
    counted: bool = False
    scope: str | None = None
    by: str = ""
    max_bytes: int | None = None

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
    ) -> Decision:
        """Consent. ``counted``: answers must not be cached, because each download is counted."""
        return cls(allowed=True, reason=reason, headers=headers, counted=counted, max_bytes=max_bytes)

    @classmethod
    def abstain(
        cls,
        reason: str,
        *,
        headers: Mapping[str, str] = NOTHING,
        counted: bool = False,
        max_bytes: int | None = None,
    ) -> Decision:
        """Neither consent nor refuse, but add header fields, forbid caching, or limit the size of what is granted."""
        return cls(allowed=None, reason=reason, headers=headers, counted=counted, max_bytes=max_bytes)

    @classmethod
    def deny(
        cls,
        reason: str,
        *,
        detail: str | None = None,
        kind: Literal["forbidden", "exhausted"] = "forbidden",
        code: str | None = None,
        link: str | None = None,
        retry_after: int | None = None,
        headers: Mapping[str, str] = NOTHING,
        extra: Mapping[str, Any] = NOTHING,
        scope: str | None = None,
    ) -> Decision:
        """Refuse. ``retry_after`` is in seconds; ``extra`` are further members of the error's body."""
        return cls(False, reason, detail, kind, code, link, retry_after, headers, extra, scope=scope)


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave to take one asset. Only the gate makes one, after every plugin has been heard.

    ``id`` is this grant's own, and no secret: it may stand in a store's log, to be found again.
    """

    principal: Principal
    asset: Asset
    decision: Decision
    id: str


@dataclass(frozen=True, slots=True)
class Restriction:
    """What may be seen, as conditions on items and on collections; None: everything."""

    items: Cql2 | None = None
    collections: Cql2 | None = None


UNRESTRICTED = Restriction()
